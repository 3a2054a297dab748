-- What a device says it is, as told last: untrusted text.
CREATE TABLE device (
    site      INTEGER NOT NULL REFERENCES site (id),
    target    INTEGER NOT NULL,
    told_ms   INTEGER NOT NULL,
    name      TEXT NOT NULL,
    descr     TEXT NOT NULL,
    object_id TEXT NOT NULL,
    location  TEXT NOT NULL,
    truncated INTEGER NOT NULL,
    PRIMARY KEY (site, target)
) STRICT, WITHOUT ROWID;
