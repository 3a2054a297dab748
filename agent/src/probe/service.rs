//! The services that a school lives on, one kind a group: whether each answers as it should, after how
//! long, and why not.
//!
//! Each protocol has a file of its own below, which makes the question and reads the answer, both
//! without a socket; [`ask`], [`pages`] and [`local`] hold the conversations. No account is ever used,
//! no lease requested, no session set up, and nothing of an answer is kept but figures.

mod ask;
pub mod backup;
pub mod datagram;
pub mod dhcp;
pub mod filter;
pub mod imap;
pub mod ipp;
pub mod ldap;
pub mod line;
mod local;
pub mod nfs;
pub mod ntp;
mod pages;
mod place;
pub mod radius;
pub mod sip;
pub mod smb;
pub mod smtp;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use pages::Pages;
use place::Place;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{
    BuildError, Cell, Changes, Outcome, Probe, ProbeError, Round,
    dial::{self, Host},
    env::Env,
    http::tls,
};
use crate::{
    logs::chain,
    plan::{Group, Metric, Secret, Service, ServiceKind},
};

/// Walks through backups at one time: each holds a thread, for as long as a disk or a server of files
/// hangs.
const MAX_WALKS: usize = 4;

/// Measures the services of one group.
pub struct ServiceProbe {
    env: Env,
    group: Group,
    kind: ServiceKind,
    secret: Option<Secret>,
    pages: Option<Pages>,
    targets: Vec<Target>,
    changes: Changes,
    walks: Arc<Semaphore>,
    /// Whether it was told that this machine does not permit to ask.
    told: AtomicBool,
}

/// One service.
struct Target {
    place: Place,
    tls: Option<tls::Client>,
    /// One walk at a time: one that hangs is not joined by others.
    walk: Arc<Semaphore>,
}

/// What asking once found.
#[derive(Debug, Default)]
struct Found {
    outcome: Option<Outcome>,
    figures: Vec<(Metric, i64)>,
}

impl Found {
    fn note(&mut self, metric: Metric, value: i64) {
        self.figures.push((metric, value));
    }

    fn cell(&self, metric: Metric) -> Cell {
        if metric == Metric::ServiceOutcome {
            return self.outcome.map(|outcome| outcome as i64);
        }
        self.figures.iter().find(|figure| figure.0 == metric).map(|figure| figure.1)
    }
}

/// Whether a kind of service can be asked at the place that a text names.
#[must_use]
pub fn is_place(kind: ServiceKind, text: &str) -> bool {
    Place::parse(kind, text).is_some()
}

/// Whether a kind of service is measured so.
fn knows(kind: ServiceKind, metric: Metric) -> bool {
    use Metric as M;
    let own: &[Metric] = match kind {
        ServiceKind::Backup => &[M::BackupAge, M::BackupBytes, M::BackupTotalBytes],
        ServiceKind::Dhcp => &[M::ServiceTime, M::DhcpServers],
        ServiceKind::Ntp => &[M::ServiceTime, M::NtpOffset, M::NtpStratum, M::NtpRootDelay],
        ServiceKind::Proxy => &[M::ServiceTime, M::ServiceConnectTime, M::FilterOutcome],
        ServiceKind::Ipp => &[
            M::ServiceTime,
            M::ServiceConnectTime,
            M::ServiceTlsTime,
            M::ServiceCertificateExpiry,
            M::PrinterState,
        ],
        ServiceKind::Unspecified => &[],
        ServiceKind::Radius | ServiceKind::Sip => &[M::ServiceTime],
        ServiceKind::Ldap
        | ServiceKind::Smb
        | ServiceKind::Nfs
        | ServiceKind::Smtp
        | ServiceKind::Imap
        | ServiceKind::SipTcp => &[M::ServiceTime, M::ServiceConnectTime],
        ServiceKind::Ldaps
        | ServiceKind::SmtpStarttls
        | ServiceKind::Smtps
        | ServiceKind::ImapStarttls
        | ServiceKind::Imaps => {
            &[M::ServiceTime, M::ServiceConnectTime, M::ServiceTlsTime, M::ServiceCertificateExpiry]
        }
    };
    metric == M::ServiceOutcome || own.contains(&metric)
}

/// Whether a kind of service speaks TLS, from the start or later on.
fn by_tls(kind: ServiceKind) -> bool {
    matches!(
        kind,
        ServiceKind::Ldaps
            | ServiceKind::SmtpStarttls
            | ServiceKind::Smtps
            | ServiceKind::ImapStarttls
            | ServiceKind::Imaps
    )
}

impl ServiceProbe {
    /// Checks the places and sets TLS up; nothing is resolved yet.
    pub fn new(group: &Group, service: &Service, env: &Env) -> Result<Self, BuildError> {
        let kind = service.kind;
        super::build::check_columns(group, service.targets.len(), |metric| knows(kind, metric))?;
        let target = |text: &String| Target::new(kind, text, env);
        let targets = service.targets.iter().map(target).collect::<Result<Vec<_>, _>>()?;
        let pages = match (kind, &service.pages) {
            (ServiceKind::Proxy, None) => return Err(BuildError::NoPage),
            (ServiceKind::Proxy, Some(pages)) => Some(Pages::new(pages, env)?),
            _ => None,
        };
        Ok(Self {
            env: env.clone(),
            group: group.clone(),
            kind,
            secret: service.secret.clone(),
            pages,
            changes: Changes::new(targets.len()),
            targets,
            walks: Arc::new(Semaphore::new(MAX_WALKS)),
            told: AtomicBool::new(false),
        })
    }

