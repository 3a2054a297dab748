//! A collector on a real port and a real file, met by agents that are as honest or as hostile as
//! each test needs.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test that called them")]

mod enrolment;
mod fairness;
mod fake;
mod hostile;
mod malformed;
mod sessions;
