//! The collector: takes what agents measured, keeps it, answers questions, mails.
//!
//! - [`config`]: the file and its faults. [`clock`]: time as an argument.
//! - [`ca`]: the collector's own certificate authority. [`secret_file`]: files for one reader.
//! - [`tls`]: sockets to authenticated channels. [`access`]: which call is open to whom.
//! - [`enrol`]: tokens and certificates. [`session`]: one stream per agent. [`ingest`]: batches.
//! - [`targets`]: what each site measures. [`wire`]: between the domain and the wire contract.
//! - [`app`]: composition root, start and graceful stop. [`jobs`]: periodic work. [`logs`]: logs.
//! - [`language`]: French or English.
//! - [`context`]: what every part is handed. [`platform`]: what is specific to an operating system.
//! - [`evaluator`]: incidents. [`notifier`]: the outbox's mails.
//! - [`live`]: agents as they are now. [`feed`]: committed samples on their way to the evaluator.
//! - [`import`]: `sites.csv`, checked line by line.
//! - [`api`]: HTTP and JSON over it.
//! - [`query`]: every question that a reader can ask, once. [`wrong`]: codes of what can be wrong with it.
//! - [`metrics`]: the collector's own figures.

pub mod access;
pub mod api;
pub mod app;
pub mod ca;
pub mod clock;
pub mod config;
pub mod context;
pub mod enrol;
pub mod evaluator;
pub mod feed;
pub mod import;
pub mod ingest;
pub mod jobs;
pub mod language;
pub mod live;
pub mod logs;
pub mod mesh;
pub mod metrics;
pub mod notifier;
pub mod platform;
pub mod query;
pub mod secret_file;
pub mod session;
pub mod targets;
pub mod tls;
pub mod wire;
pub mod wrong;
