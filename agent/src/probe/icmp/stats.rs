//! From the replies of one burst to its figures, for echo requests and for those between sites. Pure.

use std::time::Duration;

use crate::{
    plan::Metric,
    probe::{Cell, Outcome, micros},
};

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// After this delay.
    Answered(Duration),
    /// The network said that the target can not be reached.
    Unreachable,
    /// Nothing came in time.
    Lost,
    /// The request did not leave this machine.
    NotSent,
}

/// The requests of one round to one target, by their turn.
#[derive(Debug, Clone)]
pub struct Burst {
    replies: Vec<Reply>,
}

impl Burst {
    /// Of `count` requests, none of them sent.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { replies: vec![Reply::NotSent; count] }
    }

    /// Enters the reply to request `turn`, from 0.
    pub fn note(&mut self, turn: usize, reply: Reply) {
        self.replies[turn] = reply;
    }

    /// The figures of this burst.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let count = |wanted| self.replies.iter().filter(|reply| **reply == wanted).count();
        let in_turn: Vec<i64> = self
            .replies
            .iter()
            .filter_map(|reply| match reply {
                Reply::Answered(delay) => Some(micros(*delay)),
                Reply::Unreachable | Reply::Lost | Reply::NotSent => None,
            })
            .collect();
        let sent = self.replies.len() - count(Reply::NotSent);
        let outcome = if !in_turn.is_empty() {
            Outcome::Ok
        } else if count(Reply::Unreachable) > 0 {
            Outcome::Unreachable
        } else if sent > 0 {
            Outcome::Timeout
        } else {
            Outcome::NotAsked
        };
        let mut variations: Vec<i64> =
            in_turn.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
        variations.sort_unstable();
        let mut sorted = in_turn;
        sorted.sort_unstable();
        Summary {
            outcome,
            loss: ratio(sent - sorted.len(), sent),
            rtt_min: sorted.first().copied(),
            rtt_mean: mean(&sorted),
            rtt_max: sorted.last().copied(),
            rtt_p95: percentile(&sorted, 95),
            delay_variation: percentile(&variations, 95),
        }
    }
}

/// Figures of one burst: delays in microseconds, `None` without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// `Ok` with one answer or more.
    pub outcome: Outcome,
    /// Requests sent and not answered, in 1/10,000; `None` when nothing could be sent.
    pub loss: Cell,
    /// Smallest delay.
    pub rtt_min: Cell,
    /// Arithmetic mean of the delays, rounded to the nearest.
    pub rtt_mean: Cell,
    /// Largest delay.
    pub rtt_max: Cell,
    /// 95th percentile of the delays, nearest rank.
    pub rtt_p95: Cell,
    /// 95th percentile, nearest rank, of the absolute differences of consecutive answers' delays
    /// (RFC 3393, with "consecutive answers" as the selection function); `None` with fewer than two
    /// answers.
    pub delay_variation: Cell,
}

impl Summary {
    /// The figure that `metric` asks for; `None` for another probe's metric.
    #[must_use]
    pub fn cell(&self, metric: Metric) -> Cell {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the metrics of all other probes")]
        match metric {
            Metric::IcmpOutcome | Metric::MeshOutcome => Some(self.outcome as i64),
            Metric::IcmpLoss | Metric::MeshLoss => self.loss,
            Metric::IcmpRttMin | Metric::MeshRttMin => self.rtt_min,
            Metric::IcmpRttMean | Metric::MeshRttMean => self.rtt_mean,
            Metric::IcmpRttMax | Metric::MeshRttMax => self.rtt_max,
            Metric::IcmpRttP95 | Metric::MeshRttP95 => self.rtt_p95,
            Metric::IcmpDelayVariation | Metric::MeshDelayVariation => self.delay_variation,
            _ => None,
        }
    }
}

/// `part` of `whole` in 1/10,000, rounded to the nearest; `None` of nothing.
fn ratio(part: usize, whole: usize) -> Cell {
    i64::try_from((part * 20_000 + whole).checked_div(2 * whole)?).ok()
}

