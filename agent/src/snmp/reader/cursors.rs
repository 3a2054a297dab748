//! What to ask next, and what an answer means: one cursor for each wanted column, moved by every
//! pair of neighbours that a device tells.
//!
//! An answer to "what follows A?" is B, and says that nothing lies between. That moves not only the
//! cursor that asked, but every cursor that stands in between: to B when B is in its column, else to
//! its end. So the rows that overshoot one column are the first of the next, an absent table costs
//! one value however many of its columns are wanted, and nothing is read twice. Only "nothing
//! follows" is believed for the asking table alone: some agents end their whole view where one of
//! their tables ends.
//!
//! First a few columns of each table are asked for, once, to see which tables exist. Then all live
//! columns advance side by side, those with the fewest rows first, as many as fit one unfragmented
//! reply by the sizes seen so far.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
};

use super::{
    super::{
        name::{self, encoded_len},
        pace::Pace,
        session::{Fault, NO_SUCH_NAME, TOO_BIG},
        stats::{STATS, add},
        tables::{Arcs, Extent, Tables, Value},
    },
    Limits, Progress, Wanted,
};

/// Most values asked for in one request.
const MAX_REQUEST_VALUES: usize = 64;
/// Bytes of names and values that fit one unfragmented datagram, headers left out.
const REPLY_BYTES: usize = 1350;
/// Bytes of names in one request.
const REQUEST_BYTES: usize = 1200;
/// Bytes of tags and lengths around a name and its value.
const FRAME_BYTES: usize = 8;
/// Bytes of a value of which nothing is known.
const USUAL_BYTES: usize = 8;
/// Bytes of values beyond which a request may have failed for its size alone.
const SUSPICIOUS_BYTES: usize = 8 << 10;
/// Values of one column that may be stepped over before the column is given up.
const MAX_BAD_VALUES: u8 = 3;
/// Single steps in a row without an answer after which a device is given up.
const MAX_SILENT_STEPS: u32 = 2;
/// Single steps in a row answered with an error, or with nothing that can be read, after which a
/// device is given up.
const MAX_REFUSED_STEPS: u32 = 30;

/// What stands in a reply behind a name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// A value, or something that is none but stands for an instance.
    Value(Option<Value>),
    /// Nothing follows.
    End,
    /// An exception that is no answer to "what follows?".
    Absent,
}

/// What to ask: what follows the positions of some cursors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// One step of one cursor.
    Next([usize; 1]),
    /// Several steps of several cursors.
    Bulk { cursors: Vec<usize>, repetitions: u16 },
}

impl Question {
    pub(super) fn cursors(&self) -> &[usize] {
        match self {
            Self::Next(cursor) => cursor,
            Self::Bulk { cursors, .. } => cursors,
        }
    }

    fn repetitions(&self) -> u16 {
        match self {
            Self::Next(_) => 1,
            Self::Bulk { repetitions, .. } => *repetitions,
        }
    }
}

/// Whether there is a point in asking more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    GoOn,
    GiveUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Scalar,
    First,
    Column,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is known of it.
    Unasked,
    /// It has rows, or may have.
    Live,
    Done,
}

#[derive(Debug)]
struct Cursor {
    base: Arcs,
    kind: Kind,
    /// Everything up to this name has been read.
    position: Arcs,
    state: State,
    rows: usize,
    /// Bytes of a value, going by the latest.
    value_bytes: usize,
    bad_values: u8,
    table: usize,
}

impl Cursor {
    /// Bytes of one row of it in a reply.
    fn reply_bytes(&self) -> usize {
        FRAME_BYTES + encoded_len(&self.position) + self.value_bytes
    }
}

/// Cursors over all wanted columns, and what they have passed.
#[derive(Debug)]
pub(super) struct Cursors {
    all: Vec<Cursor>,
    /// Whether a column of the table has been asked for.
    is_opened: Vec<bool>,
    /// Cursors that are not done, by position.
    standing: BTreeSet<(Arcs, usize)>,
    tables: Tables,
    /// Asked alone next, since it, or what stood before it in a request, is in doubt.
    suspect: Option<usize>,
    limits: Limits,
    values: usize,
    bytes: usize,
    is_cut: bool,
    /// Questions in a row without an answer.
    failures: u32,
    silent_steps: u32,
    refused_steps: u32,
}

