//! `series get`: one series over a stretch, as measured or in buckets on fixed edges.
//!
//! A bucket without any sample is a row without a value: a hole stays a hole. The coverage says how
//! much of the stretch, up to now, was measured; declared gaps say why the rest was not.

use domain::{
    metric::{Kind, Metric},
    sample::Span,
    target::Series,
};
use serde::Serialize;
use store::{Aggregate, Bucket, Step};

use super::{
    MAX_ROWS, QueryError, Result, Sources, Time,
    range::{self, Resolution},
    series::{self, SeriesLine, metric_of},
};
use crate::wrong::{Code, Wrong};

/// Most gaps that an answer tells.
pub const MAX_GAPS: usize = 1_000;

/// What is asked of a series.
#[derive(Debug, Clone, Default)]
pub struct SamplesQuestion {
    /// Start; 24 hours before the end when absent.
    pub from: Option<String>,
    /// End; now when absent.
    pub to: Option<String>,
    /// `raw`, `5m`, `1h` or `1d`; what suits the stretch when absent.
    pub step: Option<String>,
    /// `mean`, `min`, `max`, `last` or `count`; the mean when absent, the last for states.
    pub aggregate: Option<String>,
}

/// A series over a stretch.
#[derive(Debug, Clone, Serialize)]
pub struct Samples {
    /// When the answer was made.
    pub at: Time,
    /// The series.
    pub series: SeriesLine,
    /// Start of the first row.
    pub from: Time,
    /// End of the stretch.
    pub to: Time,
    /// `raw`, `5m`, `1h` or `1d`.
    pub step: &'static str,
    /// How buckets became values; `null` for raw samples.
    pub aggregate: Option<&'static str>,
    /// Unit of the values; a counter's rate is per second.
    pub unit: String,
    /// How much of the stretch was measured.
    pub coverage: Coverage,
    /// Declared stretches without measures.
    pub gaps: Vec<Gap>,
    /// Ascending in time.
    pub points: Vec<Point>,
}

/// How much of a stretch was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Coverage {
    /// Seconds of the stretch that lie before now.
    pub asked_s: f64,
    /// Seconds that the samples speak for.
    pub covered_s: f64,
    /// `covered_s / asked_s`; `null` when nothing of the stretch has passed yet.
    pub ratio: Option<f64>,
    /// Rows with a value.
    pub rows: usize,
    /// Rows that a full measure would have.
    pub expected_rows: usize,
    /// Samples whose time rests on the agent's own clock; `null` in buckets.
    pub unsure: Option<u64>,
}

/// A declared stretch without measures.
#[derive(Debug, Clone, Serialize)]
pub struct Gap {
    /// First instant.
    pub from: Time,
    /// First instant after the end.
    pub to: Time,
    /// Why.
    pub reason: String,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Instant of the sample, or start of the bucket.
    pub time: Time,
    /// In the answer's unit; `null` is unknown.
    pub value: Option<Value>,
    /// Share of the bucket that the samples speak for; `null` for raw samples.
    pub coverage: Option<f64>,
}

/// A value as a document shows it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Counter readings and counts: exact.
    Whole(u64),
    /// Codes and whole gauges: exact.
    Signed(i64),
    /// Anything else.
    Real(f64),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Real(value) => value.fmt(f),
        }
    }
}

/// Answers `series get`.
pub async fn samples(sources: Sources<'_>, id: i64, question: &SamplesQuestion) -> Result<Samples> {
    let span = range::span(question.from.as_deref(), question.to.as_deref(), sources.now)?;
    let resolution = range::bounded(span, question.step.as_deref())?;
    let (series, line) = series::one(sources, id).await?;
    let metric = metric_of(&series);
    let aggregate = aggregate(question.aggregate.as_deref(), resolution, metric)?;
    let read = match (resolution, aggregate) {
        (Resolution::Buckets(step), Some(aggregate)) => {
            buckets(sources, &series, metric, span, step, aggregate).await?
        }
        (Resolution::Buckets(_) | Resolution::Raw, _) => {
            raw(sources, &series, metric, span).await?
        }
    };
    let unit = match aggregate {
        Some(Aggregate::Count) => "samples".to_owned(),
        Some(Aggregate::Mean | Aggregate::Min | Aggregate::Max) if metric.kind == Kind::Counter => {
            format!("{}/s", metric.unit)
        }
        Some(_) | None => metric.unit.to_owned(),
    };
    Ok(Samples {
        at: Time(sources.now),
        series: line,
        from: Time::from_ms(read.span.from_ms),
        to: Time::from_ms(span.to_ms),
        step: resolution.code(),
        aggregate: aggregate.map(aggregate_code),
        unit,
        coverage: read.coverage,
        gaps: gaps(sources, &series, span).await?,
        points: read.points,
    })
}

