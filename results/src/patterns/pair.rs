//! Two kinds of blocks among the ratios of any two environments of a run.

use super::null::Null;
use super::{Kind, Mode, Pattern, Series, adjust, all, logs};
use crate::analysis::comparisons;
use crate::order::Places;
use crate::store::Record;
use crate::values::Values;
use crate::verdict::edges;

/// The notable modes of NEW ÷ BASE, by workload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PairModes(Vec<Pattern>);

impl PairModes {
    /// Of the reference and another environment they are those of the run's own analysis, either way round. Of two others, they are
    /// tested as if one of them were the reference, and adjusted together with what the run is tested for.
    pub fn of(record: &Record, values: &Values<'_>, sides: (&str, &str)) -> PairModes {
        let places = &Places::of(record);
        let patterns = all(record, (values, places), &comparisons(record, values, places));
        PairModes::among(patterns, record, (values, places), sides)
    }

    /// The same, with what the run was found to have.
    pub fn among(
        mut patterns: Vec<Pattern>,
        record: &Record,
        (values, places): (&Values<'_>, &Places<'_>),
        (base, new): (&str, &str),
    ) -> PairModes {
        let plan = &record.run.plan;
        let (kept, turned) = match plan.reference.as_str() {
            reference if reference == base => (new, false),
            reference if reference == new => (base, true),
            _ => {
                patterns.extend(between(record, (values, places), (base, new)));
                adjust(&mut patterns, edges(plan.profile.margin).high.ln() / 2.0);
                (BETWEEN, false)
            }
        };
        patterns.retain(|p| p.notable && p.kind == Kind::RatioModes && p.environment == kept);
        for modes in patterns.iter_mut().filter_map(|pattern| pattern.modes.as_mut()).filter(|_| turned) {
            modes.iter_mut().for_each(|mode| mode.center = 1.0 / mode.center);
            modes.reverse();
        }
        PairModes(patterns)
    }

    /// Of a workload by this metric, if that is what it is tested by.
    pub fn of_row(&self, workload: &str, metric: &str) -> Option<[Mode; 2]> {
        self.0.iter().find(|pattern| pattern.workload == workload && pattern.metric == metric)?.modes
    }
}

/// Stands for the environment of a pair without the reference. No environment has such a name.
const BETWEEN: &str = "NEW ÷ BASE";

fn between(record: &Record, (values, places): (&Values<'_>, &Places<'_>), (base, new): (&str, &str)) -> Vec<Pattern> {
    let (mut null, mut found) = (Null::default(), Vec::new());
    for workload in &record.run.plan.workloads {
        let series = Series { reference: base, places, workload: &workload.name, metric: &workload.deciding };
        let logs = logs(&values.fair_pairs(&workload.name, &workload.deciding, new, base));
        found.extend(series.order(new, &logs));
        found.extend(series.modes(Kind::RatioModes, new, &logs, &mut null));
    }
    found.iter_mut().for_each(|pattern| pattern.environment = BETWEEN.to_owned());
    found
}
