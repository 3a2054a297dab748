//! SNMP: one device, its uptime and the counters of its interfaces.
//!
//! [`SnmpProbe`] asks for exactly the configured columns: by `GET` of the instances ([`get`]), or by
//! walking the columns side by side with `GETBULK` ([`walk`]), whichever takes fewer requests. Each
//! request goes through a [`Session`], which knows the traps of the SNMP crate; [`object`] says which
//! object holds which metric, and what counts as its value.

mod get;
mod inventory;
mod object;
#[cfg(test)]
mod tests;
mod walk;

use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::FutureExt;
use proto::v1::{Metric, event::Event};
use snmp2::{Oid, Pdu, Value};
use tokio::time::Instant;

use self::{
    get::{Instances, MAX_OBJECTS},
    inventory::Learnt,
    object::Object,
    walk::Column,
};
use super::{Cell, Outcome, Probe, ProbeError, Round};
use crate::{
    plan, platform,
    snmp::{Credentials, Fault, Pace, Session, session::Request, stats::add},
};

pub use crate::snmp::{STATS, Stats};

/// Longest round of one device, inventory included.
const ROUND_LIMIT: Duration = Duration::from_mins(1);
/// Time between two inventories of a device.
const INVENTORY_PERIOD: Duration = Duration::from_hours(6);
/// Time before an inventory is tried again.
const INVENTORY_RETRY: Duration = Duration::from_mins(10);

/// The wanted instances of one object.
#[derive(Debug)]
struct Table {
    object: Object,
    /// `(ifIndex, cell)`, by ifIndex; never empty.
    rows: Vec<(u32, u32)>,
}

impl Table {
    fn first(&self) -> u32 {
        self.rows.first().map_or(0, |(index, _)| *index)
    }

    fn last(&self) -> u32 {
        self.rows.last().map_or(0, |(index, _)| *index)
    }
}

/// Where the values of a round go.
#[derive(Debug, Default)]
struct Layout {
    columns: usize,
    outcome: Vec<u32>,
    response_time: Vec<u32>,
    up_time: Vec<u32>,
    tables: Vec<Table>,
    oper_status: Vec<u32>,
}

impl Layout {
    fn new(columns: Vec<plan::Column>) -> Self {
        let mut layout = Self { columns: columns.len(), ..Self::default() };
        let mut tables: Vec<(Metric, Table)> = Vec::new();
        let mut ignored = 0;
        for (cell, column) in (0_u32..).zip(columns) {
            if let Some(object) = Object::of_metric(column.metric) {
                if column.metric == Metric::IfOperStatus {
                    layout.oper_status.push(cell);
                }
                let row = (column.instance, cell);
                match tables.iter_mut().find(|(metric, _)| *metric == column.metric) {
                    Some((_, table)) => table.rows.push(row),
                    None => tables.push((column.metric, Table { object, rows: vec![row] })),
                }
            } else if column.metric == Metric::SnmpOutcome {
                layout.outcome.push(cell);
            } else if column.metric == Metric::SnmpResponseTime {
                layout.response_time.push(cell);
            } else if column.metric == Metric::SysUpTime {
                layout.up_time.push(cell);
            } else {
                ignored += 1;
            }
        }
        if ignored > 0 {
            tracing::warn!(columns = ignored, "columns that are not SNMP's stay empty");
        }
        layout.tables = tables.into_iter().map(|(_, table)| table).collect();
        for table in &mut layout.tables {
            table.rows.sort_unstable();
            table.rows.shrink_to_fit();
        }
        layout
    }

    fn instances(&self) -> usize {
        self.tables.iter().map(|table| table.rows.len()).sum()
    }

