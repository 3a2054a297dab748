//! Rounds of one poll group from blocks and head, merged in time.

use std::{cmp::Ordering, sync::Arc};

use domain::{
    id::{GroupId, SiteId},
    sample::{Sample, Span},
};
use rusqlite::{Connection, params};

use super::{
    super::{
        blocks::{Cells, DAY_MS, State, Times, day_of},
        failed,
    },
    Shelf,
    parts::{Parts, Table},
};
use crate::{ReadPayload, Result, Rounds};

/// Farthest that a round may lie from the time of its record; farther ones are damage. Agents send a
/// record per round, so this only has to cover what a clock's mapping may shift.
pub(crate) const RECORD_REACH_MS: i64 = 60_000;

const ACTION: &str = "read samples";

/// A poll group of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupKey {
    pub(crate) site: SiteId,
    pub(crate) grp: GroupId,
}

/// Rounds of one source, ascending in time.
#[derive(Default)]
struct Piece {
    times: Times,
    /// The days (see [`day_of`]) whose blocks the rounds belong to.
    days: Vec<i64>,
    /// One per series asked for.
    columns: Vec<Cells>,
    /// First round inside the span.
    low: usize,
}

/// One round of the merged order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) t_ms: i64,
    /// The day whose block it belongs to: that of its record.
    pub(crate) day: i64,
    pub(crate) unsure: bool,
    piece: u32,
}

/// Rounds of a group in a span, ascending in time; those of one instant in the order in which they
/// were stored.
pub(crate) struct Gathered {
    pieces: Vec<Piece>,
    /// The rounds.
    pub(crate) rounds: Vec<Round>,
    /// Records of the head that are not what they should be.
    pub(crate) odd: Vec<i64>,
}

impl Gathered {
    /// What each round said of a series, by its place among the series asked for.
    pub(crate) fn cells(&self, place: usize) -> impl Iterator<Item = (Round, State, i64)> + '_ {
        let mut columns: Vec<_> =
            self.pieces.iter().map(|piece| piece.columns[place].iter().skip(piece.low)).collect();
        self.rounds.iter().map(move |round| {
            let cell = columns[round.piece as usize].next();
            // Every piece has as many cells as rounds.
            let (state, value) = cell.unwrap_or((State::Absent, 0));
            (*round, state, value)
        })
    }

    /// The samples of a series: rounds of which it was part.
    pub(crate) fn samples(&self, place: usize) -> Vec<Sample> {
        self.cells(place).filter_map(|(round, state, value)| sample(round, state, value)).collect()
    }
}

/// The sample of a cell, if the series was polled.
pub(crate) fn sample(round: Round, state: State, value: i64) -> Option<Sample> {
    match state {
        State::Absent => None,
        State::Null => Some(Sample { t_ms: round.t_ms, value: None }),
        State::Value => Some(Sample { t_ms: round.t_ms, value: Some(value) }),
    }
}

/// Collects the rounds of a group in a span, with the columns of `series` (ascending).
pub(crate) fn gather(
    conn: &Connection,
    shelf: &Shelf,
    key: GroupKey,
    series: &[i64],
    span: Span,
) -> Result<Gathered> {
    let reach = Span {
        from_ms: span.from_ms.saturating_sub(RECORD_REACH_MS),
        to_ms: span.to_ms.saturating_add(RECORD_REACH_MS),
    };
    let mut pieces = block_pieces(conn, key, series, reach)?;
    let (head, odd) = head_piece(conn, shelf, key, series, reach)?;
    pieces.push(head);
    let mut rounds = Vec::new();
    for (piece, number) in pieces.iter_mut().zip(0..) {
        let times = &piece.times.t_ms;
        piece.low = times.partition_point(|&t| t < span.from_ms);
        let high = times.partition_point(|&t| t < span.to_ms).max(piece.low);
        rounds.extend((piece.low..high).map(|i| Round {
            t_ms: times[i],
            day: piece.days[i],
            unsure: piece.times.unsure[i],
            piece: number,
        }));
    }
    // Stable, and pieces mostly follow each other: the sort finds few runs to merge.
    rounds.sort_by_key(|round| round.t_ms);
    Ok(Gathered { pieces, rounds, odd })
}

