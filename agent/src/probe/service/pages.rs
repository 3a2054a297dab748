//! Pages asked for through a proxy, or past a filter that stands on the way: one that passes, one that
//! must not.
//!
//! The proxy is a target like any other. Of the pages behind it, only addresses that are never anybody's
//! to ask are refused: whom the proxy may reach is its own affair, as for every browser of the school.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, header, response};
use http_body_util::Full;
use tokio::time::{Instant, timeout_at};

use super::{
    Found,
    filter::{self, Seen},
    line::Line,
};
use crate::{
    plan,
    plan::Metric,
    probe::{
        BuildError, Outcome,
        dial::{self, Host},
        env::Env,
        http::tls,
        micros,
        web::{self, Stream, Url},
    },
};

/// What is asked for.
pub(super) struct Pages {
    permitted: Page,
    blocked: Option<Page>,
}

struct Page {
    url: Url,
    tls: Option<tls::Client>,
    words: Option<String>,
    /// Whether it may be asked for at all.
    is_denied: bool,
}

impl Pages {
    /// Checks the URLs' form.
    pub(super) fn new(pages: &plan::Pages, env: &Env) -> Result<Self, BuildError> {
        let page = |url: &String, words: Option<&String>| Page::new(url, words, env);
        let words = pages.blocked_text.as_ref();
        Ok(Self {
            permitted: page(&pages.permitted, None)?,
            blocked: pages.blocked.as_ref().map(|url| page(url, words)).transpose()?,
        })
    }

    /// Asks for both pages, by the proxy at these addresses or by none.
    pub(super) async fn ask(
        &self,
        proxy: Option<&[SocketAddr]>,
        env: &Env,
        deadline: Instant,
        found: &mut Found,
    ) -> Result<Outcome, Outcome> {
        let started = Instant::now();
        let seen = self.permitted.see(proxy, env, deadline, Some(found)).await?;
        let outcome = filter::permitted(&seen);
        if outcome != Outcome::Ok {
            return Ok(outcome);
        }
        found.note(Metric::ServiceTime, micros(started.elapsed()));
        let Some(page) = &self.blocked else { return Ok(Outcome::Ok) };
        // The proxy works: what becomes of this page is told by the filter's own figure.
        let filter = match page.see(proxy, env, deadline, None).await {
            Ok(seen) => filter::blocked(&seen),
            Err(outcome) => outcome,
        };
        found.note(Metric::FilterOutcome, filter as i64);
        Ok(if filter == Outcome::NotBlocked { filter } else { Outcome::Ok })
    }
}

impl Page {
    fn new(text: &str, words: Option<&String>, env: &Env) -> Result<Self, BuildError> {
        let refused = || BuildError::Url(text.to_owned());
        let url = Url::of_page(text).ok_or_else(refused)?;
        let tls = if url.is_tls {
            let client = tls::Client::new(&url.endpoint.host, &env.trust, Some(tls::HTTP));
            Some(client.map_err(BuildError::Tls)?.ok_or_else(refused)?)
        } else {
            None
        };
        let never = match url.endpoint.host {
            Host::Address(address) => env.allow.permits_relayed(address).is_err(),
            Host::Name(_) => false,
        };
        let is_denied = never || !env.allow.permits_http_port(url.endpoint.port);
        if is_denied {
            tracing::warn!(target = ?url.authority, "a page is not asked for");
        }
        Ok(Self { url, tls, words: words.cloned(), is_denied })
    }

    /// What becomes of the page; an error is the proxy's own trouble, or this machine's.
    async fn see(
        &self,
        proxy: Option<&[SocketAddr]>,
        env: &Env,
        deadline: Instant,
        found: Option<&mut Found>,
    ) -> Result<Seen, Outcome> {
        if self.is_denied {
            return Err(Outcome::NotAsked);
        }
        let seen = if let Some(proxy) = proxy {
            timeout_at(deadline, self.by_proxy(proxy, found)).await
        } else {
            let endpoint = &self.url.endpoint;
            match dial::resolve(&env.names, &env.allow, endpoint, deadline).await {
                Ok(addresses) => timeout_at(deadline, self.directly(&addresses, found)).await,
                Err(Outcome::NotAsked) => return Err(Outcome::NotAsked),
                Err(outcome) => return Ok(Seen::Broken(outcome)),
            }
        };
        if let Some(tls) = &self.tls {
            // Tells in the log why its certificate was refused, if it was.
            tls.not_after();
        }
        seen.unwrap_or(Ok(Seen::Broken(Outcome::Timeout)))
    }

