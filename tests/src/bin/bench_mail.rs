//! How long after a link is cut the mail is at the relay.
//!
//! Real agent, collector and relay, the agent in a network namespace of its own; each host stands at the
//! end of its own wire, which is set down at a random moment (seeded), and its mail is one of its own:
//! every host is a cause. Half of the hosts are asked each 10 s, as WAN and egress are by default: the
//! limit is theirs. The others are asked each 60 s, as equipment is by default, and told without a limit.
//! In the end the site's own uplink is set down, which is a silence: told after the delay that is shipped.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{
    fmt::Write as _,
    net::TcpListener,
    process::ExitCode,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    agent::{self, Agent},
    api::items,
    bench::{
        figures::{Figures, Side},
        flag, option,
    },
    collector::{self, Collector, Settings},
    netns::{self, Namespace},
    smtp_sink::SmtpSink,
    wait,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;

const HOSTS: u32 = 120;
const QUICK_HOSTS: u32 = 30;
/// Periods as shipped: of the path to the internet, and of equipment.
const PATH_PERIOD_S: u32 = 10;
const EQUIPMENT_PERIOD_S: u32 = 60;
/// Silence of an agent before it is told, as shipped.
const SILENCE_S: u32 = 300;
const SEED: u64 = 20_260_302;
/// The cuts are spread evenly over this time.
const SPREAD: Duration = Duration::from_secs(40);
/// Every host must have answered before the first cut.
const ANSWERED_WITHIN: Duration = Duration::from_mins(2);
/// No mail takes longer than this, or it is counted as this.
const PATIENCE: Duration = Duration::from_mins(4);
/// The same for the mail of a silence.
const SILENCE_PATIENCE: Duration = Duration::from_secs(SILENCE_S as u64 + 60);

/// Where the collector is, at the other end of the site's uplink.
const COLLECTOR: &str = "10.91.0.1";

