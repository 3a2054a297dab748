//! percentile.
