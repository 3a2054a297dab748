//! Test support: peers that answer as told.

pub mod snmp_responder;