fn main() -> Result<ExitCode> {
    let usual = if flag("--quick") { QUICK_HOSTS } else { HOSTS };
    let figures = bench(option("--hosts")?.unwrap_or(usual).clamp(2, 250))?;
    println!("{}", figures.table());
    Ok(if figures.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn address(host: u32) -> String {
    format!("10.90.{host}.2")
}

/// A name that is no part of another's.
fn name(host: u32) -> String {
    format!("borne-{host:03}")
}

/// Asked each 60 s, as equipment is.
fn is_equipment(host: u32) -> bool {
    host.is_multiple_of(2)
}

fn bench(hosts: u32) -> Result<Figures> {
    let directory = tempfile::tempdir()?;
    netns::sweep()?;
    let tag = netns::next_tag();
    let world = Arc::new(Namespace::new(&tag, "site")?);
    let school = Namespace::new(&tag, "hosts")?;
    let centre = Arc::new(Namespace::new(&tag, "centre")?);
    world.link("uplink", &centre, "site")?;
    world.address("uplink", "10.91.0.2/30")?;
    centre.address("site", &format!("{COLLECTOR}/30"))?;
    let (mut near, mut far) = (String::new(), String::new());
    for host in 1..=hosts {
        writeln!(near, "link add w{host} type veth peer name w{host} netns {}", school.name())?;
        writeln!(near, "addr add 10.90.{host}.1/30 dev w{host}")?;
        writeln!(near, "link set w{host} up")?;
        writeln!(far, "addr add {}/30 dev w{host}", address(host))?;
        writeln!(far, "link set w{host} up")?;
    }
    world.ip_batch(&near)?;
    school.ip_batch(&far)?;
    let listener = centre.enter(|| TcpListener::bind("127.0.0.1:0"))??;
    let sink = SmtpSink::on(listener)?;
    let settings =
        Settings { smtp: Some(sink.address()), silence_after_s: SILENCE_S, ..Settings::default() };
    let place = directory.path().join("collector");
    let mut collector =
        Collector::start_inside(&place, &settings, Some(&centre), COLLECTOR.parse()?)?;
    let uai = collector::uai(1);
    collector.add_site(&uai, "Collège des coupures", "1")?;
    collector.set_contractor("1", "astreinte@mainteneur.example")?;
    for host in 1..=hosts {
        let (address, name) = (address(host), name(host));
        let period_s = if is_equipment(host) { EQUIPMENT_PERIOD_S } else { PATH_PERIOD_S };
        let target =
            json!({ "method": "icmp", "address": address, "name": name, "period_s": period_s });
        collector.add_target(&uai, &target)?;
    }
    let mut agent =
        Agent::new(&directory.path().join("agent"), agent::Settings::default(), Some(&world))?;
    agent.enrol(collector.agents_address(), &collector.token(&uai)?)?;
    agent.start()?;
    wait::until_true("every host to answer", ANSWERED_WITHIN, || {
        agent.daemon()?.check()?;
        let targets = collector.get(&format!("/sites/{uai}/targets?limit=1000"))?;
        let up = items(&targets)
            .iter()
            .filter(|t| {
                t["state"] == "up" && t["name"].as_str().is_some_and(|n| n.starts_with("borne"))
            })
            .count();
        Ok(up == hosts as usize)
    })?;
    println!("{hosts} hosts answer; they are cut over {} s", SPREAD.as_secs());

    let mut random = StdRng::seed_from_u64(SEED);
    let mut plan: Vec<(Duration, u32)> =
        (1..=hosts).map(|host| (SPREAD.mul_f64(random.random()), host)).collect();
    plan.sort();
    let started = Instant::now();
    let mut cuts = Vec::new();
    for (after, host) in plan {
        sleep(after.saturating_sub(started.elapsed()));
        // Taken before the cut, so that no delay looks shorter than it is.
        cuts.push((host, Instant::now()));
        school.ip(&format!("link set w{host} down"))?;
    }
    // A mail that never comes is counted below, so this may end without all of them.
    let all = sink.wait_for(hosts as usize, PATIENCE);
    let mails = sink.mails();
    agent.daemon()?.check()?;
    collector.daemon()?.check()?;
    if let Err(error) = all {
        println!("{error:#}");
    }

    let uplink = Instant::now();
    centre.ip("link set site down")?;
    println!("the site's uplink is cut; its silence is told after {SILENCE_S} s");
    let silence = wait::until("the mail of the silence", SILENCE_PATIENCE, || {
        let mails = sink.mails();
        Ok(mails.into_iter().find(|mail| mail.body().contains("silence de l'agent")))
    })?;
    let silence_s = silence.at.saturating_duration_since(uplink).as_secs_f64();

    let (mut path, mut equipment) = (Vec::new(), Vec::new());
    let mut missing = 0;
    for (host, cut) in cuts {
        let mail = mails.iter().find(|mail| mail.body().contains(&name(host)));
        missing += u32::from(mail.is_none());
        let delay = mail.map_or(PATIENCE, |mail| mail.at.saturating_duration_since(cut));
        let delays = if is_equipment(host) { &mut equipment } else { &mut path };
        delays.push(delay.as_secs_f64());
    }
    for delays in [&mut path, &mut equipment] {
        delays.sort_by(f64::total_cmp);
        let early = delays.first().context("no host was cut")?;
        ensure!(*early > 0.5, "a mail came {early} s after the cut: it can not be about it");
    }
    Ok(figures(&path, &equipment, silence_s, missing, mails.len()))
}

fn figures(path: &[f64], equipment: &[f64], silence_s: f64, missing: u32, mails: usize) -> Figures {
    // Nearest rank.
    let rank = |delays: &[f64], p: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some hundreds"
        )]
        let at = (p * delays.len() as f64).ceil() as usize;
        delays[at.clamp(1, delays.len()) - 1]
    };
    let mut figures = Figures::default();
    figures.told("link cut to mail at the relay, asked each 10 s, p50", rank(path, 0.5), "s");
    figures.limited(
        "link cut to mail at the relay, asked each 10 s, p99",
        (rank(path, 0.99), "s"),
        "33-150 s Zabbix, Prometheus (timers)",
        (Side::Below, 25.0),
    );
    figures.told("  longest", rank(path, 1.0), "s");
    figures.told("  hosts cut", path.len() as f64, "");
    figures.told("equipment, asked each 60 s as shipped, p50", rank(equipment, 0.5), "s");
    figures.told("equipment, asked each 60 s as shipped, p99", rank(equipment, 0.99), "s");
    figures.told("  hosts cut", equipment.len() as f64, "");
    figures.told("uplink of the site cut to the mail of its silence", silence_s, "s");
    figures.told("  mails in all", mails as f64, "");
    figures.limited("cuts without a mail", (f64::from(missing), ""), "", (Side::Below, 0.0));
    figures
}