    async fn ask(&self, target: &Target) -> Found {
        let mut found = Found::default();
        let deadline = Instant::now() + self.group.timeout;
        let asked = self.ask_by(target, deadline, &mut found).await;
        let mut outcome = asked.unwrap_or_else(|outcome| outcome);
        if (self.kind, outcome) == (ServiceKind::Radius, Outcome::Timeout) && self.secret.is_none()
        {
            // Servers are silent to those who do not know their secret: nothing is known.
            outcome = Outcome::NotAsked;
        }
        found.outcome = Some(outcome);
        if let Some(not_after) = target.tls.as_ref().and_then(tls::Client::not_after) {
            found.note(Metric::ServiceCertificateExpiry, not_after);
        }
        found
    }

    /// Fills `found` step by step, so that what was measured before a failure or the time limit stays.
    async fn ask_by(
        &self,
        target: &Target,
        deadline: Instant,
        found: &mut Found,
    ) -> Result<Outcome, Outcome> {
        let Some(endpoint) = target.place.endpoint() else {
            return match &target.place {
                Place::Interface(name) => self.dhcp(name.as_deref(), deadline, found).await,
                Place::Files(place) => self.backup(place, &target.walk, deadline, found).await,
                Place::Machine(_) | Place::Printer(_) | Place::Direct => {
                    self.pages(None, deadline, found).await
                }
            };
        };
        let (names, allow) = (&self.env.names, &self.env.allow);
        if !allow.permits_service_port(endpoint.port, place::usual_ports(self.kind)) {
            return Err(Outcome::NotAsked);
        }
        let addresses = dial::resolve(names, allow, endpoint, deadline).await?;
        if self.kind == ServiceKind::Proxy {
            return self.pages(Some(&addresses), deadline, found).await;
        }
        let asked = ask::service(self, target, &addresses, found);
        timeout_at(deadline, asked).await.unwrap_or(Err(Outcome::Timeout))
    }

    async fn pages(
        &self,
        proxy: Option<&[std::net::SocketAddr]>,
        deadline: Instant,
        found: &mut Found,
    ) -> Result<Outcome, Outcome> {
        let pages = self.pages.as_ref().ok_or(Outcome::NotAsked)?;
        pages.ask(proxy, &self.env, deadline, found).await
    }

    /// Tells once why this machine can not ask.
    fn tell(&self, error: &(dyn std::error::Error + 'static)) {
        if self.told.swap(true, Ordering::Relaxed) {
            tracing::debug!(error = chain(error), "a service can not be asked");
        } else {
            tracing::warn!(error = chain(error), "a service can not be asked");
        }
    }
}

impl Target {
    fn new(kind: ServiceKind, text: &str, env: &Env) -> Result<Self, BuildError> {
        let refused = || BuildError::Place(text.to_owned(), kind);
        let place = Place::parse(kind, text).ok_or_else(refused)?;
        let protocol = if matches!(&place, Place::Printer(url) if url.is_tls) {
            Some(Some(tls::HTTP))
        } else {
            by_tls(kind).then_some(None)
        };
        let client = place.endpoint().zip(protocol).map(|(endpoint, protocol)| {
            let client = tls::Client::new(&endpoint.host, &env.trust, protocol);
            client.map_err(BuildError::Tls)?.ok_or_else(refused)
        });
        if let Some(endpoint) = place.endpoint() {
            if let Host::Address(address) = endpoint.host
                && let Err(error) = env.allow.permits(address)
            {
                tracing::warn!(target = ?text, error = chain(&error), "a target is not probed");
            }
            if !env.allow.permits_service_port(endpoint.port, place::usual_ports(kind)) {
                tracing::warn!(target = ?text, "a target is not probed: no port of such a service");
            }
        }
        let tls = client.transpose()?;
        Ok(Self { place, tls, walk: Arc::new(Semaphore::new(1)) })
    }
}

#[async_trait]
impl Probe for ServiceProbe {
    async fn round(&mut self) -> Result<Round, ProbeError> {
        let boot_ns = self.env.clock.boot_ns();
        let this = &*self;
        let found: Vec<Found> = super::ask_all(this.targets.len(), this.group.timeout, |index| {
            this.ask(&this.targets[index])
        })
        .await;
        let outcomes = found.iter().map(|found| found.outcome.unwrap_or(Outcome::NotAsked));
        let changed = self.changes.note(outcomes);
        let cells =
            super::cells(&self.group.columns, &found, |metric, found: &Found| found.cell(metric));
        Ok(Round { boot_ns, cells, changed, events: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_an_outcome_and_no_figure_of_another_family() {
        let kinds: Vec<_> = (0..).map_while(|n| ServiceKind::try_from(n).ok()).collect();
        assert_eq!(kinds.last(), Some(&ServiceKind::Backup));
        for kind in kinds {
            assert!(knows(kind, Metric::ServiceOutcome));
            assert!(!knows(kind, Metric::HttpOutcome));
            let has_tls = by_tls(kind) || kind == ServiceKind::Ipp;
            assert_eq!(knows(kind, Metric::ServiceTlsTime), has_tls, "{kind:?}");
        }
    }
}
