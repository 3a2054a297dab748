//! Reading samples, whatever they are stored in, and keeping what they are stored in tidy.

use async_trait::async_trait;
use domain::{
    id::{SeriesId, SiteId},
    sample::{Sample, Span},
};

use crate::Result;

/// Samples of one series, ascending in time; several records of one instant keep their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeriesData {
    /// The samples.
    pub samples: Vec<Sample>,
    /// How many of them came with an unsure clock.
    pub unsure: u64,
}

/// Width of the buckets of a rollup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// 300 s.
    FiveMinutes,
    /// 3,600 s.
    Hour,
    /// 86,400 s, UTC.
    Day,
}

impl Step {
    /// Milliseconds.
    #[must_use]
    pub fn ms(self) -> i64 {
        match self {
            Self::FiveMinutes => 300_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }
}

/// One bucket of a rollup, on fixed edges. For a counter the figures are those of its rate in
/// units per second; a rate is never computed over a gap or a restart.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Start of the bucket, Unix milliseconds, a multiple of the step.
    pub from_ms: i64,
    /// Samples with a value in the bucket.
    pub count: u32,
    /// Milliseconds of the bucket that the samples speak for: the coverage is `covered / step`.
    pub covered_ms: u32,
    /// Smallest, in the metric's resolution (per second for counters).
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Mean; time-weighted for counters: increase divided by covered time.
    pub mean: f64,
    /// Last value in the bucket (raw counter value for counters).
    pub last: i64,
}

/// Which aggregate of buckets a question wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// Mean (rate for counters).
    Mean,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Last.
    Last,
    /// Number of samples.
    Count,
}

/// A percentile question on fixed five-minute edges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EdgeSpec {
    /// The stretch asked for.
    pub span: Span,
    /// 0 < p <= 1, nearest rank.
    pub p: f64,
}

/// What a round of upkeep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaintenanceReport {
    /// Group days turned into column blocks (again, for late data).
    pub blocks: u64,
    /// Samples in them.
    pub samples: u64,
    /// Head rows freed.
    pub head_rows: u64,
    /// Blocks and rollups past their retention that were deleted.
    pub expired: u64,
}

/// Sizes for the metrics page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Bytes of the database file.
    pub file_bytes: u64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
    /// Records waiting for compaction.
    pub head_records: u64,
    /// Commits since the start.
    pub commits: u64,
    /// Total time of those commits, microseconds.
    pub commit_us: u64,
    /// Longest commit, microseconds.
    pub commit_max_us: u64,
    /// Records committed since the start.
    pub records: u64,
    /// Duplicates since the start.
    pub duplicates: u64,
    /// Conflicts since the start.
    pub conflicts: u64,
    /// Rejections since the start.
    pub rejected: u64,
    /// Records now waiting in the writer's queue.
    pub queue_records: u64,
}

/// Reads samples and rollups; merges head and blocks.
#[async_trait]
pub trait SampleStore: Send + Sync {
    /// Samples of some series of one site in a span, in the order asked.
    async fn read(
        &self,
        site: SiteId,
        series: Vec<SeriesId>,
        span: Span,
    ) -> Result<Vec<SeriesData>>;

    /// Buckets that overlap a span, ascending; a bucket without any sample is absent.
    async fn buckets(
        &self,
        site: SiteId,
        series: SeriesId,
        span: Span,
        step: Step,
    ) -> Result<Vec<Bucket>>;

    /// For each series the percentile of its five-minute means (rates for counters) over the span,
    /// with the number of buckets it stands on; `None` without any bucket.
    async fn percentiles(
        &self,
        series: Vec<(SiteId, SeriesId)>,
        spec: EdgeSpec,
    ) -> Result<Vec<Option<(f64, u32)>>>;

    /// Newest sample of each series, if any came in the last 25 hours.
    async fn latest(&self, site: SiteId, series: Vec<SeriesId>) -> Result<Vec<Option<Sample>>>;

    /// One bounded round of upkeep: compaction of finished days (and of late data), rollups,
    /// retention, checkpoint. `now_ms` is server time. Call again while it reports work.
    async fn maintain(&self, now_ms: i64) -> Result<MaintenanceReport>;

    /// Sizes and counts for the metrics page.
    async fn figures(&self) -> Result<StoreFigures>;
}
