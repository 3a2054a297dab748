//! Predicts a series' next value from what the stream carried before, alike on both sides.

/// State of one column. Two guesses compete, "as before" and "as much more as before" (a counter of
/// steady traffic); the one whose recent residuals were shorter is taken.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Predictor {
    last: i64,
    delta: i64,
    /// Recent bits of residual, as an exponential mean times 16.
    flat_bits: u16,
    linear_bits: u16,
}

impl Predictor {
    fn guess(&self) -> i64 {
        if self.linear_bits < self.flat_bits {
            self.last.wrapping_add(self.delta)
        } else {
            self.last
        }
    }

    fn learn(&mut self, value: i64) {
        let flat = value.wrapping_sub(self.last);
        let linear = flat.wrapping_sub(self.delta);
        self.flat_bits = mean(self.flat_bits, flat);
        self.linear_bits = mean(self.linear_bits, linear);
        (self.last, self.delta) = (value, flat);
    }

    /// What to send for a value.
    pub(super) fn residual(&mut self, value: i64) -> i64 {
        let residual = value.wrapping_sub(self.guess());
        self.learn(value);
        residual
    }

    /// The value that was sent.
    pub(super) fn value(&mut self, residual: i64) -> i64 {
        let value = self.guess().wrapping_add(residual);
        self.learn(value);
        value
    }
}

fn mean(before: u16, residual: i64) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "at most 64")]
    let bits = (64 - residual.unsigned_abs().leading_zeros()) as u16;
    // 64 bits x 16 stays far below the type's end.
    before - before / 8 + bits * 2
}
