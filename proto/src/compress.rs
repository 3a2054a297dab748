//! zstd with one context a thread: contexts are large, and the bodies are small.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};

thread_local! {
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The compressed bytes, if they are fewer.
#[must_use]
pub fn compress(bytes: &[u8], level: i32) -> Option<Vec<u8>> {
    let packed = COMPRESSOR.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(made_for, _)| *made_for != level) {
            *slot = Compressor::new(level).ok().map(|compressor| (level, compressor));
        }
        slot.as_mut()?.1.compress(bytes).ok()
    })?;
    (packed.len() < bytes.len()).then_some(packed)
}

/// The decompressed bytes, at most `limit` of them; `None` when they are malformed or more.
#[must_use]
pub fn decompress(bytes: &[u8], limit: usize) -> Option<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Decompressor::new().ok();
        }
        slot.as_mut()?.decompress(bytes, limit).ok()
    })
}
