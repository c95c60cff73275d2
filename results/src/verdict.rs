//! The verdict on a ratio: one decision rule, on the 95 % interval and the margin.

use schemars::JsonSchema;
use serde::Serialize;

use crate::analysis::LEAST_BLOCKS;
use crate::metric::Direction;
use crate::statistics::{Effect, Estimate, Interval};

/// What a comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The whole interval is beyond the margin, on the good side.
    Better,
    /// The whole interval is beyond the margin, on the bad side.
    Worse,
    /// The whole interval is within the margin.
    Equivalent,
    /// Anything else: more blocks would tell.
    Inconclusive,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::Equivalent => "equivalent",
            Verdict::Inconclusive => "inconclusive",
        })
    }
}

/// The edges of the margin on the scale of ratios: symmetric on the log scale, so that swapping sides swaps the verdict.
pub fn edges(margin: f64) -> Interval {
    Interval { low: 1.0 / (1.0 + margin), high: 1.0 + margin }
}

/// The verdict: reading the 95 % interval against the edges is the same as two one-sided tests at 2.5 % each.
pub fn decide(interval: Interval, margin: f64, better: Direction) -> Verdict {
    let edges = edges(margin);
    let (above, below) = match better {
        Direction::Higher => (Verdict::Better, Verdict::Worse),
        Direction::Lower => (Verdict::Worse, Verdict::Better),
    };
    if interval.low > edges.high {
        above
    } else if interval.high < edges.low {
        below
    } else if interval.low > edges.low && interval.high < edges.high {
        Verdict::Equivalent
    } else {
        Verdict::Inconclusive
    }
}

/// One-sided p of "not beyond the margin", on the side on which the ratio is.
pub fn p_beyond(effect: &Effect, margin: f64) -> Option<f64> {
    let edges = edges(margin);
    if effect.ratio >= 1.0 { effect.p_above(edges.high) } else { effect.p_below(edges.low) }
}

/// The verdict on blocks; absent where they are fewer than [`LEAST_BLOCKS`]. Real runs and simulated ones are judged by this.
pub fn judge(estimate: &Estimate, margin: f64, better: Direction) -> Option<Verdict> {
    (estimate.n >= LEAST_BLOCKS).then(|| decide(estimate.interval, margin, better))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(low: f64, high: f64) -> Verdict {
        decide(Interval { low, high }, 0.05, Direction::Higher)
    }

    #[test]
    fn the_whole_interval_decides() {
        assert_eq!(at(1.06, 1.2), Verdict::Better);
        assert_eq!(at(0.8, 0.95), Verdict::Worse);
        assert_eq!(at(0.97, 1.04), Verdict::Equivalent);
        assert_eq!(at(0.90, 0.97), Verdict::Inconclusive);
        assert_eq!(at(0.5, 2.0), Verdict::Inconclusive);
        assert_eq!(at(1.0 / 1.05, 1.0), Verdict::Inconclusive, "touching an edge is not being within");
    }

    proptest! {
        #[test]
        fn swapping_sides_swaps_the_verdict(low in 0.5_f64..1.5, width in 1.0_f64..1.5, margin in 0.01_f64..0.5) {
            let one = Interval { low, high: low * width };
            let other = Interval { low: 1.0 / one.high, high: 1.0 / one.low };
            let expected = match decide(one, margin, Direction::Higher) {
                Verdict::Better => Verdict::Worse,
                Verdict::Worse => Verdict::Better,
                same => same,
            };
            // An edge that is met exactly may fall to either side of the last digit.
            let edges = edges(margin);
            let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
            prop_assume!(![one.low, one.high].iter().any(|&x| close(x, edges.low) || close(x, edges.high)));
            prop_assert_eq!(decide(other, margin, Direction::Higher), expected);
            prop_assert_eq!(decide(one, margin, Direction::Lower), expected);
        }
    }
}
