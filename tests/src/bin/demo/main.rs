//! The demonstration: `demo [--once]`, started by `deploy/demo`.
//!
//! A collector and an agent on this very machine, and a simulated school with an agent of its own:
//! in network namespaces where permitted, else on loopback. With `--once` it plays an outage by
//! itself, ends with a table of what happened, and with 1 when something did not.

#![expect(clippy::print_stdout, reason = "a demonstration shows what happens")]

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result};

mod play;
mod stage;

use stage::{Permission, Stage};

fn main() -> Result<ExitCode> {
    let once = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--once") => true,
        Some(word) => anyhow::bail!("{word} is unknown: demo [--once]"),
    };
    let permission = Permission::of_this_machine();
    let mut stage = Stage::set(permission).context("cannot set the stage")?;
    if once {
        return Ok(if play::run(&mut stage)? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    play::first_data(&mut stage)?;
    println!("{}", stage.where_to_look());
    wait_for_the_end(&mut stage)?;
    println!("\nCleaning up.");
    Ok(ExitCode::SUCCESS)
}

/// Until Ctrl-C, or until a program of the stage ends.
fn wait_for_the_end(stage: &mut Stage) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut look = tokio::time::interval(Duration::from_secs(2));
        loop {
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
                _ = terminate.recv() => return Ok(()),
                _ = look.tick() => stage.check()?,
            }
        }
    })
}
