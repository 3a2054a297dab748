//! The SNMP client and its probe against a real agent, a synthetic one, and devices that misbehave.

#![expect(clippy::wildcard_enum_match_arm, reason = "a device treats most metrics alike")]

mod hostile;
mod limits;
mod narrow;
mod reader;
mod real;
mod rounds;
mod snmpd;
mod support;
mod versions;