impl Cursors {
    pub(super) fn new(wanted: &[Wanted], limits: &Limits) -> Self {
        let mut kinds: HashMap<&[u32], Kind> = HashMap::with_capacity(wanted.len());
        for one in wanted {
            let kind = match one {
                Wanted::Column(_) => Kind::Column,
                Wanted::Scalar(_) => Kind::Scalar,
                Wanted::First(_) => Kind::First,
            };
            let known = kinds.entry(one.base()).or_insert(kind);
            if *known as u8 <= kind as u8 {
                *known = kind;
            }
        }
        let mut sorted: Vec<(&[u32], Kind)> = kinds.into_iter().collect();
        sorted.sort_unstable_by_key(|(base, _)| *base);
        let mut of = Self {
            all: Vec::with_capacity(sorted.len()),
            is_opened: Vec::new(),
            standing: BTreeSet::new(),
            tables: Tables::default(),
            suspect: None,
            limits: *limits,
            values: 0,
            bytes: 0,
            is_cut: false,
            failures: 0,
            silent_steps: 0,
            refused_steps: 0,
        };
        let mut known_tables: HashMap<&[u32], usize> = HashMap::new();
        for (base, kind) in sorted {
            // A name that can not be asked for stays unknown.
            of.tables.set_extent(base, Extent::Partial);
            if !name::encode(base, &mut Vec::new()) {
                continue;
            }
            let next = known_tables.len();
            let table = *known_tables.entry(&base[..base.len() - 1]).or_insert(next);
            if table == next {
                of.is_opened.push(false);
            }
            of.standing.insert((base.into(), of.all.len()));
            of.all.push(Cursor {
                base: base.into(),
                kind,
                position: base.into(),
                state: State::Unasked,
                rows: 0,
                value_bytes: USUAL_BYTES,
                bad_values: 0,
                table,
            });
        }
        of
    }

    /// The name whose follower a cursor wants.
    pub(super) fn position(&self, cursor: usize) -> &[u32] {
        &self.all[cursor].position
    }

    /// What to ask next; `None` when everything is read, or a limit is reached.
    pub(super) fn question(&mut self, pace: &Pace, has_bulk: bool) -> Option<Question> {
        if self.standing.is_empty() || self.is_hopeless() {
            return None;
        }
        let left = self.limits.values.saturating_sub(self.values);
        if left == 0 || self.bytes >= self.limits.bytes {
            self.is_cut = true;
        }
        if self.is_cut {
            return None;
        }
        if let Some(suspect) = self.suspect.filter(|at| self.all[*at].state != State::Done) {
            return Some(Question::Next([suspect]));
        }
        let most = if has_bulk { usize::from(pace.columns()).min(left) } else { 0 };
        let unasked = self.unasked(most);
        if most == 0 {
            let next = unasked.first().copied().or_else(|| self.live().first().copied());
            return next.map(|cursor| Question::Next([cursor]));
        }
        if !unasked.is_empty() {
            return Some(Question::Bulk { cursors: self.fitting(unasked, most), repetitions: 1 });
        }
        let live = self.fitting(self.live(), most);
        let most_rows = usize::from(pace.repetitions()).max(1);
        let (mut columns, mut rows) = self.shape(&live, 1, left);
        // A few columns fewer may leave room for one row more.
        let (fewer, one_more) = self.shape(&live, rows + 1, left);
        if one_more <= most_rows && columns * rows.min(most_rows) < fewer * one_more {
            (columns, rows) = (fewer, one_more);
        }
        let cursors = live[..columns].to_vec();
        let rows = u16::try_from(rows.min(most_rows)).unwrap_or(1);
        Some(Question::Bulk { cursors, repetitions: rows })
    }