    async fn by_proxy(
        &self,
        proxy: &[SocketAddr],
        found: Option<&mut Found>,
    ) -> Result<Seen, Outcome> {
        let (stream, peer) = connect(proxy, found).await?;
        let Some(tls) = &self.tls else {
            // In absolute form (RFC 9112, 3.2.2).
            let target = format!("http://{}{}", self.url.authority, self.url.path);
            return self.get(Box::new(stream), &target).await;
        };
        let host = match &self.url.endpoint.host {
            Host::Name(name) => name.clone(),
            Host::Address(std::net::IpAddr::V6(v6)) => format!("[{v6}]"),
            Host::Address(address) => address.to_string(),
        };
        let (port, agent) = (self.url.endpoint.port, web::USER_AGENT);
        let ask = format!(
            "CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: {agent}\r\n\r\n"
        );
        let mut line = Line::new(stream, peer.ip());
        line.say(ask.as_bytes()).await?;
        let status = line.hear(filter::tunnel).await?;
        if !(200..300).contains(&status) {
            return Ok(Seen::NoTunnel(status));
        }
        self.behind_tls(line.into_stream()?, tls).await
    }

    async fn directly(
        &self,
        addresses: &[SocketAddr],
        found: Option<&mut Found>,
    ) -> Result<Seen, Outcome> {
        let (stream, _) = match connect(addresses, found).await {
            Ok(connection) => connection,
            Err(Outcome::NotAsked) => return Err(Outcome::NotAsked),
            Err(outcome) => return Ok(Seen::Broken(outcome)),
        };
        match &self.tls {
            Some(tls) => self.behind_tls(Box::new(stream), tls).await,
            None => self.get(Box::new(stream), &self.url.path).await,
        }
    }

    async fn behind_tls(&self, stream: Stream, tls: &tls::Client) -> Result<Seen, Outcome> {
        match tls.handshake(stream).await {
            Ok(stream) => self.get(stream, &self.url.path).await,
            Err(outcome) => Ok(Seen::Broken(outcome)),
        }
    }

    async fn get(&self, stream: Stream, target: &str) -> Result<Seen, Outcome> {
        let request = Request::get(target)
            .header(header::HOST, self.url.authority.as_str())
            .header(header::USER_AGENT, web::USER_AGENT)
            .header(header::ACCEPT, "*/*")
            .header(header::ACCEPT_ENCODING, "identity")
            // A stored copy would tell nothing of the way to the page.
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::CONNECTION, "close")
            .body(Full::<Bytes>::default())
            .map_err(|_| Outcome::NotAsked)?;
        let mut answer = Answer { page: self, head: None, body: Vec::new() };
        let ended = web::exchange(stream, request, &mut answer).await;
        Ok(match (answer.head, ended) {
            (Some((status, elsewhere)), Ok(())) => {
                let has_words = filter::has_words(&answer.body, self.words.as_deref());
                Seen::Answer { status, elsewhere, has_words }
            }
            (_, Err(outcome)) => Seen::Broken(outcome),
            (None, Ok(())) => Seen::Broken(Outcome::Malformed),
        })
    }
}

async fn connect(
    addresses: &[SocketAddr],
    found: Option<&mut Found>,
) -> Result<(tokio::net::TcpStream, SocketAddr), Outcome> {
    let (stream, connect_us) = dial::connect(addresses).await?;
    if let Some(found) = found {
        found.note(Metric::ServiceConnectTime, connect_us);
    }
    stream.set_nodelay(true).map_err(|_| Outcome::NotAsked)?;
    let peer = stream.peer_addr().map_err(|_| Outcome::NotAsked)?;
    Ok((stream, peer))
}

/// A page as far as it is looked at.
struct Answer<'a> {
    page: &'a Page,
    /// Status, and whether it leads elsewhere.
    head: Option<(u16, bool)>,
    body: Vec<u8>,
}

impl web::Reader for Answer<'_> {
    fn head(&mut self, head: &response::Parts) {
        let location = head.headers.get(header::LOCATION);
        let elsewhere = location.is_some_and(|location| {
            let host = &self.page.url.endpoint.host;
            location.to_str().map_or(true, |location| filter::leads_elsewhere(host, location))
        });
        self.head = Some((head.status.as_u16(), elsewhere));
    }

    fn data(&mut self, data: &[u8]) -> bool {
        let room = filter::MAX_PAGE - self.body.len();
        self.body.extend_from_slice(&data[..room.min(data.len())]);
        self.body.len() < filter::MAX_PAGE
    }
}
