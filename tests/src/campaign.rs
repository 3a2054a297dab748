//! Kills, cuts and lost acknowledgements under load, judged by a ledger outside the product.
//!
//! Synthetic SNMP devices answer with values that say which device, metric and reading they are;
//! agents write the key of each record right after the sync that made it durable. Meanwhile
//! processes are killed and lines cut, from a printed seed. In the end every durable record must be
//! committed or declared lost, none twice, none before it was durable, and nothing that was never
//! measured; and where rounds are missing, an agent must have said so.

mod holes;
mod ledger;
mod oracle;
mod readings;

pub use holes::{Hole, Rounds};
pub use ledger::{Key, Ledger, Strays, mark_kill};
pub use oracle::{Committed, Verdict, check_integrity, committed, judge, premature, unkept};
pub use readings::{Filed, METRICS, Readings, Series};

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;

use crate::{
    agent::{self, Agent},
    collector::{self, Collector, Settings},
    proxy::Proxy,
    snmp_responder::{Responder, Spec},
    wait,
};

/// Community of the synthetic devices.
const COMMUNITY: &str = "mesure";
/// Interfaces of a synthetic device.
const INTERFACES: u32 = 6;
/// Seconds between two rounds of a device: the shortest that the collector allows.
const PERIOD_S: u32 = 5;
/// How long until every agent measures its interfaces.
const WARM_WITHIN: Duration = Duration::from_secs(90);
/// Of the ends of agents, how many are stops as an operator would.
const STOPS: f64 = 0.15;
/// Most agents of a campaign.
const MAX_AGENTS: usize = 16;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Agents, each of a school of its own.
    pub agents: usize,
    /// Synthetic devices of each agent.
    pub devices: usize,
    /// Kills of agents, and as many of the collector.
    pub kills: usize,
    /// Cuts of lines and losses of acknowledgements.
    pub faults: usize,
    /// How long the last records may take to be committed once the faults are over.
    pub drain: Duration,
    /// Where the randomness begins.
    pub seed: u64,
    /// Where files go.
    pub directory: PathBuf,
}

/// What happened.
#[derive(Debug)]
pub struct Report {
    /// The judgement.
    pub verdict: Verdict,
    /// Kills of agents.
    pub agent_kills: usize,
    /// Stops of agents as an operator would.
    pub agent_stops: usize,
    /// Kills of the collector.
    pub collector_kills: usize,
    /// Lines cut or made to lose answers.
    pub faults: usize,
    /// Bytes of answers, acknowledgements among them, lost after the collector had sent them.
    pub bytes_lost: u64,
    /// Longest time from a start of the collector to its first answer.
    pub slowest_start: Duration,
    /// From the end of the faults until the last record was committed.
    pub drained_after: Duration,
}

struct School {
    agent: Mutex<Agent>,
    ledger: PathBuf,
    line: Proxy,
}

/// Runs a campaign; an error is a campaign that could not be run or judged.
pub fn run(options: &Options) -> Result<Report> {
    ensure!((1..=MAX_AGENTS).contains(&options.agents), "1 to {MAX_AGENTS} agents");
    let readings = Readings::default();
    let devices = options.agents * options.devices;
    let responder = Responder::start(Spec {
        interfaces: vec![INTERFACES; devices],
        community: COMMUNITY.to_owned(),
        values: readings.values(),
    })?;
    let mut places = Vec::new();
    for (number, address) in responder.addresses().iter().enumerate() {
        places.push((collector::uai(u32::try_from(number / options.devices)?), *address));
    }
    let readings = readings.placed(places);
    let settings = Settings { start_grace_s: 600, silence_after_s: 600, ..Settings::default() };
    let collector = Collector::start(&options.directory.join("collector"), &settings)?;
    let schools = schools(options, &collector, responder.addresses())?;
    let database = collector.data().join("vigie.db");
    wait::until_true("committed readings of every device", WARM_WITHIN, || {
        let held = committed(&database)?;
        Ok(readings.devices_among(held.values()) == devices)
    })?;

    let (mut collector, done) = inject(options, collector, &schools, &database)?;

    let ended = Instant::now();
    let spooled = ledgers(&schools)?;
    let mut last = committed(&database)?;
    while !judge(&spooled, &last, &readings).lost.is_empty() && ended.elapsed() < options.drain {
        thread::sleep(Duration::from_millis(500));
        collector.daemon()?.check()?;
        last = committed(&database)?;
    }
    let drained_after = ended.elapsed();

    // The database was read first: whatever it holds, the ledgers, read later, must hold too.
    let all = ledgers(&schools)?;
    let mut verdict = judge(&all, &last, &readings);
    verdict.premature.extend(done.premature);
    verdict.premature.sort_unstable();
    verdict.premature.dedup();
    verdict.unkept = done.unkept;
    // What became durable after the faults may still be on its way.
    verdict.lost.retain(|key| spooled.contains(key));
    verdict.torn_lines = all.torn;
    collector.stop()?;
    check_integrity(&database)?;
    Ok(Report {
        verdict,
        agent_kills: done.agent_kills,
        agent_stops: done.agent_stops,
        collector_kills: done.collector_kills,
        faults: done.faults,
        bytes_lost: schools.iter().map(|school| school.line.bytes_lost()).sum(),
        slowest_start: done.slowest_start,
        drained_after,
    })
}

