//! Retrieval of tables by ifIndex: several columns in parallel, several rows in one request.

use snmp2::{Oid, Value};

use super::object::{Base, is_exception};
use crate::snmp::{
    Fault, Pace, STATS, Session,
    name::{self, push_arc},
    session::{NO_SUCH_NAME, Request},
    stats::add,
};

/// Most values of one walk.
pub(super) const MAX_VARBINDS: usize = 20_000;
/// Most values asked for in one request: what net-snmp answers by default.
const MAX_REQUEST_VARBINDS: usize = 100;
/// Bytes of values that fit one unfragmented datagram, headers and community left out.
const REPLY_BYTES: usize = 1400;
/// Requests without an answer after which a device is left alone for this round.
const MAX_FAILURES: u32 = 6;
/// Values of one column that may be stepped over before the column is given up.
const MAX_BAD_VALUES: u8 = 3;

/// Bytes of a name and a counter in a reply.
pub(super) const NUMBER_BYTES: usize = 24;
/// Bytes of a name and a short text in a reply.
pub(super) const TEXT_BYTES: usize = 60;

/// One column of a table, and how far it has come.
#[derive(Debug, Clone)]
pub(super) struct Column {
    base: Base,
    /// Last index that is wanted.
    until: u32,
    /// Last index received, or the one before the first that is wanted.
    last: Option<u32>,
    done: bool,
    bad_values: u8,
}

impl Column {
    /// Rows `from..=until` of a column.
    pub(super) fn new(base: Base, from: u32, until: u32) -> Self {
        Self { base, until, last: from.checked_sub(1), done: false, bad_values: 0 }
    }

    /// The index of a row of this column; otherwise the column has ended.
    pub(super) fn accept(&mut self, name: &[u8], value: &Value<'_>) -> Option<u32> {
        if self.done {
            return None;
        }
        let index = self.base.index_of(name).filter(|_| !is_exception(value));
        let Some(index) = index else {
            self.done = true;
            return None;
        };
        if self.last.is_some_and(|last| index <= last) {
            add(&STATS.disordered, 1);
            self.done = true;
            return None;
        }
        self.last = Some(index);
        self.done = index >= self.until;
        (index <= self.until).then_some(index)
    }

    /// Passes a row that can not be read. Without a known row to go on from, the column ends.
    fn step_over(&mut self, rows: &[u32]) {
        add(&STATS.undecodable, 1);
        self.bad_values += 1;
        let next = rows.iter().copied().find(|row| self.last.is_none_or(|last| *row > last));
        match next {
            Some(next) if next < self.until && self.bad_values < MAX_BAD_VALUES => {
                self.last = Some(next);
            }
            _ => self.done = true,
        }
    }

    /// Rows still to come, going by `rows`.
    fn rows_left(&self, rows: &[u32]) -> usize {
        let past = self.last.map_or(0, |last| rows.partition_point(|row| *row <= last));
        rows.partition_point(|row| *row <= self.until).saturating_sub(past)
    }
}

/// Whether a walk reached the end of its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Every column came to its end, or was given up.
    Whole,
    /// A cap cut it.
    Capped,
}

/// Rows of one bulk request for so many columns with values of so many bytes.
pub(super) fn repetitions(columns: usize, value_bytes: usize, pace: &Pace) -> usize {
    let values = MAX_REQUEST_VARBINDS.min(REPLY_BYTES / value_bytes);
    (values / columns.max(1)).clamp(1, usize::from(pace.repetitions()).max(1))
}

