//! Conversations with one machine: over datagrams, and over streams with or without TLS.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, StatusCode, header, response};
use http_body_util::Full;
use tokio::time::Instant;

use super::{
    Found, ServiceProbe, Target, datagram, imap, ipp, ldap, line, line::Line, nfs, ntp,
    place::Place, radius, sip, smb, smtp,
};
use crate::{
    plan::{Metric, ServiceKind},
    probe::{
        Outcome, dial,
        http::tls,
        micros,
        web::{self, Stream, Url},
    },
};

/// Asks the service at the first of `addresses` that takes the question. What it says of itself, or why
/// it could not be heard.
pub(super) async fn service(
    probe: &ServiceProbe,
    target: &Target,
    addresses: &[SocketAddr],
    found: &mut Found,
) -> Result<Outcome, Outcome> {
    let first = *addresses.first().ok_or(Outcome::NotAsked)?;
    if probe.kind == ServiceKind::Ntp {
        return time(probe, first, found).await;
    } else if probe.kind == ServiceKind::Radius {
        return access(probe, first, found).await;
    } else if probe.kind == ServiceKind::Sip {
        return calls(first, found).await;
    }
    let started = Instant::now();
    let (stream, connect_us) = dial::connect(addresses).await?;
    found.note(Metric::ServiceConnectTime, connect_us);
    let unknown = |_| Outcome::NotAsked;
    // Questions are small segments: waiting to fill them would be measured.
    stream.set_nodelay(true).map_err(unknown)?;
    let ends = Ends {
        own: stream.local_addr().map_err(unknown)?,
        server: stream.peer_addr().map_err(unknown)?,
        tls: target.tls.as_ref(),
        started,
    };
    if let Place::Printer(url) = &target.place {
        return ends.printer(Box::new(stream), url, found).await;
    }
    let line = Line::new(stream, ends.server.ip());
    match probe.kind {
        ServiceKind::Ldap => ends.directory(line, found).await,
        ServiceKind::Ldaps => ends.directory(ends.secure(line, found).await?, found).await,
        ServiceKind::Smb => ends.files(line, found).await,
        ServiceKind::Nfs => ends.exports(line, found).await,
        ServiceKind::Smtp => ends.relay(line, false, found).await,
        ServiceKind::SmtpStarttls => ends.relay(line, true, found).await,
        ServiceKind::Smtps => ends.relay(ends.secure(line, found).await?, false, found).await,
        ServiceKind::Imap => ends.mailboxes(line, false, found).await,
        ServiceKind::ImapStarttls => ends.mailboxes(line, true, found).await,
        ServiceKind::Imaps => ends.mailboxes(ends.secure(line, found).await?, false, found).await,
        ServiceKind::SipTcp => ends.calls(line, found).await,
        // Asked above, or elsewhere.
        ServiceKind::Unspecified
        | ServiceKind::Dhcp
        | ServiceKind::Ntp
        | ServiceKind::Radius
        | ServiceKind::Ipp
        | ServiceKind::Proxy
        | ServiceKind::Sip
        | ServiceKind::Backup => Err(Outcome::NotAsked),
    }
}

async fn time(
    probe: &ServiceProbe,
    server: SocketAddr,
    found: &mut Found,
) -> Result<Outcome, Outcome> {
    let (clock, cookie) = (&probe.env.clock, rand::random());
    let mut asked_ns = 0;
    let write = |_own| {
        asked_ns = clock.wall_ns();
        ntp::question(cookie).to_vec()
    };
    let (answer, sent) = datagram::ask(server, write, |bytes| ntp::read(cookie, bytes)).await?;
    // Not the wall clock again: a step in between would be taken for a way.
    let elapsed = sent.elapsed();
    let heard_ns = asked_ns.saturating_add(i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX));
    found.note(Metric::ServiceTime, micros(elapsed));
    found.note(Metric::NtpStratum, answer.stratum.into());
    if !answer.is_synchronised {
        return Ok(Outcome::Failed);
    }
    let (asked, heard) = (ntp::Stamp::from_unix_ns(asked_ns), ntp::Stamp::from_unix_ns(heard_ns));
    found.note(Metric::NtpOffset, answer.offset_us(asked, heard));
    found.note(Metric::NtpRootDelay, answer.root_delay_us);
    Ok(Outcome::Ok)
}

