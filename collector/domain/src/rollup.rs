//! rollup.
