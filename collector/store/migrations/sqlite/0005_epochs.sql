-- Lives of a spool that made room for newer ones: their numbers stay known and take nothing more.
ALTER TABLE lane ADD COLUMN closed_ms INTEGER;
-- The order in which the lanes came. Ids are used again and do not tell.
ALTER TABLE lane ADD COLUMN opened INTEGER NOT NULL DEFAULT 0;
UPDATE lane SET opened = id;
CREATE INDEX lane_by_end ON lane (closed_ms) WHERE closed_ms IS NOT NULL;