fn schools(
    options: &Options,
    collector: &Collector,
    devices: &[SocketAddr],
) -> Result<Vec<School>> {
    let mut schools = Vec::new();
    for (number, devices) in devices.chunks(options.devices).enumerate() {
        let uai = collector::uai(u32::try_from(number)?);
        let directory = options.directory.join(format!("agent{number}"));
        let ledger = directory.join("ledger");
        let settings = agent::Settings {
            allow_networks: Some(vec!["127.0.0.0/8".to_owned()]),
            commit_interval_ms: Some(250),
            reconnect_ms: Some(50),
            ledger: Some(ledger.clone()),
            ..agent::Settings::default()
        };
        let line = Proxy::start("127.0.0.1", collector.agents_address())?;
        let mut agent = Agent::new(&directory, settings, None)?;
        collector.add_site(&uai, &format!("Collège {number}"), "1")?;
        for device in devices {
            let target = json!({
                "method": "snmp", "address": device.to_string(), "community": COMMUNITY,
                "period_s": PERIOD_S,
            });
            collector.add_target(&uai, &target)?;
        }
        agent.enrol(line.address(), &collector.token(&uai)?)?;
        agent.start()?;
        schools.push(School { agent: Mutex::new(agent), ledger, line });
    }
    Ok(schools)
}

fn ledgers(schools: &[School]) -> Result<Ledger> {
    let mut all = Ledger::default();
    for school in schools {
        all.read(&school.ledger)?;
    }
    Ok(all)
}

#[derive(Debug, Default)]
struct Done {
    agent_kills: usize,
    agent_stops: usize,
    collector_kills: usize,
    faults: usize,
    slowest_start: Duration,
    premature: Vec<Key>,
    unkept: Vec<Key>,
}

/// What the hands that do harm share.
struct Harm<'a> {
    options: &'a Options,
    schools: &'a [School],
    /// The collector's.
    database: &'a Path,
    /// Set when one of them failed: the others need not go on.
    over: AtomicBool,
    agent_kills: AtomicUsize,
    agent_stops: AtomicUsize,
    collector_kills: AtomicUsize,
}

