//! Samples: reading, rolling up, compacting.

use crate::Rounds;

/// A payload for the suite: plain little-endian words, so that it needs no codec of the wire.
#[must_use]
pub fn payload(rounds: &Rounds) -> Vec<u8> {
    let mut bytes = (rounds.times_ms.len() as u64).to_le_bytes().to_vec();
    bytes.extend(rounds.times_ms.iter().flat_map(|t| t.to_le_bytes()));
    for cell in &rounds.cells {
        bytes.push(u8::from(cell.is_some()));
        bytes.extend(cell.unwrap_or_default().to_le_bytes());
    }
    bytes
}

/// Reads a payload of the suite.
#[must_use]
pub fn read_payload(bytes: &[u8]) -> Option<Rounds> {
    let (n, rest) = bytes.split_first_chunk::<8>()?;
    let n = usize::try_from(u64::from_le_bytes(*n)).ok()?;
    let (times, cells) = rest.split_at_checked(n.checked_mul(8)?)?;
    let (cells, odd) = cells.as_chunks::<9>();
    odd.is_empty().then(|| Rounds {
        times_ms: times.as_chunks::<8>().0.iter().map(|t| i64::from_le_bytes(*t)).collect(),
        cells: cells
            .iter()
            .map(|[some, value @ ..]| (*some == 1).then(|| i64::from_le_bytes(*value)))
            .collect(),
    })
}
