//! Test support: peers that answer as told.

pub mod bench;
pub mod snmp_responder;
