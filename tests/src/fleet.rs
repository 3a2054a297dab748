//! The reference fleet: schools whose samples follow from a seed.
//!
//! A school has 200 series in one poll group, measured every 60 s with up to 20 ms of jitter on the
//! time stamp that they share: 70 switch ports (35 % `ifHCInOctets`, 35 % `ifHCOutOctets`, with the
//! shape of a school day; 30 % of the ports are idle), 10 % `ifOperStatus`, 6 % round-trip delay, 6 %
//! loss, 3 % CPU, 3 % temperature, 2 % disk. Ports 1 to 8 are links in full detail, port 1 the WAN; the
//! other ports are access ports; everything else is in full detail.
//!
//! So [`COARSE`] of the 200 series, those of the access ports, have [`Detail::Coarse`]: raw samples as
//! all others, but hourly and daily rollups only, none of 5 minutes. That is the collector's default,
//! since access ports are more than half of all series and are asked for least; what the bytes of a
//! sample are with every series in full detail is told beside.
//!
//! The noise of the octet counters is set so that `pco` alone needs about what was measured on the
//! fleet that the peers were given: 1.76 bytes a sample in, 1.60 out.

use domain::target::Detail;

/// Series of a school.
pub const SERIES: usize = 200;
/// Series of a school that are kept in coarse detail: the access ports'.
pub const COARSE: usize = 136;
/// Ports of a school, each with an in and an out counter.
pub const PORTS: u32 = 70;
/// Ports that are links in full detail; port 1 is the WAN.
pub const LINKS: u32 = 8;
/// Milliseconds between two rounds.
pub const PERIOD_MS: i64 = 60_000;
/// Rounds of a day.
pub const DAY_ROUNDS: u32 = 1_440;
/// Jitter of a round, milliseconds.
const JITTER_MS: u64 = 20;

/// Catalogue numbers.
const IN_OCTETS: u32 = 60;
const OUT_OCTETS: u32 = 61;
const OPER_STATUS: u32 = 68;
const RTT: u32 = 4;
const LOSS: u32 = 2;
const CPU: u32 = 80;
const TEMPERATURE: u32 = 89;
const DISK: u32 = 86;

/// What a column of a school is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// Number in the catalogue.
    pub metric: u32,
    /// Port, or the ordinal of its kind, from 1.
    pub instance: u32,
    /// How long it is kept in detail.
    pub detail: Detail,
}

/// The columns of every school, in record order.
#[must_use]
pub fn columns() -> Vec<Spec> {
    let of = |metric, n: u32| {
        let port = matches!(metric, IN_OCTETS | OUT_OCTETS | OPER_STATUS);
        (1..=n).map(move |instance| {
            let detail = if port && instance > LINKS { Detail::Coarse } else { Detail::Full };
            Spec { metric, instance, detail }
        })
    };
    let mut all: Vec<Spec> = Vec::with_capacity(SERIES);
    all.extend(of(IN_OCTETS, PORTS));
    all.extend(of(OUT_OCTETS, PORTS));
    all.extend(of(OPER_STATUS, 20));
    all.extend(of(RTT, 12));
    all.extend(of(LOSS, 12));
    all.extend(of(CPU, 6));
    all.extend(of(TEMPERATURE, 6));
    all.extend(of(DISK, 4));
    all
}

/// Place of a link's counters among the columns: in and out.
#[must_use]
pub fn link_places(port: u32) -> (usize, usize) {
    let place = port as usize - 1;
    (place, place + PORTS as usize)
}

/// Pseudo-random numbers that never change (`SplitMix64`, Steele et al. 2014).
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly in `[0, 1)`.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal, variance 1: the sum of twelve even ones would do, four are near enough.
    fn noise(&mut self) -> f64 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|i| bits >> (16 * i) & 0xffff).sum();
        (sum as f64 / 65_536.0 - 2.0) * 1.732_050_8
    }
}

/// One series in motion.
#[derive(Debug, Clone)]
struct Motion {
    metric: u32,
    random: Random,
    /// Counter or level.
    value: f64,
    counter: i64,
    /// Typical step or level.
    scale: f64,
}

/// One school: its rounds, oldest first.
#[derive(Debug, Clone)]
pub struct School {
    random: Random,
    motions: Vec<Motion>,
    start_ms: i64,
    round: u32,
    rounds: u32,
}

