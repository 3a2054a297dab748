-- Five-minute buckets of access ports, packed as block is: made when the samples are about to be
-- deleted, and kept for a while after them.
CREATE TABLE rollup_access (
    id    INTEGER PRIMARY KEY,
    site  INTEGER NOT NULL,
    grp   INTEGER NOT NULL,
    day   INTEGER NOT NULL,
    first INTEGER NOT NULL,
    part  BLOB NOT NULL,
    UNIQUE (site, grp, day, first)
) STRICT;

-- Whether all series of the day have five-minute buckets.
ALTER TABLE block_time ADD COLUMN fine INTEGER NOT NULL DEFAULT 0;
CREATE INDEX block_time_without_fine ON block_time (day) WHERE fine = 0;
