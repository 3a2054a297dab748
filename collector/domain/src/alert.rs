//! From rounds to decisions, one file per stage of the pipeline.
//!
//! [`rounds`] judges one target by its last rounds; [`topology`] decides which failing target is the
//! cause and which stand behind it; [`threshold`] moves one alert with hysteresis; [`evaluate`] puts
//! them together with the silence of agents and says which incidents begin and end.
//!
//! Silence is *unknown*: it neither opens nor closes an incident about a target.

pub mod evaluate;
pub mod rounds;
pub mod rules;
pub mod threshold;
pub mod topology;
