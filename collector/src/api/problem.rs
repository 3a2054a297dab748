//! Errors as the asker sees them (RFC 9457), in one table. Internal text goes to the log.

use axum::response::{IntoResponse, Response};
use domain::chain::chain;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use store::StoreError;

use crate::{
    import,
    mesh::MeshError,
    query::QueryError,
    targets::TargetError,
    wrong::{Code, Wrong},
};

/// Why a request was not done.
#[derive(Debug)]
pub(super) enum Problem {
    /// No good token.
    Unauthorised,
    /// A part of the question is wrong.
    BadQuestion {
        /// Which part.
        parameter: String,
        /// What to change.
        wrong: Wrong,
    },
    /// No such thing.
    NotFound(String),
    /// No such route.
    NoRoute,
    /// The route has no such method.
    Method,
    /// It exists already.
    Conflict(String),
    /// The body is too large.
    TooLarge,
    /// The body is of another type.
    MediaType(&'static str),
    /// The body says something that can not be.
    Invalid(Vec<Fault>),
    /// Too many requests at once.
    Busy,
    /// Longer than a request may take.
    TimedOut,
    /// The store is closed or unusable.
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
    /// Anything else.
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

/// One fault of a body.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Fault {
    /// JSON pointer, for JSON bodies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pointer: Option<String>,
    /// Line, for CSV bodies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<usize>,
    /// Column, for CSV bodies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) column: Option<&'static str>,
    /// For programs.
    pub(super) code: Code,
    /// What is wrong, for people.
    pub(super) reason: String,
    /// What stands there, where a program needs it to say the same in another language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) found: Option<String>,
    /// What should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expected: Option<String>,
}

impl Fault {
    /// A fault of the whole body.
    pub(super) fn whole(wrong: Wrong) -> Self {
        let Wrong { code, reason, found, expected } = wrong;
        Self { pointer: None, line: None, column: None, code, reason, found, expected }
    }

    /// A fault of a member of a JSON body.
    pub(super) fn at(member: &str, wrong: Wrong) -> Self {
        Self { pointer: Some(format!("/{member}")), ..Self::whole(wrong) }
    }

    /// A fault of a site's member.
    pub(super) fn of(reason: &import::Reason, column: Option<&'static str>) -> Self {
        Self {
            pointer: column.map(|column| format!("/{column}")),
            found: reason.found(),
            expected: reason.expected(column),
            ..Self::whole(Wrong::new(reason.code(), reason.to_string()))
        }
    }
}

impl From<import::Fault> for Fault {
    fn from(fault: import::Fault) -> Self {
        Self {
            pointer: None,
            line: Some(fault.line),
            column: fault.column,
            ..Self::of(&fault.reason, fault.column)
        }
    }
}

/// The document.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'a str>,
    /// What kind of fault the parameter has.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Code>,
    /// What the problem is about: what stands there, or what does not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<&'a str>,
    /// What should stand there.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
}

/// Every kind of problem, as its type ends.
pub const PROBLEMS: [&str; 13] = [
    "unauthorised",
    "bad-question",
    "not-found",
    "no-route",
    "method",
    "conflict",
    "too-large",
    "media-type",
    "invalid",
    "busy",
    "timed-out",
    "unavailable",
    "internal",
];

impl Problem {
    pub(super) fn bad(parameter: impl Into<String>, wrong: Wrong) -> Self {
        Self::BadQuestion { parameter: parameter.into(), wrong }
    }

    /// The one table from error to status.
    fn row(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Unauthorised => {
                (StatusCode::UNAUTHORIZED, "unauthorised", "a valid token is needed")
            }
            Self::BadQuestion { .. } => {
                (StatusCode::BAD_REQUEST, "bad-question", "the question makes no sense")
            }
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "it does not exist"),
            Self::NoRoute => (StatusCode::NOT_FOUND, "no-route", "there is no such address"),
            Self::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, "method", "the address has no such method")
            }
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict", "it exists already"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is too large"),
            Self::MediaType(_) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "the body is of another type")
            }
            Self::Invalid(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "the body has faults")
            }
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "too many requests at once"),
            Self::TimedOut => {
                (StatusCode::SERVICE_UNAVAILABLE, "timed-out", "the answer took too long")
            }
            Self::Unavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the store is not available")
            }
            Self::Internal(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", "the collector failed")
            }
        }
    }

    /// What the asker may read beyond the title.
    fn detail(&self) -> Option<String> {
        match self {
            Self::BadQuestion { parameter, wrong } => Some(format!("{parameter}: {wrong}")),
            Self::NotFound(what) => Some(format!("{what} does not exist")),
            Self::Conflict(what) => Some(format!("{what} already exists")),
            Self::MediaType(expected) => Some(format!("expected {expected}")),
            Self::Invalid(faults) => Some(format!("{} fault(s), nothing was kept", faults.len())),
            Self::Unauthorised
            | Self::NoRoute
            | Self::Method
            | Self::TooLarge
            | Self::Busy
            | Self::TimedOut
            | Self::Unavailable(_)
            | Self::Internal(_) => None,
        }
    }

    /// Logs what the asker must not read, under a number that the asker gets.
    fn logged(&self) -> Option<String> {
        match self {
            Self::Unavailable(error) | Self::Internal(error) => {
                let id = format!("urn:vigie:error:{:016x}", rand::random::<u64>());
                let error = chain(error.as_ref());
                tracing::error!(id, error, "cannot answer a request");
                Some(id)
            }
            Self::TimedOut => {
                tracing::warn!("a request took too long");
                None
            }
            Self::Unauthorised
            | Self::BadQuestion { .. }
            | Self::NotFound(_)
            | Self::NoRoute
            | Self::Method
            | Self::Conflict(_)
            | Self::TooLarge
            | Self::MediaType(_)
            | Self::Invalid(_)
            | Self::Busy => None,
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Bad { parameter, wrong } => Self::bad(parameter, wrong),
            QueryError::NotFound { what, key } => Self::NotFound(format!("{what} {key}")),
            QueryError::Store(error) => error.into(),
        }
    }
}

