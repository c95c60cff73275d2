//! What a mean over blocks hides, in words: drift, effects of the order, two kinds of blocks.

use bench_results::patterns::{Kind, Mode, Pattern};
use bench_results::record::Environment;
use serde::Serialize;

use crate::build::{Source, described};
use crate::units;

/// A test, and what it says if it is notable.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PatternRow {
    #[serde(flatten)]
    pub(crate) pattern: Pattern,
    /// In words; absent where it is not notable.
    pub(crate) sentence: Option<String>,
}

/// Every test of the run.
pub(crate) fn rows(source: &Source<'_>) -> Vec<PatternRow> {
    let row = |pattern: &Pattern| PatternRow {
        pattern: pattern.clone(),
        sentence: pattern.notable.then(|| sentence(source, pattern)),
    };
    source.analysis.patterns.iter().map(row).collect()
}

/// What is notable about an environment in a workload.
pub(crate) fn notes(source: &Source<'_>, workload: &str, environment: &str) -> Vec<String> {
    source.notable(workload, environment).map(|pattern| sentence(source, pattern)).collect()
}

/// The kinds of blocks of a comparison whose mean would be that of none.
pub(crate) fn ratio_modes(source: &Source<'_>, workload: &str, environment: &str) -> Option<[Mode; 2]> {
    source.notable(workload, environment).find(|pattern| pattern.kind == Kind::RatioModes)?.modes
}

/// True when the values of an environment are of two kinds.
pub(crate) fn has_value_modes(source: &Source<'_>, workload: &str, environment: &str) -> bool {
    source.notable(workload, environment).any(|pattern| pattern.kind == Kind::ValueModes)
}

fn sentence(source: &Source<'_>, pattern: &Pattern) -> String {
    let (metric, unit, _) = described(&pattern.metric);
    let label = source.run().environments.iter().find(|environment| environment.name == pattern.environment);
    let label = label.map_or(pattern.environment.clone(), Environment::label);
    let reference = &source.run().plan.reference;
    let change = signed(pattern.effect - 1.0);
    match (pattern.kind, pattern.modes) {
        (Kind::RatioDrift, _) => format!("drifts: the ratio changes by {change} from the first block to the last"),
        (Kind::ReferenceDrift, _) => format!(
            "{reference} itself drifts: its {metric} changes by {change} from the first block to the last, which \
             cancels within blocks"
        ),
        (Kind::Order, _) => format!(
            "order matters: for each place in the block that {label} comes after {reference}, the ratio changes by \
             {change}; verdicts are of the ratio at equal places, or of blocks that are balanced"
        ),
        (Kind::RatioModes, Some([low, high])) => format!(
            "bimodal: the ratio is near {} in {} and near {} in {}",
            units::ratio(low.center),
            units::count(low.blocks, "block"),
            units::ratio(high.center),
            units::count(high.blocks, "block")
        ),
        (Kind::ValueModes, Some([low, high])) => format!(
            "bimodal: {metric} of {label} is near {} in {} and near {} in {}",
            units::human(low.center, unit),
            units::count(low.blocks, "block"),
            units::human(high.center, unit),
            units::count(high.blocks, "block")
        ),
        (Kind::RatioModes | Kind::ValueModes, None) => "bimodal".to_owned(),
    }
}

fn signed(fraction: f64) -> String {
    let sign = if fraction < 0.0 { "−" } else { "+" };
    format!("{sign}{}", units::percent(fraction.abs()))
}
