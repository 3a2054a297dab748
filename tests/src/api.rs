//! A client of the collector's HTTP API, of its own making: what the product's client gets wrong
//! must not hide from the tests.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::netns::Namespace;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest answer.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// Where to ask, and as whom.
#[derive(Debug, Clone)]
pub struct Api {
    address: SocketAddr,
    token_file: PathBuf,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: String,
}

impl Answer {
    /// The body of an answer in the two hundreds.
    pub fn json(&self) -> Result<Value> {
        if !(200..300).contains(&self.status) {
            bail!("status {}: {}", self.status, self.body);
        }
        serde_json::from_str(&self.body).with_context(|| format!("no JSON: {}", self.body))
    }
}

impl Api {
    /// The API at this address, asked with the token in this file.
    #[must_use]
    pub fn new(address: SocketAddr, token_file: &Path) -> Self {
        Self { address, token_file: token_file.to_owned() }
    }

    /// Asks, from inside a namespace when there is one; `path` begins behind `/api/v1`.
    pub fn ask(
        &self,
        inside: Option<&Namespace>,
        method: &str,
        path: &str,
        body: Option<(&str, &str)>,
    ) -> Result<Answer> {
        let token = fs::read_to_string(&self.token_file)
            .with_context(|| format!("cannot read {}", self.token_file.display()))?;
        let connect = || TcpStream::connect_timeout(&self.address, PATIENCE);
        let stream = match inside {
            Some(namespace) => namespace.enter(connect)?,
            None => connect(),
        };
        let mut stream = stream.with_context(|| format!("cannot reach {}", self.address))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (kind, content) = body.unwrap_or(("application/json", ""));
        let request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{content}",
            self.address,
            token.trim(),
            content.len(),
        );
        stream.write_all(request.as_bytes())?;
        let mut bytes = Vec::new();
        stream.take(MAX_ANSWER_BYTES).read_to_end(&mut bytes)?;
        read_answer(&bytes).with_context(|| format!("{method} {path}"))
    }
}

fn read_answer(bytes: &[u8]) -> Result<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("no end of headers")?;
    let head = std::str::from_utf8(&bytes[..end])?.to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status")?;
    let rest = &bytes[end + 4..];
    let body =
        if head.contains("transfer-encoding: chunked") { unchunk(rest)? } else { rest.to_vec() };
    Ok(Answer { status, body: String::from_utf8(body)? })
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").context("no chunk size")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end])?.trim(), 16)?;
        if size == 0 {
            return Ok(body);
        }
        let chunk = rest.get(end + 2..end + 2 + size).context("a chunk is cut")?;
        body.extend_from_slice(chunk);
        rest = rest.get(end + 4 + size..).context("a chunk has no end")?;
    }
}

/// Values under the same key of a list's items.
#[must_use]
pub fn column<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    items(list).iter().filter_map(|item| item[key].as_str()).collect()
}

/// The rows of a list.
#[must_use]
pub fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}
