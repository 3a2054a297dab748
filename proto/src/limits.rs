//! Every bound of the protocol, by name. Both sides check them; a test stands at each edge.

/// Version of the protocol that this build speaks.
pub const PROTOCOL: u32 = 1;
/// Largest gRPC message, decoded, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Largest decompressed body of one `Records` message, in bytes.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// Largest ratio of decompressed to compressed body, applied above 64 KiB.
pub const MAX_BODY_RATIO: usize = 100;
/// Most records in one `Records` message.
pub const MAX_BATCH_RECORDS: usize = 4096;
/// Largest record payload as stored in the spool, in bytes.
pub const MAX_STORED_PAYLOAD_BYTES: usize = 256 << 10;
/// Largest record payload once decompressed, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;
/// Most samples in one record.
pub const MAX_RECORD_SAMPLES: usize = 20_000;
/// Most columns in one poll group.
pub const MAX_COLUMNS: usize = 20_000;
/// Most rounds in one record.
pub const MAX_ROWS: usize = 1_024;
/// Most columns for which a stream keeps delta state, per channel.
pub const MAX_STREAM_COLUMNS: usize = 100_000;
/// Largest `Hello`, in bytes.
pub const MAX_HELLO_BYTES: usize = 64 << 10;
/// Largest configuration document, in bytes.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;
/// Most poll groups in one configuration.
pub const MAX_GROUPS: usize = 1_000;
/// Most columns of all groups of one configuration.
pub const MAX_SERIES: usize = 50_000;
/// Most reference addresses in one configuration.
pub const MAX_REFERENCES: usize = 16;
/// Largest certificate signing request, in bytes.
pub const MAX_CSR_BYTES: usize = 8 << 10;
