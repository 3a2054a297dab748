//! Integers of one column as bytes: the smallest of a constant, runs, plain differences and `pco`.

use pco::{
    ChunkConfig, DeltaSpec, ModeSpec, PagingSpec,
    errors::PcoResult,
    wrapped::{FileCompressor, FileDecompressor},
};

use super::bytes::{Reader, damaged, put, put_signed};
use crate::{Result, StoreError};

const CONSTANT: u8 = 0;
const RUNS: u8 = 1;
const DIFFERENCES: u8 = 2;
const PCO: u8 = 3;

/// Shorter columns are not worth the header of `pco`.
const LEAST_FOR_PCO: usize = 16;
/// Columns up to this length are also tried as plain differences.
const MOST_FOR_DIFFERENCES: usize = 64;
/// Level of `pco`: 8 is its default; above it gains under 0.1 % on the reference fleet.
const LEVEL: usize = 8;

/// How the values of a column hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Grows: differences are what is to be coded.
    Counter,
    /// Anything: `pco` looks for itself.
    Any,
}

/// Appends the values. Their number is not part of the bytes.
pub(crate) fn encode(values: &[i64], shape: Shape, out: &mut Vec<u8>) -> Result<()> {
    let Some(&first) = values.first() else { return Ok(()) };
    let runs = 1 + values.windows(2).filter(|pair| pair[0] != pair[1]).count();
    if runs == 1 {
        out.push(CONSTANT);
        put_signed(out, first);
        return Ok(());
    }
    let start = out.len();
    let mut best: Option<usize> = None;
    let mut offer = |out: &mut Vec<u8>, write: &dyn Fn(&mut Vec<u8>) -> Result<()>| {
        let before = out.len();
        write(out)?;
        let size = out.len() - before;
        match best {
            Some(least) if least <= size => out.truncate(before),
            Some(_) | None => {
                out.drain(start..before);
                best = Some(size);
            }
        }
        Ok::<(), StoreError>(())
    };
    if runs <= values.len() / 4 {
        offer(out, &|out| {
            put_runs(values, out);
            Ok(())
        })?;
    }
    if values.len() <= MOST_FOR_DIFFERENCES {
        offer(out, &|out| {
            put_differences(values, out);
            Ok(())
        })?;
    }
    if values.len() >= LEAST_FOR_PCO && runs > 4 {
        offer(out, &|out| put_pco(values, shape, out))?;
    }
    if best.is_none() {
        put_pco(values, shape, out)?;
    }
    Ok(())
}

fn put_runs(values: &[i64], out: &mut Vec<u8>) {
    out.push(RUNS);
    let mut before = 0;
    for run in values.chunk_by(|a, b| a == b) {
        put_signed(out, run[0].wrapping_sub(before));
        put(out, run.len() as u64);
        before = run[0];
    }
}

fn put_differences(values: &[i64], out: &mut Vec<u8>) {
    out.push(DIFFERENCES);
    let mut before = 0;
    for &value in values {
        put_signed(out, value.wrapping_sub(before));
        before = value;
    }
}

fn put_pco(values: &[i64], shape: Shape, out: &mut Vec<u8>) -> Result<()> {
    let delta = match shape {
        Shape::Counter => DeltaSpec::TryConsecutive(1),
        Shape::Any => DeltaSpec::Auto,
    };
    let config = ChunkConfig::default()
        .with_compression_level(LEVEL)
        .with_mode_spec(ModeSpec::Classic)
        .with_delta_spec(delta)
        .with_paging_spec(PagingSpec::EqualPagesUpTo(values.len()));
    out.push(PCO);
    write_pco(values, &config, out)
        .map_err(|e| StoreError::Failed { action: "compress samples", source: Box::new(e) })
}

/// One chunk of one page. The number of values is known from elsewhere, so the wrapped format does,
/// which is a dozen bytes shorter than the standalone one.
fn write_pco(values: &[i64], config: &ChunkConfig, out: &mut Vec<u8>) -> PcoResult<()> {
    let file = FileCompressor::default();
    file.write_header(&mut *out)?;
    let mut chunk = file.chunk_compressor(values, config)?;
    chunk.write_meta(&mut *out)?;
    chunk.write_page(0, &mut *out)?;
    Ok(())
}

