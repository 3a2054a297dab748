//! Retrieval of exact instances, several in one request.
//!
//! The crate's list of values ends without a word at the first value that it can not decode. So
//! every reply is held against what was asked: the value after the last one decoded is the culprit,
//! it is stepped over, and the ones behind it are asked for again.

use snmp2::{Oid, Value};

use super::object;
use crate::snmp::{
    Fault, Pace, STATS, Session, name,
    session::{Request, TOO_BIG},
    stats::add,
};

/// Requests without an answer after which a device is left alone for this round.
const MAX_FAILURES: u32 = 4;
/// Values of one object that a device may fail to deliver before the object is left out.
const MAX_BAD_VALUES: u8 = 3;
/// Most objects among the instances of one call.
pub(super) const MAX_OBJECTS: usize = 24;

/// Instances to ask for, by position.
pub(super) trait Instances {
    /// How many.
    fn len(&self) -> usize;
    /// Which object, below [`MAX_OBJECTS`], the instance belongs to.
    fn object(&self, at: usize) -> usize;
    /// Appends the instance's encoded name.
    fn push_name(&self, at: usize, into: &mut Vec<u8>);
    /// Takes the device's answer, exceptions included.
    fn accept(&mut self, at: usize, value: &Value<'_>);
}

/// How one reply ended.
enum Read {
    /// Every name was answered.
    Complete,
    /// The value at this position could not be decoded, or was left out.
    Short(usize),
    /// Another name stood at this position.
    Foreign(usize),
}

/// Asks for each instance once, in order. Values that arrived before a fault have been accepted.
pub(super) async fn get(
    session: &mut Session,
    pace: &mut Pace,
    instances: &mut (impl Instances + Send),
) -> Result<(), Fault> {
    let mut bad = [0_u8; MAX_OBJECTS];
    let mut failures = 0;
    let mut next = 0;
    // Set to ask for only what stands before an instance that the device blamed.
    let mut limit = usize::MAX;
    let mut chunk = Vec::new();
    let mut names = Vec::new();
    while next < instances.len() {
        let most = usize::from(pace.gets()).min(limit).max(1);
        limit = usize::MAX;
        chunk.clear();
        names.clear();
        let mut at = next;
        while at < instances.len() && chunk.len() < most {
            if bad[instances.object(at)] < MAX_BAD_VALUES {
                instances.push_name(at, &mut names);
                chunk.push((at, names.len()));
            }
            at += 1;
        }
        let Some(&(first, _)) = chunk.first() else { return Ok(()) };
        let oids = name::split(&names, chunk.iter().map(|(_, end)| *end));
        let refs: Vec<&Oid<'_>> = oids.iter().collect();

        let reply = session
            .exchange(Request::Get(&refs), |reply| {
                let mut read = 0;
                for ((name, value), (asked, &(at, _))) in
                    reply.varbinds.clone().zip(refs.iter().zip(&chunk))
                {
                    if name != **asked {
                        return Some(Read::Foreign(read));
                    }
                    instances.accept(at, &value);
                    read += 1;
                }
                add(&STATS.varbinds, read);
                Some(if read == chunk.len() { Read::Complete } else { Read::Short(read) })
            })
            .await;

        // The instance that is given up, if any, and the fault behind it.
        let culprit = match reply {
            Ok((Read::Complete, _)) => {
                next = at;
                continue;
            }
            Ok((Read::Short(read), _)) => {
                add(&STATS.undecodable, 1);
                chunk[read].0
            }
            Ok((Read::Foreign(read), _)) => {
                add(&STATS.malformed, 1);
                chunk[read].0
            }
            Err(Fault::Status { status, index }) if status != TOO_BIG => {
                let blamed = usize::try_from(index).ok().and_then(|index| index.checked_sub(1));
                match blamed.filter(|blamed| *blamed < chunk.len()) {
                    Some(0) => first,
                    Some(before) => {
                        limit = before;
                        continue;
                    }
                    None if chunk.len() == 1 => first,
                    None => {
                        pace.shrink_gets(chunk.len());
                        continue;
                    }
                }
            }
            Err(Fault::Status { .. }) if chunk.len() == 1 => first,
            Err(fault) => {
                failures += u32::from(!matches!(fault, Fault::Status { .. }));
                if !fault.may_be_size() || failures >= MAX_FAILURES {
                    return Err(fault);
                }
                pace.shrink_gets(chunk.len());
                continue;
            }
        };
        bad[instances.object(culprit)] += 1;
        next = culprit + 1;
    }
    Ok(())
}

/// True for a value that says something, as opposed to "there is none".
pub(super) fn is_value(value: &Value<'_>) -> bool {
    !object::is_exception(value)
}
