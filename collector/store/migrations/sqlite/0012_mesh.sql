-- Sites that take part in the measures between sites. Without an address a site asks and answers nobody;
-- every site asks a hub.
CREATE TABLE mesh_site (
    site    INTEGER NOT NULL PRIMARY KEY REFERENCES site (id),
    address TEXT,
    hub     INTEGER NOT NULL
) STRICT;

-- Which site asks which: the target by which it does, and the key that both agents have.
CREATE TABLE mesh_link (
    site   INTEGER NOT NULL REFERENCES site (id),
    peer   INTEGER NOT NULL REFERENCES site (id),
    target INTEGER NOT NULL REFERENCES target (id),
    key    BLOB NOT NULL,
    PRIMARY KEY (site, peer)
) STRICT, WITHOUT ROWID;
CREATE INDEX mesh_link_by_peer ON mesh_link (peer);