impl School {
    /// School `number` of the fleet of a seed, from `start_ms` (a UTC midnight) on.
    #[must_use]
    pub fn new(seed: u64, number: u32, start_ms: i64, rounds: u32) -> Self {
        let mut random = Random(seed ^ (u64::from(number) + 1).wrapping_mul(0xd6e8_feb8_6659_fd93));
        let motions = columns().iter().map(|spec| Motion::new(*spec, &mut random)).collect();
        Self { random, motions, start_ms, round: 0, rounds }
    }

    /// Time of the next round and its cells in the order of [`columns`]; `None` after the last.
    pub fn next_round(&mut self, cells: &mut Vec<Option<i64>>) -> Option<i64> {
        if self.round == self.rounds {
            return None;
        }
        let at_ms = self.start_ms + i64::from(self.round) * PERIOD_MS;
        let busy = busy(self.round);
        cells.clear();
        cells.extend(self.motions.iter_mut().map(|motion| Some(motion.step(busy))));
        self.round += 1;
        Some(at_ms + (self.random.next() % JITTER_MS).cast_signed())
    }
}

/// How busy a school is in a minute of the day: lessons from 8 to 12 and 13:30 to 17:30.
fn busy(round: u32) -> f64 {
    let minute = round % DAY_ROUNDS;
    let lesson = |from: u32, to: u32| {
        let (up, down) = (f64::from(minute) - f64::from(from), f64::from(to) - f64::from(minute));
        (up.min(down) / 30.0).clamp(0.0, 1.0)
    };
    0.04 + 0.96 * lesson(465, 735).max(lesson(795, 1_065))
}

impl Motion {
    fn new(spec: Spec, random: &mut Random) -> Self {
        let mut own = Random(random.next());
        let size = own.part();
        let (value, scale) = match spec.metric {
            IN_OCTETS | OUT_OCTETS => {
                // The same ports are idle in both directions: 21 of 70, none of the links.
                let idle =
                    spec.instance > LINKS && ((spec.instance - LINKS) % 62).is_multiple_of(3);
                let idle = idle || spec.instance == 70;
                let most = if spec.metric == IN_OCTETS { IN_SCALE } else { OUT_SCALE };
                (0.0, if idle { 0.0 } else { most * 40_f64.powf(size - 0.5) })
            }
            OPER_STATUS => (if own.part() < 0.9 { 1.0 } else { 2.0 }, 0.0),
            RTT => (0.0, 3_000.0 + 40_000.0 * size),
            CPU => (20.0 + 40.0 * size, 0.0),
            TEMPERATURE => (220.0 + 200.0 * size, 0.0),
            DISK => (4e11 * size, 2e6),
            _ => (0.0, 0.0),
        };
        let counter = (own.next() >> 20).cast_signed();
        Self { metric: spec.metric, random: own, value, counter, scale }
    }

    #[expect(clippy::cast_possible_truncation, reason = "values of a school, far below 2^53")]
    fn step(&mut self, busy: f64) -> i64 {
        let random = &mut self.random;
        match self.metric {
            IN_OCTETS | OUT_OCTETS => {
                let grown = self.scale * busy * (1.0 + 0.35 * random.noise()).max(0.02);
                self.counter += grown as i64;
                self.counter
            }
            OPER_STATUS => {
                if random.part() < 0.000_2 {
                    self.value = 3.0 - self.value;
                }
                self.value as i64
            }
            RTT => {
                let late = if random.part() < 0.01 { 8.0 * random.part() } else { 0.0 };
                (self.scale * (1.0 + 0.2 * busy + late) + 110.0 * random.noise()).max(200.0) as i64
            }
            // In ten-thousandths: one of ten echo requests lost is 1,000.
            LOSS => i64::from(random.part() < 0.003) * 1_000,
            CPU => {
                self.value = (self.value + 4.0 * random.noise() * busy.sqrt()).clamp(1.0, 99.0);
                self.value.round() as i64 * 100
            }
            TEMPERATURE => {
                if random.part() < 0.08 {
                    self.value += if random.part() < 0.5 { -5.0 } else { 5.0 };
                }
                self.value.round() as i64
            }
            DISK => {
                if random.part() < 0.02 {
                    self.value += self.scale * random.part();
                }
                (self.value / 4_096.0).round() as i64 * 4_096
            }
            _ => 0,
        }
    }
}

/// Octets a minute of a middling port in lessons.
const IN_SCALE: f64 = 2.26e6;
const OUT_SCALE: f64 = 0.63e6;

#[cfg(test)]
mod tests;
