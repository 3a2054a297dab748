//! Questions about samples: head and blocks as one.

mod answers;
pub(crate) mod gather;
mod parts;
mod percentiles;
mod signs;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use domain::{
    id::{GroupId, SeriesId, SiteId, TargetId},
    metric::{self, Kind},
    rate::Unit,
    sample::{Sample, Span},
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{SqliteStore, failed, files};
use crate::{
    Bucket, EdgeSpec, MaintenanceReport, ReadPayload, Result, SampleOptions, SampleStore,
    SeriesData, Step, StoreError, StoreFigures,
};
use gather::GroupKey;

/// Layouts kept in memory; a site of 130 devices has about 140.
const MAX_LAYOUTS: usize = 8192;
const ACTION: &str = "read samples";

/// Columns by group and layout.
type Layouts = HashMap<(GroupId, u32), Arc<[i64]>>;
/// A group with its series (ascending), each with its place in the question.
pub(crate) type Members = (GroupKey, Vec<(i64, usize)>);

/// What reading and compacting share beside the database.
pub(crate) struct Shelf {
    pub(crate) read_payload: ReadPayload,
    pub(crate) retention: crate::Retention,
    layouts: Mutex<Layouts>,
    signs: signs::Known,
    /// One round of upkeep at a time; where the next one goes on.
    pub(crate) upkeep: tokio::sync::Mutex<super::compact::Cursor>,
}

/// What must be known of a series to roll it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) id: i64,
    pub(crate) target: i64,
    pub(crate) metric: u32,
    pub(crate) instance: u32,
    pub(crate) coarse: bool,
}

impl Facts {
    /// From `id, target, metric, instance, coarse`.
    pub(crate) fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            target: row.get(1)?,
            metric: row.get(2)?,
            instance: row.get(3)?,
            coarse: row.get(4)?,
        })
    }

    /// How its values behave; a metric of a newer version is taken for a gauge.
    pub(crate) fn kind(&self) -> Kind {
        metric::by_number(self.metric).map_or(Kind::Gauge, |metric| metric.kind)
    }

    /// What it counts, if in 32 bits.
    pub(crate) fn narrow(&self) -> Option<Unit> {
        metric::by_number(self.metric).and_then(metric::Metric::narrow)
    }
}

impl Shelf {
    pub(crate) fn new(options: SampleOptions) -> Self {
        Self {
            read_payload: options.read_payload,
            retention: options.retention,
            layouts: Mutex::default(),
            signs: signs::Known::default(),
            upkeep: tokio::sync::Mutex::default(),
        }
    }

    /// Columns of a layout, which never change once written.
    pub(crate) fn layout(
        &self,
        conn: &Connection,
        grp: GroupId,
        layout: u32,
    ) -> Result<Option<Arc<[i64]>>> {
        let lock = || self.layouts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&(grp, layout)) {
            return Ok(Some(Arc::clone(known)));
        }
        let fail = failed(ACTION);
        let bytes: Option<Vec<u8>> = conn
            .prepare_cached("SELECT columns FROM layout WHERE grp = ?1 AND layout = ?2")
            .and_then(|mut find| {
                find.query_row(params![grp.0, layout], |row| row.get(0)).optional()
            })
            .map_err(&fail)?;
        let Some(bytes) = bytes else { return Ok(None) };
        let (ids, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(StoreError::Damaged { what: format!("layout {layout} of group {grp:?}") });
        }
        let ids: Arc<[i64]> = ids.iter().map(|id| i64::from_le_bytes(*id)).collect();
        let mut layouts = lock();
        if layouts.len() >= MAX_LAYOUTS {
            layouts.clear();
        }
        layouts.insert((grp, layout), Arc::clone(&ids));
        Ok(Some(ids))
    }
}

/// Groups that a series ever was a column of.
pub(crate) fn groups_of(conn: &Connection, series: i64) -> Result<Vec<GroupId>> {
    let fail = failed(ACTION);
    let mut find =
        conn.prepare_cached("SELECT grp FROM series_group WHERE series = ?1").map_err(&fail)?;
    find.query_map([series], |row| row.get(0).map(GroupId))
        .and_then(Iterator::collect)
        .map_err(&fail)
}

/// Facts of some series, in their order; unknown ones are left out.
pub(crate) fn facts(conn: &Connection, series: &[i64]) -> Result<Vec<Facts>> {
    let fail = failed(ACTION);
    let mut find = conn
        .prepare_cached("SELECT id, target, metric, instance, coarse FROM series WHERE id = ?1")
        .map_err(&fail)?;
    let mut known = Vec::with_capacity(series.len());
    for id in series {
        let one = find.query_row([id], Facts::from_row).optional().map_err(&fail)?;
        known.extend(one);
    }
    Ok(known)
}

