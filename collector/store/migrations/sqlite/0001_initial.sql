-- Everything the collector keeps, in one file: samples, what was seen of them and how far a lane has
-- come change in one transaction. Times are Unix milliseconds unless a name says otherwise; 64-bit
-- numbers of the wire (hash, epoch) are stored as the same bits, signed.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Random number of this database's life; a restore draws another.
INSERT INTO meta (name, value) VALUES ('generation', random());

CREATE TABLE site (
    id             INTEGER PRIMARY KEY,
    uai            TEXT NOT NULL UNIQUE,
    name           TEXT NOT NULL,
    kind           TEXT NOT NULL,
    zone           TEXT NOT NULL,
    pupils         INTEGER,
    lot            TEXT,
    address        TEXT,
    latitude       REAL,
    longitude      REAL,
    config_version INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE contractor (
    lot   TEXT PRIMARY KEY,
    name  TEXT NOT NULL,
    email TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE agent (
    no           INTEGER PRIMARY KEY,
    id           BLOB NOT NULL UNIQUE,
    site         INTEGER NOT NULL REFERENCES site (id),
    active       INTEGER NOT NULL,
    hostname     TEXT NOT NULL,
    version      TEXT NOT NULL,
    enrolled_ms  INTEGER NOT NULL,
    last_seen_ms INTEGER,
    revoked_ms   INTEGER
) STRICT;
CREATE INDEX agent_by_site ON agent (site);

CREATE TABLE token (
    id            TEXT PRIMARY KEY,
    secret_sha256 BLOB NOT NULL,
    site          INTEGER NOT NULL REFERENCES site (id),
    created_ms    INTEGER NOT NULL,
    expires_ms    INTEGER NOT NULL,
    used_ms       INTEGER,
    spki_sha256   BLOB,
    agent_no      INTEGER REFERENCES agent (no)
) STRICT, WITHOUT ROWID;

-- used: 0 issued and never seen, 1 seen in use, 2 retired by the use of a newer one.
CREATE TABLE certificate (
    no          INTEGER PRIMARY KEY,
    agent_no    INTEGER NOT NULL REFERENCES agent (no),
    serial      TEXT NOT NULL,
    spki_sha256 BLOB NOT NULL,
    expires_ms  INTEGER NOT NULL,
    used        INTEGER NOT NULL DEFAULT 0,
    UNIQUE (agent_no, serial)
) STRICT;

-- The boot clock of an agent's machine: server_ns = boot_ns + offset_ns.
CREATE TABLE clock_map (
    agent_no  INTEGER NOT NULL REFERENCES agent (no),
    boot_tag  INTEGER NOT NULL,
    offset_ns INTEGER NOT NULL,
    error_ns  INTEGER NOT NULL,
    touched   INTEGER NOT NULL,
    PRIMARY KEY (agent_no, boot_tag)
) STRICT, WITHOUT ROWID;

-- One spool lane of one life (epoch) of an agent. id = site << 11 | ordinal at the site.
-- above: stretches committed or explained above contig_upto, pairs of little-endian u64.
CREATE TABLE lane (
    id          INTEGER PRIMARY KEY,
    agent_no    INTEGER NOT NULL REFERENCES agent (no),
    lane        INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    contig_upto INTEGER NOT NULL,
    above       BLOB NOT NULL,
    UNIQUE (agent_no, lane, epoch)
) STRICT;

-- The agents' records as received, one row each. key = lane.id << 34 | seq, so that the site comes
-- first, then the lane, then the sequence number: one tree both holds and deduplicates.
CREATE TABLE head (
    key     INTEGER PRIMARY KEY,
    hash    INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    site    INTEGER NOT NULL,
    grp     INTEGER,
    layout  INTEGER,
    t_ms    INTEGER NOT NULL,
    sure    INTEGER NOT NULL,
    boot_ns INTEGER NOT NULL,
    items   INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX head_by_time ON head (site, grp, t_ms) WHERE grp IS NOT NULL;

-- Hashes of records that left the head and must still be known: one row per 4,096 numbers of a lane.
-- base = first number of the stretch; packed as described in seen.rs. Rows this large want a rowid: in a
-- tree of keys each would leave most of a page empty.
CREATE TABLE seen_pack (
    lane_id INTEGER NOT NULL,
    base    INTEGER NOT NULL,
    packed  BLOB NOT NULL,
    PRIMARY KEY (lane_id, base)
) STRICT;

-- Numbers below the watermark (or in a stretch above it) that hold no record, and why.
CREATE TABLE seq_hole (
    lane_id  INTEGER NOT NULL,
    seq_from INTEGER NOT NULL,
    seq_to   INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    PRIMARY KEY (lane_id, seq_from)
) STRICT, WITHOUT ROWID;

-- Bounded: a ring of slots per agent (0 = no such agent).
CREATE TABLE conflict_record (
    agent_no INTEGER NOT NULL,
    slot     INTEGER NOT NULL,
    n        INTEGER NOT NULL,
    lane     INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    hash     INTEGER NOT NULL,
    t_ms     INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    payload  BLOB NOT NULL,
    PRIMARY KEY (agent_no, slot)
) STRICT;

CREATE TABLE rejected_record (
    agent_no INTEGER NOT NULL,
    slot     INTEGER NOT NULL,
    n        INTEGER NOT NULL,
    lane     INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    hash     INTEGER NOT NULL,
    t_ms     INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    payload  BLOB NOT NULL,
    PRIMARY KEY (agent_no, slot)
) STRICT;

-- Declared stretches without measures; grp 0 = the whole site.
CREATE TABLE gap (
    site    INTEGER NOT NULL REFERENCES site (id),
    grp     INTEGER NOT NULL,
    from_ms INTEGER NOT NULL,
    to_ms   INTEGER NOT NULL,
    reason  TEXT NOT NULL,
    PRIMARY KEY (site, grp, from_ms, to_ms, reason)
) STRICT, WITHOUT ROWID;
-- "Which gaps overlap this span" looks from the end of the gap.
CREATE INDEX gap_by_end ON gap (site, to_ms);

-- A poll group. kind: the method and its parameters, without secrets.
CREATE TABLE poll_group (
    id       INTEGER PRIMARY KEY,
    site     INTEGER NOT NULL REFERENCES site (id),
    kind     TEXT NOT NULL,
    period_s INTEGER NOT NULL,
    layout   INTEGER NOT NULL
) STRICT;
CREATE INDEX group_by_site ON poll_group (site, kind, period_s);

CREATE TABLE target (
    id        INTEGER PRIMARY KEY,
    site      INTEGER NOT NULL REFERENCES site (id),
    grp       INTEGER NOT NULL REFERENCES poll_group (id),
    role      TEXT NOT NULL,
    name      TEXT NOT NULL,
    kind      TEXT NOT NULL,
    address   TEXT NOT NULL,
    secret    TEXT,
    period_s  INTEGER NOT NULL,
    parent    INTEGER REFERENCES target (id),
    active    INTEGER NOT NULL,
    UNIQUE (site, kind, address)
) STRICT;
CREATE INDEX target_by_group ON target (grp);
CREATE INDEX target_by_parent ON target (parent);

CREATE TABLE series (
    id       INTEGER PRIMARY KEY,
    site     INTEGER NOT NULL REFERENCES site (id),
    target   INTEGER NOT NULL REFERENCES target (id),
    metric   INTEGER NOT NULL,
    instance INTEGER NOT NULL,
    label    TEXT NOT NULL,
    coarse   INTEGER NOT NULL,
    UNIQUE (target, metric, instance)
) STRICT;
CREATE INDEX series_by_site ON series (site);

-- Columns of a group, in record order: little-endian i64 ids of series. Never changed once written.
CREATE TABLE layout (
    grp     INTEGER NOT NULL REFERENCES poll_group (id),
    layout  INTEGER NOT NULL,
    columns BLOB NOT NULL,
    PRIMARY KEY (grp, layout)
) STRICT;

-- Every group whose columns ever held a series: where to look for its samples.
CREATE TABLE series_group (
    series INTEGER NOT NULL REFERENCES series (id),
    grp    INTEGER NOT NULL REFERENCES poll_group (id),
    PRIMARY KEY (series, grp)
) STRICT, WITHOUT ROWID;

CREATE TABLE alert_state (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE incident (
    id          INTEGER PRIMARY KEY,
    reference   TEXT NOT NULL UNIQUE,
    key         TEXT NOT NULL UNIQUE,
    site        INTEGER NOT NULL REFERENCES site (id),
    target      INTEGER REFERENCES target (id),
    kind        TEXT NOT NULL,
    title       TEXT NOT NULL,
    started_ms  INTEGER NOT NULL,
    opened_ms   INTEGER NOT NULL,
    restored_ms INTEGER,
    closed_ms   INTEGER
) STRICT;
CREATE INDEX incident_by_site ON incident (site, id);
CREATE INDEX incident_open ON incident (id) WHERE closed_ms IS NULL;

CREATE TABLE incident_evidence (
    incident INTEGER NOT NULL REFERENCES incident (id),
    n        INTEGER NOT NULL,
    line     TEXT NOT NULL,
    PRIMARY KEY (incident, n)
) STRICT, WITHOUT ROWID;

-- Last number given out in a year: INC-2026-000001.
CREATE TABLE incident_year (
    year INTEGER PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT;

-- state: waiting, leased, sent, failed, unknown (the relay never said, twice).
-- ambiguous: an earlier attempt may have been taken; reply_ambiguous: the notifier said so itself.
CREATE TABLE outbox (
    id              INTEGER PRIMARY KEY,
    incident        INTEGER NOT NULL REFERENCES incident (id),
    transition      TEXT NOT NULL,
    recipient       TEXT NOT NULL,
    created_ms      INTEGER NOT NULL,
    state           TEXT NOT NULL DEFAULT 'waiting',
    due_ms          INTEGER NOT NULL,
    lease_until_ms  INTEGER,
    attempts        INTEGER NOT NULL DEFAULT 0,
    lost_leases     INTEGER NOT NULL DEFAULT 0,
    ambiguous       INTEGER NOT NULL DEFAULT 0,
    reply_ambiguous INTEGER NOT NULL DEFAULT 0,
    reply           TEXT,
    settled_ms      INTEGER,
    UNIQUE (incident, transition, recipient)
) STRICT;
CREATE INDEX outbox_open ON outbox (incident, recipient, id) WHERE state IN ('waiting', 'leased');
