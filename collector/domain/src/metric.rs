//! The catalogue of metrics: name, unit, resolution, kind. Numbers are those of the wire contract.

use crate::rate::Unit;

/// How the values of a metric behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any value at any time.
    Gauge,
    /// Only grows, but for a restart; read as a rate.
    Counter,
    /// A code that means something by itself.
    State,
}

/// One entry of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Number on the wire and in the store.
    pub number: u32,
    /// Name in the API, the command line and the metrics page.
    pub name: &'static str,
    /// Base unit of the value once scaled: `s`, `bytes`, `octets`, `ratio`, `celsius`, ...
    pub unit: &'static str,
    /// One stored unit is `10^exponent` base units.
    pub exponent: i8,
    /// How it behaves.
    pub kind: Kind,
    /// Bits of the object that holds it: a counter of 32 wraps within the life of its device.
    pub bits: u8,
}

const fn gauge(number: u32, name: &'static str, unit: &'static str, exponent: i8) -> Metric {
    Metric { number, name, unit, exponent, kind: Kind::Gauge, bits: 64 }
}

const fn counter(number: u32, name: &'static str, unit: &'static str) -> Metric {
    Metric { number, name, unit, exponent: 0, kind: Kind::Counter, bits: 64 }
}

const fn counter32(number: u32, name: &'static str, unit: &'static str) -> Metric {
    Metric { bits: 32, ..counter(number, name, unit) }
}

const fn state(number: u32, name: &'static str) -> Metric {
    Metric { number, name, unit: "code", exponent: 0, kind: Kind::State, bits: 64 }
}

/// Number of `sys_up_time`: when a device started.
pub const SYS_UP_TIME: u32 = 52;
/// Number of `if_speed`: what bounds the growth of a counter of 32 bits.
pub const IF_SPEED: u32 = 59;
/// Number of `if_counter_discontinuity_time`: when an interface's counters lost their thread.
pub const IF_COUNTER_DISCONTINUITY_TIME: u32 = 71;

/// Number of `mesh_outcome`: whether another site's agent answers.
pub const MESH_OUTCOME: u32 = 140;
/// Number of `mesh_loss`.
pub const MESH_LOSS: u32 = 141;
/// Number of `mesh_rtt_p95`.
pub const MESH_RTT_P95: u32 = 145;

/// Number of `uptime`, which stands for the outcome of asking one's own host.
pub const UPTIME: u32 = 90;

/// Every metric, by ascending number.
pub const CATALOGUE: &[Metric] = &[
    state(1, "icmp_outcome"),
    gauge(2, "icmp_loss", "ratio", -4),
    gauge(3, "icmp_rtt_min", "s", -6),
    gauge(4, "icmp_rtt_mean", "s", -6),
    gauge(5, "icmp_rtt_max", "s", -6),
    gauge(6, "icmp_rtt_p95", "s", -6),
    gauge(7, "icmp_delay_variation", "s", -6),
    state(10, "tcp_outcome"),
    gauge(11, "tcp_connect_time", "s", -6),
    state(20, "dns_outcome"),
    state(21, "dns_rcode"),
    gauge(22, "dns_query_time", "s", -6),
    state(30, "http_outcome"),
    state(31, "http_status"),
    gauge(32, "http_name_time", "s", -6),
    gauge(33, "http_connect_time", "s", -6),
    gauge(34, "http_tls_time", "s", -6),
    gauge(35, "http_first_byte_time", "s", -6),
    gauge(36, "http_total_time", "s", -6),
    gauge(37, "http_certificate_expiry", "unix_s", 0),
    gauge(38, "http_body_bytes", "bytes", 0),
    state(50, "snmp_outcome"),
    gauge(51, "snmp_response_time", "s", -6),
    gauge(52, "sys_up_time", "s", -2),
    gauge(59, "if_speed", "bit/s", 0),
    counter(60, "if_hc_in_octets", "octets"),
    counter(61, "if_hc_out_octets", "octets"),
    counter32(62, "if_in_errors", "packets"),
    counter32(63, "if_out_errors", "packets"),
    counter32(64, "if_in_discards", "packets"),
    counter32(65, "if_out_discards", "packets"),
    counter(66, "if_hc_in_ucast_pkts", "packets"),
    counter(67, "if_hc_out_ucast_pkts", "packets"),
    state(68, "if_oper_status"),
    state(69, "if_admin_status"),
    gauge(70, "if_high_speed", "bit/s", 0),
    gauge(71, "if_counter_discontinuity_time", "s", -2),
    counter(72, "if_hc_in_multicast_pkts", "packets"),
    counter(73, "if_hc_out_multicast_pkts", "packets"),
    counter(74, "if_hc_in_broadcast_pkts", "packets"),
    counter(75, "if_hc_out_broadcast_pkts", "packets"),
    counter32(76, "if_in_octets", "octets"),
    counter32(77, "if_out_octets", "octets"),
    counter32(78, "if_in_ucast_pkts", "packets"),
    counter32(79, "if_out_ucast_pkts", "packets"),
    gauge(80, "cpu_utilisation", "ratio", -4),
    gauge(81, "memory_total", "bytes", 0),
    gauge(82, "memory_used", "bytes", 0),
    gauge(83, "swap_used", "bytes", 0),
    gauge(84, "load_1m", "tasks", -2),
    gauge(85, "disk_total", "bytes", 0),
    gauge(86, "disk_used", "bytes", 0),
    counter(87, "host_if_in_octets", "octets"),
    counter(88, "host_if_out_octets", "octets"),
    gauge(89, "temperature", "celsius", -1),
    gauge(90, "uptime", "s", 0),
    gauge(91, "processes", "tasks", 0),
    state(140, "mesh_outcome"),
    gauge(141, "mesh_loss", "ratio", -4),
    gauge(142, "mesh_rtt_min", "s", -6),
    gauge(143, "mesh_rtt_mean", "s", -6),
    gauge(144, "mesh_rtt_max", "s", -6),
    gauge(145, "mesh_rtt_p95", "s", -6),
    gauge(146, "mesh_delay_variation", "s", -6),
];

