//! Test support: real programs against real peers.
//!
//! - [`binaries`], [`process`]: programs under test, found, started, killed, heard.
//! - [`collector`], [`agent`], [`api`]: the product's programs and how to ask them.
//! - [`netns`], [`school`]: a school's network in namespaces, whose lines can be cut.
//! - [`proxy`]: a TCP line that can be cut, lose answers, and is counted.
//! - [`smtp_sink`]: a mail relay that keeps what it gets and misbehaves as told.
//! - [`snmp_responder`]: SNMP devices whose values are a function of what is asked.
//! - [`campaign`]: kills and cuts under load, judged from outside.
//! - [`fuzz`]: what parses bytes of strangers, and bytes for it.
//! - [`wait`]: conditions with deadlines.
//! - [`world`]: all of it, put together.
//! - [`mod@bench`]: what benches share; [`fleet`]: the reference fleet's samples.

pub mod agent;
pub mod api;
pub mod bench;
pub mod binaries;
pub mod campaign;
pub mod collector;
pub mod fleet;
pub mod fuzz;
pub mod netns;
pub mod process;
pub mod proxy;
pub mod school;
pub mod smtp_sink;
pub mod snmp_responder;
pub mod wait;
pub mod world;
