-- Version of the site's configuration when the target was withdrawn last: tells which withdrawn rung is
-- the oldest.
ALTER TABLE target ADD COLUMN withdrawn INTEGER NOT NULL DEFAULT 0;
-- Whether a rung has an open incident, before it is forgotten.
CREATE INDEX incident_by_target ON incident (target);
