//! How long after the link of a device is cut the mail is at the relay.
//!
//! Real agent, collector and relay in a network namespace; each host is one address of another one
//! behind a wire, asked by ICMP each 10 s, everything else as shipped. Each host is cut at a random moment of its own
//! (seeded), and its mail is one of its own: every host is a cause.

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
const PERIOD_S: u32 = 10;
const SEED: u64 = 20_260_302;
/// The cuts are spread evenly over this time.
const SPREAD: Duration = Duration::from_secs(40);
/// Every host must have answered before the first cut.
const ANSWERED_WITHIN: Duration = Duration::from_mins(1);
/// No mail takes longer than this, or it is counted as this.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where the collector is, in the agent's own namespace.
const COLLECTOR: &str = "10.91.0.1";

fn main() -> Result<ExitCode> {
    let usual = if flag("--quick") { QUICK_HOSTS } else { HOSTS };
    let figures = bench(option("--hosts")?.unwrap_or(usual).clamp(1, 250))?;
    println!("{}", figures.table());
    Ok(if figures.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn address(host: u32) -> String {
    format!("10.90.0.{host}")
}

/// A name that is no part of another's.
fn name(host: u32) -> String {
    format!("borne-{host:03}")
}

fn bench(hosts: u32) -> Result<Figures> {
    let directory = tempfile::tempdir()?;
    netns::sweep()?;
    let tag = netns::next_tag();
    let world = Arc::new(Namespace::new(&tag, "mail")?);
    let school = Namespace::new(&tag, "hosts")?;
    world.link("lan", &school, "lan")?;
    world.address("lan", "10.90.1.1/23")?;
    world.address("lo", &format!("{COLLECTOR}/32"))?;
    let mut lines = String::new();
    for host in 1..=hosts {
        writeln!(lines, "addr add {}/23 dev lan", address(host))?;
    }
    school.ip_batch(&lines)?;
    school.nft(
        "add table inet cut; add set inet cut hosts { type ipv4_addr; }; \
         add chain inet cut in { type filter hook input priority 0; }; \
         add rule inet cut in ip daddr @hosts icmp type echo-request drop",
    )?;
    let listener = world.enter(|| TcpListener::bind("127.0.0.1:0"))??;
    let sink = SmtpSink::on(listener)?;
    let settings = Settings { smtp: Some(sink.address()), ..Settings::default() };
    let place = directory.path().join("collector");
    let mut collector =
        Collector::start_inside(&place, &settings, Some(&world), COLLECTOR.parse()?)?;
    let uai = collector::uai(1);
    collector.add_site(&uai, "Collège des coupures", "1")?;
    collector.set_contractor("1", "astreinte@mainteneur.example")?;
    for host in 1..=hosts {
        let (address, name) = (address(host), name(host));
        let target =
            json!({ "method": "icmp", "address": address, "name": name, "period_s": PERIOD_S });
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
        school.nft(&format!("add element inet cut hosts {{ {} }}", address(host)))?;
    }
    // A mail that never comes is counted below, so this may end without all of them.
    let all = sink.wait_for(hosts as usize, PATIENCE);
    let mails = sink.mails();
    agent.daemon()?.check()?;
    collector.daemon()?.check()?;
    if let Err(error) = all {
        println!("{error:#}");
    }

    let mut delays = Vec::new();
    let mut missing = 0;
    for (host, cut) in cuts {
        let mail = mails.iter().find(|mail| mail.body().contains(&name(host)));
        missing += u32::from(mail.is_none());
        let delay = mail.map_or(PATIENCE, |mail| mail.at.saturating_duration_since(cut));
        delays.push(delay.as_secs_f64());
    }
    delays.sort_by(f64::total_cmp);
    let early = delays.first().context("no host was cut")?;
    ensure!(*early > 0.5, "a mail came {early} s after the cut: it can not be about it");
    Ok(figures(&delays, missing, mails.len()))
}

fn figures(delays: &[f64], missing: u32, mails: usize) -> Figures {
    // Nearest rank.
    let rank = |p: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some hundreds"
        )]
        let at = (p * delays.len() as f64).ceil() as usize;
        delays[at.clamp(1, delays.len()) - 1]
    };
    let mut figures = Figures::default();
    figures.told("link of a device cut to mail at the relay, p50", rank(0.5), "s");
    figures.limited(
        "link of a device cut to mail at the relay, p99",
        (rank(0.99), "s"),
        "33-150 s Zabbix, Prometheus (timers)",
        (Side::Below, 25.0),
    );
    figures.told("link of a device cut to mail at the relay, longest", rank(1.0), "s");
    figures.told("  hosts cut", delays.len() as f64, "");
    figures.told("  mails in all", mails as f64, "");
    figures.limited("cuts without a mail", (f64::from(missing), ""), "", (Side::Below, 0.0));
    figures
}