async fn access(
    probe: &ServiceProbe,
    server: SocketAddr,
    found: &mut Found,
) -> Result<Outcome, Outcome> {
    let secret = probe.secret.as_ref().map(|secret| secret.0.clone());
    let question = radius::Question::new(rand::random(), rand::random(), secret);
    let write = |_own| question.packet().to_vec();
    let (outcome, sent) = datagram::ask(server, write, |bytes| question.read(bytes)).await?;
    found.note(Metric::ServiceTime, micros(sent.elapsed()));
    Ok(outcome)
}

async fn calls(server: SocketAddr, found: &mut Found) -> Result<Outcome, Outcome> {
    let question = sip::Question::new(rand::random());
    let write = |own| question.encode(own, server, sip::Transport::Udp).into_bytes();
    let read = |bytes: &[u8]| match question.read(bytes) {
        line::Reading::Done(status, _) => datagram::Reading::Answer(status),
        // Provisional, or another's.
        line::Reading::More => datagram::Reading::Foreign,
        line::Reading::Wrong => datagram::Reading::Malformed,
    };
    let (status, sent) = datagram::ask(server, write, read).await?;
    found.note(Metric::ServiceTime, micros(sent.elapsed()));
    Ok(sip::verdict(status))
}

/// Both ends of a connection.
struct Ends<'a> {
    own: SocketAddr,
    server: SocketAddr,
    tls: Option<&'a tls::Client>,
    started: Instant,
}