    /// The cheaper way to the interfaces' values. Requests are what costs both sides; for an equal
    /// number, `GET` is easier on the device, which need not search for the next name.
    fn choose(&self, rows: &[u32], pace: &Pace) -> Retrieval {
        let gets = self.instances().div_ceil(usize::from(pace.gets()));
        let height = self.tables.iter().map(|table| {
            let known = rows.partition_point(|row| *row <= table.last())
                - rows.partition_point(|row| *row < table.first());
            known.max(table.rows.len())
        });
        let height = height.max().unwrap_or(0);
        let walks = height.div_ceil(walk::repetitions(self.tables.len(), walk::NUMBER_BYTES, pace));
        if walks < gets && pace.repetitions() > 0 { Retrieval::Walk } else { Retrieval::Get }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retrieval {
    Get,
    Walk,
}

/// Measures one device.
pub struct SnmpProbe {
    group_id: u32,
    session: Session,
    layout: Layout,
    pace: Pace,
    /// Indices of the device's interfaces as last seen, in order.
    rows: Vec<u32>,
    previous: Option<Outcome>,
    /// Last known state of each interface, as in the layout's `oper_status`.
    previous_status: Vec<Cell>,
    previous_up_time: Cell,
    inventory_due_ns: u64,
}

impl SnmpProbe {
    /// A bare community is version 2c's. `timeout` is for one try of one request; each is tried
    /// twice. `max_repetitions` is kept within 1 and 20, 0 stands for the default. Columns whose
    /// metric is not SNMP's stay empty.
    #[must_use]
    pub fn new(
        group_id: u32,
        address: SocketAddr,
        credentials: impl Into<Credentials>,
        max_repetitions: u16,
        timeout: Duration,
        columns: Vec<plan::Column>,
    ) -> Self {
        let layout = Layout::new(columns);
        let credentials = Arc::new(credentials.into());
        let session = Session::new(address, credentials, timeout, Instant::now());
        let pace =
            if session.has_bulk() { Pace::new(max_repetitions) } else { Pace::without_bulk() };
        Self {
            group_id,
            session,
            pace,
            previous_status: vec![None; layout.oper_status.len()],
            layout,
            rows: Vec::new(),
            previous: None,
            previous_up_time: None,
            inventory_due_ns: 0,
        }
    }

    async fn measure(
        &mut self,
        now_ns: u64,
        cells: &mut [Cell],
        events: &mut Vec<Event>,
    ) -> Result<Outcome, ProbeError> {
        let session = &mut self.session;
        session.renew(Instant::now() + ROUND_LIMIT);

        // Alone in its request, so that the response time means the same for every device, and that
        // a device which can not answer a large request is told from a dead one.
        let name = Oid::new(object::SYS_UP_TIME.into());
        let first = session.exchange(Request::Get(&[&name]), |reply| up_time(reply, &name)).await;
        let (up_time, response_time) = match first {
            Ok(answer) => answer,
            Err(Fault::Socket(source)) => {
                return Err(ProbeError::Socket { what: "SNMP", source });
            }
            Err(fault) => return Ok(fault.outcome()),
        };
        let response_us = i64::try_from(response_time.as_micros()).ok();
        fill(cells, &self.layout.response_time, response_us);
        fill(cells, &self.layout.up_time, up_time);

        // The wrap of the uptime after 497 days looks the same and costs one more inventory.
        let restarted =
            matches!((self.previous_up_time, up_time), (Some(was), Some(is)) if is < was);
        self.previous_up_time = up_time.or(self.previous_up_time);
        if restarted {
            self.inventory_due_ns = 0;
            self.rows.clear();
        }

        let outcome = match self.layout.choose(&self.rows, &self.pace) {
            Retrieval::Get => {
                let mut wanted =
                    Wanted { tables: &self.layout.tables, starts: [0; MAX_OBJECTS], cells };
                wanted.count();
                get::get(session, &mut self.pace, &mut wanted).await
            }
            Retrieval::Walk => {
                walk_tables(session, &mut self.pace, &self.layout.tables, &self.rows, cells).await
            }
        };
        if let Err(fault) = outcome {
            return Ok(fault.outcome());
        }

        if now_ns >= self.inventory_due_ns {
            // Set before the attempt: one that never returns must not cost every later round.
            self.inventory_due_ns = now_ns.saturating_add(nanoseconds(INVENTORY_RETRY));
            self.pace.reset();
            match inventory::read(session, &mut self.pace, self.group_id).await {
                Ok(Learnt { inventory, fault }) => {
                    if fault.is_none() {
                        self.inventory_due_ns =
                            now_ns.saturating_add(nanoseconds(INVENTORY_PERIOD));
                        self.rows = inventory.interfaces.iter().map(|of| of.if_index).collect();
                    }
                    events.push(Event::SnmpInventory(inventory));
                }
                Err(fault) => {
                    tracing::debug!(target = %self.session.address(), ?fault, "no inventory");
                }
            }
        }
        Ok(Outcome::Ok)
    }

    /// Notes what this round found and says whether it differs from the one before.
    fn note(&mut self, outcome: Outcome, cells: &[Cell]) -> bool {
        let mut changed = self.previous.is_some_and(|previous| previous != outcome);
        self.previous = Some(outcome);
        for (cell, previous) in self.layout.oper_status.iter().zip(&mut self.previous_status) {
            // Unknown is no state: it neither changes one nor replaces it.
            let Some(now) = cells[*cell as usize] else { continue };
            changed |= previous.is_some_and(|previous| previous != now);
            *previous = Some(now);
        }
        changed
    }
}

#[async_trait]
impl Probe for SnmpProbe {
    async fn round(&mut self) -> Result<Round, ProbeError> {
        let boot_ns = platform::boot_ns();
        let mut cells = vec![None; self.layout.columns];
        let mut events = Vec::new();
        let measured = AssertUnwindSafe(self.measure(boot_ns, &mut cells, &mut events));
        let outcome = match measured.catch_unwind().await {
            Ok(outcome) => outcome?,
            Err(_panic) => {
                // The session died with the round; what is kept between rounds is only replaced
                // by whole values.
                add(&STATS.panics, 1);
                tracing::error!(target = %self.session.address(), "an SNMP round panicked");
                cells.fill(None);
                Outcome::NotAsked
            }
        };
        // Until the next round it needs no socket and no buffers.
        self.session.close();
        fill(&mut cells, &self.layout.outcome, Some(outcome as i64));
        let changed = self.note(outcome, &cells);
        Ok(Round { boot_ns, cells, changed, events })
    }
}

/// The wanted instances as [`get`] asks for them, object after object.
struct Wanted<'a> {
    tables: &'a [Table],
    /// Position of the first instance of each table.
    starts: [usize; MAX_OBJECTS],
    cells: &'a mut [Cell],
}

impl Wanted<'_> {
    fn count(&mut self) {
        let mut start = 0;
        for (table, at) in self.tables.iter().zip(&mut self.starts) {
            *at = start;
            start += table.rows.len();
        }
    }

