//! Which figures a comparison has, and their data.

use std::collections::{BTreeMap, BTreeSet};

use bench_results::analysis::{Distribution, distributions, distributions_of};
use bench_results::compare::{Judged, Quantity};
use bench_results::record::Environment;
use bench_results::statistics::{Effect, geometric_mean};
use bench_results::values::Values;

use super::CompareReport;
use crate::build::{described, pair};
use crate::figures::{
    Answer, AnswerMark, AnswerRow, Bar, BarGroup, BarPanel, Bars, Drawing, Figure, Overlay, OverlayPanel, Series,
};
use crate::pictures::looks_of;
use crate::units;

/// Most panels of histograms: those of the worst rows.
const MOST_HISTOGRAMS: usize = 8;

/// The two sides in one figure: two colours that no environment has in it.
fn sides(base: &str, new: &str) -> Vec<Series> {
    let one = |label: &str, slot| Series { label: label.to_owned(), slot, emulated: false };
    vec![one(base, 0), one(new, 5)]
}

fn metric_line(row: &Judged) -> String {
    let absolute = if row.quantity == Quantity::Absolute { ", absolute" } else { "" };
    format!("{}{absolute}", described(&row.metric).0)
}

impl CompareReport<'_> {
    /// All figures for which there is data; the change is always the first.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let mut figures = vec![self.change()];
        figures.extend(if self.judgement.method.environments().is_some() { self.pairs() } else { self.overheads() });
        figures.extend(self.histograms());
        figures.into_iter().map(Figure::bounded).collect()
    }

    /// The environments of NEW, the control among them: looks are taken in order.
    fn environments(&self) -> impl Iterator<Item = &Environment> {
        self.sides.new_runs().first().map_or(&[][..], |record| &record.run.environments).iter()
    }

    /// The margin that all deciding rows share.
    fn margin(&self) -> Option<f64> {
        let first = self.judgement.deciding().next()?.margin;
        self.judgement.deciding().all(|row| row.margin == first).then_some(first)
    }

    /// NEW relative to BASE, one row for each workload and metric, one mark for each environment.
    fn change(&self) -> Figure {
        let control = self.sides.new_runs().first().and_then(|record| record.run.plan.control.as_deref());
        let names: Vec<&str> = self.judgement.deciding().map(|row| row.environment.as_str()).collect();
        let shown = self.environments().filter(|one| Some(one.name.as_str()) != control);
        let mut looks = looks_of(shown);
        looks.retain(|(name, _)| names.contains(&name.as_str()));
        let (mut keys, mut lines): (Vec<&Judged>, BTreeMap<_, BTreeMap<&str, &Judged>>) = (Vec::new(), BTreeMap::new());
        for row in self.judgement.deciding() {
            let line = lines.entry(line_of(row)).or_insert_with(|| {
                keys.push(row);
                BTreeMap::new()
            });
            line.entry(&row.environment).or_insert(row);
        }
        let line = |key: &&Judged| {
            let of = |name: &str| lines.get(&line_of(key))?.get(name).copied();
            AnswerRow {
                label: key.workload.clone(),
                metric: metric_line(key),
                better: key.better,
                marks: looks.iter().map(|(name, _)| of(name).and_then(change_mark)).collect(),
                apart: Vec::new(),
                noise: key.noise_floor.map(pair),
            }
        };
        let (base, title) = match self.judgement.method.environments() {
            Some((base, new)) => (base.to_owned(), format!("{new} ÷ {base}: arrows point to the better side")),
            None => ("BASE".to_owned(), "NEW ÷ BASE: arrows point to the better side".to_owned()),
        };
        let caption = "NEW ÷ BASE of what the row names, the same numbers as in the table: right of 1× is more of it. The row's arrow \
                       points to the better side: right for rates, left for times and costs. Whiskers: 95 % intervals, before any adjustment for the number of tests. Faint dots: blocks (or runs) of \
                       NEW, relative to BASE; paired where both are of one run.";
        let series = looks.iter().map(|(_, series)| series.clone()).collect();
        let rows = keys.iter().map(line).collect();
        let margin = self.margin();
        let drawing = Drawing::Answer(Answer { base, series, apart: Vec::new(), margin, hollow: None, rows });
        Figure { name: "change", title, caption: caption.to_owned(), drawing }
    }

    /// What each environment costs on either side.
    fn overheads(&self) -> Option<Figure> {
        let row = |row: &Judged| {
            let mark = |values: &[f64]| {
                let interval = Effect::paired(values).and_then(|effect| effect.interval());
                Some(AnswerMark {
                    ratio: geometric_mean(values)?,
                    interval: interval.map(pair),
                    blocks: values.to_vec(),
                    paper: None,
                })
            };
            AnswerRow {
                label: row.workload.clone(),
                metric: format!("{}, {}", row.environment, described(&row.metric).0),
                better: row.better,
                marks: vec![mark(&row.base_values), mark(&row.new_values)],
                apart: Vec::new(),
                noise: None,
            }
        };
        let rows: Vec<AnswerRow> =
            self.judgement.deciding().filter(|row| row.quantity == Quantity::Overhead).map(row).collect();
        let base = self.reference().to_owned();
        (!rows.is_empty()).then(|| Figure {
            name: "sides",
            title: format!("Both sides relative to {base}: what each environment costs, before and now"),
            caption: "The ratio of each side by itself: the mean of its blocks (or runs), as the sides are compared, with an interval of its \
                      own. Faint dots are blocks or runs, a hundred at most. The row's arrow points to the better side."
                .to_owned(),
            drawing: Drawing::Answer(Answer {
                base,
                series: sides("BASE", "NEW"),
                apart: Vec::new(),
                margin: None,
                hollow: None,
                rows,
            }),
        })
    }

    /// Two environments of one run: bars with the dots of one block joined.
    fn pairs(&self) -> Option<Figure> {
        let (base, new) = self.judgement.method.environments()?;
        let [record] = self.sides.new_runs() else { return None };
        let values = Values::of(record);
        let bar = |row: &Judged, name: &str, mean: Option<f64>| {
            let dots = values.get(&row.workload, name, &row.metric).to_vec();
            Some(Bar { value: mean?, whisker: None, dots })
        };
        let group = |row: &&Judged| {
            let mut after = bar(row, new, row.new_mean);
            if let (Some(bar), Some(base), Some(interval)) = (&mut after, row.base_mean, row.interval) {
                bar.whisker = Some((base * interval.low, base * interval.high));
            }
            BarGroup { label: row.workload.clone(), bars: vec![bar(row, base, row.base_mean), after] }
        };
        let rows: Vec<&Judged> = self.judgement.deciding().collect();
        let mut metrics: Vec<&str> = rows.iter().map(|row| row.metric.as_str()).collect();
        metrics.sort_unstable();
        metrics.dedup();
        let panel = |metric: &&str| {
            let (quantity, unit, better) = described(metric);
            let groups = rows.iter().filter(|row| row.metric == *metric).map(group).collect();
            let remark = units::is_better(better).to_owned();
            BarPanel { heading: quantity.clone(), remark, quantity, unit, series: None, groups }
        };
        let panels: Vec<BarPanel> = metrics.iter().map(panel).collect();
        (!panels.is_empty()).then(|| Figure {
            name: "sides",
            title: format!("{base} and {new}, block by block"),
            caption: "Bars: means over blocks that both have. Dots: blocks, those of one block joined. Whiskers: the paired 95 % \
                      interval of the ratio, applied to BASE's mean."
                .to_owned(),
            drawing: Drawing::Bars(Bars { series: sides(base, new), panels }),
        })
    }

    /// Latencies of both sides laid over each other, of the worst rows.
    fn histograms(&self) -> Option<Figure> {
        let all = |records: &[bench_results::store::Record]| distributions(records);
        let (of_base, of_new) = (all(self.sides.base_runs()), all(self.sides.new_runs()));
        let environments = self.judgement.method.environments();
        let (mut panels, mut headings): (Vec<OverlayPanel>, BTreeSet<String>) = Default::default();
        for row in self.judgement.deciding() {
            let base_name = environments.map_or(row.environment.as_str(), |(base, _)| base);
            for direction in ["read", "write"] {
                let base = find(&of_base, &row.workload, base_name, direction);
                let new = find(&of_new, &row.workload, &row.environment, direction);
                let heading = format!("{} in {}: {direction}s", row.workload, self.environment(row));
                if let (Some(base), Some(new)) = (base, new)
                    && headings.insert(heading.clone())
                    && panels.len() < MOST_HISTOGRAMS
                {
                    panels.push(OverlayPanel { heading, distributions: vec![base.clone(), new.clone()] });
                }
            }
        }
        let left_out = headings.len() - panels.len();
        let more =
            if left_out > 0 { format!(" {left_out} more are left out: those of better rows.") } else { String::new() };
        let (base, new) = environments.unwrap_or(("BASE", "NEW"));
        (!panels.is_empty()).then(|| Figure {
            name: "histograms",
            title: "Completion latency, both sides laid over each other".to_owned(),
            caption: format!(
                "Share of I/Os by latency (log scale), merged over all valid trials, without the slowest 0.5 %. A second hump is \
                 a second mode: means and percentiles do not show it.{more}"
            ),
            drawing: Drawing::Overlay(Overlay { series: sides(base, new), panels }),
        })
    }
}

/// What the rows of one line have in common.
fn line_of(row: &Judged) -> (&str, &str, u8) {
    (&row.workload, &row.metric, row.quantity as u8)
}

fn change_mark(row: &Judged) -> Option<AnswerMark> {
    let base = geometric_mean(&row.base_values).unwrap_or(1.0);
    Some(AnswerMark {
        ratio: row.ratio?,
        interval: row.interval.map(pair),
        blocks: row.new_values.iter().map(|value| value / base).collect(),
        paper: None,
    })
}

fn find<'a>(all: &'a [Distribution], workload: &str, environment: &str, direction: &str) -> Option<&'a Distribution> {
    let of =
        distributions_of(all, workload, environment).iter().find(|distribution| distribution.direction == direction);
    of.filter(|distribution| distribution.histogram.count() > 0)
}