struct Read {
    span: Span,
    coverage: Coverage,
    points: Vec<Point>,
}

fn aggregate(
    code: Option<&str>,
    resolution: Resolution,
    metric: &Metric,
) -> Result<Option<Aggregate>> {
    let bad = |wrong| Err(QueryError::bad("aggregate", wrong));
    match (code, resolution, metric.kind) {
        (None, Resolution::Raw, _) => Ok(None),
        (Some(_), Resolution::Raw, _) => bad(Wrong::new(
            Code::RawAggregate,
            "raw samples have none: leave it out or take a step",
        )),
        (None, Resolution::Buckets(_), Kind::State) => Ok(Some(Aggregate::Last)),
        (None, Resolution::Buckets(_), Kind::Gauge | Kind::Counter) => Ok(Some(Aggregate::Mean)),
        (Some("mean"), _, Kind::State) => {
            bad(Wrong::new(Code::MeanOfCodes, "codes have no mean: take last, min, max or count"))
        }
        (Some(code), _, _) => {
            let all = [
                Aggregate::Mean,
                Aggregate::Min,
                Aggregate::Max,
                Aggregate::Last,
                Aggregate::Count,
            ];
            match all.into_iter().find(|aggregate| aggregate_code(*aggregate) == code) {
                Some(aggregate) => Ok(Some(aggregate)),
                None => bad(Wrong::none_of(&all.map(aggregate_code))),
            }
        }
    }
}

fn aggregate_code(aggregate: Aggregate) -> &'static str {
    match aggregate {
        Aggregate::Mean => "mean",
        Aggregate::Min => "min",
        Aggregate::Max => "max",
        Aggregate::Last => "last",
        Aggregate::Count => "count",
    }
}

async fn buckets(
    sources: Sources<'_>,
    series: &Series,
    metric: &Metric,
    span: Span,
    step: Step,
    aggregate: Aggregate,
) -> Result<Read> {
    // Whole buckets only: a bucket cut by the edge of the question would be another bucket.
    let span = Span {
        from_ms: span.from_ms.div_euclid(step.ms()) * step.ms(),
        to_ms: -(-span.to_ms).div_euclid(step.ms()) * step.ms(),
    };
    let now_ms = sources.now.as_millisecond();
    let found = sources.store.buckets(series.site, series.id, span, step).await?;
    let mut found = found.into_iter().peekable();
    let (mut points, mut covered_ms, mut rows) = (Vec::new(), 0_i64, 0);
    let mut from_ms = span.from_ms;
    while from_ms < span.to_ms.min(now_ms) {
        while found.next_if(|bucket| bucket.from_ms < from_ms).is_some() {}
        let bucket = found.next_if(|bucket| bucket.from_ms == from_ms);
        let covered = bucket.as_ref().map_or(0, |bucket| i64::from(bucket.covered_ms));
        let value = bucket.and_then(|bucket| value(&bucket, metric, aggregate));
        // The bucket of now has not all passed.
        let passed = step.ms().min(now_ms - from_ms);
        covered_ms += covered.min(passed);
        rows += usize::from(value.is_some());
        let coverage = Some((covered as f64 / passed as f64).min(1.0));
        points.push(Point { time: Time::from_ms(from_ms), value, coverage });
        from_ms += step.ms();
    }
    let asked_ms = (span.to_ms.min(now_ms) - span.from_ms).max(0);
    let coverage = Coverage { rows, expected_rows: points.len(), ..covered(asked_ms, covered_ms) };
    Ok(Read { span, coverage, points })
}

