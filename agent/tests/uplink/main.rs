//! The agent alone, against a collector that answers by the test's hand.
#![expect(clippy::unwrap_used, reason = "a test that can not go on fails")]
#![expect(clippy::wildcard_enum_match_arm, reason = "any other message fails the test")]

mod collector;
mod delivery;
mod faults;
mod hostile;
mod identity;
mod line;
