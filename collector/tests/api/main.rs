//! The HTTP API and the command line against a collector on a real port and a real file.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test that called them")]

mod commands;
mod doors;
mod french;
mod hostile;
mod house;
mod imports;
mod measures;
mod mesh;
mod states;
mod withdrawal;
