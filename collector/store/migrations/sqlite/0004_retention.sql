-- What ends the life of rows that are not samples.
CREATE INDEX head_of_no_group ON head (t_ms) WHERE grp IS NULL;
-- When a hole was declared, by the time of the record that did.
ALTER TABLE seq_hole ADD COLUMN made_ms INTEGER NOT NULL DEFAULT 0;
UPDATE seq_hole SET made_ms = unixepoch() * 1000;
CREATE INDEX seq_hole_by_time ON seq_hole (made_ms);
