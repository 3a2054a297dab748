//! `percentiles` and `top`: the same figure of many series, largest first.
//!
//! The percentile is the nearest rank of the means (rates for counters) on fixed five-minute edges,
//! in and out apart: DOMAIN's rule for links, and the operators'.

use domain::{metric::Kind, sample::Span};
use serde::Serialize;
use store::{EdgeSpec, Step};

use super::{
    MAX_ROWS, QueryError, Result, Sources, Time,
    range::{self, Resolution},
    series::{SeriesFilter, SeriesLine, metric_of},
};
use crate::wrong::{Code, Wrong};

/// Percentile unless the question says otherwise.
pub const DEFAULT_P: f64 = 0.95;
/// Rows unless the question says otherwise.
pub const DEFAULT_TOP: usize = 20;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct RankingQuestion {
    /// Which series; the metric is needed, so that like is compared with like.
    pub filter: SeriesFilter,
    /// 0 < p <= 1.
    pub p: Option<f64>,
    /// Start; 24 hours before the end when absent.
    pub from: Option<String>,
    /// End; now when absent.
    pub to: Option<String>,
    /// Most rows.
    pub limit: Option<usize>,
}

/// Series by their percentile, largest first.
#[derive(Debug, Clone, Serialize)]
pub struct Ranking {
    /// When the answer was made.
    pub at: Time,
    /// Start of the stretch.
    pub from: Time,
    /// End of the stretch.
    pub to: Time,
    /// The percentile, 0 to 1.
    pub p: f64,
    /// Unit of the values; a counter's rate is per second.
    pub unit: String,
    /// How many series it speaks for.
    pub coverage: RankingCoverage,
    /// The rows.
    pub items: Vec<Ranked>,
}

/// How many series a ranking speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RankingCoverage {
    /// Series asked about.
    pub series: usize,
    /// Those with a measure in the stretch; the others are unknown, not small.
    pub measured: usize,
    /// Five-minute buckets with a measure, of all that the measured series would have.
    pub ratio: Option<f64>,
}

/// One series and its figure.
#[derive(Debug, Clone, Serialize)]
pub struct Ranked {
    /// The series.
    pub series: SeriesLine,
    /// The percentile.
    pub value: f64,
    /// Five-minute buckets that it stands on.
    pub buckets: u32,
    /// Their share of the stretch that has passed.
    pub coverage: f64,
}

/// Answers `percentiles` and `top`.
pub async fn ranking(sources: Sources<'_>, question: &RankingQuestion) -> Result<Ranking> {
    let p = question.p.unwrap_or(DEFAULT_P);
    if !(p > 0.0 && p <= 1.0) {
        return Err(QueryError::bad(
            "p",
            Wrong::new(Code::Share, "expected more than 0 and at most 1, such as 0.95"),
        ));
    }
    let limit = match question.limit.unwrap_or(DEFAULT_TOP) {
        rows @ 1..=MAX_ROWS => rows,
        rows => {
            return Err(QueryError::bad("limit", Wrong::out_of(rows, 1, MAX_ROWS)));
        }
    };
    let Some(metric) = &question.filter.metric else {
        return Err(QueryError::bad(
            "metric",
            Wrong::new(Code::MetricNeeded, "needed, such as if_hc_in_octets"),
        ));
    };
    let metric = super::series::metric_by_name(metric)?;
    if metric.kind == Kind::State {
        return Err(QueryError::bad(
            "metric",
            Wrong::new(Code::PercentileOfCodes, "codes have no percentile"),
        ));
    }
    let span = range::span(question.from.as_deref(), question.to.as_deref(), sources.now)?;
    let step = Step::FiveMinutes;
    range::bounded(span, Some(Resolution::from(step).code()))?;
    let chosen = question.filter.choose(sources).await?;
    let asked = chosen.series.iter().map(|series| (series.site, series.id)).collect();
    let found = sources.store.percentiles(asked, EdgeSpec { span, p }).await?;
    let mut rows: Vec<_> = chosen
        .series
        .iter()
        .zip(found)
        .filter_map(|(series, found)| found.map(|(value, buckets)| (series, value, buckets)))
        .filter(|(_, value, _)| value.is_finite())
        .collect();
    rows.sort_by(|(a, x, _), (b, y, _)| y.total_cmp(x).then(a.id.cmp(&b.id)));

    let expected = expected_buckets(span, sources.now.as_millisecond(), step);
    let share = |buckets: f64, of: f64| (of > 0.0).then(|| (buckets / of).min(1.0));
    let buckets: f64 = rows.iter().map(|(_, _, buckets)| f64::from(*buckets)).sum();
    let coverage = RankingCoverage {
        series: chosen.series.len(),
        measured: rows.len(),
        ratio: share(buckets, expected * rows.len() as f64),
    };
    let items = rows
        .into_iter()
        .take(limit)
        .map(|(series, value, buckets)| Ranked {
            value: metric_of(series).scale(value),
            buckets,
            coverage: share(buckets.into(), expected).unwrap_or(0.0),
            series: chosen.line(series),
        })
        .collect();
    Ok(Ranking {
        at: Time(sources.now),
        from: Time::from_ms(span.from_ms),
        to: Time::from_ms(span.to_ms),
        p,
        unit: match metric.kind {
            Kind::Counter => format!("{}/s", metric.unit),
            Kind::Gauge | Kind::State => metric.unit.to_owned(),
        },
        coverage,
        items,
    })
}

/// Buckets of the stretch that have begun by now.
fn expected_buckets(span: Span, now_ms: i64, step: Step) -> f64 {
    let first = span.from_ms.div_euclid(step.ms());
    let last = (span.to_ms.min(now_ms) - 1).div_euclid(step.ms());
    (last - first + 1).max(0) as f64
}
