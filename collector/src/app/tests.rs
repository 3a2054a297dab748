use std::future::{pending, ready};

use super::*;

/// A collector on a store of its own.
async fn started() -> (tempfile::TempDir, Arc<SqliteStore>, App) {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "data_dir = \"{}\"\n[api]\nlisten = \"127.0.0.1:0\"\n[agents]\nlisten = \"127.0.0.1:0\"\n",
        dir.path().display()
    );
    let config = Config::parse(&text, "test").unwrap();
    let samples = SampleOptions::new(wire::rounds);
    let store = Arc::new(SqliteStore::open(&config.database(), samples).unwrap());
    let parts = Parts { watch_store: Duration::from_millis(10), ..Parts::default() };
    let app = App::start_with(config, store.clone(), parts).await.unwrap();
    (dir, store, app)
}

#[tokio::test]
async fn a_collector_whose_store_died_ends_and_says_so() {
    let (_dir, store, app) = started().await;
    store.break_writer().await;
    let ended = timeout(Duration::from_secs(20), attend(app, pending())).await.expect("it ends");
    assert_eq!(ended.unwrap_err().to_string(), "the store ended by itself");
}

#[tokio::test]
async fn a_collector_that_is_told_to_end_ends_without_complaint() {
    let (_dir, _store, app) = started().await;
    attend(app, ready(())).await.unwrap();
}
