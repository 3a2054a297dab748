//! HTTP/1.1 over a connection that stands already: one request, one answer.

use bytes::Bytes;
use http::{Request, Uri, response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Outcome,
    dial::{self, Endpoint, Host},
};
use crate::logs::chain;

/// Largest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Most header lines of an answer.
const MAX_HEADERS: usize = 100;
/// Longest URL.
pub(super) const MAX_URL_LEN: usize = 2048;
/// How probes name themselves.
pub(super) const USER_AGENT: &str = concat!("vigie-agent/", env!("CARGO_PKG_VERSION"));

/// What bytes travel over both ways.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection, with or without TLS: one type for both, so that what speaks over it is in the program
/// once.
pub(super) type Stream = Box<dyn Io>;

/// What is done with an answer as it comes.
pub(super) trait Reader: Send {
    /// Its head.
    fn head(&mut self, head: &response::Parts);
    /// A part of its body; false when nothing more is wanted.
    fn data(&mut self, data: &[u8]) -> bool;
}

/// A URL taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// Where to connect.
    pub endpoint: Endpoint,
    /// As the `Host` header gives it.
    pub authority: String,
    /// With the query.
    pub path: String,
    /// Whether by TLS.
    pub is_tls: bool,
}

impl Url {
    /// Reads a URL of one of two schemes: the plain one and the one with TLS, each with its port.
    /// Credentials, which would also be a host in disguise, are refused.
    pub(super) fn parse(text: &str, plain: (&str, u16), tls: (&str, u16)) -> Option<Self> {
        if text.len() > MAX_URL_LEN {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority()?.as_str();
        if authority.contains('@') {
            return None;
        }
        let scheme = uri.scheme_str()?;
        let is = |name: &str| scheme.eq_ignore_ascii_case(name);
        let (is_tls, default) = match () {
            () if is(plain.0) => (false, plain.1),
            () if is(tls.0) => (true, tls.1),
            () => return None,
        };
        let host = uri.host()?;
        // Not `Uri::port`, for which a port out of range is none at all.
        let port = match authority.strip_prefix(host)? {
            "" => default,
            colon_port => colon_port.strip_prefix(':').and_then(dial::port)?,
        };
        Some(Self {
            endpoint: Endpoint { host: Host::parse(host)?, port },
            authority: authority.to_owned(),
            path: uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
            is_tls,
        })
    }

    /// Of a web page.
    pub(super) fn of_page(text: &str) -> Option<Self> {
        Self::parse(text, ("http", 80), ("https", 443))
    }
}

/// Sends `request` over `stream` and hands the answer to `reader`.
pub(super) async fn exchange(
    stream: Stream,
    request: Request<Full<Bytes>>,
    reader: &mut dyn Reader,
) -> Result<(), Outcome> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| outcome_of(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| outcome_of(&error))?;
        let (head, mut body) = response.into_parts();
        reader.head(&head);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| outcome_of(&error))?;
            if frame.data_ref().is_some_and(|data| !reader.data(data)) {
                break;
            }
        }
        Ok(())
    };
    // The connection does the input and output of the exchange, and its errors reach the exchange.
    let drive = async {
        if let Err(error) = connection.await {
            tracing::trace!(error = chain(&error), "an HTTP connection failed");
        }
        std::future::pending().await
    };
    tokio::select! {
        exchanged = exchange => exchanged,
        never = drive => never,
    }
}

/// What hyper's error tells of the server.
fn outcome_of(error: &hyper::Error) -> Outcome {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    match cause.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe) => {
            Outcome::Refused
        }
        // Not HTTP, too large a head, or an end before the end.
        Some(_) | None => Outcome::Malformed,
    }
}
