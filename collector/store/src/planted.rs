//! Bugs planted on purpose, so that the fault campaign can show that it sees them.
//!
//! Without the feature `planted-bugs`, which no program that is shipped has, there are none.

#[cfg(all(feature = "planted-bugs", not(debug_assertions)))]
compile_error!("planted bugs are for debug builds under the fault campaign, never for a release");

/// Whether this bug is to be had: `VIGIE_PLANTED_BUG` names it.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn is(bug: &str) -> bool {
    static CHOSEN: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("VIGIE_PLANTED_BUG").ok());
    CHOSEN.as_deref() == Some(bug)
}

/// No.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn is(_bug: &str) -> bool {
    false
}
