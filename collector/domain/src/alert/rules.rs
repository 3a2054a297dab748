//! Which figures are watched, and their thresholds by default.

use jiff::SignedDuration;

use super::threshold::{Bad, Threshold};
use crate::target::Role;

/// What a rule computes from one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// A metric in base units.
    Value(&'static str),
    /// One metric over another of the same target and instance.
    Ratio(&'static str, &'static str),
    /// Days from the round to the instant that a metric in Unix seconds tells.
    DaysLeft(&'static str),
}

/// One watched figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// Name in the API, the store and the metrics; never changes.
    pub name: &'static str,
    /// What is read.
    pub figure: Figure,
    /// When it alerts.
    pub threshold: Threshold,
    /// Only for these roles; empty = all.
    pub roles: &'static [Role],
    /// What people call it, in French.
    pub label: &'static str,
}

const fn above(raise: f64, clear: f64, hold_minutes: i64) -> Threshold {
    Threshold { bad: Bad::Above, raise, clear, hold: SignedDuration::from_mins(hold_minutes) }
}

/// Roles of the path to the internet, on which loss is felt by everybody.
const PATH: &[Role] = &[Role::Gateway, Role::Hop, Role::Collector, Role::Reference];

/// The rules by default: the "act" column of the thresholds for disks, processors, memory, loss and
/// certificates.
pub const DEFAULT: &[Rule] = &[
    Rule {
        name: "disk-full",
        figure: Figure::Ratio("disk_used", "disk_total"),
        threshold: above(0.90, 0.85, 2),
        roles: &[],
        label: "Occupation du disque",
    },
    Rule {
        name: "cpu-busy",
        figure: Figure::Value("cpu_utilisation"),
        threshold: above(0.95, 0.80, 15),
        roles: &[],
        label: "Charge du processeur",
    },
    Rule {
        name: "memory-full",
        figure: Figure::Ratio("memory_used", "memory_total"),
        threshold: above(0.95, 0.90, 15),
        roles: &[],
        label: "Occupation de la mémoire",
    },
    Rule {
        name: "packet-loss",
        figure: Figure::Value("icmp_loss"),
        threshold: above(0.05, 0.02, 5),
        roles: PATH,
        label: "Perte de paquets",
    },
    Rule {
        name: "certificate-ending",
        figure: Figure::DaysLeft("http_certificate_expiry"),
        threshold: Threshold {
            bad: Bad::Below,
            raise: 15.0,
            clear: 16.0,
            hold: SignedDuration::ZERO,
        },
        roles: &[],
        label: "Fin de validité du certificat (jours)",
    },
];

impl Rule {
    /// A reading as people write it, in French.
    #[must_use]
    pub fn show(&self, reading: f64) -> String {
        match self.figure {
            Figure::DaysLeft(_) => format!("{reading:.0} j"),
            Figure::Value(_) | Figure::Ratio(..) => {
                format!("{:.1} %", reading * 100.0).replace('.', ",")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric;

    #[test]
    fn every_rule_reads_metrics_that_exist_and_clears_on_the_good_side() {
        for rule in DEFAULT {
            let names = match rule.figure {
                Figure::Value(name) | Figure::DaysLeft(name) => vec![name],
                Figure::Ratio(over, under) => vec![over, under],
            };
            assert!(names.iter().all(|name| metric::by_name(name).is_some()), "{}", rule.name);
            let gap = rule.threshold.raise - rule.threshold.clear;
            assert!((rule.threshold.bad == Bad::Above) == (gap > 0.0), "{}", rule.name);
        }
    }

    #[test]
    fn readings_are_written_as_the_french_do() {
        assert_eq!(DEFAULT[0].show(0.9234), "92,3 %");
        assert_eq!(DEFAULT[4].show(12.4), "12 j");
    }
}
