//! Waiting for a condition, with a deadline.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks until there is a value, `limit` at most. An error of `look` is "not yet"; the last one is
/// told when the time is over.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        let failed = match look() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if started.elapsed() >= limit {
            match failed {
                Some(error) => {
                    return Err(error.context(format!("waited {limit:?} in vain for: {what}")));
                }
                None => bail!("waited {limit:?} in vain for: {what}"),
            }
        }
        sleep(LOOK_EVERY);
    }
}

/// Looks until the condition holds, `limit` at most.
pub fn until_true(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<bool>,
) -> Result<()> {
    until(what, limit, || Ok(look()?.then_some(())))
}

/// Checks that the condition holds at every look during `span`.
pub fn throughout(
    what: &str,
    span: Duration,
    mut look: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < span {
        if !look()? {
            bail!("after {:?} no longer true: {what}", started.elapsed());
        }
        sleep(LOOK_EVERY);
    }
    Ok(())
}
