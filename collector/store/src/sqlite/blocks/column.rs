//! One series of a block: what each round said of it.

use super::{
    bytes::{Reader, put},
    numbers::{self, Shape},
};
use crate::Result;

const COLUMN: &str = "series column";

/// What a round said of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The series was not part of the round's layout.
    Absent,
    /// Polled and not obtained.
    Null,
    /// Has a value.
    Value,
}

/// The rounds of one series, in the order of the block's time column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cells {
    /// Stretches of one state; their lengths add up to the number of rounds.
    runs: Vec<(State, usize)>,
    /// The values, one per round in state [`State::Value`].
    values: Vec<i64>,
}

impl Cells {
    pub(crate) fn push(&mut self, state: State, value: i64) {
        match self.runs.last_mut() {
            Some((last, length)) if *last == state => *length += 1,
            Some(_) | None => self.runs.push((state, 1)),
        }
        if state == State::Value {
            self.values.push(value);
        }
    }

    /// A series that was part of none of these rounds.
    pub(crate) fn absent(rounds: usize) -> Self {
        Self { runs: vec![(State::Absent, rounds)], values: Vec::new() }
    }

    /// Rounds of which the series was part.
    pub(crate) fn polled(&self) -> usize {
        self.runs.iter().filter(|run| run.0 != State::Absent).map(|run| run.1).sum()
    }

    /// What each round said, with 0 for the value where there is none.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (State, i64)> + '_ {
        let mut values = self.values.iter().copied();
        self.runs.iter().flat_map(|&(state, length)| std::iter::repeat_n(state, length)).map(
            move |state| match state {
                State::Value => (state, values.next().unwrap_or_default()),
                State::Absent | State::Null => (state, 0),
            },
        )
    }

    /// The validity as runs (a single 0 byte when every round has a value), then the values.
    pub(crate) fn encode(&self, shape: Shape, out: &mut Vec<u8>) -> Result<()> {
        if let [(State::Value, _)] = self.runs[..] {
            put(out, 0);
        } else {
            put(out, self.runs.len() as u64);
            for &(state, length) in &self.runs {
                put(out, (length as u64) << 2 | code(state));
            }
        }
        numbers::encode(&self.values, shape, out)
    }

    pub(crate) fn decode(bytes: &[u8], rounds: usize) -> Result<Self> {
        let mut reader = Reader::new(bytes, COLUMN);
        let runs = reader.count(rounds)?;
        let runs = if runs == 0 {
            vec![(State::Value, rounds)]
        } else {
            (0..runs)
                .map(|_| {
                    let n = reader.number()?;
                    let state = state(n & 3).ok_or_else(|| reader.damage())?;
                    Ok((state, usize::try_from(n >> 2).map_err(|_| reader.damage())?))
                })
                .collect::<Result<Vec<_>>>()?
        };
        let total = runs.iter().try_fold(0_usize, |sum, run| sum.checked_add(run.1));
        if total != Some(rounds) {
            return Err(reader.damage());
        }
        let present = runs.iter().filter(|r| r.0 == State::Value).map(|r| r.1).sum();
        let mut values = Vec::new();
        numbers::decode(reader.rest(), present, COLUMN, &mut values)?;
        Ok(Self { runs, values })
    }
}

fn code(state: State) -> u64 {
    match state {
        State::Absent => 0,
        State::Null => 1,
        State::Value => 2,
    }
}

fn state(code: u64) -> Option<State> {
    match code {
        0 => Some(State::Absent),
        1 => Some(State::Null),
        2 => Some(State::Value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_cells() -> impl Strategy<Value = Vec<(State, i64)>> {
        let cell = prop_oneof![
            8 => any::<i64>().prop_map(|v| (State::Value, v)),
            1 => Just((State::Null, 0)),
            1 => Just((State::Absent, 0)),
        ];
        prop::collection::vec(cell, 1..100)
    }

    proptest! {
        #[test]
        fn absent_null_and_value_are_told_apart_after_a_round_trip(cells in any_cells()) {
            let mut column = Cells::default();
            for &(state, value) in &cells {
                column.push(state, value);
            }
            let mut bytes = Vec::new();
            column.encode(Shape::Any, &mut bytes).unwrap();
            let back = Cells::decode(&bytes, cells.len()).unwrap();
            prop_assert_eq!(&back.iter().collect::<Vec<_>>(), &cells);
            prop_assert_eq!(column.iter().count(), cells.len());
            if cells.iter().any(|cell| cell.0 != State::Value) {
                prop_assert!(Cells::decode(&bytes, cells.len() + 1).is_err());
            }
        }

        #[test]
        fn damaged_columns_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), n in 0..50_usize) {
            let _ = Cells::decode(&bytes, n);
        }
    }
}
