//! What is asked of this machine's own surroundings: the servers of addresses on its wire, and the
//! backups on its disks.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{
    Found, ServiceProbe,
    backup::{self, BackupError},
    dhcp,
};
use crate::{
    plan::Metric,
    platform,
    probe::{Outcome, dial::exchange_outcome, micros},
};

/// After the first offer: a second server that nobody put there is slower or not.
const MORE_OFFERS: Duration = Duration::from_secs(1);
/// Most servers that are told apart.
const MAX_SERVERS: usize = 16;

impl ServiceProbe {
    /// Asks who would give an address on the network behind an interface.
    pub(super) async fn dhcp(
        &self,
        name: Option<&str>,
        deadline: Instant,
        found: &mut Found,
    ) -> Result<Outcome, Outcome> {
        let default = || platform::default_interface();
        let name = name.map(str::to_owned).or_else(default).ok_or(Outcome::NotAsked)?;
        let card = platform::card(&name).ok_or(Outcome::NotAsked)?;
        // The question goes to all on the wire, which the local list must hold.
        let is_listed = |own: &Ipv4Addr| self.env.allow.lists(IpAddr::V4(*own));
        if self.env.allow.is_list() && !card.addresses.iter().any(is_listed) {
            return Err(Outcome::NotAsked);
        }
        let socket = platform::raw_udp(&name).map_err(|error| {
            self.tell(&error);
            Outcome::NotAsked
        })?;
        let question = dhcp::Question { id: rand::random(), card: card.address };
        let failed = |error| exchange_outcome(&error, Ipv4Addr::BROADCAST.into());
        let started = Instant::now();
        socket
            .send_to(&question.datagram(), (Ipv4Addr::BROADCAST, dhcp::SERVER_PORT))
            .await
            .map_err(failed)?;
        let (mut servers, mut until) = (BTreeSet::new(), deadline);
        let mut packet = [0; dhcp::MAX_PACKET];
        while let Ok(received) = timeout_at(until, socket.recv(&mut packet)).await {
            let len = received.map_err(failed)?;
            let Some(server) = question.offer(&packet[..len]) else { continue };
            if servers.is_empty() {
                found.note(Metric::ServiceTime, micros(started.elapsed()));
                until = deadline.min(Instant::now() + MORE_OFFERS);
            }
            if servers.len() < MAX_SERVERS {
                servers.insert(server);
            }
        }
        found.note(Metric::DhcpServers, i64::try_from(servers.len()).unwrap_or(i64::MAX));
        if servers.is_empty() { Err(Outcome::Timeout) } else { Ok(Outcome::Ok) }
    }

    /// Looks for the newest file of a backup.
    pub(super) async fn backup(
        &self,
        place: &backup::Place,
        walk: &Arc<Semaphore>,
        deadline: Instant,
        found: &mut Found,
    ) -> Result<Outcome, Outcome> {
        // One that began in an earlier round and has not come back: the disk hangs.
        let own = Arc::clone(walk).try_acquire_owned().map_err(|_| Outcome::Timeout)?;
        let room = timeout_at(deadline, Arc::clone(&self.walks).acquire_owned()).await;
        let Ok(Ok(room)) = room else { return Err(Outcome::NotAsked) };
        let (place, allowed) = (place.clone(), Arc::clone(&self.env.backup_directories));
        let looked = tokio::task::spawn_blocking(move || {
            let _held = (own, room);
            place.look(&allowed)
        });
        match timeout_at(deadline, looked).await {
            Ok(Ok(Ok(Some(file)))) => {
                let now_ns = i128::from(self.env.clock.wall_ns());
                let written_ns = match file.newest.duration_since(UNIX_EPOCH) {
                    Ok(after) => i128::try_from(after.as_nanos()).unwrap_or(i128::MAX),
                    Err(before) => -i128::try_from(before.duration().as_nanos()).unwrap_or(0),
                };
                let age_s = now_ns.saturating_sub(written_ns) / 1_000_000_000;
                found.note(Metric::BackupAge, i64::try_from(age_s).unwrap_or(i64::MAX));
                found.note(Metric::BackupBytes, i64::try_from(file.bytes).unwrap_or(i64::MAX));
                let total = i64::try_from(file.total).unwrap_or(i64::MAX);
                found.note(Metric::BackupTotalBytes, total);
                Ok(Outcome::Ok)
            }
            // There is no backup.
            Ok(Ok(Ok(None))) => Ok(Outcome::Failed),
            Ok(Ok(Err(error))) => {
                self.tell(&error);
                Err(outcome_of(&error))
            }
            Ok(Err(_stopping)) => Err(Outcome::NotAsked),
            Err(_elapsed) => Err(Outcome::Timeout),
        }
    }
}

fn outcome_of(error: &BackupError) -> Outcome {
    match error {
        // A directory that is not there holds no backup, as a disk that is not mounted.
        BackupError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Outcome::Failed
        }
        BackupError::Read { .. } | BackupError::Denied(_) | BackupError::TooMany(_) => {
            Outcome::NotAsked
        }
    }
}