/// Milliseconds between two rounds of a group.
pub(crate) fn period_ms(conn: &Connection, grp: GroupId) -> Result<i64> {
    let seconds: Option<i64> = conn
        .prepare_cached("SELECT period_s FROM poll_group WHERE id = ?1")
        .and_then(|mut find| find.query_row([grp.0], |row| row.get(0)).optional())
        .map_err(failed(ACTION))?;
    seconds
        .map(|s| s.clamp(1, 86_400) * 1_000)
        .ok_or_else(|| StoreError::NotFound(format!("group {}", grp.0)))
}

/// Series by the groups to look in, each with its place in the question, ascending by id.
pub(crate) fn by_group(
    conn: &Connection,
    site: SiteId,
    series: &[SeriesId],
) -> Result<Vec<Members>> {
    let mut groups: Vec<Members> = Vec::new();
    let mut places: Vec<(i64, usize)> = series.iter().map(|s| s.0).zip(0..).collect();
    places.sort_unstable();
    for (id, place) in places {
        for grp in groups_of(conn, id)? {
            let key = GroupKey { site, grp };
            match groups.iter_mut().find(|group| group.0 == key) {
                Some(group) => group.1.push((id, place)),
                None => groups.push((key, vec![(id, place)])),
            }
        }
    }
    Ok(groups)
}

#[async_trait]
impl SampleStore for SqliteStore {
    async fn read(
        &self,
        site: SiteId,
        series: Vec<SeriesId>,
        span: Span,
    ) -> Result<Vec<SeriesData>> {
        let shelf = self.shelf();
        self.read(ACTION, move |conn| answers::samples(conn, &shelf, site, &series, span)).await
    }

    async fn buckets(
        &self,
        site: SiteId,
        series: SeriesId,
        span: Span,
        step: Step,
    ) -> Result<Vec<Bucket>> {
        let shelf = self.shelf();
        self.read("read buckets", move |conn| {
            answers::buckets(conn, &shelf, site, series, span, step)
        })
        .await
    }

    async fn percentiles(
        &self,
        series: Vec<(SiteId, SeriesId)>,
        spec: EdgeSpec,
    ) -> Result<Vec<Option<(f64, u32)>>> {
        let shelf = self.shelf();
        self.read("read percentiles", move |conn| {
            percentiles::percentiles(conn, &shelf, &series, spec)
        })
        .await
    }

    async fn latest(&self, site: SiteId, series: Vec<SeriesId>) -> Result<Vec<Option<Sample>>> {
        let shelf = self.shelf();
        self.read(ACTION, move |conn| answers::latest(conn, &shelf, site, &series)).await
    }

    async fn signs(
        &self,
        groups: Vec<(SiteId, GroupId)>,
        now_ms: i64,
    ) -> Result<Vec<(TargetId, Sample)>> {
        let shelf = self.shelf();
        self.read(signs::ACTION, move |conn| signs::signs(conn, &shelf, &groups, now_ms)).await
    }

    async fn maintain(&self, now_ms: i64) -> Result<MaintenanceReport> {
        super::compact::maintain(self, now_ms).await
    }

    async fn figures(&self) -> Result<StoreFigures> {
        use std::sync::atomic::Ordering::Relaxed;
        let head_records = self
            .read("count records", |conn| {
                conn.query_row("SELECT count(*) FROM head", [], |row| row.get::<_, i64>(0))
                    .map_err(failed("count records"))
            })
            .await?;
        let file_bytes = files::length(self.path()).map_err(|source| StoreError::Failed {
            action: "measure the file",
            source: Box::new(source),
        })?;
        let counters = self.counters();
        let (check, check_since_s) = self.soundness().check();
        Ok(StoreFigures {
            file_bytes,
            wal_bytes: self.wal_bytes(),
            head_records: head_records.cast_unsigned(),
            commits: counters.commits.load(Relaxed),
            commit_us: counters.commit_us.load(Relaxed),
            commit_max_us: counters.commit_max_us.load(Relaxed),
            records: counters.records.load(Relaxed),
            duplicates: counters.duplicates.load(Relaxed),
            conflicts: counters.conflicts.load(Relaxed),
            rejected: counters.rejected.load(Relaxed),
            gaps_refused: counters.gaps_refused.load(Relaxed),
            queue_records: counters.queue_records.load(Relaxed),
            check,
            check_since_s,
            damaged: self.soundness().damage().is_some(),
        })
    }
}
