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
    /// Name in the store: a part of what tells two causes apart, so no two rules that differ may
    /// share it. Without `:` and `@`.
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

/// Roles of the path to the internet and to the shared centre, on which loss is felt by everybody.
const PATH: &[Role] = &[Role::Gateway, Role::Hop, Role::Collector, Role::Reference, Role::Centre];

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
    ///
    /// Its name tells all that it says, so that a warning and an alarm on one metric are two causes,
    /// and a rule that is changed is another one. Two rules of one name are one rule written twice:
    /// they begin and end together.
    #[must_use]
    pub fn on_metric(
        metric: &Metric,
        roles: Vec<Role>,
        raise: f64,
        clear: f64,
        hold: SignedDuration,
    ) -> Self {
        let bad = if raise > clear { Bad::Above } else { Bad::Below };
        let hold_s = hold.as_secs();
        let mut name = format!("{}-{raise}-{clear}-{hold_s}s", metric.name.replace('_', "-"));
        for role in Role::ALL.iter().filter(|role| roles.contains(role)) {
            name = format!("{name}-{}", role.code());
        }
        Self {
            name: Cow::Owned(name),
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
            Figure::Value(number) if is_long(number) => return duration(reading),
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

/// Seconds that are not those of a delay: their stored unit is coarser than a millisecond.
fn is_long(number: u32) -> bool {
    metric::by_number(number).is_some_and(|metric| metric.unit == "s" && metric.exponent > -3)
}

/// Seconds in the two largest units that say something: `3 j 4 h`, `2 min 5 s`.
fn duration(seconds: f64) -> String {
    let whole = seconds.abs();
    let sign = if seconds < 0.0 { "-" } else { "" };
    let (day, hour, minute) = (86_400.0, 3_600.0, 60.0);
    let two = |large: f64, unit: &str, small: f64, rest_unit: &str| {
        let (count, rest) = ((whole / large).floor(), (whole % large / small).floor());
        if rest > 0.0 {
            format!("{sign}{count} {unit} {rest} {rest_unit}")
        } else {
            format!("{sign}{count} {unit}")
        }
    };
    match whole {
        s if s >= day => two(day, "j", hour, "h"),
        s if s >= hour => two(hour, "h", minute, "min"),
        s if s >= minute => two(minute, "min", 1.0, "s"),
        _ => format!("{seconds:.1} s").replace('.', ","),
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
        assert_eq!(rule.show(0.2), "200,0 ms");
    }

    #[test]
    fn a_time_that_something_has_been_up_is_no_delay() {
        let show = |name, reading| {
            let metric = metric::by_name(name).unwrap();
            Rule::on_metric(metric, vec![], 60.0, 120.0, SignedDuration::ZERO).show(reading)
        };
        for name in ["uptime", "sys_up_time", "if_counter_discontinuity_time"] {
            assert_eq!(show(name, 86_400.0), "1 j");
            assert_eq!(show(name, 273_599.0), "3 j 3 h");
            assert_eq!(show(name, 3_660.0), "1 h 1 min");
            assert_eq!(show(name, 125.9), "2 min 5 s");
            assert_eq!(show(name, 7.25), "7,2 s");
        }
        assert_eq!(show("http_total_time", 1.5), "1500,0 ms");
        assert_eq!(show("tcp_connect_time", 0.012), "12,0 ms");
    }

    #[test]
    fn rules_that_differ_in_anything_have_names_of_their_own() {
        let metric = metric::by_name("icmp_loss").unwrap();
        let rule = |roles: &[Role], raise, clear, hold| {
            let hold = SignedDuration::from_secs(hold);
            Rule::on_metric(metric, roles.to_vec(), raise, clear, hold).name.into_owned()
        };
        let names = [
            rule(&[], 0.2, 0.1, 60),
            rule(&[], 0.5, 0.1, 60),
            rule(&[], 0.2, 0.05, 60),
            rule(&[], 0.2, 0.1, 61),
            rule(&[Role::Gateway], 0.2, 0.1, 60),
            rule(&[Role::Gateway, Role::Hop], 0.2, 0.1, 60),
        ];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
        assert_eq!(names[5], "icmp-loss-0.2-0.1-60s-gateway-hop");
        assert_eq!(names[5], rule(&[Role::Hop, Role::Gateway], 0.2, 0.1, 60), "in any order");
        assert!(names.iter().all(|name| !name.contains([':', '@'])));
    }
}
