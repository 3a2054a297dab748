//! Samples: integer values in their metric's resolution, at server time.

/// One value at one time. `None` was polled and not obtained: unknown, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Server time, Unix milliseconds.
    pub t_ms: i64,
    /// In the metric's resolution; counters are the 64-bit counter's bits.
    pub value: Option<i64>,
}

/// Half-open stretch of server time, Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First instant.
    pub from_ms: i64,
    /// First instant after the end.
    pub to_ms: i64,
}
