//! `series list`: what is measured, by site, metric and target.

use std::collections::HashMap;

use domain::{
    id::{SeriesId, SiteId, TargetId},
    metric::{self, Kind, Metric},
    site::Site,
    target::{Detail, Series, Target},
};
use serde::Serialize;

use super::{
    List, MAX_TEXT_BYTES, Page, QueryError, Result, Sources, Time, picture, site_if,
    targets::method_code,
};
use crate::wrong::{Code, Wrong};

/// A series.
#[derive(Debug, Clone, Serialize)]
pub struct SeriesLine {
    /// Id.
    pub id: i64,
    /// Site.
    pub uai: Option<String>,
    /// Target.
    pub target_id: i64,
    /// Its name: untrusted text.
    pub target: Option<String>,
    /// Its role.
    pub role: Option<&'static str>,
    /// How it is asked.
    pub method: Option<&'static str>,
    /// Name of the metric.
    pub metric: &'static str,
    /// Its base unit.
    pub unit: &'static str,
    /// `gauge`, `counter` or `state`.
    pub kind: &'static str,
    /// `ifIndex`, 0 elsewhere.
    pub instance: u32,
    /// Interface, mount point or sensor: untrusted text.
    pub label: String,
    /// Smallest rollup that is kept for long: `5m` or `1h`.
    pub detail: &'static str,
}

impl SeriesLine {
    pub(super) fn new(series: &Series, site: Option<&Site>, target: Option<&Target>) -> Self {
        let metric = metric_of(series);
        Self {
            id: series.id.0,
            uai: site.map(|site| site.facts.uai.to_string()),
            target_id: series.target.0,
            target: target.map(|target| target.spec.name.clone()),
            role: target.map(|target| target.spec.role.code()),
            method: target.map(|target| method_code(&target.spec.method)),
            metric: metric.name,
            unit: metric.unit,
            kind: match metric.kind {
                Kind::Gauge => "gauge",
                Kind::Counter => "counter",
                Kind::State => "state",
            },
            instance: series.instance,
            label: series.label.clone(),
            detail: match series.detail {
                Detail::Full => "5m",
                Detail::Coarse => "1h",
            },
        }
    }
}

/// A series whose number a newer collector gave.
const UNKNOWN: Metric =
    Metric { number: 0, name: "unknown", unit: "code", exponent: 0, kind: Kind::Gauge, bits: 64 };

/// The catalogue's entry of a series.
pub(super) fn metric_of(series: &Series) -> &'static Metric {
    metric::by_number(series.metric).unwrap_or(&UNKNOWN)
}

/// Which series are asked for.
#[derive(Debug, Clone, Default)]
pub struct SeriesFilter {
    /// Only those of this site.
    pub uai: Option<String>,
    /// Only this metric, by name.
    pub metric: Option<String>,
    /// Only those of this target, by id.
    pub target: Option<i64>,
    /// Only those with this label.
    pub label: Option<String>,
}

/// The series that a filter chose, and what it takes to describe them.
pub(super) struct Chosen {
    pub(super) series: Vec<Series>,
    sites: HashMap<SiteId, Site>,
    targets: HashMap<TargetId, Target>,
}

impl Chosen {
    /// The line of one of the series.
    pub(super) fn line(&self, series: &Series) -> SeriesLine {
        let site = self.sites.get(&series.site);
        SeriesLine::new(series, site, self.targets.get(&series.target))
    }
}

impl SeriesFilter {
    /// Chooses, by id.
    pub(super) async fn choose(&self, sources: Sources<'_>) -> Result<Chosen> {
        let metric = match &self.metric {
            Some(name) => Some(metric_by_name(name)?.number),
            None => None,
        };
        if self.label.as_ref().is_some_and(|label| label.len() > MAX_TEXT_BYTES) {
            return Err(QueryError::bad("label", Wrong::too_long(MAX_TEXT_BYTES)));
        }
        let only = site_if(sources.store, self.uai.as_deref()).await?;
        let site: Option<SiteId> = only.as_ref().map(|site| site.id);
        let mut series = sources.store.series(site).await?;
        series.retain(|series| {
            metric.is_none_or(|metric| series.metric == metric)
                && self.target.is_none_or(|target| series.target.0 == target)
                && self.label.as_ref().is_none_or(|label| series.label == *label)
        });
        series.sort_by_key(|series| series.id);
        let targets = sources.store.targets(site).await?;
        let sites = match only {
            Some(site) => vec![site],
            None => sources.store.sites().await?,
        };
        let sites = sites.into_iter().map(|site| (site.id, site)).collect();
        let targets = targets.into_iter().map(|target| (target.id, target)).collect();
        Ok(Chosen { series, sites, targets })
    }
}

/// The metric of this name.
pub fn metric_by_name(name: &str) -> Result<&'static Metric> {
    metric::by_name(name).ok_or_else(|| {
        let all = metric::CATALOGUE.iter().map(|metric| metric.name).collect::<Vec<_>>().join(", ");
        let reason = format!("unknown metric, expected one of {all}");
        QueryError::bad("metric", Wrong::new(Code::UnknownMetric, reason).expected(all))
    })
}

/// Answers `series list`, by id.
pub async fn series(
    sources: Sources<'_>,
    filter: &SeriesFilter,
    page: &Page,
) -> Result<List<SeriesLine>> {
    page.rows()?;
    let mut chosen = filter.choose(sources).await?;
    let heard = picture::heard(&picture::agents(sources).await?, sources);
    let (series, next) = page.cut(
        std::mem::take(&mut chosen.series),
        |series| series.id,
        |text| text.parse().ok().map(SeriesId),
    )?;
    let items = series.iter().map(|series| chosen.line(series)).collect();
    let coverage = picture::coverage(chosen.sites.values(), &heard);
    Ok(List { at: Time(sources.now), coverage, items, next })
}

/// One series with its site and target.
pub(super) async fn one(sources: Sources<'_>, id: i64) -> Result<(Series, SeriesLine)> {
    let missing = || QueryError::NotFound { what: "series", key: id.to_string() };
    let series = sources.store.series_by_id(vec![SeriesId(id)]).await?;
    let series = series.into_iter().next().ok_or_else(missing)?;
    let targets = sources.store.targets(Some(series.site)).await?;
    let sites = sources.store.sites().await?;
    let line = SeriesLine::new(
        &series,
        sites.iter().find(|site| site.id == series.site),
        targets.iter().find(|target| target.id == series.target),
    );
    Ok((series, line))
}