impl Harm<'_> {
    /// Randomness of one hand.
    fn random(&self, hand: u64) -> StdRng {
        StdRng::seed_from_u64(self.options.seed.wrapping_mul(31).wrapping_add(hand))
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn ended<T>(&self, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() {
            self.over.store(true, Ordering::SeqCst);
        }
        outcome
    }

    fn school(&self, random: &mut StdRng) -> &School {
        &self.schools[random.random_range(0..self.schools.len())]
    }

    /// Kills the collector; its slowest start, and the records that one of the dead had acknowledged
    /// before they were committed.
    fn kill_collector(&self, collector: &mut Collector) -> Result<(Duration, Vec<Key>)> {
        let mut random = self.random(1);
        let (mut slowest, mut broken) = (Duration::ZERO, Vec::new());
        while self.collector_kills.load(Ordering::SeqCst) < self.options.kills && !self.is_over() {
            // From the very start of the process, recovery included, to well into its work.
            pause(&mut random, 0, 2_500);
            collector.daemon()?.check()?;
            collector.kill()?;
            self.collector_kills.fetch_add(1, Ordering::SeqCst);
            pause(&mut random, 0, 300);
            let ledgers = self.schools.iter().map(|school| &*school.ledger);
            broken.append(&mut unkept(ledgers, self.database)?);
            let started = Instant::now();
            collector.launch()?;
            // Half of the starts are let come to an end, so that there is always some progress.
            if random.random_bool(0.5) {
                collector.until_it_answers().context("after a kill")?;
                slowest = slowest.max(started.elapsed());
            }
        }
        collector.until_it_answers().context("after the last kill")?;
        Ok((slowest, broken))
    }

    /// Kills agents; the records that one of them had sent before they were durable.
    fn kill_agents(&self) -> Result<Vec<Key>> {
        let mut random = self.random(2);
        let mut early = Vec::new();
        while self.agent_kills.load(Ordering::SeqCst) < self.options.kills && !self.is_over() {
            pause(&mut random, 0, 2_500);
            let school = self.school(&mut random);
            let mut agent = school.agent.lock().unwrap_or_else(PoisonError::into_inner);
            agent.daemon()?.check().context("an agent ended by itself")?;
            if random.random_bool(STOPS) {
                // Before it listens to signals, this one is a kill as well.
                if !agent.end()? {
                    mark_kill(&school.ledger)?;
                }
                self.agent_stops.fetch_add(1, Ordering::SeqCst);
                pause(&mut random, 0, 300);
                agent.start()?;
                continue;
            }
            agent.kill()?;
            self.agent_kills.fetch_add(1, Ordering::SeqCst);
            pause(&mut random, 0, 300);
            // What has arrived by now, before the next run, was sent by the one that is dead.
            early.append(&mut premature(&school.ledger, self.database)?);
            mark_kill(&school.ledger)?;
            agent.start()?;
        }
        Ok(early)
    }

    fn hurt_lines(&self) -> usize {
        let mut random = self.random(3);
        for done in 0..self.options.faults {
            if self.is_over() {
                return done;
            }
            pause(&mut random, 100, 2_000);
            let line = &self.school(&mut random).line;
            match random.random_range(0..3) {
                0 => line.break_connections(),
                1 => {
                    line.cut();
                    pause(&mut random, 100, 1_000);
                }
                // What the collector commits now is not acknowledged, as far as the agent knows.
                _ => {
                    line.lose_answers();
                    pause(&mut random, 100, 1_500);
                    line.break_connections();
                }
            }
            line.restore();
        }
        self.options.faults
    }
}

fn pause(random: &mut StdRng, least_ms: u64, most_ms: u64) {
    thread::sleep(Duration::from_millis(random.random_range(least_ms..=most_ms)));
}

/// Kills the collector and agents and hurts lines until there were enough of each; all run again at
/// the end.
fn inject(
    options: &Options,
    mut collector: Collector,
    schools: &[School],
    database: &Path,
) -> Result<(Collector, Done)> {
    let harm = Harm {
        options,
        schools,
        database,
        over: AtomicBool::new(false),
        agent_kills: AtomicUsize::new(0),
        agent_stops: AtomicUsize::new(0),
        collector_kills: AtomicUsize::new(0),
    };
    let (starts, agents, faults) = thread::scope(|scope| {
        let agents = scope.spawn(|| harm.ended(harm.kill_agents()));
        let lines = scope.spawn(|| harm.hurt_lines());
        let starts = harm.ended(harm.kill_collector(&mut collector));
        (starts, agents.join(), lines.join())
    });
    let panicked = |_| anyhow::anyhow!("a thread of the campaign panicked");
    let premature = agents.map_err(panicked)??;
    let (slowest_start, unkept) = starts?;
    let done = Done {
        agent_kills: harm.agent_kills.load(Ordering::SeqCst),
        agent_stops: harm.agent_stops.load(Ordering::SeqCst),
        collector_kills: harm.collector_kills.load(Ordering::SeqCst),
        faults: faults.map_err(panicked)?,
        slowest_start,
        premature,
        unkept,
    };
    Ok((collector, done))
}
