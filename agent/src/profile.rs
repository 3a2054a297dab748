//! What families of devices tell beside the standard MIBs, as data: the files in `agent/profiles/`.
//!
//! The reading order: [`model`] is a file's schema and [`check`] what can be wrong with it; [`library`]
//! holds the built-in files, finds a device's profile ([`matching`]) and puts it together with what it
//! inherits; [`rules`] evaluates it over what the device answered. The files themselves are checked
//! and packed by the build script, which shares the modules that say so.

pub mod check;
mod compiled;
pub mod heads;
pub mod library;
pub mod matching;
mod merge;
pub mod model;
pub mod packed;
pub mod pattern;
pub mod reference;
pub mod rules;
pub mod syntax;
pub mod text;
pub mod uses;

pub use compiled::CompileError;
pub use library::{Checked, Library, LibraryError, Resolved, check_directory};
pub use matching::Candidates;
pub use rules::evaluate;
