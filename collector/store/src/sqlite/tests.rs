use super::*;

pub(super) fn options() -> SampleOptions {
    SampleOptions::new(crate::contract::read_payload)
}

fn open_error(path: &Path) -> String {
    let error = SqliteStore::open(path, options()).err().expect("refused");
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error}: {source}");
    source
}

#[tokio::test]
async fn what_is_written_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    let store = SqliteStore::open(&path, options()).unwrap();
    store
        .write("write", |tx| {
            tx.execute("INSERT INTO alert_state VALUES ('a', 'b')", []).map_err(failed("write"))
        })
        .await
        .unwrap();
    store.close().await;
    assert_eq!(files::length(&files::beside(&path, "-wal")).unwrap(), 0);
    assert_eq!(files::length(&files::beside(&path, ".lock")).unwrap(), 0);
    let store = SqliteStore::open(&path, options()).unwrap();
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
    let _store = SqliteStore::open(&path, options()).unwrap();
    assert_eq!(open_error(&path), "another process is using it");
}

macro_rules! laws {
    ($($law:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $law() {
            let dir = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(&dir.path().join("vigie.db"), options()).unwrap();
            crate::contract::$law(&store).await.unwrap();
        })+
    };
}

laws!(
    a_refused_or_foreign_record_is_dealt_with,
    certificates_are_retired_by_newer_ones,
    clocks_and_gaps_are_remembered,
    declared_losses_move_the_watermark,
    imports_are_all_or_nothing,
    incidents_open_and_close_once,
    layouts_follow_the_targets,
    mails_are_sent_in_order_and_once,
    nothing_of_a_withdrawn_agent_is_taken,
    records_are_taken_once,
    rolled_back_spools_are_noticed,
    sites_are_kept,
    targets_are_kept,
    tokens_are_redeemed_once,
);
