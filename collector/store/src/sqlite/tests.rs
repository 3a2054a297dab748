use super::*;

fn open_error(path: &Path) -> String {
    let error = SqliteStore::open(path).err().expect("refused");
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error}: {source}");
    source
}

#[tokio::test]
async fn what_is_written_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    let store = SqliteStore::open(&path).unwrap();
    store
        .write("write", |tx| {
            tx.execute("INSERT INTO alert_state VALUES ('a', 'b')", []).map_err(failed("write"))
        })
        .await
        .unwrap();
    store.close().await;
    assert_eq!(files::length(&files::beside(&path, "-wal")).unwrap(), 0);
    assert_eq!(files::length(&files::beside(&path, ".lock")).unwrap(), 0);
    let store = SqliteStore::open(&path).unwrap();
    let value: String = store
        .read("read", |conn| {
            conn.query_row("SELECT value FROM alert_state", [], |row| row.get(0))
                .map_err(failed("read"))
        })
        .await
        .unwrap();
    assert_eq!(value, "b");
}

#[tokio::test]
async fn a_file_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    let _store = SqliteStore::open(&path).unwrap();
    assert_eq!(open_error(&path), "another process is using it");
}
