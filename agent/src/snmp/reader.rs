//! Reads many columns of one device with few requests.
//!
//! [`cursors`] decides what to ask next and what an answer means, without a socket; here it is asked.

mod cursors;
#[cfg(test)]
mod tests;

use std::time::Duration;

use snmp2::{Oid, Pdu};
use tokio::time::{Instant, sleep_until};

use self::cursors::{Content, Cursors, Question, Verdict};
use super::{
    decode, name,
    pace::Pace,
    session::{Fault, Request, Session},
    stats::{STATS, add},
    tables::{Arcs, Tables},
};

/// Shortest time between two requests to one device: 200 a second at most.
const GAP: Duration = Duration::from_millis(5);

/// What to read of a device. Several may overlap, or lie within one another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// All instances at or below this name, which is an object's without an index.
    Column(Arcs),
    /// The instance 0 of this object, which is a column of one row to [`Tables`].
    Scalar(Arcs),
    /// The first instance at or below this name, to see whether there is one.
    First(Arcs),
}

impl Wanted {
    /// The name under which [`Tables`] holds it.
    #[must_use]
    pub fn base(&self) -> &[u32] {
        match self {
            Self::Column(base) | Self::Scalar(base) | Self::First(base) => base,
        }
    }
}

impl From<&[u32]> for Wanted {
    /// A name that ends in 0 is a scalar's instance: no object's own name ends so (RFC 2578, 7.10).
    fn from(name: &[u32]) -> Self {
        match name {
            [object @ .., 0] => Self::Scalar(object.into()),
            column => Self::Column(column.into()),
        }
    }
}

/// Where a reading is cut. What was read until then is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Values, wanted or not.
    pub values: usize,
    /// Bytes of names and values that are kept.
    pub bytes: usize,
    /// Datagrams sent.
    pub requests: usize,
    /// From the first request on; the session's own end may come before.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { values: 20_000, bytes: 4 << 20, requests: 4_000, time: Duration::from_mins(1) }
    }
}

/// How far a reading has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Columns that are read, or known to be absent.
    pub done: usize,
    /// Columns wanted, without repetition.
    pub wanted: usize,
    /// Values received.
    pub values: usize,
    /// Datagrams sent.
    pub requests: usize,
}

/// What was read, and what ended it early.
#[derive(Debug)]
pub struct Read {
    /// Every wanted column, as far as it came.
    pub tables: Tables,
    /// Datagrams sent, retries included.
    pub requests: usize,
    /// A limit cut it; also set when the session's time was over.
    pub is_capped: bool,
    /// The device ceased to answer, or can not be asked.
    pub fault: Option<Fault>,
}

/// Reads all that is wanted, as politely as `pace` has learnt: one request at a time, none larger
/// than the device bears, none for what an earlier answer has shown to be absent.
///
/// `progress` is told after each answer.
pub async fn read(
    session: &mut Session,
    pace: &mut Pace,
    wanted: &[Wanted],
    limits: &Limits,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Read {
    let outer = session.deadline();
    session.set_deadline(outer.min(Instant::now() + limits.time));
    let before = session.requests();
    let mut cursors = Cursors::new(wanted, limits);
    let asked = ask(session, pace, &mut cursors, limits.requests, progress).await;
    let fault = asked.err().or_else(|| cursors.is_hopeless().then_some(Fault::Malformed));
    session.set_deadline(outer);
    let is_capped = cursors.is_capped() || matches!(fault, Some(Fault::OutOfTime));
    if is_capped {
        add(&STATS.capped, 1);
    }
    Read {
        tables: cursors.finish(),
        requests: session.requests() - before,
        is_capped,
        fault: fault.filter(|fault| !matches!(fault, Fault::OutOfTime)),
    }
}

async fn ask(
    session: &mut Session,
    pace: &mut Pace,
    cursors: &mut Cursors,
    most_requests: usize,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), Fault> {
    let before = session.requests();
    let mut names = Vec::new();
    let mut ends = Vec::new();
    loop {
        let Some(question) = cursors.question(pace, session.has_bulk()) else { return Ok(()) };
        if session.requests() - before >= most_requests {
            cursors.cut();
            return Ok(());
        }
        names.clear();
        ends.clear();
        for at in question.cursors() {
            // What has no encoding has been left out at the start.
            name::encode(cursors.position(*at), &mut names);
            ends.push(names.len());
        }
        let oids = name::split(&names, ends.iter().copied());
        let refs: Vec<&Oid<'_>> = oids.iter().collect();
        let request = match &question {
            Question::Next(_) => Request::Next(refs[0]),
            Question::Bulk { repetitions, .. } => Request::Bulk(&refs, u32::from(*repetitions)),
        };
        let earliest = Instant::now() + GAP;
        let reply = session
            .exchange(request, |reply| Some(cursors.answered(&question, varbinds(reply), pace)))
            .await;
        match reply {
            Ok((received, _)) => add(&STATS.varbinds, received),
            Err(fault) => match cursors.failed(&question, &fault, pace) {
                Verdict::GoOn => {}
                Verdict::GiveUp => return Err(fault),
            },
        }
        progress(Progress { requests: session.requests() - before, ..cursors.progress() });
        sleep_until(earliest.min(session.deadline())).await;
    }
}

/// The names and values of a reply, up to the first that the crate can not decode.
fn varbinds<'a>(reply: &Pdu<'a>) -> impl Iterator<Item = (Option<Arcs>, Content)> + use<'a> {
    reply.varbinds.clone().map(|(name, value)| {
        let content = if let snmp2::Value::EndOfMibView = value {
            Content::End
        } else if let snmp2::Value::NoSuchObject | snmp2::Value::NoSuchInstance = value {
            Content::Absent
        } else {
            Content::Value(decode::value(&value))
        };
        (name::decode(name.as_bytes()), content)
    })
}
