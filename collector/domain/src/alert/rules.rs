//! Which figures are watched, and their thresholds by default.

use std::borrow::Cow;

use jiff::SignedDuration;

use super::threshold::{Bad, Threshold};
use crate::{
    metric::{self, Metric},
    target::Role,
};

/// What a rule computes from one round. Metrics by their number in [`metric::CATALOGUE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// A metric in base units.
    Value(u32),
    /// One metric over another of the same target and instance.
    Ratio(u32, u32),
    /// Days from the round to the instant that a metric in Unix seconds tells.
    DaysLeft(u32),
}

/// One watched figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Name in the API, the store and the metrics; never changes.
    pub name: Cow<'static, str>,
    /// What is read.
    pub figure: Figure,
    /// When it alerts.
    pub threshold: Threshold,
    /// Only for these roles; empty = all.
    pub roles: Cow<'static, [Role]>,
    /// What people call it, in French.
    pub label: Cow<'static, str>,
}

const fn above(raise: f64, clear: f64, hold_minutes: i64) -> Threshold {
    Threshold { bad: Bad::Above, raise, clear, hold: SignedDuration::from_mins(hold_minutes) }
}

/// Roles of the path to the internet, on which loss is felt by everybody.
const PATH: &[Role] = &[Role::Gateway, Role::Hop, Role::Collector, Role::Reference];

/// The rules by default: the "act" column of the thresholds for disks, processors, memory, loss and
/// certificates.
#[must_use]
pub fn defaults() -> Vec<Rule> {
    let number = |name| metric::by_name(name).map_or(0, |metric| metric.number);
    let rule = |name, figure, threshold, roles, label| Rule {
        name: Cow::Borrowed(name),
        figure,
        threshold,
        roles: Cow::Borrowed(roles),
        label: Cow::Borrowed(label),
    };
    let ending =
        Threshold { bad: Bad::Below, raise: 15.0, clear: 16.0, hold: SignedDuration::ZERO };
    vec![
        rule(
            "disk-full",
            Figure::Ratio(number("disk_used"), number("disk_total")),
            above(0.90, 0.85, 2),
            &[],
            "Occupation du disque",
        ),
        rule(
            "cpu-busy",
            Figure::Value(number("cpu_utilisation")),
            above(0.95, 0.80, 15),
            &[],
            "Charge du processeur",
        ),
        rule(
            "memory-full",
            Figure::Ratio(number("memory_used"), number("memory_total")),
            above(0.95, 0.90, 15),
            &[],
            "Occupation de la mémoire",
        ),
        rule(
            "packet-loss",
            Figure::Value(number("icmp_loss")),
            above(0.05, 0.02, 5),
            PATH,
            "Perte de paquets",
        ),
        rule(
            "certificate-ending",
            Figure::DaysLeft(number("http_certificate_expiry")),
            ending,
            &[],
            "Fin de validité du certificat",
        ),
    ]
}

impl Rule {
    /// A rule on one metric in base units, as an authority writes it. When `raise > clear` high
    /// values are bad, else low ones are.
    #[must_use]
    pub fn on_metric(
        metric: &Metric,
        roles: Vec<Role>,
        raise: f64,
        clear: f64,
        hold: SignedDuration,
    ) -> Self {
        let bad = if raise > clear { Bad::Above } else { Bad::Below };
        Self {
            name: Cow::Owned(metric.name.replace('_', "-")),
            figure: Figure::Value(metric.number),
            threshold: Threshold { bad, raise, clear, hold },
            roles: Cow::Owned(roles),
            label: Cow::Borrowed(metric.name),
        }
    }

    /// A reading as people write it, in French.
    #[must_use]
    pub fn show(&self, reading: f64) -> String {
        let unit = match self.figure {
            Figure::DaysLeft(_) => return format!("{reading:.0} j"),
            Figure::Ratio(..) => "ratio",
            Figure::Value(number) => metric::by_number(number).map_or("", |metric| metric.unit),
        };
        match unit {
            "ratio" => format!("{:.1} %", reading * 100.0).replace('.', ","),
            "celsius" => format!("{reading:.1} °C").replace('.', ","),
            "s" => format!("{:.1} ms", reading * 1000.0).replace('.', ","),
            unit => format!("{reading} {unit}").replace('.', ","),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_reads_metrics_that_exist_and_clears_on_the_good_side() {
        for rule in defaults() {
            let numbers = match rule.figure {
                Figure::Value(number) | Figure::DaysLeft(number) => vec![number],
                Figure::Ratio(over, under) => vec![over, under],
            };
            assert!(numbers.iter().all(|n| metric::by_number(*n).is_some()), "{}", rule.name);
            let gap = rule.threshold.raise - rule.threshold.clear;
            assert!((rule.threshold.bad == Bad::Above) == (gap > 0.0), "{}", rule.name);
        }
    }

    #[test]
    fn readings_are_written_as_the_french_do() {
        let rules = defaults();
        assert_eq!(rules[0].show(0.9234), "92,3 %");
        assert_eq!(rules[4].show(12.4), "12 j");
        let metric = metric::by_name("icmp_rtt_mean").unwrap();
        let rule = Rule::on_metric(metric, vec![], 0.2, 0.1, SignedDuration::ZERO);
        assert_eq!((rule.name.as_ref(), rule.show(0.2)), ("icmp-rtt-mean", "200,0 ms".to_owned()));
    }
}