fn block_pieces(
    conn: &Connection,
    key: GroupKey,
    series: &[i64],
    reach: Span,
) -> Result<Vec<Piece>> {
    let fail = failed(ACTION);
    let mut find = conn
        .prepare_cached(
            "SELECT day, times FROM block_time
             WHERE site = ?1 AND grp = ?2 AND day BETWEEN ?3 AND ?4 ORDER BY day",
        )
        .map_err(&fail)?;
    let last = day_of(reach.to_ms.saturating_sub(1));
    let mut rows =
        find.query(params![key.site.0, key.grp.0, day_of(reach.from_ms), last]).map_err(&fail)?;
    let mut pieces = Vec::new();
    while let Some(row) = rows.next().map_err(&fail)? {
        let day = row.get(0).map_err(&fail)?;
        let bytes = row.get_ref(1).and_then(|v| Ok(v.as_blob()?)).map_err(&fail)?;
        let times = Times::decode(bytes)?;
        let n = times.t_ms.len();
        if times.t_ms.first().is_none_or(|&t| t >= reach.to_ms)
            || times.t_ms.last().is_none_or(|&t| t < reach.from_ms)
        {
            continue;
        }
        let columns = block_columns(conn, key, day, series, n)?;
        pieces.push(Piece { times, days: vec![day; n], columns, low: 0 });
    }
    Ok(pieces)
}

/// The columns of some series (ascending, one may be asked for twice) of a block.
pub(crate) fn block_columns(
    conn: &Connection,
    key: GroupKey,
    day: i64,
    series: &[i64],
    rounds: usize,
) -> Result<Vec<Cells>> {
    let mut parts = Parts::new(conn, Table::Block);
    let mut columns = Vec::with_capacity(series.len());
    while columns.len() < series.len() {
        let settled = columns.len();
        if let Some(part) = parts.find((key.site, key.grp), day, &series[settled..])? {
            for item in part.items() {
                let (id, bytes) = item?;
                while series.get(columns.len()).is_some_and(|&wanted| wanted < id) {
                    columns.push(Cells::absent(rounds));
                }
                while series.get(columns.len()) == Some(&id) {
                    columns.push(Cells::decode(bytes, rounds)?);
                }
            }
        }
        // What lies beyond the part's last series may be in the next part, but not the first one
        // asked for: that part had been found then.
        if columns.len() == settled {
            columns.push(Cells::absent(rounds));
        }
    }
    Ok(columns)
}

fn head_piece(
    conn: &Connection,
    shelf: &Shelf,
    key: GroupKey,
    series: &[i64],
    reach: Span,
) -> Result<(Piece, Vec<i64>)> {
    let fail = failed(ACTION);
    let mut find = conn
        .prepare_cached(
            "SELECT t_ms, layout, sure, payload, key FROM head
             WHERE site = ?1 AND grp = ?2 AND t_ms >= ?3 AND t_ms < ?4 ORDER BY t_ms, key",
        )
        .map_err(&fail)?;
    let mut rows =
        find.query(params![key.site.0, key.grp.0, reach.from_ms, reach.to_ms]).map_err(&fail)?;
    let mut piece = Piece { columns: vec![Cells::default(); series.len()], ..Piece::default() };
    let mut odd = Vec::new();
    let mut places = Places::default();
    while let Some(row) = rows.next().map_err(&fail)? {
        let t_ms: i64 = row.get(0).map_err(&fail)?;
        let layout: u32 = row.get(1).map_err(&fail)?;
        let sure: bool = row.get(2).map_err(&fail)?;
        let payload = row.get_ref(3).and_then(|v| Ok(v.as_blob()?)).map_err(&fail)?;
        let places = places.of(conn, shelf, key.grp, layout, series)?;
        let Some(rounds) = places.and_then(|p| read_rounds(shelf.read_payload, payload, p.width))
        else {
            odd.push(row.get(4).map_err(&fail)?);
            continue;
        };
        let places = places.map(|p| p.columns.as_slice()).unwrap_or_default();
        let n = rounds.times_ms.len();
        for (i, offset) in rounds.times_ms.iter().enumerate() {
            piece.times.t_ms.push(t_ms + offset);
            piece.times.unsure.push(!sure);
            piece.days.push(day_of(t_ms));
            for (column, place) in piece.columns.iter_mut().zip(places) {
                let (state, value) = match place.map(|c| rounds.cells[c * n + i]) {
                    None => (State::Absent, 0),
                    Some(None) => (State::Null, 0),
                    Some(Some(value)) => (State::Value, value),
                };
                column.push(state, value);
            }
        }
    }
    if !piece.times.t_ms.is_sorted() {
        sort(&mut piece);
    }
    Ok((piece, odd))
}

