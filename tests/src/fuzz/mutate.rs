//! Harm to bytes, from a seed.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Longest input made.
const MAX_BYTES: usize = 64 << 10;
/// Bytes at which parsers decide.
const INTERESTING: [u8; 12] =
    [0x00, 0x01, 0x7f, 0x80, 0x81, 0x84, 0xff, 0x30, b'"', b'\n', b',', b'['];

/// Makes inputs.
#[derive(Debug)]
pub struct Mutator {
    random: StdRng,
}

impl Mutator {
    /// The same seed makes the same inputs.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed) }
    }

    /// One of the seeds, harmed; now and then pure noise.
    pub fn next(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        if seeds.is_empty() || self.random.random_ratio(1, 20) {
            let length = self.random.random_range(0..2_000);
            return (0..length).map(|_| self.random.random()).collect();
        }
        let mut bytes = seeds[self.random.random_range(0..seeds.len())].clone();
        for _ in 0..self.random.random_range(1..=8) {
            self.harm(&mut bytes, seeds);
        }
        bytes.truncate(MAX_BYTES);
        bytes
    }

    fn place(&mut self, bytes: &[u8]) -> usize {
        if bytes.is_empty() { 0 } else { self.random.random_range(0..bytes.len()) }
    }

    fn harm(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.place(bytes);
        let some = self.random.random_range(1..=16).min(bytes.len() - at);
        match self.random.random_range(0..9) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.random.random_range(0..8),
            1 if !bytes.is_empty() => bytes[at] = self.random.random(),
            2 if !bytes.is_empty() => {
                bytes[at] = INTERESTING[self.random.random_range(0..INTERESTING.len())];
            }
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..at + some)),
            5 => {
                let twice = bytes[at..at + some].to_vec();
                bytes.splice(at..at, twice);
            }
            6 => {
                let byte = INTERESTING[self.random.random_range(0..INTERESTING.len())];
                bytes.splice(at..at, vec![byte; some.max(1)]);
            }
            7 => {
                let other = &seeds[self.random.random_range(0..seeds.len())];
                let from = self.place(other);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ if !bytes.is_empty() => {
                let step = self.random.random_range(1..=4);
                bytes[at] = if self.random.random() {
                    bytes[at].wrapping_add(step)
                } else {
                    bytes[at].wrapping_sub(step)
                };
            }
            _ => {}
        }
    }
}
