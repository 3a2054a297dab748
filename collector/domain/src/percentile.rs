//! Percentiles: nearest rank, exactly or from a distribution.

/// Ratio of neighbouring bounds of a [`class_of`] class.
pub const CLASS_RATIO: f64 = 1.04;
/// Largest relative error of [`class_value`] against any value of the class:
/// `(CLASS_RATIO - 1) / (CLASS_RATIO + 1)`, a little under 2 %.
pub const CLASS_ERROR: f64 = 0.019_608;
/// Values nearer to zero than this fall into the class of zero.
pub const SMALLEST: f64 = 1e-3;

/// Rank (from 1) of the percentile `p` among `n` values: `ceil(p * n)`, at least 1, at most `n`.
///
/// The product is taken a hair lower, so that 0.07 of 100, which is 7.000000000000001 in binary, has
/// the rank 7.
#[must_use]
pub fn rank(n: usize, p: f64) -> usize {
    let exact = (p * n as f64 - 1e-9).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of a float saturates, and the clamp bounds it again"
    )]
    let rank = exact as usize;
    rank.clamp(1, n.max(1))
}

/// Nearest-rank percentile: the element of rank `ceil(p * n)` in ascending order; `None` when there
/// is no value. The values are left in another order.
#[must_use]
pub fn nearest_rank(values: &mut [f64], p: f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let rank = rank(values.len(), p);
    let (_, value, _) = values.select_nth_unstable_by(rank - 1, f64::total_cmp);
    Some(*value)
}

/// The class of a value in a logarithmic distribution: 0 for (nearly) zero, growing with the value,
/// negative for negative values.
#[must_use]
pub fn class_of(value: f64) -> i32 {
    let size = value.abs();
    if size.is_nan() || size < SMALLEST {
        return 0;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the logarithm of any finite double is far below i32::MAX, infinity saturates"
    )]
    let class = ((size / SMALLEST).ln() / CLASS_RATIO.ln()).floor().min(30_000.0) as i32 + 1;
    if value < 0.0 { -class } else { class }
}

/// The value that stands for a class: at most [`CLASS_ERROR`] off any value of it.
#[must_use]
pub fn class_value(class: i32) -> f64 {
    if class == 0 {
        return 0.0;
    }
    let lower = SMALLEST * CLASS_RATIO.powi(class.abs() - 1);
    let middle = lower * 2.0 * CLASS_RATIO / (1.0 + CLASS_RATIO);
    if class < 0 { -middle } else { middle }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_95th_of_8640_ascending_values_is_8208() {
        let mut values: Vec<f64> = (1..=8640).rev().map(f64::from).collect();
        assert_eq!(nearest_rank(&mut values, 0.95), Some(8208.0));
    }

    #[test]
    fn no_value_has_no_percentile_and_one_has_itself() {
        assert_eq!(nearest_rank(&mut [], 0.5), None);
        assert_eq!(nearest_rank(&mut [4.5], 0.01), Some(4.5));
        assert_eq!(nearest_rank(&mut [4.5], 1.0), Some(4.5));
    }

    #[test]
    fn binary_fractions_do_not_push_a_whole_rank_up() {
        for n in 1..=1_000_usize {
            for percent in 1..=100 {
                let whole = (n * percent).div_ceil(100);
                assert_eq!(rank(n, percent as f64 / 100.0), whole, "{percent} % of {n}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_class_stands_for_its_values(exponent in -3.0_f64..17.0, negative: bool) {
            let value = 10_f64.powf(exponent) * if negative { -1.0 } else { 1.0 };
            let error = (class_value(class_of(value)) - value).abs() / value.abs();
            prop_assert!(error <= CLASS_ERROR + 1e-9 || value.abs() < SMALLEST, "{value}: {error}");
        }

        #[test]
        fn classes_keep_the_order(a in -1e15_f64..1e15, b in -1e15_f64..1e15) {
            prop_assert!(a > b || class_of(a) <= class_of(b));
        }
    }
}
