//! The SNMP client: what a device answers, by column and index, however it has to be asked.
//!
//! [`Credentials`] say who asks; a [`Session`] asks one device one question at a time and hides the
//! traps of the SNMP crate; [`reader`] reads whole columns with few requests, at the [`Pace`] that
//! the device bears, into [`Tables`]. [`first_answer`] finds out which of several credentials a
//! device knows.
//!
//! ```no_run
//! # async fn example(address: std::net::SocketAddr) -> Result<(), agent::snmp::Fault> {
//! use std::{sync::Arc, time::Duration};
//! use agent::snmp::{self, Credentials, Limits, Pace, Wanted};
//!
//! let known = [Arc::new(Credentials::v2c("public"))];
//! let mut answer = snmp::first_answer(address, &known, Duration::from_secs(2)).await?;
//! let mut pace = Pace::for_session(&answer.session);
//! let if_name = [1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 1];
//! let wanted = [Wanted::from(&if_name[..])];
//! let limits = Limits::default();
//! let read = snmp::read(&mut answer.session, &mut pace, &wanted, &limits, &mut |_| ()).await;
//! for (index, name) in read.tables.rows(&if_name) {
//!     println!("{index:?} {name:?}");
//! }
//! # Ok(())
//! # }
//! ```

pub mod credentials;
pub(crate) mod decode;
mod engine;
pub mod first;
pub mod name;
pub mod pace;
pub mod reader;
pub mod session;
pub mod stats;
pub mod tables;

pub use self::{
    credentials::{AuthProtocol, Credentials, CredentialsError, PrivProtocol, User},
    first::{Answer, first_answer},
    pace::Pace,
    reader::{Limits, Progress, Read, Wanted, read},
    session::{Fault, Session},
    stats::{STATS, Stats},
    tables::{Arcs, Extent, Tables, Value},
};