    /// How many of some cursors, the first ones, fit a request of at least `rows` rows and its
    /// reply, and how many rows then do; one of each at least.
    fn shape(&self, live: &[usize], rows: usize, left: usize) -> (usize, usize) {
        let values = MAX_REQUEST_VALUES.min(left);
        let mut row_bytes = 0;
        let fit = live.iter().enumerate().take_while(|(before, at)| {
            let bytes = row_bytes + self.all[**at].reply_bytes();
            let fits = (before + 1) * rows <= values && bytes * rows <= REPLY_BYTES;
            if fits || *before == 0 {
                row_bytes = bytes;
            }
            fits
        });
        let columns = fit.count().max(1);
        let rows = (values / columns).min(REPLY_BYTES / row_bytes.max(1)).max(1);
        (columns, rows)
    }

    /// Cursors of which nothing is known and that are worth asking: of a table that may not exist
    /// only the first, evenly spread when there are more than fit, so that one answer may settle
    /// many.
    fn unasked(&self, most: usize) -> Vec<usize> {
        let all: Vec<usize> =
            (0..self.all.len()).filter(|at| self.all[*at].state == State::Unasked).collect();
        if all.len() <= most {
            return all;
        }
        let mut last = None;
        let heads: Vec<usize> = all
            .into_iter()
            .filter(|at| {
                let table = self.all[*at].table;
                self.is_opened[table] || last.replace(table) != Some(table)
            })
            .collect();
        let step = heads.len().div_ceil(most.max(1)).max(1);
        heads.into_iter().step_by(step).collect()
    }

    /// Live cursors, those with the fewest rows first: they are asked for what a short reply left
    /// out, and a limit cuts all tables at about the same row.
    fn live(&self) -> Vec<usize> {
        let mut last: Option<&Arcs> = None;
        let mut live: Vec<usize> = self
            .standing
            .iter()
            .filter(|(position, at)| {
                // Where two stand together, one asks for both.
                self.all[*at].state == State::Live && last.replace(position) != Some(position)
            })
            .map(|(_, at)| *at)
            .collect();
        live.sort_by_key(|at| self.all[*at].rows);
        live
    }

    /// The first of some cursors, as many as fit one request and one reply of one row; at least one.
    fn fitting(&self, mut cursors: Vec<usize>, most: usize) -> Vec<usize> {
        let (mut request, mut reply) = (0, 0);
        let fit = cursors.iter().take(most).take_while(|at| {
            let cursor = &self.all[**at];
            request += FRAME_BYTES + encoded_len(&cursor.position);
            reply += cursor.reply_bytes();
            request <= REQUEST_BYTES && reply <= REPLY_BYTES
        });
        let fit = fit.count().max(1);
        cursors.truncate(fit);
        cursors
    }

    /// Takes a reply, up to what was asked for; returns how many values it held.
    pub(super) fn answered(
        &mut self,
        question: &Question,
        varbinds: impl Iterator<Item = (Option<Arcs>, Content)>,
        pace: &mut Pace,
    ) -> usize {
        let asked = question.cursors();
        let repetitions = question.repetitions();
        // Where each cursor's row of neighbours has come to; none when it has ended.
        let mut chains: Vec<Option<Arcs>> =
            asked.iter().map(|at| Some(self.all[*at].position.clone())).collect();
        let mut received = 0;
        let mut largest = 0;
        for (name, content) in varbinds.take(asked.len() * usize::from(repetitions)) {
            let column = received % asked.len();
            received += 1;
            let Some(from) = chains[column].take() else { continue };
            let cursor = asked[column];
            match (name, content) {
                (_, Content::End) => self.end_of_view(cursor, &from),
                (_, Content::Absent) => self.end(cursor, Extent::Whole),
                (Some(name), Content::Value(value)) if from < name => {
                    largest = largest.max(value.as_ref().map_or(0, bytes_of));
                    self.advance(&from, &name, value.as_ref());
                    chains[column] = Some(name);
                }
                // A name that does not increase, or is none.
                (_, Content::Value(_)) => {
                    if self.all[cursor].state != State::Done {
                        add(&STATS.disordered, 1);
                    }
                    self.end(cursor, Extent::Partial);
                }
            }
        }
        for at in asked.iter().take(received) {
            self.is_opened[self.all[*at].table] = true;
        }
        self.values += received;
        self.failures = 0;
        match (question, received) {
            (Question::Next([cursor]), 0) => {
                self.refused_steps += 1;
                self.step_over(*cursor);
            }
            (Question::Bulk { cursors, .. }, 0) => self.suspect = Some(cursors[0]),
            (_, _) => {
                self.answers_again(pace);
                self.suspect = self.suspect.filter(|at| !asked.contains(at));
                pace.answered(u16::try_from(asked.len()).unwrap_or(u16::MAX), repetitions);
            }
        }
        // Values that large explain a failure; their column's size is known from here on.
        let failed = pace.smallest_failure().map_or(0, usize::from);
        if largest * failed > SUSPICIOUS_BYTES {
            pace.forgive();
        }
        received
    }