impl From<TargetError> for Problem {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::Store(error) => error.into(),
            TargetError::Rung => Self::bad("id", Wrong::new(Code::Rung, error.to_string())),
            TargetError::Pair => Self::bad("id", Wrong::new(Code::Pair, error.to_string())),
            TargetError::Full(max, what) => {
                let wrong = Wrong::new(Code::Full, error.to_string()).found(what).expected(max);
                Self::Invalid(vec![Fault::whole(wrong)])
            }
            TargetError::Plan { what, count, most } => {
                let wrong = Wrong::new(Code::PlanSize, error.to_string())
                    .found(format!("{count} {what}"))
                    .expected(most);
                Self::Invalid(vec![Fault::whole(wrong)])
            }
        }
    }
}

impl From<MeshError> for Problem {
    fn from(error: MeshError) -> Self {
        match error {
            MeshError::Store(error) => error.into(),
            MeshError::Full => {
                let wrong = Wrong::new(Code::Full, error.to_string());
                let wrong = wrong.found("mesh sites").expected(domain::mesh::MAX_SITES);
                Self::Invalid(vec![Fault::whole(wrong)])
            }
            MeshError::Random => Self::Internal(error.into()),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Duplicate(what) => Self::Conflict(what),
            StoreError::NotFound(what) => Self::NotFound(what),
            StoreError::Limit { what, most, .. } => {
                let wrong = Wrong::new(Code::Full, error.to_string()).found(what).expected(most);
                Self::Invalid(vec![Fault::whole(wrong)])
            }
            StoreError::Unusable { .. } | StoreError::Closed => Self::Unavailable(error.into()),
            StoreError::Failed { .. } | StoreError::Damaged { .. } => Self::Internal(error.into()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, title) = self.row();
        let mut document = Document {
            r#type: format!("/problems/{code}"),
            title,
            status: status.as_u16(),
            detail: self.detail(),
            instance: self.logged(),
            parameter: None,
            code: None,
            found: None,
            expected: None,
            errors: &[],
        };
        match &self {
            Self::BadQuestion { parameter, wrong } => {
                document.parameter = Some(parameter);
                document.code = Some(wrong.code);
                document.found = wrong.found.as_deref();
                document.expected = wrong.expected.as_deref();
            }
            Self::Invalid(faults) => document.errors = faults,
            Self::NotFound(what) | Self::Conflict(what) => document.found = Some(what),
            Self::MediaType(expected) => document.expected = Some(expected),
            Self::Unauthorised
            | Self::NoRoute
            | Self::Method
            | Self::TooLarge
            | Self::Busy
            | Self::TimedOut
            | Self::Unavailable(_)
            | Self::Internal(_) => {}
        }
        let mut response = (status, axum::Json(document)).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self, Self::Busy) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(problem: Problem) -> (StatusCode, String) {
        let response = problem.into_response();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.into()).unwrap())
    }

    #[tokio::test]
    async fn what_failed_inside_is_told_by_number_only() {
        let source = || "disk I/O error at /var/lib/secret".into();
        for (error, status) in [
            (StoreError::Failed { action: "read sites", source: source() }, 500),
            (StoreError::Damaged { what: "block 7".to_owned() }, 500),
            (StoreError::Unusable { path: "/var/lib/secret".to_owned(), source: source() }, 503),
            (StoreError::Closed, 503),
        ] {
            let (told_status, body) = told(QueryError::from(error).into()).await;
            assert_eq!(told_status, status);
            for inside in ["secret", "disk", "block", "sites", "closed"] {
                assert!(!body.contains(inside), "{body}");
            }
            assert!(body.contains("\"instance\":\"urn:vigie:error:"), "{body}");
        }
    }

    #[test]
    fn every_problem_is_in_the_list() {
        let all = [
            Problem::Unauthorised,
            Problem::bad("limit", Wrong::out_of(0, 1, 9)),
            Problem::NotFound(String::new()),
            Problem::NoRoute,
            Problem::Method,
            Problem::Conflict(String::new()),
            Problem::TooLarge,
            Problem::MediaType(""),
            Problem::Invalid(Vec::new()),
            Problem::Busy,
            Problem::TimedOut,
            Problem::Unavailable("".into()),
            Problem::Internal("".into()),
        ];
        assert_eq!(all.map(|problem| problem.row().1), PROBLEMS);
    }

    #[tokio::test]
    async fn what_the_asker_did_is_told_in_words() {
        let (status, body) = told(QueryError::bad("limit", Wrong::out_of(0, 1, 9)).into()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        insta::assert_snapshot!(body, @r#"{"type":"/problems/bad-question","title":"the question makes no sense","status":400,"detail":"limit: 0 is not within 1 and 9","parameter":"limit","code":"number","found":"0","expected":"1 .. 9"}"#);
        let (status, body) = told(StoreError::Duplicate("site 0999001W".to_owned()).into()).await;
        assert_eq!(status, StatusCode::CONFLICT);
        insta::assert_snapshot!(body, @r#"{"type":"/problems/conflict","title":"it exists already","status":409,"detail":"site 0999001W already exists","found":"site 0999001W"}"#);
    }
}
