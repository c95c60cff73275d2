//! The verdicts of rows: each by itself, then all that decide together. Real comparisons and simulated ones are judged by this.

use super::{Judged, Part};
use crate::analysis::loss;
use crate::between::Spread;
use crate::judge::Said;
use crate::metric::{Direction, Metric};
use crate::policy::Policy;
use crate::sentence;
use crate::statistics::{Effect, TAIL, holm};
use crate::verdict::{Verdict, p_beyond};

impl Judged {
    /// What was measured: NEW over BASE, and the between-run spread that is in its error.
    pub(crate) fn measure(&mut self, effect: Option<Effect>, spread: Option<Spread>) {
        let Some((effect, interval)) = effect.and_then(|effect| Some((effect, effect.interval()?))) else { return };
        self.ratio = Some(effect.ratio);
        self.interval = Some(interval);
        self.degrees_of_freedom = Some(effect.freedom);
        self.between = spread;
        self.p = p_beyond(&effect, self.margin);
    }

    /// Why there is no verdict, where the smaller side has so few blocks or runs. `least`: how many it needs.
    pub(crate) fn too_few(&self, count: usize, (unit, least): (&str, usize)) -> Option<String> {
        let too_few = count < least || self.interval.is_none();
        too_few.then(|| format!("{count} of the {least} {unit}s a side that a verdict needs"))
    }
}

/// The verdict before any adjustment, and its sentence. A gate calls what is withheld `inconclusive`: it is not passed over.
pub(crate) fn first_verdict(row: &mut Judged, said: Said, metric: &Metric) {
    let withheld = (row.decides() && row.part != Part::Broken).then_some(Verdict::Inconclusive);
    row.verdict = said.verdict.or(withheld.filter(|_| said.why_not.is_some()));
    row.sentence = match (row.ratio, row.interval, row.verdict, said.why_not) {
        (Some(ratio), Some(interval), Some(verdict), None) => {
            sentence::judged(ratio, interval, verdict, row.margin, metric)
        }
        (ratio, _, _, why_not) => {
            row.p = None;
            let by = ratio.map(|ratio| sentence::by(ratio, metric));
            [by, why_not.map(|why| why.to_string())].into_iter().flatten().collect::<Vec<_>>().join("; ")
        }
    };
}

/// Holm over all deciding rows that could be tested, and what each does to the outcome.
///
/// Only alarms are adjusted: one false `worse` among many tests fails the gate, so that the family counts. `equivalent` needs
/// no adjustment, since the gate passes only if every row passes.
pub(crate) fn adjust(rows: &mut [Judged], policy: &Policy) {
    let is_tested = |row: &Judged| row.decides() && row.ignored.is_none() && row.p.is_some();
    let tested: Vec<usize> = (0..rows.len()).filter(|&at| is_tested(&rows[at])).collect();
    let p: Vec<f64> = tested.iter().filter_map(|&at| rows[at].p).collect();
    for (&at, adjusted) in tested.iter().zip(holm(&p)) {
        let row = &mut rows[at];
        row.p_holm = Some(adjusted);
        row.smallest_alarm = smallest_alarm(row, tested.len());
        let is_alarm = matches!(row.verdict, Some(Verdict::Worse | Verdict::Better));
        if is_alarm && adjusted >= TAIL {
            row.verdict = Some(Verdict::Inconclusive);
            row.sentence = sentence::only_by_itself(row.ratio, &row.metric, &format!("{} tests", tested.len()));
        }
        if let (Some(Verdict::Inconclusive), Some(alarm)) = (row.verdict, row.smallest_alarm) {
            row.sentence.push_str(&format!("; an alarm would have needed {}", sentence::percent(alarm)));
        }
    }
    for row in rows.iter_mut() {
        if let (Some(spread), Some(_)) = (&row.between, row.verdict) {
            row.sentence.push_str(&format!("; {spread}"));
        }
    }
    for row in rows.iter_mut().filter(|row| row.decides()) {
        row.part = match row.verdict {
            _ if row.ignored.is_some() => Part::Ignored,
            _ if row.part == Part::Broken => Part::Broken,
            Some(verdict) if policy.fail_on.contains(&verdict) => Part::Fails,
            Some(Verdict::Inconclusive) | None => Part::Undecided,
            Some(_) => Part::Passes,
        };
    }
}

/// The smallest loss that would have been called `worse`, were all tests but this one far from any alarm.
fn smallest_alarm(row: &Judged, tests: usize) -> Option<f64> {
    // The interval is symmetric on the log scale: its half is the standard error times its quantile.
    let (interval, freedom) = (row.interval?, row.degrees_of_freedom?);
    let error_reach = (interval.high / interval.low).ln() / 2.0;
    let unit = Effect { ratio: 1.0, error: 1.0, freedom };
    let reach = error_reach / unit.reach(TAIL)? * unit.reach(TAIL / tests as f64)?;
    let ratio = (1.0 + row.margin) * reach.exp();
    Some(match row.better {
        Direction::Higher => loss(1.0 / ratio, row.better),
        Direction::Lower => loss(ratio, row.better),
    })
}
