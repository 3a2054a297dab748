-- Samples once they left the head, by poll group and UTC day (days since the epoch), and their rollups.
-- Tables with large rows have a rowid: SQLite fills the pages of such a row to the last byte.

-- When the rounds of a group and day took place. made_ms: when the block was last written.
-- before, after: what stood within reach of the day's two edges when the rollups were made, hashed;
-- a neighbour that now sees something else there has them made again.
CREATE TABLE block_time (
    id      INTEGER PRIMARY KEY,
    site    INTEGER NOT NULL,
    grp     INTEGER NOT NULL,
    day     INTEGER NOT NULL,
    made_ms INTEGER NOT NULL,
    before  INTEGER NOT NULL,
    after   INTEGER NOT NULL,
    times   BLOB NOT NULL,
    UNIQUE (site, grp, day)
) STRICT;

-- Columns of series in ascending order; first = the first series of the row.
CREATE TABLE block (
    id    INTEGER PRIMARY KEY,
    site  INTEGER NOT NULL,
    grp   INTEGER NOT NULL,
    day   INTEGER NOT NULL,
    first INTEGER NOT NULL,
    part  BLOB NOT NULL,
    UNIQUE (site, grp, day, first)
) STRICT;

-- Five-minute buckets, packed as block is.
CREATE TABLE rollup_fine (
    id    INTEGER PRIMARY KEY,
    site  INTEGER NOT NULL,
    grp   INTEGER NOT NULL,
    day   INTEGER NOT NULL,
    first INTEGER NOT NULL,
    part  BLOB NOT NULL,
    UNIQUE (site, grp, day, first)
) STRICT;

-- Hourly and daily buckets of all series of a group. classes: distribution of five-minute means.
CREATE TABLE rollup_hour (
    id      INTEGER PRIMARY KEY,
    site    INTEGER NOT NULL,
    grp     INTEGER NOT NULL,
    day     INTEGER NOT NULL,
    buckets BLOB NOT NULL,
    classes BLOB NOT NULL,
    UNIQUE (site, grp, day)
) STRICT;

CREATE TABLE rollup_day (
    id      INTEGER PRIMARY KEY,
    site    INTEGER NOT NULL,
    grp     INTEGER NOT NULL,
    day     INTEGER NOT NULL,
    buckets BLOB NOT NULL,
    classes BLOB NOT NULL,
    UNIQUE (site, grp, day)
) STRICT;

-- Days to be rolled up again because of what came late beside them.
CREATE TABLE block_stale (
    site INTEGER NOT NULL,
    grp  INTEGER NOT NULL,
    day  INTEGER NOT NULL,
    PRIMARY KEY (site, grp, day)
) STRICT, WITHOUT ROWID;
