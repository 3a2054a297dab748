//! The wire contract between agent and collector: generated messages, the codecs of what they
//! carry, and the size limits both sides keep.
//!
//! - [`v1`]: generated from `proto/vigie.proto`.
//! - [`samples`]: the payload of a sample record, as kept in the spool and in the collector's head.
//! - [`records`]: how a batch of records travels, delta-coded against what the stream sent before.
//! - [`limits`]: every bound of the protocol, by name. [`zoned`]: addresses as texts.

pub mod compress;
pub mod limits;
pub mod records;
pub mod samples;
pub mod zoned;

/// Generated from `proto/vigie.proto`.
#[allow(missing_docs, clippy::pedantic, unreachable_pub, reason = "made by prost and tonic")]
pub mod v1 {
    tonic::include_proto!("vigie.v1");
}

impl std::fmt::Debug for v1::MeshLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeshLink").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Hash that identifies a record's content across resends: XXH3-64 over kind, flags-free header
/// times and payload. Equal key and equal hash is a duplicate; equal key and other hash a conflict.
#[must_use]
pub fn record_hash(kind: u8, boot_tag: u32, boot_ns: u64, wall_ns: i64, payload: &[u8]) -> u64 {
    let mut head = [0_u8; 21];
    head[0] = kind;
    head[1..5].copy_from_slice(&boot_tag.to_le_bytes());
    head[5..13].copy_from_slice(&boot_ns.to_le_bytes());
    head[13..21].copy_from_slice(&wall_ns.to_le_bytes());
    let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
    hasher.update(&head);
    hasher.update(payload);
    hasher.digest()
}

/// Lane of events: state changes, gaps, losses, clock, inventory. Drains first.
pub const LANE_EVENTS: u32 = 0;
/// Lane of samples.
pub const LANE_SAMPLES: u32 = 1;

/// Record kind: a [`v1::Event`] message.
pub const KIND_EVENT: u8 = 1;
/// Record kind: columns of samples, see [`samples`].
pub const KIND_SAMPLES: u8 = 2;

#[cfg(test)]
mod golden;