    /// Takes a fault that ended all tries of a question.
    pub(super) fn failed(
        &mut self,
        question: &Question,
        fault: &Fault,
        pace: &mut Pace,
    ) -> Verdict {
        if !fault.may_be_size() {
            return Verdict::GiveUp;
        }
        match (question, fault) {
            (Question::Next([cursor]), Fault::Status { status: NO_SUCH_NAME, .. }) => {
                self.answers_again(pace);
                self.suspect = None;
                self.is_opened[self.all[*cursor].table] = true;
                let from = self.all[*cursor].position.clone();
                self.end_of_view(*cursor, &from);
            }
            (Question::Next([cursor]), Fault::Status { .. }) => {
                self.refused_steps += 1;
                self.lose(*cursor);
            }
            (Question::Next([cursor]), _) => {
                self.silent_steps += 1;
                self.lose(*cursor);
            }
            (Question::Bulk { cursors, repetitions }, Fault::Status { status, index }) => {
                let blamed = usize::try_from(*index).ok().and_then(|index| index.checked_sub(1));
                let blamed = blamed.and_then(|blamed| cursors.get(blamed));
                match blamed {
                    Some(blamed) if *status != TOO_BIG => self.suspect = Some(*blamed),
                    _ => shrink(pace, cursors.len(), *repetitions, 1),
                }
            }
            (Question::Bulk { cursors, repetitions }, _) => {
                self.failures += 1;
                shrink(pace, cursors.len(), *repetitions, self.failures);
            }
        }
        if self.silent_steps >= MAX_SILENT_STEPS || self.is_hopeless() {
            return Verdict::GiveUp;
        }
        Verdict::GoOn
    }

    /// The device answers. If single steps have failed, they, and no size, are what failed before.
    fn answers_again(&mut self, pace: &mut Pace) {
        if self.silent_steps + self.refused_steps > 0 {
            pace.forgive();
        }
        (self.silent_steps, self.refused_steps) = (0, 0);
    }

    /// Ends a column that fails even alone.
    fn lose(&mut self, cursor: usize) {
        self.suspect = None;
        self.failures = 0;
        self.is_opened[self.all[cursor].table] = true;
        self.end(cursor, Extent::Partial);
    }

    /// Passes a value that can not be read. Its index is guessed from the table's other columns;
    /// without one to go on from, the column ends.
    fn step_over(&mut self, cursor: usize) {
        add(&STATS.undecodable, 1);
        self.suspect = None;
        let of = &mut self.all[cursor];
        of.bad_values += 1;
        let (table, position) = (of.table, of.position.clone());
        let index = &position[of.base.len()..];
        let next = (of.bad_values < MAX_BAD_VALUES && of.kind == Kind::Column)
            .then(|| {
                let siblings = self.all.iter().enumerate();
                siblings
                    .filter(|(at, other)| other.table == table && *at != cursor)
                    .filter_map(|(_, other)| {
                        let rows = self.tables.rows(&other.base);
                        rows.map(|(row, _)| row).find(|row| *row > index)
                    })
                    .min()
                    .map(Arcs::from)
            })
            .flatten();
        match next {
            Some(next) => {
                let base = &self.all[cursor].base;
                let position = [&**base, &*next].concat().into();
                self.stand(cursor, position);
                self.all[cursor].state = State::Live;
                self.all[cursor].rows += 1;
            }
            None => self.end(cursor, Extent::Partial),
        }
    }

