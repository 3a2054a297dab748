-- Equipment of a site, as discovery saw it last: untrusted texts. no: counted within the site.
-- macs: own addresses of its interfaces, 6 bytes each; never a station's.
CREATE TABLE asset (
    site         INTEGER NOT NULL REFERENCES site (id),
    no           INTEGER NOT NULL,
    address      TEXT NOT NULL,
    macs         BLOB NOT NULL,
    class        TEXT,
    vendor       TEXT NOT NULL,
    model        TEXT NOT NULL,
    serial       TEXT NOT NULL,
    version      TEXT NOT NULL,
    name         TEXT NOT NULL,
    descr        TEXT NOT NULL,
    object_id    TEXT NOT NULL,
    location     TEXT NOT NULL,
    snmp         TEXT,
    profile      TEXT NOT NULL,
    interfaces   INTEGER NOT NULL,
    first_ms     INTEGER NOT NULL,
    last_ms      INTEGER NOT NULL,
    missing_ms   INTEGER,
    confirmed_ms INTEGER,
    PRIMARY KEY (site, no)
) STRICT, WITHOUT ROWID;

CREATE TABLE asset_part (
    site    INTEGER NOT NULL,
    asset   INTEGER NOT NULL,
    n       INTEGER NOT NULL,
    idx     TEXT NOT NULL,
    class   TEXT NOT NULL,
    name    TEXT NOT NULL,
    model   TEXT NOT NULL,
    serial  TEXT NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (site, asset, n)
) STRICT, WITHOUT ROWID;

-- What devices told of each other in the last round. if_index, other_if_index: NULL when unknown.
CREATE TABLE asset_edge (
    site           INTEGER NOT NULL,
    n              INTEGER NOT NULL,
    asset          INTEGER NOT NULL,
    if_index       INTEGER,
    port           TEXT NOT NULL,
    other          INTEGER NOT NULL,
    other_if_index INTEGER,
    other_port     TEXT NOT NULL,
    source         TEXT NOT NULL,
    PRIMARY KEY (site, n)
) STRICT, WITHOUT ROWID;

-- How many addresses a bridge had learnt at a port: a number, no address.
CREATE TABLE asset_stations (
    site     INTEGER NOT NULL,
    asset    INTEGER NOT NULL,
    if_index INTEGER NOT NULL,
    count    INTEGER NOT NULL,
    PRIMARY KEY (site, asset, if_index)
) STRICT, WITHOUT ROWID;

-- The last round of discovery at each site. refused: networks that were not searched, a line each.
CREATE TABLE discovery_round (
    site       INTEGER NOT NULL PRIMARY KEY REFERENCES site (id),
    started_ms INTEGER NOT NULL,
    ended_ms   INTEGER NOT NULL,
    request    INTEGER NOT NULL,
    asked      INTEGER NOT NULL,
    answered   INTEGER NOT NULL,
    identified INTEGER NOT NULL,
    refused    TEXT NOT NULL,
    complete   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
