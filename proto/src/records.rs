//! Batches of records on the wire.