fn mean(values: &[i64]) -> Cell {
    let count = i64::try_from(values.len()).ok().filter(|count| *count > 0)?;
    let total: i64 = values.iter().sum();
    Some((2 * total + count) / (2 * count))
}

/// Nearest rank: the smallest value such that at least `percent` of the values are at most it.
/// `sorted` ascends.
fn percentile(sorted: &[i64], percent: usize) -> Cell {
    sorted.get((sorted.len() * percent).div_ceil(100).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Delays in microseconds; `L`ost, `U`nreachable, `N`ot sent.
    fn burst(text: &str) -> Burst {
        let replies = text.split_whitespace().map(|word| match word {
            "L" => Reply::Lost,
            "U" => Reply::Unreachable,
            "N" => Reply::NotSent,
            digits => Reply::Answered(Duration::from_micros(digits.parse().unwrap())),
        });
        Burst { replies: replies.collect() }
    }

    fn check(text: &str, outcome: Outcome, loss: Cell, figures: [Cell; 5]) {
        let [rtt_min, rtt_mean, rtt_max, rtt_p95, delay_variation] = figures;
        let expected =
            Summary { outcome, loss, rtt_min, rtt_mean, rtt_max, rtt_p95, delay_variation };
        assert_eq!(burst(text).summary(), expected, "{text}");
    }

    #[test]
    fn an_answered_burst_has_all_figures() {
        let all = |figures: [i64; 5]| figures.map(Some);
        check("100 300 200", Outcome::Ok, Some(0), all([100, 200, 300, 300, 200]));
        check("10 11", Outcome::Ok, Some(0), all([10, 11, 11, 11, 1]));
        check("5 5 5 5", Outcome::Ok, Some(0), all([5, 5, 5, 5, 0]));
        check("0 0", Outcome::Ok, Some(0), all([0, 0, 0, 0, 0]));
    }

    #[test]
    fn loss_counts_what_was_sent_and_variation_skips_it() {
        check("100 L 400", Outcome::Ok, Some(3333), [100, 250, 400, 400, 300].map(Some));
        check("7 L L", Outcome::Ok, Some(6667), [Some(7), Some(7), Some(7), Some(7), None]);
        check("7 N N", Outcome::Ok, Some(0), [Some(7), Some(7), Some(7), Some(7), None]);
        check("7 U N L", Outcome::Ok, Some(6667), [Some(7), Some(7), Some(7), Some(7), None]);
    }

    #[test]
    fn without_an_answer_no_delay_is_invented() {
        check("L L", Outcome::Timeout, Some(10_000), [None; 5]);
        check("L U", Outcome::Unreachable, Some(10_000), [None; 5]);
        check("N L", Outcome::Timeout, Some(10_000), [None; 5]);
        check("N N", Outcome::NotAsked, None, [None; 5]);
    }

    #[test]
    fn percentiles_are_the_nearest_rank() {
        // The worked example of the nearest-rank method: ranks ceil(n * P / 100).
        let list = [15, 20, 35, 40, 50];
        for (percent, value) in [(5, 15), (30, 20), (40, 20), (50, 35), (95, 50), (100, 50)] {
            assert_eq!(percentile(&list, percent), Some(value), "{percent}");
        }
        let hundred: Vec<i64> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 95), Some(95));
        assert_eq!(percentile(&[], 95), None);
    }

    proptest! {
        #[test]
        fn figures_keep_their_order(delays in prop::collection::vec(0_u64..10_000_000, 1..100)) {
            let text: Vec<String> = delays.iter().map(u64::to_string).collect();
            let summary = burst(&text.join(" ")).summary();
            prop_assert!(summary.rtt_min <= summary.rtt_mean);
            prop_assert!(summary.rtt_mean <= summary.rtt_max);
            prop_assert!(summary.rtt_p95 <= summary.rtt_max);
            let spread = summary.rtt_max.unwrap() - summary.rtt_min.unwrap();
            prop_assert!(summary.delay_variation.unwrap_or(0) <= spread);
        }
    }
}