/// The rounds of a payload, if it is one of a layout of this many columns.
pub(crate) fn read_rounds(read: ReadPayload, payload: &[u8], width: usize) -> Option<Rounds> {
    let rounds = read(payload)?;
    let n = rounds.times_ms.len();
    let near = rounds.times_ms.iter().all(|t| t.unsigned_abs() <= RECORD_REACH_MS.unsigned_abs());
    (near && n > 0 && rounds.cells.len() == n * width).then_some(rounds)
}

/// Records with several rounds may overlap each other.
fn sort(piece: &mut Piece) {
    let mut order: Vec<usize> = (0..piece.times.t_ms.len()).collect();
    order.sort_by_key(|&i| piece.times.t_ms[i]);
    piece.times.t_ms.sort_unstable();
    piece.times.unsure = order.iter().map(|&i| piece.times.unsure[i]).collect();
    piece.days = order.iter().map(|&i| piece.days[i]).collect();
    for column in &mut piece.columns {
        let cells: Vec<_> = column.iter().collect();
        let mut sorted = Cells::default();
        for &i in &order {
            sorted.push(cells[i].0, cells[i].1);
        }
        *column = sorted;
    }
}

/// Where the series asked for stand in a layout.
struct Place {
    width: usize,
    columns: Vec<Option<usize>>,
}

/// Layouts met so far; neighbouring records mostly have the same one.
#[derive(Default)]
struct Places {
    met: Vec<(u32, Option<Place>)>,
}

impl Places {
    fn of(
        &mut self,
        conn: &Connection,
        shelf: &Shelf,
        grp: GroupId,
        layout: u32,
        series: &[i64],
    ) -> Result<Option<&Place>> {
        let found = self.met.iter().position(|met| met.0 == layout);
        let at = if let Some(at) = found {
            at
        } else {
            let place = shelf.layout(conn, grp, layout)?.map(|ids| place(&ids, series));
            self.met.push((layout, place));
            self.met.len() - 1
        };
        Ok(self.met[at].1.as_ref())
    }
}

fn place(ids: &Arc<[i64]>, series: &[i64]) -> Place {
    let mut by_id: Vec<(i64, usize)> = ids.iter().copied().zip(0..).collect();
    by_id.sort_unstable();
    let mut at = 0;
    let columns = series
        .iter()
        .map(|id| {
            loop {
                match by_id.get(at).map(|entry| entry.0.cmp(id)) {
                    Some(Ordering::Less) => at += 1,
                    Some(Ordering::Equal) => return Some(by_id[at].1),
                    Some(Ordering::Greater) | None => return None,
                }
            }
        })
        .collect();
    Place { width: ids.len(), columns }
}

/// First instant of a day.
pub(crate) fn day_start(day: i64) -> i64 {
    day.saturating_mul(DAY_MS)
}