/// The metric with this number.
#[must_use]
pub fn by_number(number: u32) -> Option<&'static Metric> {
    CATALOGUE.binary_search_by_key(&number, |metric| metric.number).ok().map(|i| &CATALOGUE[i])
}

/// The metric with this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Metric> {
    CATALOGUE.iter().find(|metric| metric.name == name)
}

impl Metric {
    /// A stored value in base units.
    #[must_use]
    pub fn scale(&self, stored: f64) -> f64 {
        // Dividing by an exact power of ten keeps 0.1 what it should be; multiplying by 1e-1 does not.
        if self.exponent < 0 {
            stored / 10_f64.powi(i32::from(-self.exponent))
        } else {
            stored * 10_f64.powi(i32::from(self.exponent))
        }
    }

    /// What a counter of 32 bits counts; `None` for every other metric.
    #[must_use]
    pub fn narrow(&self) -> Option<Unit> {
        (self.bits == 32 && self.kind == Kind::Counter).then_some(if self.unit == "octets" {
            Unit::Octets
        } else {
            Unit::Packets
        })
    }

    /// True for the outcome of asking a target.
    #[must_use]
    pub fn is_outcome(&self) -> bool {
        matches!(self.number, 1 | 10 | 20 | 30 | 50 | MESH_OUTCOME)
    }

    /// True for what tells whether a target answers: the outcome of asking it, and the uptime of the
    /// agent's own host, of which only one that answers can tell.
    #[must_use]
    pub fn is_sign(&self) -> bool {
        self.is_outcome() || self.number == UPTIME
    }
}

/// Outcome of asking a target, as stored in the outcome metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The target answered as it should.
    Ok,
    /// No answer in time.
    Timeout,
    /// Refused.
    Refused,
    /// The network said that it can not be reached.
    Unreachable,
    /// An answer came that is not an answer to the question.
    Malformed,
    /// The connection stood, TLS did not.
    Tls,
    /// The name could not be resolved.
    Name,
    /// The agent itself could not ask: nothing is known of the target.
    NotAsked,
    /// The target answered that it failed.
    Failed,
}

impl Outcome {
    /// The outcome stored under this code; `None` for a code of a newer agent.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Some(match code {
            0 => Self::Ok,
            1 => Self::Timeout,
            2 => Self::Refused,
            3 => Self::Unreachable,
            4 => Self::Malformed,
            5 => Self::Tls,
            6 => Self::Name,
            7 => Self::NotAsked,
            8 => Self::Failed,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_sorted_and_names_are_unique() {
        assert!(CATALOGUE.windows(2).all(|pair| pair[0].number < pair[1].number));
        let names: std::collections::BTreeSet<_> = CATALOGUE.iter().map(|m| m.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
    }

    #[test]
    fn the_numbers_that_have_a_name_are_those_of_the_catalogue() {
        let name = |number| by_number(number).unwrap().name;
        assert_eq!(name(SYS_UP_TIME), "sys_up_time");
        assert_eq!(name(UPTIME), "uptime");
        assert_eq!(name(IF_SPEED), "if_speed");
        assert_eq!(name(MESH_OUTCOME), "mesh_outcome");
        assert_eq!(name(MESH_LOSS), "mesh_loss");
        assert_eq!(name(MESH_RTT_P95), "mesh_rtt_p95");
        assert_eq!(name(IF_COUNTER_DISCONTINUITY_TIME), "if_counter_discontinuity_time");
    }

    #[test]
    fn the_counters_of_32_bits_are_those_of_the_interfaces_table() {
        let narrow = CATALOGUE.iter().filter_map(|metric| Some((metric.name, metric.narrow()?)));
        let (octets, packets): (Vec<_>, Vec<_>) =
            narrow.partition(|(_, unit)| *unit == Unit::Octets);
        let names = |list: &[(&'static str, Unit)]| list.iter().map(|of| of.0).collect::<Vec<_>>();
        assert_eq!(names(&octets), ["if_in_octets", "if_out_octets"]);
        assert_eq!(packets.len(), 6);
        assert!(packets.iter().all(|(name, _)| !name.contains("_hc_")));
    }

    #[test]
    fn values_are_scaled_to_base_units() {
        assert_eq!(by_name("temperature").unwrap().scale(215.0).to_string(), "21.5");
        assert_eq!(by_number(3).unwrap().scale(1500.0).to_string(), "0.0015");
    }
}
