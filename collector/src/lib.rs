//! The collector: takes what agents measured, keeps it, answers questions, mails.
//!
//! - [`config`]: the file and its faults. [`clock`]: time as an argument.
//! - [`context`]: what every part is handed.
//! - [`live`]: agents as they are now. [`feed`]: committed samples on their way to the evaluator.
//! - [`metrics`]: the collector's own figures.

pub mod clock;
pub mod config;
pub mod context;
pub mod feed;
pub mod live;
pub mod metrics;