impl Ends<'_> {
    /// The answer that was asked for is there.
    fn answered(&self, found: &mut Found) {
        found.note(Metric::ServiceTime, micros(self.started.elapsed()));
    }

    async fn handshake(&self, stream: Stream, found: &mut Found) -> Result<Stream, Outcome> {
        let tls = self.tls.ok_or(Outcome::NotAsked)?;
        let handshake = Instant::now();
        let stream = tls.handshake(stream).await?;
        found.note(Metric::ServiceTlsTime, micros(handshake.elapsed()));
        Ok(stream)
    }

    /// The line behind TLS.
    async fn secure(&self, line: Line, found: &mut Found) -> Result<Line, Outcome> {
        let stream = self.handshake(line.into_stream()?, found).await?;
        Ok(Line::over(stream, self.server.ip()))
    }

    async fn directory(&self, mut line: Line, found: &mut Found) -> Result<Outcome, Outcome> {
        line.say(ldap::SEARCH).await?;
        let code = line.hear(ldap::read).await?;
        self.answered(found);
        line.part(ldap::UNBIND).await;
        Ok(ldap::verdict(code))
    }

    async fn files(&self, mut line: Line, found: &mut Found) -> Result<Outcome, Outcome> {
        line.say(&smb::negotiate(rand::random(), rand::random())).await?;
        let answer = line.hear(smb::read).await?;
        self.answered(found);
        Ok(if answer.status == 0 { Outcome::Ok } else { Outcome::Failed })
    }

    async fn exports(&self, mut line: Line, found: &mut Found) -> Result<Outcome, Outcome> {
        let id = rand::random();
        line.say(&nfs::null_call(id, self.server.port())).await?;
        let outcome = line.hear(|bytes| nfs::read(id, bytes)).await?;
        self.answered(found);
        Ok(outcome)
    }

    async fn relay(
        &self,
        mut line: Line,
        starts_tls: bool,
        found: &mut Found,
    ) -> Result<Outcome, Outcome> {
        line.hear(smtp::reply).await?.expect(smtp::READY)?;
        let hello = smtp::ehlo(self.own.ip());
        line.say(hello.as_bytes()).await?;
        let reply = line.hear(smtp::reply).await?.expect(smtp::DONE)?;
        if starts_tls {
            if !reply.offers_tls {
                line.part(smtp::QUIT).await;
                return Err(Outcome::Tls);
            }
            line.say(smtp::STARTTLS).await?;
            line.hear(smtp::reply).await?.expect(smtp::READY)?;
            line = self.secure(line, found).await?;
            line.say(hello.as_bytes()).await?;
            line.hear(smtp::reply).await?.expect(smtp::DONE)?;
        }
        self.answered(found);
        line.part(smtp::QUIT).await;
        Ok(Outcome::Ok)
    }

    async fn mailboxes(
        &self,
        mut line: Line,
        starts_tls: bool,
        found: &mut Found,
    ) -> Result<Outcome, Outcome> {
        let served = |said: imap::Said| if said.is_ok { Ok(said) } else { Err(Outcome::Failed) };
        served(line.hear(imap::greeting).await?)?;
        let said = served(command(&mut line, imap::CAPABILITY).await?)?;
        if starts_tls {
            if !said.offers_tls {
                line.part(imap::LOGOUT).await;
                return Err(Outcome::Tls);
            }
            served(command(&mut line, imap::STARTTLS).await?)?;
            line = self.secure(line, found).await?;
            served(command(&mut line, imap::CAPABILITY_AGAIN).await?)?;
        }
        self.answered(found);
        line.part(imap::LOGOUT).await;
        Ok(Outcome::Ok)
    }

    async fn calls(&self, mut line: Line, found: &mut Found) -> Result<Outcome, Outcome> {
        let question = sip::Question::new(rand::random());
        let text = question.encode(self.own, self.server, sip::Transport::Tcp);
        line.say(text.as_bytes()).await?;
        let status = line.hear(|bytes| question.read(bytes)).await?;
        self.answered(found);
        Ok(sip::verdict(status))
    }

    async fn printer(
        &self,
        stream: Stream,
        url: &Url,
        found: &mut Found,
    ) -> Result<Outcome, Outcome> {
        let stream = if url.is_tls { self.handshake(stream, found).await? } else { stream };
        let (id, scheme) = (rand::random(), if url.is_tls { "ipps" } else { "ipp" });
        let uri = format!("{scheme}://{}{}", url.authority, url.path);
        let request = Request::post(url.path.as_str())
            .header(header::HOST, url.authority.as_str())
            .header(header::USER_AGENT, web::USER_AGENT)
            .header(header::CONTENT_TYPE, ipp::MEDIA_TYPE)
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::CONNECTION, "close")
            .body(Full::new(Bytes::from(ipp::question(id, &uri))))
            .map_err(|_| Outcome::NotAsked)?;
        let mut answer = Answer::default();
        web::exchange(stream, request, &mut answer).await?;
        let status = answer.status.ok_or(Outcome::Malformed)?;
        if status == StatusCode::OK {
            let answer = ipp::read(id, &answer.body).ok_or(Outcome::Malformed)?;
            self.answered(found);
            if let Some(state) = answer.state {
                found.note(Metric::PrinterState, state.into());
            }
            return Ok(answer.verdict());
        }
        self.answered(found);
        Ok(match status.as_u16() {
            401 | 403 => Outcome::Refused,
            // A web server that prints nothing there.
            404 | 500.. => Outcome::Failed,
            _ => Outcome::Malformed,
        })
    }
}

async fn command(line: &mut Line, command: &'static [u8]) -> Result<imap::Said, Outcome> {
    line.say(command).await?;
    line.hear(|bytes| imap::answer(command, bytes)).await
}

/// A printer's answer, up to the longest that is read.
#[derive(Default)]
struct Answer {
    status: Option<StatusCode>,
    body: Vec<u8>,
}

impl web::Reader for Answer {
    fn head(&mut self, head: &response::Parts) {
        self.status = Some(head.status);
    }

    fn data(&mut self, data: &[u8]) -> bool {
        let room = ipp::MAX_REPLY - self.body.len();
        self.body.extend_from_slice(&data[..room.min(data.len())]);
        self.body.len() < ipp::MAX_REPLY
    }
}
