//! What the evaluator hears of: samples that were just committed, in commit order.
//!
//! The feed never holds ingest back: when its queue is full an item is dropped, counted, and the
//! reader is told. A round that was dropped is no evidence either way; the next ones are.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use domain::id::{AgentId, GroupId, Layout, SiteId};
use proto::samples::Columns;
use tokio::sync::mpsc;

use crate::metrics::Metrics;

/// Items that wait for the evaluator at most.
pub const FEED_ITEMS: usize = 8_192;

/// One committed sample record, decoded.
#[derive(Debug, Clone)]
pub struct FeedItem {
    /// Site that the agent stands at.
    pub site: SiteId,
    /// The agent that measured.
    pub agent: AgentId,
    /// Poll group.
    pub group: GroupId,
    /// Generation of the group's columns.
    pub layout: Layout,
    /// Server time of the record's first row, Unix milliseconds.
    pub time_ms: i64,
    /// Older than two periods and a minute when it was committed: history, never an alert.
    pub late: bool,
    /// False when the server time rests on the agent's own wall clock: never an alert.
    pub sure: bool,
    /// The values; `times_ms[row] - times_ms[0] + time_ms` is a row's server time.
    pub columns: Columns,
}

/// The writing end, held by ingest.
#[derive(Debug, Clone)]
pub struct Feed {
    sender: mpsc::Sender<FeedItem>,
    dropped: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

/// The reading end, held by the evaluator.
#[derive(Debug)]
pub struct FeedReader {
    receiver: mpsc::Receiver<FeedItem>,
    dropped: Arc<AtomicBool>,
}

/// Makes a feed that holds at most `capacity` items.
#[must_use]
pub fn feed(capacity: usize, metrics: Arc<Metrics>) -> (Feed, FeedReader) {
    let (sender, receiver) = mpsc::channel(capacity);
    let dropped = Arc::new(AtomicBool::new(false));
    (Feed { sender, dropped: dropped.clone(), metrics }, FeedReader { receiver, dropped })
}

impl Feed {
    /// Hands over an item, or drops it and says so when the queue is full or nobody reads.
    pub fn push(&self, item: FeedItem) {
        if self.sender.try_send(item).is_err() {
            self.dropped.store(true, Ordering::Release);
            self.metrics.feed_dropped.inc();
        }
    }
}

impl FeedReader {
    /// The next item; `None` when ingest has ended.
    pub async fn next(&mut self) -> Option<FeedItem> {
        self.receiver.recv().await
    }

    /// An item that is already there.
    pub fn try_next(&mut self) -> Option<FeedItem> {
        self.receiver.try_recv().ok()
    }

    /// True once after items were dropped.
    #[must_use]
    pub fn take_dropped(&self) -> bool {
        self.dropped.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(time_ms: i64) -> FeedItem {
        FeedItem {
            site: SiteId(1),
            agent: AgentId([0; 16]),
            group: GroupId(1),
            layout: Layout(1),
            time_ms,
            late: false,
            sure: true,
            columns: Columns {
                group: 1,
                layout: 1,
                times_ms: vec![0],
                columns: 1,
                cells: vec![Some(0)],
            },
        }
    }

    #[tokio::test]
    async fn a_full_feed_drops_counts_and_asks_for_a_dropped_once() {
        let metrics = Arc::new(Metrics::new());
        let (feed, mut reader) = feed(2, metrics.clone());
        (0..3).for_each(|time| feed.push(item(time)));
        assert_eq!(metrics.feed_dropped.get(), 1);
        assert!(reader.take_dropped());
        assert!(!reader.take_dropped());
        assert_eq!(reader.next().await.map(|item| item.time_ms), Some(0));
        assert_eq!(reader.try_next().map(|item| item.time_ms), Some(1));
        assert!(reader.try_next().is_none());
    }
}