/// Reads as many values as `out` is long; whether that was all there is.
fn read_pco(bytes: &[u8], out: &mut [i64]) -> PcoResult<bool> {
    let (file, rest) = FileDecompressor::new(bytes)?;
    let (mut chunk, rest) = file.chunk_decompressor(rest)?;
    let mut page = chunk.page_decompressor(rest, out.len())?;
    let progress = page.read(out)?;
    Ok(progress.n_processed == out.len() && progress.finished && page.into_src().is_empty())
}

/// Reads `n` values into `out`, whose content is replaced. All bytes must be used.
pub(crate) fn decode(bytes: &[u8], n: usize, what: &'static str, out: &mut Vec<i64>) -> Result<()> {
    out.clear();
    let mut reader = Reader::new(bytes, what);
    if n == 0 {
        return if bytes.is_empty() { Ok(()) } else { Err(damaged(what)) };
    }
    match reader.byte()? {
        CONSTANT => out.resize(n, reader.signed()?),
        RUNS => {
            let mut value = 0_i64;
            while out.len() < n {
                value = value.wrapping_add(reader.signed()?);
                let length = reader.count(n - out.len())?;
                if length == 0 {
                    return Err(reader.damage());
                }
                out.resize(out.len() + length, value);
            }
        }
        DIFFERENCES => {
            let mut value = 0_i64;
            for _ in 0..n {
                value = value.wrapping_add(reader.signed()?);
                out.push(value);
            }
        }
        PCO => {
            out.resize(n, 0);
            return match read_pco(reader.rest(), out) {
                Ok(true) => Ok(()),
                Ok(false) | Err(_) => Err(reader.damage()),
            };
        }
        _ => return Err(reader.damage()),
    }
    if reader.rest().is_empty() { Ok(()) } else { Err(damaged(what)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(values: &[i64], shape: Shape) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(values, shape, &mut bytes).unwrap();
        bytes
    }

    fn any_values() -> impl Strategy<Value = Vec<i64>> {
        prop_oneof![
            prop::collection::vec(any::<i64>(), 0..200),
            prop::collection::vec(0..3_i64, 0..400),
            prop::collection::vec(prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0)], 0..100),
            prop::collection::vec(0..1_i64 << 20, 0..400_usize).prop_map(|steps: Vec<i64>| {
                steps
                    .iter()
                    .scan(0, |sum, step| {
                        *sum += step;
                        Some(*sum)
                    })
                    .collect()
            }),
            (any::<i64>(), 0..500_usize).prop_map(|(value, n)| vec![value; n]),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(values in any_values(), counter: bool) {
            let shape = if counter { Shape::Counter } else { Shape::Any };
            let bytes = bytes_of(&values, shape);
            let mut back = vec![9; 3];
            decode(&bytes, values.len(), "test", &mut back).unwrap();
            prop_assert_eq!(back, values);
        }

        #[test]
        fn damaged_bytes_are_an_error_or_other_values_but_never_a_panic(
            values in any_values(),
            cut in 0..64_usize,
            flip in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let mut bytes = bytes_of(&values, Shape::Any);
            bytes.truncate(bytes.len().saturating_sub(cut));
            if !bytes.is_empty() {
                let at = flip.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            let mut back = Vec::new();
            if decode(&bytes, values.len(), "test", &mut back).is_ok() {
                prop_assert_eq!(back.len(), values.len());
            }
        }
    }

    #[test]
    fn a_constant_column_takes_two_bytes_and_a_state_with_one_change_a_few() {
        assert_eq!(bytes_of(&[1; 1440], Shape::Any).len(), 2);
        let mut states = vec![1; 1440];
        states[700..].fill(2);
        assert!(bytes_of(&states, Shape::Any).len() <= 8);
    }
}
