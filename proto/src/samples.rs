//! Payload of a sample record.
