//! collector/store
