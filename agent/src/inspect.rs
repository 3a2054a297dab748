//! Everything the agent can learn from one device, in one go.
//!
//! [`inspect`] asks; the rest is values to values: [`standard`] reads the MIBs that all makes share, a
//! profile reads what its family tells beside them, [`merge`] says each thing once, [`identity`] says what
//! the device is, [`json`] writes it down.

mod enterprises;
mod identity;
pub mod json;
mod merge;
pub(crate) mod mib;
pub mod standard;
pub mod system;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use self::{
    mib::Read as _,
    standard::{
        addresses::{self, Address},
        bridge::{self, Tree},
        interfaces::{self, Interface, Known},
    },
    system::System,
};
use crate::{
    device::{Findings, Identity},
    profile::{self, Library, LibraryError, Resolved},
    snmp::{self, Arcs, Credentials, Fault, Limits, Pace, Progress, Session, Tables, Wanted},
};

/// Longest inspection of one device.
const LONGEST: Duration = Duration::from_mins(10);
/// Where the reading of one device is cut.
const LIMITS: Limits = Limits { values: 400_000, bytes: 48 << 20, requests: 20_000, time: LONGEST };

/// Whom to ask, how, and how long to wait for one answer.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who asks.
    pub credentials: Arc<Credentials>,
    /// For one try of one request; each has two.
    pub timeout: Duration,
}

/// Why nothing was learnt.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The device did not answer the first question.
    #[error("no answer from {address}")]
    Silent {
        /// Whom we asked.
        address: SocketAddr,
        /// What came instead.
        source: Fault,
    },
    /// The device's profile can not be used.
    #[error("cannot use a profile")]
    Profile(#[from] LibraryError),
}

/// What was learnt of a device.
#[derive(Debug, Default)]
pub struct Report {
    /// What it says of itself.
    pub system: System,
    /// What it is.
    pub identity: Identity,
    /// By ifIndex.
    pub interfaces: Vec<Interface>,
    /// What its profile and the standard MIBs tell; its identity has moved to `identity`.
    pub found: Findings,
    /// Ascending.
    pub addresses: Vec<Address>,
    /// Its place in the spanning tree.
    pub tree: Option<Tree>,
    /// Stations behind each interface: those that the bridge has seen.
    pub stations: BTreeMap<u32, u64>,
    /// Stations that the device has resolved at each interface.
    pub resolved: BTreeMap<u32, u64>,
    /// A fault or a limit cut the reading: what is missing is unknown.
    pub is_partial: bool,
    /// Names of what was asked for.
    pub asked: Vec<Arcs>,
    /// Datagrams sent.
    pub requests: usize,
    /// From the first question to the last answer.
    pub took: Duration,
}

/// Reads all that `library` and the standard MIBs know of, and makes of it what can be known.
/// `progress` is told after each answer.
///
/// # Errors
/// [`InspectError`] when nothing was learnt; a later fault makes the report partial.
pub async fn inspect(
    target: &Target,
    library: &Library,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report, InspectError> {
    let begun = Instant::now();
    let credentials = Arc::clone(&target.credentials);
    let session = Session::new(target.address, credentials, target.timeout, begun + LONGEST);
    let mut asking =
        Asking { pace: Pace::for_session(&session), session, read: Gathered::default() };

    let group: Vec<Wanted> = system::SCALARS.into_iter().map(standard::scalar).collect();
    asking.read_more(&group, progress).await;
    let has_answered = !asking.read.tables.indexes(&system::SCALARS).is_empty();
    if let Some(source) = asking.read.fault.take_if(|_| !has_answered) {
        return Err(InspectError::Silent { address: target.address, source });
    }
    let system = System::read(&asking.read.tables);
    let candidates = library.candidates(&system.object_id, &system.descr)?;
    asking.read_more(&candidates.questions(), progress).await;
    let profile = library.resolve(candidates.choose(&asking.read.tables))?;

    let mut wanted = standard::wanted();
    wanted.push(standard::column(bridge::STATIONS_BY_VLAN));
    wanted.extend(profile.wanted());
    asking.read_more(&wanted, progress).await;
    if asking.read.tables.indexes(&[bridge::STATIONS_BY_VLAN]).is_empty() {
        asking.read_more(&[standard::column(bridge::STATIONS)], progress).await;
    }

    let requests = asking.session.requests();
    let Gathered { tables, asked, is_capped, fault } = asking.read;
    let mut report = learn(&tables, &profile);
    report.is_partial = is_capped || fault.is_some();
    report.asked = asked;
    report.requests = requests;
    report.took = begun.elapsed();
    Ok(report)
}

/// What can be known of what was read.
fn learn(tables: &Tables, profile: &Resolved) -> Report {
    let system = System::read(tables);
    let mut interfaces = interfaces::interfaces(tables);
    let told = profile::evaluate(profile, tables);
    merge::name(&mut interfaces, &told.interfaces);
    let known = Known(&interfaces);
    let standard = standard::findings(tables, &known, &|reading| !profile.is_without(reading));
    let mut found = merge::merge(told, standard, &known);
    if found.processors.is_empty() {
        found.processors.extend(standard::host::mean(tables));
    }
    let said = std::mem::take(&mut found.identity);
    Report {
        identity: identity::complete(said, &system, tables, &found),
        addresses: addresses::addresses(tables),
        tree: bridge::tree(tables),
        stations: bridge::stations(tables),
        resolved: addresses::resolved(tables),
        system,
        interfaces,
        found,
        ..Report::default()
    }
}

/// What was read so far, and what came between.
#[derive(Default)]
struct Gathered {
    tables: Tables,
    asked: Vec<Arcs>,
    is_capped: bool,
    fault: Option<Fault>,
}

struct Asking {
    session: Session,
    pace: Pace,
    read: Gathered,
}

impl Asking {
    /// Reads more, unless the device has ceased to answer.
    async fn read_more(&mut self, wanted: &[Wanted], progress: &mut (dyn FnMut(Progress) + Send)) {
        if wanted.is_empty() || self.read.fault.is_some() {
            return;
        }
        let before = self.session.requests();
        let mut told = |of: Progress| progress(Progress { requests: before + of.requests, ..of });
        let more = snmp::read(&mut self.session, &mut self.pace, wanted, &LIMITS, &mut told).await;
        for base in wanted.iter().map(Wanted::base) {
            self.read.asked.push(base.into());
            for (index, value) in more.tables.rows(base) {
                self.read.tables.insert(base, index, value.clone());
            }
            if let Some(extent) = more.tables.extent(base) {
                self.read.tables.set_extent(base, extent);
            }
        }
        self.read.is_capped |= more.is_capped;
        self.read.fault = more.fault;
    }
}