    /// `to` follows `from`: moves every cursor that stands in between.
    fn advance(&mut self, from: &[u32], to: &Arcs, value: Option<&Value>) {
        let between = (Bound::Included((Arcs::from(from), 0)), Bound::Excluded((to.clone(), 0)));
        let moved: Vec<usize> = self.standing.range(between).map(|(_, at)| *at).collect();
        for at in moved {
            let Cursor { base, kind, .. } = &self.all[at];
            let Some(index) = to.strip_prefix(&**base).filter(|index| !index.is_empty()) else {
                self.end(at, Extent::Whole);
                continue;
            };
            let (kind, is_row) = (*kind, *kind != Kind::Scalar || index == [0]);
            if is_row && let Some(value) = value {
                self.bytes += bytes_of(value) + size_of_val(index);
                self.tables.insert(base, index, value.clone());
            }
            let cursor = &mut self.all[at];
            self.is_opened[cursor.table] = true;
            let size = value.map_or(0, bytes_of);
            cursor.value_bytes = size.max((3 * cursor.value_bytes + size) / 4);
            cursor.rows += usize::from(is_row);
            cursor.state = State::Live;
            match kind {
                Kind::Column => self.stand(at, to.clone()),
                Kind::Scalar => self.end(at, Extent::Whole),
                Kind::First => self.end(at, Extent::Partial),
            }
        }
    }

    /// Nothing follows `from`, at least nothing of the asking cursor's table.
    fn end_of_view(&mut self, cursor: usize, from: &[u32]) {
        let table = self.all[cursor].table;
        let behind: Vec<usize> = self
            .standing
            .range((Arcs::from(from), 0)..)
            .map(|(_, at)| *at)
            .filter(|at| self.all[*at].table == table)
            .collect();
        for at in behind {
            self.end(at, Extent::Whole);
        }
    }

    fn stand(&mut self, cursor: usize, position: Arcs) {
        let of = &mut self.all[cursor];
        let before = std::mem::replace(&mut of.position, position.clone());
        self.standing.remove(&(before, cursor));
        self.standing.insert((position, cursor));
    }

    fn end(&mut self, cursor: usize, extent: Extent) {
        let of = &mut self.all[cursor];
        if of.state == State::Done {
            return;
        }
        of.state = State::Done;
        let extent = if of.bad_values > 0 { Extent::Partial } else { extent };
        self.tables.set_extent(&of.base, extent);
        self.standing.remove(&(of.position.clone(), cursor));
    }

    /// Ends the reading here.
    pub(super) fn cut(&mut self) {
        self.is_cut = true;
    }

    /// The device answers, but nothing that can be read.
    pub(super) fn is_hopeless(&self) -> bool {
        self.refused_steps >= MAX_REFUSED_STEPS
    }

    pub(super) fn is_capped(&self) -> bool {
        self.is_cut
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            done: self.all.len() - self.standing.len(),
            wanted: self.all.len(),
            values: self.values,
            requests: 0,
        }
    }

    /// What was read. Columns that did not come to their end are partial.
    pub(super) fn finish(self) -> Tables {
        self.tables
    }
}

/// Makes the next request smaller after the `failures`th in a row: half the rows, then one, then
/// single steps; or of one row half the columns, then a quarter of them, then single steps. A dead
/// device must be known as dead after few of them.
fn shrink(pace: &mut Pace, columns: usize, repetitions: u16, failures: u32) {
    let columns = u16::try_from(columns).unwrap_or(u16::MAX);
    match (repetitions, failures) {
        (2.., 1) => pace.shrink_rows(repetitions, repetitions / 2),
        (2.., 2) => pace.shrink_rows(repetitions, 1),
        (_, 1) if columns > 1 => pace.shrink_columns(columns, columns / 2),
        (_, 2) if columns > 3 => pace.shrink_columns(columns, columns / 4),
        _ => pace.shrink_to_steps(columns),
    }
}

/// Bytes of a value in a reply, near enough for a budget.
fn bytes_of(value: &Value) -> usize {
    match value {
        Value::Bytes(bytes) => bytes.len(),
        Value::Oid(arcs) => encoded_len(arcs),
        Value::Integer(_) | Value::Unsigned(_) | Value::Address(_) | Value::Float(_) => 5,
    }
}
