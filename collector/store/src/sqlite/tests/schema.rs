//! Site first: by what the rows of each table are found.

use rusqlite::Connection;

use super::*;

/// How the key of a table stands for its site, where it does not begin with the column `site`.
#[derive(Debug, Clone, Copy)]
enum Key {
    /// The site is the high bits of this first column of the key (`lanes.rs`).
    Carries(&'static str),
    /// A number or name of its own that belongs to one site, which the row names: a few thousand rows
    /// that no sample is found by.
    OneSite,
    /// Begins with this column, the id of a row of that table, which is of one site.
    Of(&'static str, &'static str),
    /// Of no site, for this reason.
    Fleet(&'static str),
}

/// Every table whose key does not begin with `site`. ARCHITECTURE.md tells the rule.
const EXCEPTIONS: &[(&str, Key)] = &[
    ("lane", Key::Carries("id")),
    ("head", Key::Carries("key")),
    ("seen_pack", Key::Carries("lane_id")),
    ("seq_hole", Key::Carries("lane_id")),
    ("agent", Key::OneSite),
    ("token", Key::OneSite),
    ("poll_group", Key::OneSite),
    ("series", Key::OneSite),
    ("incident", Key::OneSite),
    ("certificate", Key::Of("agent_no", "agent")),
    ("clock_map", Key::Of("agent_no", "agent")),
    ("conflict_record", Key::Of("agent_no", "agent")),
    ("rejected_record", Key::Of("agent_no", "agent")),
    ("layout", Key::Of("grp", "poll_group")),
    ("series_group", Key::Of("series", "series")),
    ("incident_evidence", Key::Of("incident", "incident")),
    ("outbox", Key::Of("incident", "incident")),
    ("site", Key::Fleet("its id is the site")),
    ("meta", Key::Fleet("what is true of the whole file")),
    ("contractor", Key::Fleet("a lot is a contract for many sites")),
    ("incident_year", Key::Fleet("references are numbered over all sites")),
    (
        "alert_state",
        Key::Fleet("the evaluator's own notes, read whole at its start; keys are its own"),
    ),
];

fn texts(conn: &Connection, sql: &str, table: &str) -> Vec<String> {
    let mut ask = conn.prepare(sql).unwrap();
    let rows = ask.query_map([table], |row| row.get(0)).unwrap();
    rows.map(|row| row.unwrap()).collect()
}

fn tables(conn: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema
               WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> ?1 ORDER BY name";
    texts(conn, sql, "")
}

/// First columns of what a table's rows are found by: its primary key and its unique constraints.
fn firsts(conn: &Connection, table: &str) -> Vec<String> {
    let mut firsts = texts(conn, "SELECT name FROM pragma_table_info(?1) WHERE pk = 1", table);
    firsts.extend(texts(
        conn,
        "SELECT i.name FROM pragma_index_list(?1) AS l, pragma_index_info(l.name) AS i
         WHERE l.\"unique\" = 1 AND l.partial = 0 AND i.seqno = 0",
        table,
    ));
    firsts
}

fn names_its_site(conn: &Connection, table: &str) -> bool {
    let sql = "SELECT name FROM pragma_table_info(?1)
               WHERE name = 'site' AND type = 'INTEGER' AND \"notnull\" = 1";
    !texts(conn, sql, table).is_empty()
}

/// What is wrong with the key of a table; `None` when it stands for one site.
fn fault(conn: &Connection, table: &str) -> Option<String> {
    let firsts = firsts(conn, table);
    let has = |column: &str| firsts.iter().any(|first| first == column);
    if has("site") {
        return (!names_its_site(conn, table)).then(|| format!("{table}: a site may be NULL"));
    }
    let key = EXCEPTIONS.iter().find(|(of, _)| *of == table).map(|(_, key)| *key);
    let told = match key {
        None => return Some(format!("{table}: its keys begin with {firsts:?}, not with site")),
        Some(Key::Fleet(reason)) => !reason.is_empty() && !names_its_site(conn, table),
        Some(Key::Carries(column)) => firsts.first().is_some_and(|first| first == column),
        Some(Key::OneSite) => names_its_site(conn, table),
        Some(Key::Of(column, parent)) => {
            let known =
                EXCEPTIONS.iter().any(|(of, key)| *of == parent && matches!(key, Key::OneSite));
            has(column) && known
        }
    };
    (!told).then(|| format!("{table}: is not what the list of exceptions says, {key:?}"))
}

fn faults(conn: &Connection) -> Vec<String> {
    tables(conn).iter().filter_map(|table| fault(conn, table)).collect()
}

#[tokio::test]
async fn every_row_is_found_by_its_site() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    drop(SqliteStore::open(&path, options()).unwrap());
    let conn = Connection::open(&path).unwrap();
    let tables = tables(&conn);
    assert!(tables.len() > 20, "{tables:?}");
    assert_eq!(faults(&conn), Vec::<String>::new());
    for (table, key) in EXCEPTIONS {
        assert!(tables.iter().any(|known| known == table), "{table} is gone: {key:?}");
        let site_first = firsts(&conn, table).iter().any(|first| first == "site");
        assert!(!site_first, "{table} begins with its site: no exception");
    }
    // The sample tables have no exception of any kind.
    for table in
        tables.iter().filter(|name| name.starts_with("block") || name.starts_with("rollup"))
    {
        assert!(firsts(&conn, table).iter().any(|first| first == "site"), "{table}");
    }
}

#[test]
fn a_new_table_without_its_site_is_found() {
    for (sql, expected) in [
        ("CREATE TABLE stray (id INTEGER PRIMARY KEY, value TEXT)", 1),
        ("CREATE TABLE stray (id INTEGER PRIMARY KEY, site INTEGER NOT NULL)", 1),
        ("CREATE TABLE stray (day INTEGER, site INTEGER NOT NULL, PRIMARY KEY (day, site))", 1),
        ("CREATE TABLE stray (site INTEGER, day INTEGER, PRIMARY KEY (site, day))", 1),
        ("CREATE TABLE stray (site INTEGER NOT NULL, day INTEGER, PRIMARY KEY (site, day))", 0),
        (
            "CREATE TABLE stray (id INTEGER PRIMARY KEY, site INTEGER NOT NULL, UNIQUE (site, id))",
            0,
        ),
        // Under the name of an exception, and not what that one is.
        ("CREATE TABLE incident (id INTEGER PRIMARY KEY, title TEXT)", 1),
        ("CREATE TABLE layout (layout INTEGER, grp INTEGER, PRIMARY KEY (layout, grp))", 1),
        ("CREATE TABLE head (hash INTEGER PRIMARY KEY, key INTEGER)", 1),
        ("CREATE TABLE meta (name TEXT PRIMARY KEY, site INTEGER NOT NULL)", 1),
    ] {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(sql).unwrap();
        assert_eq!(faults(&conn).len(), expected, "{sql}: {:?}", faults(&conn));
    }
}
