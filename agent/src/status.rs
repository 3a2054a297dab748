//! One screen about the running agent, from its metrics page and its files.

use std::{
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{config::Config, identity::Keyring, metrics};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// The screen, in French.
pub async fn screen(config: &Config) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0);
    let mut out = identity(config, now);
    let page = match config.metrics_listen {
        Some(address) => metrics::fetch(address).await.map_err(|error| error.to_string()),
        None => Err("métriques désactivées (metrics_listen = \"off\")".to_owned()),
    };
    match page {
        Ok(page) => out.push_str(&running(&page)),
        Err(error) => line(&mut out, "État", &format!("inconnu, l'agent ne répond pas ({error})")),
    }
    out
}

fn line(out: &mut String, name: &str, text: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{name:<14}{text}");
}

fn identity(config: &Config, now: i64) -> String {
    let mut out = String::new();
    match Keyring::new(&config.data_dir).load() {
        Ok(credentials) => {
            let enrolment = &credentials.enrolment;
            let site: String = enrolment.site_name.chars().filter(|c| !c.is_control()).collect();
            line(&mut out, "Site", &site);
            line(&mut out, "Agent", &enrolment.agent_id);
            line(&mut out, "Collecteur", &enrolment.collector);
            line(&mut out, "Certificat", &validity(credentials.current.not_after - now));
        }
        Err(error) => line(&mut out, "Identité", &error.to_string()),
    }
    out
}

fn validity(left_s: i64) -> String {
    match left_s / DAY {
        _ if left_s <= 0 => format!("expiré depuis {} jours", -left_s / DAY),
        0 => "expire aujourd'hui".to_owned(),
        days => format!("valide encore {days} jours"),
    }
}

/// The sum of a metric over its labels; `None` when the page does not have it.
fn value(page: &str, name: &str) -> Option<f64> {
    let mut found = None;
    for line in page.lines() {
        let Some(rest) = line.strip_prefix(name) else { continue };
        if !rest.starts_with([' ', '{']) {
            continue;
        }
        let number: f64 = rest.rsplit(' ').next()?.parse().ok()?;
        found = Some(found.unwrap_or(0.0) + number);
    }
    found
}

fn running(page: &str) -> String {
    let mut out = String::new();
    let get = |name: &str| value(page, &format!("vigie_agent_{name}"));
    let whole = |name: &str| get(name).map_or_else(|| "?".to_owned(), |n| format!("{n:.0}"));
    let mib = |name: &str| {
        get(name).map_or_else(|| "?".to_owned(), |n| format!("{:.1} Mio", n / 1_048_576.0))
    };
    let connected = match (get("uplink_connected"), get("uplink_held")) {
        (Some(1.0), Some(1.0)) => "connecté, en attente : une autre machine a la même identité",
        (Some(1.0), _) => "connecté",
        (Some(_), _) => "non connecté, les mesures sont gardées",
        (None, _) => "inconnu",
    };
    line(&mut out, "Liaison", connected);
    line(
        &mut out,
        "Plan",
        &format!("version {}, {} groupes", whole("plan_version"), whole("plan_groups")),
    );
    let known = |name: &str| get(name).filter(|number| number.is_finite());
    let fill = match (known("spool_fill_ratios"), known("spool_full_in_seconds")) {
        (None, _) => "remplissage inconnu".to_owned(),
        (Some(share), None) => format!("rempli à {:.0} %", share * 100.0),
        (Some(share), Some(seconds)) => {
            format!("rempli à {:.0} %, plein dans {} à ce rythme", share * 100.0, about(seconds))
        }
    };
    let degraded = if get("spool_degraded") == Some(1.0) { ", DISQUE EN PANNE" } else { "" };
    line(
        &mut out,
        "Spool",
        &format!(
            "{}, {fill}, {} enregistrements à envoyer, {} perdus{degraded}",
            mib("spool_bytes"),
            whole("spool_unacknowledged"),
            whole("spool_evicted_records_total"),
        ),
    );
    line(
        &mut out,
        "Mesures",
        &format!(
            "retard p95 {} s, {} tours manqués",
            get("round_lag_p95_seconds").map_or_else(|| "?".to_owned(), |n| format!("{n:.3}")),
            whole("rounds_missed_total"),
        ),
    );
    let cpu = get("cpu_seconds").map_or_else(|| "?".to_owned(), |n| format!("{n:.1} s"));
    line(&mut out, "Ressources", &format!("{cpu} de CPU, {}", mib("resident_memory_bytes")));
    out
}

/// A duration in the largest unit of which there are two, rounded down.
fn about(seconds: f64) -> String {
    match seconds / 3_600.0 {
        hours if hours >= 48.0 => format!("{:.0} jours", (hours / 24.0).floor()),
        hours if hours >= 2.0 => format!("{:.0} h", hours.floor()),
        hours => format!("{:.0} min", (hours * 60.0).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        metrics::Metrics,
        spool::{Fill, SpoolStatus},
    };

    #[test]
    fn the_screen_reads_the_page_that_the_agent_serves() {
        let metrics = Metrics::new();
        metrics.connected.set(1);
        metrics.plan_version.set(12);
        metrics.plan_groups.set(9);
        metrics.rounds_missed.get_or_create(&metrics::Cause { cause: "overload" }).inc_by(3);
        let screen = running(&metrics.page(&SpoolStatus::default()));
        assert!(!screen.contains('?'), "{screen}");
        for text in ["connecté\n", "version 12, 9 groupes", "3 tours manqués"] {
            assert!(screen.contains(text), "{text} in {screen}");
        }
    }

    #[test]
    fn an_agent_that_missed_nothing_says_so() {
        let screen = running(&Metrics::new().page(&SpoolStatus::default()));
        assert!(screen.contains(" 0 tours manqués"), "{screen}");
        assert!(!screen.contains('?'), "{screen}");
    }

    #[test]
    fn a_spool_that_fills_up_says_how_far_and_how_soon() {
        let screen = |full_in_ns| {
            let fill = Fill { held_bytes: 42, cap_bytes: 100, full_in_ns };
            let status = SpoolStatus { fill: Some(fill), ..SpoolStatus::default() };
            running(&Metrics::new().page(&status))
        };
        let hours = |hours: u64| Some(hours * 3_600_000_000_000);
        assert!(screen(None).contains("Mio, rempli à 42 %, 0 enreg"), "{}", screen(None));
        for (full_in, text) in [(hours(1), "60 min"), (hours(47), "47 h"), (hours(73), "3 jours")] {
            let screen = screen(full_in);
            let text = format!("rempli à 42 %, plein dans {text} à ce rythme,");
            assert!(screen.contains(&text), "{screen}");
        }
        let unknown = running(&Metrics::new().page(&SpoolStatus::default()));
        assert!(unknown.contains("remplissage inconnu"), "{unknown}");
    }

    #[test]
    fn what_the_page_does_not_tell_is_unknown() {
        let screen = running("# EOF\n");
        assert!(screen.contains("Liaison       inconnu\n"), "{screen}");
        assert!(!screen.contains(" 0"), "{screen}");
    }

    #[test]
    fn the_end_of_a_certificate_is_told_in_days() {
        assert_eq!(validity(3 * DAY + 5), "valide encore 3 jours");
        assert_eq!(validity(10), "expire aujourd'hui");
        assert_eq!(validity(-3 * DAY), "expiré depuis 3 jours");
    }
}
