//! collector/domain
