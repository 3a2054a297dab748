//! Reading samples, whatever they are stored in, and keeping what they are stored in tidy.

use async_trait::async_trait;
use domain::{
    id::{GroupId, SeriesId, SiteId, TargetId},
    sample::{Sample, Span},
};

use crate::Result;

/// The rounds of a sample record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rounds {
    /// Milliseconds after the record's time, one per round.
    pub times_ms: Vec<i64>,
    /// `cells[column * times_ms.len() + round]`, columns in the order of the record's layout; `None`
    /// was polled and not obtained.
    pub cells: Vec<Option<i64>>,
}

/// Reads the payload of a sample record; `None` when it is not one. The store keeps payloads as they
/// came and leaves their format to the caller.
pub type ReadPayload = fn(&[u8]) -> Option<Rounds>;

/// How long samples and rollups are kept, in days of 86,400 s (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Samples as measured.
    pub raw_days: u32,
    /// Five-minute buckets of series in full detail.
    pub five_minute_days: u32,
    /// Five-minute buckets of access ports, which are kept once their samples are deleted; none when
    /// it is not longer than [`Self::raw_days`].
    pub access_five_minute_days: u32,
    /// Hourly buckets.
    pub hour_days: u32,
    /// Daily buckets.
    pub day_days: u32,
}

impl Default for Retention {
    /// 14 days, 13 months (access ports 60 days), 3 years, 10 years.
    fn default() -> Self {
        Self {
            raw_days: 14,
            five_minute_days: 396,
            access_five_minute_days: 60,
            hour_days: 1_096,
            day_days: 3_653,
        }
    }
}

impl Retention {
    /// The last day whose access ports are to have five-minute buckets: the first whose samples are
    /// kept. `None` when they never have any.
    pub(crate) fn last_access_day(&self, today: i64) -> Option<i64> {
        (self.access_five_minute_days > self.raw_days)
            .then(|| today.saturating_sub(self.raw_days.into()))
    }

    /// Whether a day that is compacted today brings five-minute buckets of access ports.
    pub(crate) fn makes_access(&self, day: i64, today: i64) -> bool {
        self.last_access_day(today).is_some_and(|last| day <= last)
    }
}

/// What a store of samples must be told.
#[derive(Debug, Clone, Copy)]
pub struct SampleOptions {
    /// Format of the payloads.
    pub read_payload: ReadPayload,
    /// What is deleted when.
    pub retention: Retention,
}

impl SampleOptions {
    /// With the usual retention.
    #[must_use]
    pub fn new(read_payload: ReadPayload) -> Self {
        Self { read_payload, retention: Retention::default() }
    }
}

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
/// units per second; a rate is never computed over a gap or a restart, and a bucket of which no rate
/// is known is absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Start of the bucket, Unix milliseconds, a multiple of the step.
    pub from_ms: i64,
    /// Samples with a value in the bucket.
    pub count: u32,
    /// Milliseconds of the bucket that the samples speak for: the coverage is `covered / step`.
    pub covered_ms: u32,
    /// Smallest, in the metric's resolution; for counters the smallest rate between two readings,
    /// per second, rounded down by less than 0.2 %.
    pub min: f64,
    /// Largest; for counters rounded up likewise.
    pub max: f64,
    /// Mean; time-weighted for counters: increase divided by covered time.
    pub mean: f64,
    /// Last value in the bucket; for counters the counter's value at the bucket's end, interpolated as
    /// its growth is, or its last value known in the bucket.
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
    /// Group days whose access ports got five-minute buckets, their samples being about to be deleted.
    pub access_days: u64,
    /// Blocks and rollups past their retention that were deleted.
    pub expired: u64,
    /// Pages of the database given back to the file system.
    pub freed_pages: u64,
    /// Group days that could not be compacted because stored bytes are damaged: they stay as they are
    /// and are tried again; or whose access ports got no five-minute buckets, for the same reason.
    pub damaged: u64,
}

impl MaintenanceReport {
    /// Whether anything was done: if so, there may be more.
    #[must_use]
    pub fn worked(&self) -> bool {
        Self { damaged: 0, ..*self } != Self::default()
    }
}

/// How the check of the whole file after an unclean stop stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FileCheck {
    /// The last use ended cleanly: nothing is checked.
    #[default]
    NotNeeded,
    /// It is at work.
    Running,
    /// Nothing was found wrong.
    Sound,
    /// The file is damaged: nothing is written any more.
    Damaged,
    /// It was given up; the next start does it.
    Unfinished,
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
    /// Gaps that records declared and that found no room, since the start.
    pub gaps_refused: u64,
    /// Records now waiting in the writer's queue.
    pub queue_records: u64,
    /// How the check of the file stands.
    pub check: FileCheck,
    /// Since when, Unix seconds.
    pub check_since_s: u64,
    /// The file was found damaged, by the check or at work: nothing is written any more.
    pub damaged: bool,
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
    /// with the number of buckets it stands on; `None` without any bucket. Buckets count that lie
    /// wholly in the span. Exact while five-minute buckets or samples are kept; beyond that from the
    /// distribution of each hour or day, with an error below 2 %.
    async fn percentiles(
        &self,
        series: Vec<(SiteId, SeriesId)>,
        spec: EdgeSpec,
    ) -> Result<Vec<Option<(f64, u32)>>>;

    /// Newest sample of each series, if any came in about the last day: from the records not yet in
    /// blocks, else from the group's last block.
    async fn latest(&self, site: SiteId, series: Vec<SeriesId>) -> Result<Vec<Option<Sample>>>;

    /// What [`Self::latest`] has of the series that tell whether their target answers
    /// ([`is_sign`](domain::metric::Metric::is_sign)), for many groups at once and without their
    /// series being named. A look at the newest record of each: a target that it leaves out may have
    /// a sample all the same, and what it tells is as new as any of that group.
    async fn signs(
        &self,
        groups: Vec<(SiteId, GroupId)>,
        now_ms: i64,
    ) -> Result<Vec<(TargetId, Sample)>>;

    /// One bounded round of upkeep: compaction of finished days (and of late data), rollups,
    /// retention, checkpoint. `now_ms` is server time. Call again while it reports work.
    async fn maintain(&self, now_ms: i64) -> Result<MaintenanceReport>;

    /// Sizes and counts for the metrics page.
    async fn figures(&self) -> Result<StoreFigures>;
}
