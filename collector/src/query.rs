//! Every question that a reader can ask, once. The API and whatever comes after it parse a question,
//! call a function of this module and render the answer.
//!
//! Answers are plain documents: what they serialize to is the API's JSON. Each carries the time it
//! was made and its coverage: how many sites were heard, how much of a stretch was measured. What
//! was not measured is `null`, never zero; a site that is not heard, or whose agent measured nothing
//! but its own machine, is `unknown`, never up or down.

pub mod agents;
pub mod contractors;
pub mod devices;
pub mod incidents;
pub mod mesh;
mod picture;
pub mod range;
pub mod ranking;
pub mod samples;
pub mod series;
pub mod sites;
pub mod status;
pub mod targets;

use domain::{site::Site, uai::Uai};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use store::{Store, StoreError};

use crate::{
    live::Live,
    wrong::{Code, Wrong},
};

/// Most rows of one answer.
pub const MAX_ROWS: usize = 10_000;
/// Rows of an answer unless the question says otherwise.
pub const DEFAULT_ROWS: usize = 1_000;
/// Open incidents that a state is judged by at most.
pub const MAX_OPEN_INCIDENTS: u32 = 100_000;
/// Longest name, label or key of a question, in bytes.
pub const MAX_TEXT_BYTES: usize = 500;

/// What answers are made from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// Everything that is kept.
    pub store: &'a dyn Store,
    /// Agents as they are now.
    pub live: &'a Live,
    /// Now, server time.
    pub now: Timestamp,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The question makes no sense or asks for too much; the reason is for the asker's eyes.
    #[error("{parameter}: {wrong}")]
    Bad {
        /// Which part of the question.
        parameter: &'static str,
        /// What to change.
        wrong: Wrong,
    },
    /// What is asked about does not exist.
    #[error("there is no {what} {key}")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Its key as asked.
        key: String,
    },
    /// The store could not answer.
    #[error("cannot read the store")]
    Store(#[from] StoreError),
}

impl QueryError {
    /// A part of the question is wrong.
    #[must_use]
    pub fn bad(parameter: &'static str, wrong: Wrong) -> Self {
        Self::Bad { parameter, wrong }
    }
}

/// Result of a question.
pub type Result<T> = std::result::Result<T, QueryError>;

/// An instant in a document: RFC 3339, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl Time {
    /// The instant of Unix milliseconds; the ends of time for what lies beyond them.
    #[must_use]
    pub fn from_ms(ms: i64) -> Self {
        let end = if ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Self(Timestamp::from_millisecond(ms).unwrap_or(end))
    }

    /// Whole seconds from this instant to `now`; negative when it lies ahead.
    #[must_use]
    pub fn age_s(self, now: Timestamp) -> i64 {
        now.as_second() - self.0.as_second()
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// How many sites an answer about sites speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SiteCoverage {
    /// Sites asked about.
    pub sites: usize,
    /// Those whose agent was heard within [`Self::window_s`].
    pub heard: usize,
    /// Those of them with a fresh measure of their network, not of the agent's own machine alone;
    /// absent from answers that do not judge sites.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<usize>,
    /// Seconds that count as heard.
    pub window_s: i64,
}

/// A list, cut at the asked number of rows.
#[derive(Debug, Clone, Serialize)]
pub struct List<T> {
    /// When the answer was made.
    pub at: Time,
    /// Sites that it speaks for.
    pub coverage: SiteCoverage,
    /// The rows.
    pub items: Vec<T>,
    /// Key to ask for the rows that follow (`after=`); absent at the end.
    pub next: Option<String>,
}

/// Which part of a list is asked for.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Most rows; [`DEFAULT_ROWS`] when absent.
    pub limit: Option<usize>,
    /// Only rows behind this key.
    pub after: Option<String>,
}

impl Page {
    /// The number of rows, if it is allowed.
    pub fn rows(&self) -> Result<usize> {
        match self.limit.unwrap_or(DEFAULT_ROWS) {
            rows @ 1..=MAX_ROWS => Ok(rows),
            rows => Err(QueryError::bad("limit", Wrong::out_of(rows, 1, MAX_ROWS))),
        }
    }

    fn bad_key() -> QueryError {
        QueryError::bad("after", Wrong::new(Code::Cursor, "not a key that `next` gave"))
    }

    /// Cuts ascending rows to the page; `key` orders them and `parse` reads the key of `after`.
    fn cut<T, K: Ord + std::fmt::Display>(
        &self,
        mut rows: Vec<T>,
        key: impl Fn(&T) -> K,
        parse: impl Fn(&str) -> Option<K>,
    ) -> Result<(Vec<T>, Option<String>)> {
        let limit = self.rows()?;
        if let Some(after) = &self.after {
            let after = parse(after).ok_or_else(Self::bad_key)?;
            rows.retain(|row| key(row) > after);
        }
        let next = rows.get(limit).map(|_| key(&rows[limit - 1]).to_string());
        rows.truncate(limit);
        Ok((rows, next))
    }
}

/// Reads the key of a site.
pub fn parse_uai(text: &str) -> Result<Uai> {
    text.parse().map_err(|error: domain::uai::UaiError| QueryError::bad("uai", error.into()))
}

/// The site with this key.
pub async fn site(store: &dyn Store, uai: &str) -> Result<Site> {
    let uai = parse_uai(uai)?;
    store
        .site_by_uai(uai)
        .await?
        .ok_or_else(|| QueryError::NotFound { what: "site", key: uai.to_string() })
}

/// The site of an optional key.
async fn site_if(store: &dyn Store, uai: Option<&str>) -> Result<Option<Site>> {
    match uai {
        Some(uai) => site(store, uai).await.map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_and_end() {
        let page = |limit, after: Option<&str>| {
            Page { limit: Some(limit), after: after.map(str::to_owned) }
                .cut(vec![1, 2, 10], |row| *row, |text| text.parse().ok())
                .unwrap()
        };
        assert_eq!(page(2, None), (vec![1, 2], Some("2".to_owned())));
        assert_eq!(page(2, Some("2")), (vec![10], None));
        assert_eq!(page(3, None), (vec![1, 2, 10], None));
        assert_eq!(page(1, Some("10")), (vec![], None));
    }

    #[test]
    fn limits_hold_at_and_past_their_edge() {
        let rows = |limit| Page { limit, after: None }.rows();
        assert_eq!(rows(None).unwrap(), DEFAULT_ROWS);
        assert_eq!(rows(Some(MAX_ROWS)).unwrap(), MAX_ROWS);
        assert!(rows(Some(MAX_ROWS + 1)).is_err());
        assert!(rows(Some(0)).is_err());
    }
}
