//! Network interfaces of this machine.

use std::{fs, io};

/// Octets that an interface received and sent since it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceOctets {
    /// As the kernel names the interface.
    pub name: String,
    /// Received.
    pub received: u64,
    /// Sent.
    pub sent: u64,
}

/// Counters of every interface of this network namespace, in the kernel's order: one file, however
/// many interfaces there are.
pub fn interface_octets() -> io::Result<Vec<InterfaceOctets>> {
    Ok(parse_net_dev(&fs::read_to_string("/proc/thread-self/net/dev")?))
}

/// Whether an interface of this name is made by software for its own inner wiring (loopback,
/// containers, virtual machines), so that a school has nothing to watch there.
#[must_use]
pub fn is_internal_interface(name: &str) -> bool {
    const PREFIXES: [&str; 15] = [
        "veth", "docker", "br-", "virbr", "vnet", "tap", "cali", "cni", "flannel", "lxc", "lxd",
        "podman", "dummy", "ifb", "sit",
    ];
    name == "lo" || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// `/proc/net/dev`: eight counters received, then eight sent, bytes first in both.
fn parse_net_dev(text: &str) -> Vec<InterfaceOctets> {
    text.lines()
        .skip(2)
        .filter_map(|line| {
            let (name, counters) = line.rsplit_once(':')?;
            let mut counters = counters.split_ascii_whitespace();
            let received = counters.next()?.parse().ok()?;
            let sent = counters.nth(7)?.parse().ok()?;
            Some(InterfaceOctets { name: name.trim().to_owned(), received, sent })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_counters_are_the_first_of_each_half() {
        let text = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
eth0.10:18446744073709551615 2 3 4 5 6 7 8 90 10 11 12 13 14 15 16
 bad0: 1 2 3
";
        let octets =
            |name: &str, received, sent| InterfaceOctets { name: name.into(), received, sent };
        assert_eq!(parse_net_dev(text), [octets("lo", 100, 100), octets("eth0.10", u64::MAX, 90)]);
    }

    #[test]
    fn inner_wiring_is_told_from_a_machines_interfaces() {
        for name in ["lo", "veth12ab", "docker0", "br-0a1b2c", "virbr0", "vnet3"] {
            assert!(is_internal_interface(name), "{name}");
        }
        for name in ["eth0", "enp3s0", "br0", "bond0", "eth0.10", "wlan0", "ppp0", "wg0", "local"] {
            assert!(!is_internal_interface(name), "{name}");
        }
    }
}
