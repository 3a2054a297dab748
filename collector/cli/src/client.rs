//! One request to the collector's API, one answer. Plain HTTP: on the collector's own host, or
//! through a tunnel or a proxy that speaks TLS.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use http::{HeaderValue, Method, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    Environment,
    command::{Invocation, Output},
    failure::{Failure, Problem},
};

const DEFAULT_SERVER: &str = "http://127.0.0.1:7480";
/// The operator token that a collector writes at its first start.
const DEFAULT_TOKEN_FILE: &str = "/var/lib/vigie-collector/operator.token";
/// Longest token file, bytes.
const MAX_TOKEN_BYTES: u64 = 4 << 10;
/// Largest answer, bytes.
const MAX_ANSWER_BYTES: usize = 256 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A little longer than the collector gives itself.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);

/// Something that a list names.
#[derive(Debug, Clone)]
pub(crate) enum LookUp {
    /// The one series that this question finds.
    Series(Vec<(&'static str, String)>),
    /// The one agent whose id starts so.
    Agent(String),
}

/// What is asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Below `/api/v1`.
    pub(crate) path: String,
    pub(crate) query: Vec<(&'static str, String)>,
    /// Media type and bytes.
    pub(crate) body: Option<(&'static str, Vec<u8>)>,
    /// What the path is about, when it is not named by its whole id.
    pub(crate) look_up: Option<LookUp>,
    /// Most rows, for a list that comes in pages.
    pub(crate) rows: Option<usize>,
}

impl Request {
    pub(crate) fn get(path: impl Into<String>, query: Vec<(&'static str, String)>) -> Self {
        Self { path: path.into(), query, ..Self::default() }
    }

    pub(crate) fn json(method: Method, path: impl Into<String>, body: &serde_json::Value) -> Self {
        let body = Some(("application/json", body.to_string().into_bytes()));
        Self { method, path: path.into(), body, ..Self::default() }
    }
}

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) body: String,
    /// Coverage of a CSV answer.
    pub(crate) coverage: Option<String>,
    /// Key of the page that follows a CSV answer.
    pub(crate) next: Option<String>,
}

/// Where to ask, and with what right.
pub(crate) struct Client {
    server: String,
    authority: String,
    host: String,
    port: u16,
    token: String,
}

impl Client {
    pub(crate) fn new(invocation: &Invocation, environment: &Environment) -> Result<Self, Failure> {
        let server = invocation
            .server
            .as_deref()
            .or_else(|| environment.get("VIGIE_SERVER"))
            .unwrap_or(DEFAULT_SERVER)
            .trim_end_matches('/');
        let bad = || Failure::Server(server.to_owned());
        let uri: http::Uri = server.parse().map_err(|_| bad())?;
        let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/");
        let authority = uri.authority().filter(|_| plain).ok_or_else(bad)?;
        if authority.as_str().contains('@') {
            return Err(bad());
        }
        let file = invocation
            .token_file
            .clone()
            .or_else(|| environment.get("VIGIE_TOKEN_FILE").map(PathBuf::from));
        Ok(Self {
            server: server.to_owned(),
            authority: authority.to_string(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            token: read_token(file.as_deref().unwrap_or(Path::new(DEFAULT_TOKEN_FILE)))?,
        })
    }

    /// The address as given.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// True when the token leaves this machine.
    pub(crate) fn is_exposed(&self) -> bool {
        self.host != "localhost" && !self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Asks once.
    pub(crate) async fn ask(&self, request: &Request, output: Output) -> Result<Answer, Failure> {
        let late = || Failure::TimedOut(self.server.clone());
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| late())?
            .map_err(|error| self.unreachable(error))?;
        timeout(ANSWER_TIMEOUT, self.exchange(stream, request, output)).await.map_err(|_| late())?
    }

    fn unreachable(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
        Failure::Reach { server: self.server.clone(), source: source.into() }
    }

    async fn exchange(
        &self,
        stream: TcpStream,
        request: &Request,
        output: Output,
    ) -> Result<Answer, Failure> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(error))?;
        let driver = tokio::spawn(connection);
        let response = sender
            .send_request(self.build(request, output)?)
            .await
            .map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let told = |name| {
            let value: &HeaderValue = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let (coverage, next) = (told("vigie-coverage"), told("vigie-next"));
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(Failure::Senseless)?;
        driver.abort();
        let body = String::from_utf8(body.to_bytes().into())
            .map_err(|error| Failure::Senseless(error.into()))?;
        if status.is_success() {
            return Ok(Answer { body, coverage, next });
        }
        let problem = serde_json::from_str::<Problem>(&body)
            .map_err(|error| Failure::Senseless(format!("{status}: {error}").into()))?;
        Err(Failure::Problem(Box::new(Problem { status: status.as_u16(), ..problem })))
    }

    fn build(
        &self,
        request: &Request,
        output: Output,
    ) -> Result<hyper::Request<Full<Bytes>>, Failure> {
        let mut target = format!("/api/v1{}", request.path);
        for (at, (key, value)) in request.query.iter().enumerate() {
            target.push(if at == 0 { '?' } else { '&' });
            target.push_str(key);
            target.push('=');
            encode(&mut target, value);
        }
        let accept = match output {
            Output::Csv => "text/csv",
            Output::Json | Output::Table => "application/json",
        };
        // The token is a secret to anything that prints headers.
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", self.token))
            .map_err(|error| Failure::Senseless(error.into()))?;
        bearer.set_sensitive(true);
        let mut builder = hyper::Request::builder()
            .method(request.method.clone())
            .uri(target)
            .header(header::HOST, &self.authority)
            .header(header::ACCEPT, accept)
            .header(header::AUTHORIZATION, bearer);
        let body = match &request.body {
            Some((media_type, bytes)) => {
                builder = builder.header(header::CONTENT_TYPE, *media_type);
                Full::from(bytes.clone())
            }
            None => Full::default(),
        };
        builder.body(body).map_err(|error| Failure::Senseless(error.into()))
    }
}

fn read_token(path: &Path) -> Result<String, Failure> {
    use std::io::Read as _;
    let fail = |source| Failure::File { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(fail)?;
    file.take(MAX_TOKEN_BYTES).read_to_string(&mut text).map_err(fail)?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::Token { path: path.to_owned() });
    }
    Ok(token.to_owned())
}

/// Percent-encodes all but what RFC 3986 leaves unreserved.
pub(crate) fn encode(into: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            into.extend(format!("%{byte:02X}").chars());
        }
    }
}

/// A text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    encode(&mut segment, text);
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_can_not_leave_their_place_in_a_path() {
        assert_eq!(segment("0999001W"), "0999001W");
        assert_eq!(segment("../a?b=c#d e\r\n"), "..%2Fa%3Fb%3Dc%23d%20e%0D%0A");
        assert_eq!(segment("é"), "%C3%A9");
    }
}
