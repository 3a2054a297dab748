//! Which of several credentials a device knows.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    credentials::Credentials,
    session::{Fault, NO_SUCH_NAME, Session},
    tables::{Arcs, Value},
};

/// Longest search over all credentials, unless the session is given another end later.
const LIMIT: Duration = Duration::from_mins(1);

const SYS_OBJECT_ID: [u32; 9] = [1, 3, 6, 1, 2, 1, 1, 2, 0];
const SYS_UP_TIME: [u32; 9] = [1, 3, 6, 1, 2, 1, 1, 3, 0];

/// The first credentials that a device answered to.
#[derive(Debug)]
pub struct Answer {
    /// Position among those that were tried.
    pub position: usize,
    /// Ready for more, until a minute after the search began.
    pub session: Session,
    /// `sysObjectID`; `None` where the device keeps none.
    pub object_id: Option<Arcs>,
    /// `sysUpTime`, in hundredths of a second.
    pub up_time: Option<u64>,
}

/// Asks a device for `sysObjectID` and `sysUpTime` with each of the credentials, in order, until it
/// answers. `timeout` is for one try of one request; each has two.
///
/// A wrong community is met with silence, so each that is tried in vain costs two timeouts.
///
/// # Errors
/// When nobody listens there or the network says no, at once; else the fault that tells most: a
/// refused user rather than silence.
pub async fn first_answer(
    address: SocketAddr,
    credentials: &[Arc<Credentials>],
    timeout: Duration,
) -> Result<Answer, Fault> {
    let deadline = Instant::now() + LIMIT;
    let mut told = Fault::Timeout;
    for (position, credentials) in credentials.iter().enumerate() {
        let mut session = Session::new(address, Arc::clone(credentials), timeout, deadline);
        match session.get(&[&SYS_OBJECT_ID, &SYS_UP_TIME]).await {
            Ok(values) => {
                let [object_id, up_time] = &values[..] else { return Err(Fault::Malformed) };
                return Ok(Answer {
                    position,
                    session,
                    object_id: match object_id {
                        Some(Value::Oid(arcs)) => Some(arcs.clone()),
                        _ => None,
                    },
                    up_time: match up_time {
                        Some(Value::Unsigned(ticks)) => Some(*ticks),
                        _ => None,
                    },
                });
            }
            // It knows the community, and lacks one of the two.
            Err(Fault::Status { status: NO_SUCH_NAME, .. }) => {
                return Ok(Answer { position, session, object_id: None, up_time: None });
            }
            Err(fault) if fault.is_final() => return Err(fault),
            Err(fault) => {
                if telling(&fault) > telling(&told) {
                    told = fault;
                }
            }
        }
    }
    Err(told)
}

/// How much a fault says of why there was no answer.
fn telling(fault: &Fault) -> u8 {
    match fault {
        // It knows the user, and shows it nothing.
        Fault::Status { .. } => 4,
        Fault::Denied => 3,
        Fault::Ignored => 2,
        Fault::Malformed => 1,
        Fault::Timeout
        | Fault::Refused
        | Fault::Unreachable
        | Fault::NoBulk
        | Fault::OutOfTime
        | Fault::NotSent
        | Fault::Socket(_) => 0,
    }
}
