//! Reading requests, strictly: unknown and repeated keys, other media types and misshapen bodies are
//! problems.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, Request},
};
use http::{HeaderMap, StatusCode, header, request::Parts};
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::{
    query::{MAX_TEXT_BYTES, Page},
    wrong::{Code, Wrong},
};

/// Most keys of one question.
const MAX_KEYS: usize = 32;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Csv,
}

/// The keys of a question. Handlers take those that they know; [`Ask::finish`] refuses the rest.
#[derive(Debug)]
pub(super) struct Ask {
    pairs: Vec<(String, String)>,
    accepts_csv: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Ask {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Query(pairs) =
            Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(|_| {
                Problem::bad(
                    "query",
                    Wrong::new(Code::NotPairs, "not key=value pairs of UTF-8 text"),
                )
            })?;
        if pairs.len() > MAX_KEYS {
            return Err(Problem::bad(
                "query",
                Wrong::new(Code::TooManyKeys, format!("more than {MAX_KEYS} keys"))
                    .expected(MAX_KEYS),
            ));
        }
        for (at, (key, value)) in pairs.iter().enumerate() {
            if pairs[..at].iter().any(|(earlier, _)| earlier == key) {
                return Err(Problem::bad(
                    cut(key),
                    Wrong::new(Code::KeyTwice, "stands there twice"),
                ));
            }
            if value.len() > MAX_TEXT_BYTES {
                return Err(Problem::bad(cut(key), Wrong::too_long(MAX_TEXT_BYTES)));
            }
        }
        Ok(Self { pairs, accepts_csv: accepts_csv(&parts.headers) })
    }
}

impl Ask {
    /// The text of a key.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(name, _)| name == key)?;
        Some(self.pairs.swap_remove(at).1)
    }

    /// The value of a key, read by `read`.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        wrong: impl FnOnce() -> Wrong,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(key) else { return Ok(None) };
        read(&text).map(Some).ok_or_else(|| Problem::bad(key, wrong()))
    }

    /// The number of a key.
    pub(super) fn number<T: std::str::FromStr>(&mut self, key: &str) -> Result<Option<T>, Problem> {
        self.read(
            key,
            || Wrong::new(Code::NotANumber, "expected a number"),
            |text| text.parse().ok(),
        )
    }

    /// The truth of a key; false when absent.
    pub(super) fn flag(&mut self, key: &str) -> Result<bool, Problem> {
        let flag = self.read(
            key,
            || Wrong::new(Code::NotTrueOrFalse, "expected true or false"),
            |text| text.parse().ok(),
        )?;
        Ok(flag.unwrap_or(false))
    }

    /// `limit` and `after`.
    pub(super) fn page(&mut self) -> Result<Page, Problem> {
        Ok(Page { limit: self.number("limit")?, after: self.text("after") })
    }

    /// The format asked for; a problem when a key was not taken.
    pub(super) fn finish(mut self) -> Result<Format, Problem> {
        let format = self.read(
            "format",
            || Wrong::none_of(&["json", "csv"]),
            |text| match text {
                "json" => Some(Format::Json),
                "csv" => Some(Format::Csv),
                _ => None,
            },
        )?;
        match self.pairs.first() {
            Some((key, _)) => Err(Problem::bad(
                cut(key),
                Wrong::new(Code::UnknownKey, "this question has no such key"),
            )),
            None if self.accepts_csv => Ok(format.unwrap_or(Format::Csv)),
            None => Ok(format.unwrap_or(Format::Json)),
        }
    }
}

fn cut(key: &str) -> String {
    key.chars().take(60).collect()
}

/// True when CSV is asked for by name and JSON is not.
fn accepts_csv(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let names = |kind| {
        accept.is_some_and(|accept| {
            accept.split(',').any(|part| part.split(';').next().unwrap_or("").trim() == kind)
        })
    };
    names("text/csv") && !names("application/json")
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

async fn body<S: Send + Sync>(
    request: Request,
    state: &S,
    expected: &'static str,
) -> Result<Bytes, Problem> {
    if media_type(request.headers()).as_deref() != Some(expected) {
        return Err(Problem::MediaType(expected));
    }
    Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::TooLarge
        } else {
            Problem::bad("body", Wrong::new(Code::BodyCut, "it ended early"))
        }
    })
}

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = body(request, state, "application/json").await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let reason = error.to_string();
            Problem::bad("body", Wrong::new(Code::BodyShape, &reason).found(reason))
        })
    }
}

/// A CSV body.
pub(super) struct CsvBody(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for CsvBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        body(request, state, "text/csv").await.map(Self)
    }
}
