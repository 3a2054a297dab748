//! Every entry of `tests/fuzz`, for a bounded time from a printed seed.

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::fuzz::{Entry, Mutator, seeds};

/// Seconds for each entry, unless `VIGIE_FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 10;
/// Longest time for one input: what takes longer is a hang.
const HANG: Duration = Duration::from_secs(5);
/// Least inputs in any run: fewer would be no test.
const LEAST: u64 = 500;

fn check(entry: Entry) -> Result<()> {
    let seconds = match env::var("VIGIE_FUZZ_SECONDS") {
        Ok(text) => text.parse().context("VIGIE_FUZZ_SECONDS is no number")?,
        Err(_) => SECONDS,
    };
    let seed = match env::var("VIGIE_FUZZ_SEED") {
        Ok(text) => text.parse().context("VIGIE_FUZZ_SEED is no number")?,
        Err(_) => rand::random(),
    };
    let good = seeds(entry)?;
    ensure!(!good.is_empty(), "{entry:?} has no good input");
    ensure!(good.iter().any(|input| entry.feed(input)), "{entry:?} takes none of its good inputs");
    let mut mutator = Mutator::new(seed);
    let (started, mut inputs, mut taken) = (Instant::now(), 0, 0);
    while started.elapsed() < Duration::from_secs(seconds) || inputs < LEAST {
        let input = mutator.next(&good);
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| entry.feed(&input)));
        if outcome.is_err() || begun.elapsed() > HANG {
            let path = env::temp_dir().join(format!("vigie-fuzz-{entry:?}-{seed}-{inputs}"));
            fs::write(&path, &input)?;
            bail!("{entry:?} fails on input {inputs} of seed {seed}, kept in {}", path.display());
        }
        inputs += 1;
        taken += u64::from(outcome.unwrap_or(false));
    }
    eprintln!("{entry:?}: {inputs} inputs of seed {seed}, {taken} taken for good");
    Ok(())
}

#[test]
fn replies_of_snmp_devices() -> Result<()> {
    check(Entry::SnmpReply)
}

#[test]
fn replies_of_resolvers() -> Result<()> {
    check(Entry::DnsReply)
}

#[test]
fn files_in_a_spool() -> Result<()> {
    check(Entry::SpoolSegment)
}

#[test]
fn payloads_of_samples() -> Result<()> {
    check(Entry::SamplePayload)
}

#[test]
fn batches_of_records() -> Result<()> {
    check(Entry::RecordBatch)
}

#[test]
fn messages_of_agents() -> Result<()> {
    check(Entry::Up)
}

#[test]
fn messages_of_collectors() -> Result<()> {
    check(Entry::Down)
}

#[test]
fn events_of_agents() -> Result<()> {
    check(Entry::Event)
}

#[test]
fn requests_to_enrol() -> Result<()> {
    check(Entry::Enrol)
}

#[test]
fn plans() -> Result<()> {
    check(Entry::Plan)
}

#[test]
fn datagrams_of_other_sites() -> Result<()> {
    check(Entry::MeshPacket)
}

#[test]
fn configurations_of_agents() -> Result<()> {
    check(Entry::AgentConfig)
}

#[test]
fn configurations_of_collectors() -> Result<()> {
    check(Entry::CollectorConfig)
}

#[test]
fn lists_of_sites() -> Result<()> {
    check(Entry::SitesCsv)
}

#[test]
fn tokens() -> Result<()> {
    check(Entry::Token)
}

/// The machinery must be able to find what it is for.
#[test]
fn the_mutator_reaches_a_rare_branch() {
    let seeds = [b"hello, world".to_vec()];
    let mut mutator = Mutator::new(1);
    let found = (0..200_000).any(|_| {
        let input = mutator.next(&seeds);
        input.starts_with(b"hel\xff") && input.len() > 20
    });
    assert!(found);
}
