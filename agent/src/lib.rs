//! The agent: runs in a school, measures, keeps on disk what it measured, sends it when it can.
//!
//! A measurement's journey, which is also the reading order: [`plan`] says what to measure,
//! [`schedule`] when; [`probe`] measures; [`spool`] makes it durable; [`uplink`] sends it and hears
//! what the collector has committed. [`enrol`] and [`identity`] say who this agent is.
//! What a device is and has ([`device`]) is asked for by [`snmp`] and told by the rules of its
//! [`profile`].

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod device;
pub mod enrol;
pub mod identity;
pub mod inspect;
pub mod logs;
pub mod metrics;
pub mod plan;
pub mod platform;
pub mod probe;
pub mod profile;
pub mod schedule;
pub mod snmp;
pub mod spool;
pub mod status;
pub mod uplink;
pub mod wire;

mod planted;
