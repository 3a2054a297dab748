//! The kill campaign: `kills [--agents N] [--devices N] [--kills K] [--faults F] [--drain-s S]
//! [--seed S]`.
//!
//! Kills K times an agent and K times the collector, hurts lines F times, and tells what is lost
//! without a declaration, stored twice, never measured, sent before it was durable, acknowledged
//! before it was committed, or missing without a gap. Ends with 1 unless all six are 0, with 2 when it could not be run.
//!
//! A campaign is only worth what it catches: `tests/campaign/planted` runs it on programs with a bug
//! planted in them, and demands that it ends with 1.

#![expect(clippy::print_stdout, reason = "a campaign prints its findings")]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use e2e::campaign::{Options, Report, run};

fn main() -> ExitCode {
    match campaign() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("the campaign could not be run: {error:?}");
            ExitCode::from(2)
        }
    }
}

fn campaign() -> Result<bool> {
    let directory = tempfile::Builder::new().prefix("vigie-kills-").tempdir()?;
    let mut options = Options {
        agents: 3,
        devices: 4,
        kills: 100,
        faults: 100,
        drain: Duration::from_mins(2),
        seed: rand::random(),
        directory: directory.path().to_owned(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number = words.next().with_context(|| format!("{word} needs a number"))?;
        let number: u64 = number.parse().with_context(|| format!("{word} {number}: no number"))?;
        match word.as_str() {
            "--agents" => options.agents = usize::try_from(number)?,
            "--devices" => options.devices = usize::try_from(number)?,
            "--kills" => {
                options.kills = usize::try_from(number)?;
                options.faults = options.kills;
            }
            "--faults" => options.faults = usize::try_from(number)?,
            "--drain-s" => options.drain = Duration::from_secs(number),
            "--seed" => options.seed = number,
            _ => bail!("{word} is unknown: --agents --devices --kills --faults --drain-s --seed"),
        }
    }
    println!(
        "{} kills of agents, {} of the collector, {} faults of lines; seed {}",
        options.kills, options.kills, options.faults, options.seed
    );
    let started = Instant::now();
    let outcome = run(&options);
    if !outcome.as_ref().is_ok_and(|report| report.verdict.is_clean()) {
        println!("logs and data are kept in {}", directory.keep().display());
    }
    let report = outcome?;
    print(&report, started);
    let enough = report.agent_kills == options.kills && report.collector_kills == options.kills;
    ensure!(enough, "not all kills were done");
    Ok(report.verdict.is_clean())
}

fn print(report: &Report, started: Instant) {
    let verdict = &report.verdict;
    println!("after {:.0} s:", started.elapsed().as_secs_f64());
    println!(
        "  agents killed {}, stopped {}, collector killed {}",
        report.agent_kills, report.agent_stops, report.collector_kills
    );
    println!("  lines hurt {}, bytes of answers lost {}", report.faults, report.bytes_lost);
    println!("  slowest start of the collector {:.2} s", report.slowest_start.as_secs_f64());
    println!("  drained {:.1} s after the last fault", report.drained_after.as_secs_f64());
    println!("  records durable {}, committed {}", verdict.spooled, verdict.committed);
    println!("  samples committed {}, readings judged {}", verdict.samples, verdict.readings);
    println!("  declared lost {}", verdict.declared);
    println!(
        "  durable before the kill that kept them out of the ledger {}, torn lines {}",
        verdict.unwritten, verdict.torn_lines
    );
    println!("  rejected {}, conflicts {}", verdict.rejected, verdict.conflicts);
    for key in verdict.lost.iter().take(20) {
        println!("  LOST lane {} epoch {:016x} seq {}", key.lane, key.epoch, key.seq);
    }
    for key in verdict.premature.iter().take(20) {
        println!("  EARLY lane {} epoch {:016x} seq {}", key.lane, key.epoch, key.seq);
    }
    for key in verdict.unkept.iter().take(20) {
        println!("  BROKEN WORD lane {} epoch {:016x} seq {}", key.lane, key.epoch, key.seq);
    }
    for hole in verdict.holes.iter().take(20) {
        println!("  HOLE group {} from {} to {} ms", hole.group, hole.from_ms, hole.to_ms);
    }
    println!(
        "undeclared lost {}, duplicates {}, phantoms {}, sent before durable {}, \
         acknowledged before committed {}, rounds missing without a gap {}",
        verdict.lost.len(),
        verdict.duplicates,
        verdict.phantoms,
        verdict.premature.len(),
        verdict.unkept.len(),
        verdict.holes.len(),
    );
}