    fn row(&self, at: usize) -> (u32, u32) {
        let table = self.object(at);
        self.tables[table].rows[at - self.starts[table]]
    }
}

impl Instances for Wanted<'_> {
    fn len(&self) -> usize {
        self.tables.iter().map(|table| table.rows.len()).sum()
    }

    fn object(&self, at: usize) -> usize {
        self.starts[..self.tables.len()].partition_point(|start| *start <= at) - 1
    }

    fn push_name(&self, at: usize, into: &mut Vec<u8>) {
        self.tables[self.object(at)].object.base.push_instance(self.row(at).0, into);
    }

    fn accept(&mut self, at: usize, value: &Value<'_>) {
        let cell = self.row(at).1 as usize;
        self.cells[cell] = read_cell(&self.tables[self.object(at)].object, value);
    }
}

/// Walks all wanted columns. Rows come in order, so each is merged into the wanted ones.
async fn walk_tables(
    session: &mut Session,
    pace: &mut Pace,
    tables: &[Table],
    rows: &[u32],
    cells: &mut [Cell],
) -> Result<(), Fault> {
    let mut columns: Vec<Column> = tables
        .iter()
        .map(|table| Column::new(table.object.base, table.first(), table.last()))
        .collect();
    // Before the first inventory, the wanted rows are all that is known.
    let wanted: Vec<u32> = match tables.iter().max_by_key(|table| table.rows.len()) {
        Some(table) if rows.is_empty() => table.rows.iter().map(|(index, _)| *index).collect(),
        _ => Vec::new(),
    };
    let rows = if rows.is_empty() { &wanted } else { rows };
    let mut next = [0_usize; MAX_OBJECTS];
    walk::walk(session, pace, &mut columns, walk::NUMBER_BYTES, rows, &mut |at, index, value| {
        let (table, next) = (&tables[at], &mut next[at]);
        while let Some((wanted, cell)) = table.rows.get(*next).filter(|row| row.0 <= index) {
            if *wanted == index {
                cells[*cell as usize] = read_cell(&table.object, value);
            }
            *next += 1;
        }
    })
    .await
    .map(|_extent| ())
}

fn read_cell(object: &Object, value: &Value<'_>) -> Cell {
    let cell = object.cell(value);
    if cell.is_none() && get::is_value(value) {
        add(&STATS.wrong_type, 1);
    }
    cell
}

/// The uptime in a reply that is one; an empty cell is a device that keeps none.
fn up_time(reply: &Pdu<'_>, asked: &Oid<'_>) -> Option<Cell> {
    let (name, value) = reply.varbinds.clone().next()?;
    if name != *asked {
        return None;
    }
    if let Value::Timeticks(ticks) = value {
        return Some(Some(i64::from(ticks)));
    }
    object::is_exception(&value).then_some(None)
}

fn fill(cells: &mut [Cell], at: &[u32], value: Cell) {
    for cell in at {
        cells[*cell as usize] = value;
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Decodes one datagram as this probe would, for fuzzing: every value through every conversion.
/// Returns how many values could be decoded.
#[must_use]
pub fn decode_reply(bytes: &[u8]) -> usize {
    let Ok(reply) = Pdu::from_bytes(bytes) else { return 0 };
    let metrics = [Metric::IfHcInOctets, Metric::IfInErrors, Metric::IfOperStatus];
    let more = [Metric::IfHighSpeed, Metric::IfCounterDiscontinuityTime];
    let objects: Vec<Object> =
        metrics.into_iter().chain(more).filter_map(Object::of_metric).collect();
    let mut values = 0;
    for (name, value) in reply.varbinds.clone() {
        for object in &objects {
            let mut column = Column::new(object.base, 0, u32::MAX);
            let _index = column.accept(name.as_bytes(), &value);
            let _cell = object.cell(&value);
        }
        let _dotted = object::dotted(name.as_bytes());
        if let Value::OctetString(raw) = value {
            let _text = inventory::clean(raw, inventory::MAX_DESCRIPTION_BYTES);
        } else if let Value::ObjectIdentifier(name) = value {
            let _dotted = object::dotted(name.as_bytes());
        }
        values += 1;
    }
    values
}
