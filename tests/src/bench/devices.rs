//! SNMP devices in a child process, whose CPU time is not that of the bench or the agent.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    ops::RangeInclusive,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use proto::v1::Metric;

use super::school::COMMUNITY;
use crate::snmp_responder::{Question, Responder, Spec};

/// First word of the child's command line.
const SERVE: &str = "serve-devices";

/// The devices, gone with their value.
#[derive(Debug)]
pub struct Devices {
    child: Child,
    addresses: Vec<SocketAddr>,
}

/// Serves the devices and does not return before the parent is gone, when this process was started
/// for that; otherwise returns at once with `false`. To be called first in `main`.
pub fn serve_if_asked() -> Result<bool> {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() != Some(SERVE) {
        return Ok(false);
    }
    let interfaces = words.map(|word| word.parse()).collect::<Result<Vec<u32>, _>>()?;
    let values = Arc::new(|question: Question| value(&question));
    let responder = Responder::start(Spec { interfaces, community: COMMUNITY.into(), values })?;
    let mut out = std::io::stdout().lock();
    for address in responder.addresses() {
        writeln!(out, "{address}")?;
    }
    out.flush()?;
    // Ends with its parent, who holds the other end.
    std::io::stdin().lock().read_line(&mut String::new())?;
    Ok(true)
}

/// Ports that are up, at 1 Gbit/s; counters that grow with time at each port's own pace.
fn value(question: &Question) -> u64 {
    let Question { metric, if_index, at, device } = *question;
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    if matches!(metric, Metric::IfOperStatus | Metric::IfAdminStatus) {
        return 1;
    }
    if metric == Metric::IfHighSpeed {
        return 1_000;
    }
    if metric == Metric::IfSpeed {
        return 1_000_000_000;
    }
    if metric == Metric::IfCounterDiscontinuityTime {
        return 0;
    }
    if metric == Metric::SysUpTime {
        return since.as_secs() * 100 % (1 << 32);
    }
    let packets = [Metric::IfHcInUcastPkts, Metric::IfHcOutUcastPkts];
    if !packets.contains(&metric)
        && metric != Metric::IfHcInOctets
        && metric != Metric::IfHcOutOctets
    {
        // Errors and discards are rare.
        return since.as_secs() / 1_000;
    }
    let pace = u64::from(if_index).pow(2) * 97 + device as u64 * 13 + metric as u64;
    // Traffic is not even.
    let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    (ms.wrapping_mul(pace) / 7).wrapping_add(ms.rotate_left(17) % (pace + 1))
}

/// Whether a device gave this value, of a counter of octets or of unicast packets, at one of these
/// instants, Unix milliseconds. The counters of ports above 10 grow by more than 1,600 a millisecond,
/// so a value that belongs to another time, port or device is hardly ever taken for one of these.
#[must_use]
pub fn gave(
    (device, metric, if_index): (usize, Metric, u32),
    given: u64,
    mut at_ms: RangeInclusive<u64>,
) -> bool {
    at_ms.any(|ms| {
        let at = UNIX_EPOCH + Duration::from_millis(ms);
        value(&Question { device, metric, if_index, at }) == given
    })
}

impl Devices {
    /// Starts devices with these numbers of interfaces, on ports of the loopback.
    pub fn start(interfaces: &[u32]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(SERVE)
            .args(interfaces.iter().map(u32::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the devices")?;
        let out = child.stdout.take().context("the child has an output")?;
        let addresses = BufReader::new(out)
            .lines()
            .take(interfaces.len())
            .map(|line| Ok(line?.parse()?))
            .collect::<Result<Vec<SocketAddr>>>()?;
        let devices = Self { child, addresses };
        ensure!(devices.addresses.len() == interfaces.len(), "the devices did not start");
        Ok(devices)
    }

    /// Where they answer.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_known_by_its_time_its_port_and_its_device() {
        const NOW_MS: u64 = 1_795_000_000_000;
        let (device, metric, if_index) = (3, Metric::IfHcInOctets, 14);
        let at = UNIX_EPOCH + Duration::from_millis(NOW_MS);
        let given = value(&Question { device, metric, if_index, at });
        let around = NOW_MS - 500..=NOW_MS + 3_000;
        assert!(gave((device, metric, if_index), given, around.clone()));
        assert!(!gave((device, metric, if_index), given, NOW_MS + 60_000..=NOW_MS + 63_500));
        assert!(!gave((device, metric, if_index + 1), given, around.clone()));
        assert!(!gave((device + 1, metric, if_index), given, around.clone()));
        assert!(!gave((device, Metric::IfHcOutOctets, if_index), given, around));
    }
}
