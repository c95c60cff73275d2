//! Bootstrap-t intervals beside Student's, and a note in the row where they say that it leans on a symmetry that is not there.

use bench_results::skew::{RESAMPLES, bootstrap_t, is_skewed};

use crate::build::{Source, pair};
use crate::report::{Report, ResultRow};
use crate::secondary::MOST_ROWS;
use crate::units;

/// Rows that get an interval: each takes a thousand resamples of its blocks, and a record may have any number of rows.
const MOST: usize = 1_000;

/// Add interval and note to rows; the seed of the run's plan is that of the resamples. Rows of a run that looks on the way get none: its
/// intervals are wider than those of one look, and no bootstrap-t interval is.
pub(crate) fn add<'a>(source: &Source<'_>, rows: impl Iterator<Item = &'a mut ResultRow>) {
    if source.run().plan.sequential.is_some() {
        return;
    }
    let environments = &source.run().environments;
    for row in rows.take(MOST) {
        let is_it = |one: &&bench_results::record::Environment| one.label() == row.environment;
        let Some(environment) = environments.iter().find(is_it) else { continue };
        let Some(comparison) = source.comparison(&row.workload, &environment.name, &row.metric_name) else { continue };
        let ratios = &comparison.at_equal_places;
        let freedom = comparison.fit.map_or(0.0, |fit| fit.effect.freedom);
        let found = bootstrap_t(ratios, freedom, source.run().plan.seed);
        row.bootstrap_t = found.map(pair);
        let (Some(interval), Some(ratio)) = (found, comparison.ratio) else { continue };
        if row.verdict.is_judged() && is_skewed(ratio, interval, ratios.len()) {
            let bounds = units::bounds(pair(interval));
            row.notes.push(format!(
                "skewed: with quantiles of these blocks instead of a symmetric distribution's, the interval would be {bounds} \
                 (bootstrap-t); on the side of the longer arm the verdict errs more often than in 2.5 %"
            ));
        }
    }
}

impl Report {
    /// How the checks of the intervals were made.
    pub(crate) fn checks_note(&self) -> String {
        format!(
            "Checks that decide nothing: p of a sign-flip test, which needs no normal distribution; bootstrap-t interval of {RESAMPLES} \
             resamples, whose seed is the plan's."
        )
    }

    /// Of each row that is judged, its interval and what checks it.
    pub(crate) fn intervals_table(&self) -> crate::figures::Table {
        let head =
            ["workload", "environment", "metric", "blocks", "Student [95 %]", "bootstrap-t [95 %]", "sign-flip p"];
        let cells = |row: &ResultRow| {
            let bounds = |interval: Option<(f64, f64)>| interval.map_or("–".to_owned(), units::bounds);
            vec![
                row.workload.clone(),
                row.environment.clone(),
                row.metric_text(),
                row.blocks.to_string(),
                bounds(row.interval),
                bounds(row.bootstrap_t),
                row.sign_flip_p.map_or("–".to_owned(), units::p_value),
            ]
        };
        let rows = self.results.iter().chain(&self.secondaries).filter(|row| row.interval.is_some()).take(MOST_ROWS);
        crate::figures::Table { head: head.map(str::to_owned).into(), rows: rows.map(cells).collect() }
    }
}
