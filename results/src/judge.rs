//! The one judge of what is paired by block: `bench report RUN` and `bench compare RUN --env BASE,NEW` ask it, so that they cannot
//! say different things of the same blocks.

use crate::analysis::LEAST_BLOCKS;
use crate::metric::Direction;
use crate::order::Fit;
use crate::patterns::Mode;
use crate::record::{Environment, Run, Workload};
use crate::statistics::{self, Estimate, Interval};
use crate::verdict::{Verdict, decide};
use crate::{host, work};

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WhyNot {
    /// It would say nothing: too few blocks, two kinds of them, an emulated guest.
    Withheld(String),
    /// A block has no ratio. It was measured, and is not left out: the row cannot be told.
    NoRatio,
}

impl std::fmt::Display for WhyNot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WhyNot::Withheld(why) => f.write_str(why),
            WhyNot::NoRatio => {
                f.write_str("a value is not above 0, or too far from the other side's to divide, and has no ratio")
            }
        }
    }
}

/// What is said of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    /// Absent where it is withheld.
    pub verdict: Option<Verdict>,
    /// Why it is absent, or cannot be told.
    pub why_not: Option<WhyNot>,
}

impl Said {
    /// Of an interval, unless there is a reason why not.
    pub fn of(interval: Option<Interval>, why_not: Option<WhyNot>, (margin, better): (f64, Direction)) -> Said {
        let verdict = match why_not {
            None => interval.map(|interval| decide(interval, margin, better)),
            Some(WhyNot::NoRatio) => Some(Verdict::Inconclusive),
            Some(WhyNot::Withheld(_)) => None,
        };
        Said { verdict, why_not }
    }
}

/// Why a workload in an environment has no verdict against the other, whatever is measured and however often.
pub(crate) fn why_never(run: &Run, workload: &Workload, (one, other): (&Environment, &Environment)) -> Option<String> {
    if let Some(why) = host::why_not_judged(run) {
        Some(why.to_owned())
    } else if one.is_emulated() || other.is_emulated() {
        Some(host::EMULATED_GUEST.to_owned())
    } else if let Some(why) = work::other_storage(workload, one, other) {
        Some(why)
    } else if !run.plan.profile.verdicts {
        Some(format!("the profile `{}` gives no verdicts", run.plan.profile.name))
    } else {
        None
    }
}

/// The ratio with its interval, where both ends are numbers.
pub(crate) fn estimate(fit: Option<Fit>) -> Option<Estimate> {
    fit?.estimate().filter(|estimate| estimate.interval.low > 0.0 && estimate.interval.high.is_finite())
}

/// Judge the ratios of blocks, or of runs (`unit`), by the fit to them; one that is 0 stands for a block that has none. `conditions`: why
/// nothing measured so is judged. `modes`: the two kinds of blocks that there notably are.
pub(crate) fn paired(
    (ratios, fit): (&[f64], Option<Fit>),
    unit: &str,
    (conditions, modes): (Option<String>, Option<[Mode; 2]>),
    (margin, better): (f64, Direction),
) -> (Option<Estimate>, Said) {
    let estimate = estimate(fit);
    let interval = estimate.map(|estimate| estimate.interval);
    let why_not = conditions.map(WhyNot::Withheld).or_else(|| {
        if statistics::logs(ratios).is_none() {
            return Some(WhyNot::NoRatio);
        }
        let few = ratios.len() < LEAST_BLOCKS || interval.is_none();
        let few = few.then(|| match ratios.len() {
            0 => "no valid value on a side".to_owned(),
            count => format!("{count} of the {LEAST_BLOCKS} {unit}s that a verdict needs"),
        });
        few.or_else(|| two_kinds(modes?, (margin, better))).map(WhyNot::Withheld)
    });
    (estimate, Said::of(interval, why_not, (margin, better)))
}

/// No block behaves as the mean of two kinds does that have different verdicts.
fn two_kinds([low, high]: [Mode; 2], (margin, better): (f64, Direction)) -> Option<String> {
    let side = |center| decide(Interval { low: center, high: center }, margin, better);
    (side(low.center) != side(high.center)).then(|| {
        format!(
            "its blocks are of two kinds: {} near {:.3}, {} near {:.3}",
            low.blocks, low.center, high.blocks, high.center
        )
    })
}