/// Walks `columns` side by side and hands every value to `visit`, as position of the column, index
/// and value; indices of a column only increase. `rows` are the indices known of this device, in
/// order, which only save requests and bridge values that can not be decoded; it may be empty.
///
/// After a fault, what had been visited stays valid.
pub(super) async fn walk(
    session: &mut Session,
    pace: &mut Pace,
    columns: &mut [Column],
    value_bytes: usize,
    rows: &[u32],
    visit: &mut (impl FnMut(usize, u32, &Value<'_>) + Send),
) -> Result<Extent, Fault> {
    let mut left = MAX_VARBINDS;
    let mut failures = 0;
    let mut set: Vec<usize> = Vec::with_capacity(columns.len());
    // Columns before this one are left out once, since the last reply ended before it.
    let mut starved = 0;
    let mut names = Vec::new();
    let mut marks = Vec::new();
    loop {
        set.clear();
        set.extend((starved..columns.len()).filter(|at| !columns[*at].done));
        if set.is_empty() {
            if starved > 0 {
                starved = 0;
                continue;
            }
            return Ok(Extent::Whole);
        }
        starved = 0;
        let single_step = pace.repetitions() == 0;
        if single_step {
            // The column that lags behind, so that a cap still leaves whole rows.
            set.sort_by_key(|at| columns[*at].last);
            set.truncate(1);
        }
        set.truncate(left);
        if set.is_empty() {
            add(&STATS.capped, 1);
            return Ok(Extent::Capped);
        }
        let known = set.iter().map(|at| columns[*at].rows_left(rows)).max().unwrap_or(0);
        let fit = repetitions(set.len(), value_bytes, pace).min(left / set.len());
        // With no row known to be left, one more repetition finds the end or a new row.
        let asked_rows = match (rows.is_empty(), known) {
            (true, _) => fit,
            (false, known) => fit.min(known.max(1)),
        };

        names.clear();
        marks.clear();
        for &at in &set {
            let column = &columns[at];
            names.extend_from_slice(column.base.bytes());
            if let Some(last) = column.last {
                push_arc(last, &mut names);
            }
            marks.push((at, names.len()));
        }
        let oids = name::split(&names, marks.iter().map(|(_, end)| *end));
        let refs: Vec<&Oid<'_>> = oids.iter().collect();
        let request = if single_step {
            Request::Next(refs[0])
        } else {
            Request::Bulk(&refs, u32::try_from(asked_rows).unwrap_or(1))
        };

        let reply = session
            .exchange(request, |reply| {
                let mut received = 0;
                for (name, value) in reply.varbinds.clone().take(set.len() * asked_rows) {
                    let at = set[received % set.len()];
                    if let Some(index) = columns[at].accept(name.as_bytes(), &value) {
                        visit(at, index, &value);
                    }
                    received += 1;
                }
                Some(received)
            })
            .await;

        match reply {
            Ok((received, _)) => {
                add(&STATS.varbinds, received);
                left -= received.min(left);
                if received == 0 {
                    columns[set[0]].step_over(rows);
                } else if received < set.len() {
                    // Either all that fits, or the next value can not be decoded: asked for first,
                    // it tells.
                    starved = set[received];
                }
            }
            Err(Fault::Status { status: NO_SUCH_NAME, .. }) if single_step => {
                columns[set[0]].done = true;
            }
            Err(fault) if !fault.may_be_size() => {
                if matches!(fault, Fault::OutOfTime) {
                    add(&STATS.capped, 1);
                }
                return Err(fault);
            }
            Err(fault) => {
                failures += 1;
                if failures >= MAX_FAILURES || single_step {
                    return Err(fault);
                }
                pace.shrink_repetitions(u16::try_from(asked_rows).unwrap_or(1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(base: Base, index: u32) -> Vec<u8> {
        let mut name = Vec::new();
        base.push_instance(index, &mut name);
        name
    }

    #[test]
    fn a_column_ends_where_its_names_leave_it_or_stop_increasing() {
        let base = Base::if_table(10);
        let value = Value::Counter32(1);
        let mut column = Column::new(base, 3, 9);
        assert_eq!(column.accept(&name(base, 3), &value), Some(3));
        assert_eq!(column.accept(&name(base, 3), &value), None, "the same name again");
        assert_eq!(column.accept(&name(base, 4), &value), None, "given up for good");

        let mut column = Column::new(base, 1, 9);
        assert_eq!(column.accept(&name(Base::if_table(11), 1), &value), None);
        assert!(column.done);

        let mut column = Column::new(base, 1, 9);
        assert_eq!(column.accept(&name(base, 2), &Value::EndOfMibView), None);
        assert!(column.done);
    }

    #[test]
    fn a_column_is_done_at_the_last_index_that_is_wanted() {
        let base = Base::if_table(10);
        let value = Value::Counter32(1);
        let mut column = Column::new(base, 1, 9);
        assert_eq!(column.accept(&name(base, 9), &value), Some(9));
        assert!(column.done);
        let mut column = Column::new(base, 1, 9);
        assert_eq!(column.accept(&name(base, 12), &value), None, "beyond what is wanted");
        assert!(column.done);
    }

    #[test]
    fn unreadable_rows_are_stepped_over_three_times_at_most() {
        let mut column = Column::new(Base::if_table(10), 0, 100);
        let rows = [1, 2, 3, 4, 5];
        column.step_over(&rows);
        assert_eq!((column.last, column.done), (Some(1), false));
        column.step_over(&rows);
        assert_eq!((column.last, column.done), (Some(2), false));
        column.step_over(&rows);
        assert!(column.done);

        let mut unknown = Column::new(Base::if_table(10), 0, 100);
        unknown.step_over(&[]);
        assert!(unknown.done);
    }

    #[test]
    fn requests_fit_a_datagram_and_the_devices_pace() {
        let pace = Pace::new(20);
        assert_eq!(repetitions(10, NUMBER_BYTES, &pace), 5);
        assert_eq!(repetitions(1, NUMBER_BYTES, &pace), 20);
        assert_eq!(repetitions(3, TEXT_BYTES, &pace), 7);
        assert_eq!(repetitions(100, NUMBER_BYTES, &pace), 1);
        assert_eq!(repetitions(1, 1, &Pace::new(50)), 20);
    }
}