/// `None` where samples alone make no value: a single reading of a counter has no rate.
fn value(bucket: &Bucket, metric: &Metric, aggregate: Aggregate) -> Option<Value> {
    let real = |stored: f64| stored.is_finite().then(|| Value::Real(metric.scale(stored)));
    match aggregate {
        Aggregate::Count => Some(Value::Whole(bucket.count.into())),
        Aggregate::Last => (bucket.count > 0).then(|| exact(bucket.last, metric)),
        Aggregate::Mean | Aggregate::Min | Aggregate::Max
            if bucket.covered_ms == 0 && metric.kind == Kind::Counter =>
        {
            None
        }
        Aggregate::Mean => real(bucket.mean),
        Aggregate::Min => real(bucket.min),
        Aggregate::Max => real(bucket.max),
    }
}

fn exact(stored: i64, metric: &Metric) -> Value {
    match (metric.kind, metric.exponent) {
        (Kind::Counter, _) => Value::Whole(stored.cast_unsigned()),
        (_, 0) => Value::Signed(stored),
        (Kind::Gauge | Kind::State, _) => Value::Real(metric.scale(stored as f64)),
    }
}

async fn raw(sources: Sources<'_>, series: &Series, metric: &Metric, span: Span) -> Result<Read> {
    let data = sources.store.read(series.site, vec![series.id], span).await?;
    let data = data.into_iter().next().unwrap_or_default();
    if data.samples.len() > MAX_ROWS {
        let count = data.samples.len();
        let reason = format!(
            "{count} samples are more than {MAX_ROWS}: take a later `from` or a wider `step`"
        );
        let wrong = Wrong::new(Code::TooManySamples, reason).found(count).expected(MAX_ROWS);
        return Err(QueryError::bad("from", wrong));
    }
    let targets = sources.store.targets(Some(series.site)).await?;
    let target = targets.iter().find(|target| target.id == series.target);
    let period_ms = target.map_or(60_000, |target| i64::from(target.spec.period_s.max(1)) * 1_000);
    let asked_ms = (span.to_ms.min(sources.now.as_millisecond()) - span.from_ms).max(0);
    let points: Vec<Point> = data
        .samples
        .iter()
        .map(|sample| Point {
            time: Time::from_ms(sample.t_ms),
            value: sample.value.map(|stored| exact(stored, metric)),
            coverage: None,
        })
        .collect();
    let rows = points.iter().filter(|point| point.value.is_some()).count();
    let measured_ms = i64::try_from(rows).unwrap_or(i64::MAX).saturating_mul(period_ms);
    let coverage = Coverage {
        rows,
        expected_rows: usize::try_from(asked_ms / period_ms).unwrap_or(0),
        unsure: Some(data.unsure),
        ..covered(asked_ms, measured_ms.min(asked_ms))
    };
    Ok(Read { span, coverage, points })
}

fn covered(asked_ms: i64, covered_ms: i64) -> Coverage {
    Coverage {
        asked_s: asked_ms as f64 / 1e3,
        covered_s: covered_ms as f64 / 1e3,
        ratio: (asked_ms > 0).then(|| covered_ms as f64 / asked_ms as f64),
        rows: 0,
        expected_rows: 0,
        unsure: None,
    }
}

/// The gaps that concern a series, cut to the stretch.
async fn gaps(sources: Sources<'_>, series: &Series, span: Span) -> Result<Vec<Gap>> {
    let declared = sources.store.gaps(series.site, span).await?;
    if declared.is_empty() {
        return Ok(Vec::new());
    }
    let targets = sources.store.targets(Some(series.site)).await?;
    let group = targets.iter().find(|target| target.id == series.target).map(|t| t.group);
    Ok(declared
        .into_iter()
        .filter(|(of, _, _)| of.is_none() || *of == group)
        .take(MAX_GAPS)
        .map(|(_, gap, reason)| Gap {
            from: Time::from_ms(gap.from_ms.max(span.from_ms)),
            to: Time::from_ms(gap.to_ms.min(span.to_ms)),
            reason,
        })
        .collect())
}
