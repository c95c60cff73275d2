//! Which figures a report has, and their data.

use std::collections::BTreeSet;

use bench_results::analysis::{Comparison, Distribution, distributions_of};
use bench_results::paper::{self, paper};
use bench_results::record::{Class, Environment, Workload};

use crate::build::{Source, described, pair};
use crate::figures::{
    Answer, AnswerMark, AnswerRow, Bar, BarGroup, BarPanel, Bars, Column, Curve, CurvePanel, Curves, Drawing, Figure,
    Series, Span, SpanRow, Spans,
};
use crate::{network, units};

/// The workload whose distribution the paper's Fig. 7 shows.
const PAPERS_LATENCY: &str = "rand-read-latency";

/// All figures for which there is data; the answer is always the first.
pub(crate) fn figures(source: &Source<'_>) -> Vec<Figure> {
    let mut figures = vec![if source.nothing_to_compare() { spread(source) } else { answer(source) }];
    figures.extend(paired_with_paper(source));
    figures.extend(wall_time(source));
    figures.extend(latency(source, &COMPLETION));
    figures.extend(cpu_per_io(source));
    figures.extend(network::figures(source));
    figures.extend(percentiles(source));
    figures.into_iter().map(Figure::bounded).collect()
}

/// The look of every environment but the control, the same in all figures: by class, further ones of a class by the
/// colours that are left.
pub(crate) fn looks(source: &Source<'_>) -> Vec<(String, Series)> {
    looks_of(source.environments())
}

/// The look of a class.
fn slot(class: Class) -> usize {
    match class {
        Class::Process => 0,
        Class::Container => 1,
        Class::Vm => 2,
        Class::Unknown => 3,
    }
}

/// How the paper calls the environment of a class.
fn in_paper(class: Class) -> Series {
    let label = match class {
        Class::Process => "Native",
        Class::Container => "Docker",
        Class::Vm => "KVM",
        Class::Unknown => "",
    };
    Series { label: label.to_owned(), slot: slot(class), emulated: false }
}

pub(crate) fn looks_of<'a>(environments: impl Iterator<Item = &'a Environment>) -> Vec<(String, Series)> {
    let mut taken = BTreeSet::new();
    let look = |environment: &Environment| {
        let home = slot(environment.class());
        // Those of the classes are free where no class is known.
        let others = if environment.class() == Class::Unknown { 0..6 } else { 3..6 };
        let slot = [home].into_iter().chain(others).find(|&slot| taken.insert(slot)).unwrap_or(home);
        let series = Series { label: short_label(environment), slot, emulated: environment.is_emulated() };
        (environment.name.clone(), series)
    };
    environments.map(look).collect()
}

/// The label, its name shortened: that a guest is emulated is never what is cut off.
fn short_label(environment: &Environment) -> String {
    const MOST: usize = 32;
    let label = environment.label();
    if environment.name.chars().count() <= MOST {
        return label;
    }
    let kept: String = environment.name.chars().take(MOST - 1).collect();
    format!("{kept}…{}", label.strip_prefix(&environment.name).unwrap_or_default())
}

fn answer(source: &Source<'_>) -> Figure {
    let run = source.run();
    let looks = looks(source);
    let look =
        |environment: &Environment| looks.iter().find(|(name, _)| *name == environment.name).map(|l| l.1.clone());
    let (apart, judged): (Vec<_>, Vec<_>) = source.compared().partition(|environment| source.is_apart(environment));
    let row = |workload: &Workload| {
        let (metric, _, better) = described(&workload.deciding);
        let comparison =
            |environment: &Environment| source.comparison(&workload.name, &environment.name, &workload.deciding);
        let mark = |environment: &&Environment| comparison(environment).and_then(answer_mark);
        let ratio = |environment: &&Environment| comparison(environment).and_then(|found| found.ratio);
        let text = |ratio: f64| format!("{}×", units::ratio(ratio));
        AnswerRow {
            label: workload.name.clone(),
            metric,
            better,
            marks: judged.iter().map(mark).collect(),
            apart: apart.iter().map(ratio).map(|found| found.map_or("–".to_owned(), text)).collect(),
            noise: source.noise_floor(&workload.name, &workload.deciding).map(pair),
        }
    };
    let rows: Vec<AnswerRow> = match source.analysis.cells.is_empty() {
        true => Vec::new(),
        false => run.plan.workloads.iter().filter(|workload| workload.is_measured()).map(row).collect(),
    };
    let from_paper = rows.iter().flat_map(|row| row.marks.iter().flatten()).any(|mark| mark.paper.is_some());
    let column =
        |environment: &&Environment| Column { heading: short_label(environment), remark: "not judged".to_owned() };
    Figure {
        name: "answer",
        title: format!("Ratio to {}, by workload: arrows point to the better side", run.plan.reference),
        caption: format!(
            "Environment ÷ {0} of the metric that the row names, the same numbers as in the table: right of 1× is more of it. The \
             row's arrow points to the better side: right for rates, left for times and costs. Each faint dot is a block: one fresh \
             instance of both.{1}",
            run.plan.reference,
            some_blocks(source)
        ),
        drawing: Drawing::Answer(Answer {
            base: run.plan.reference.clone(),
            series: judged.iter().filter_map(|environment| look(environment)).collect(),
            apart: apart.iter().map(column).collect(),
            margin: run.plan.profile.verdicts.then_some(run.plan.profile.margin),
            hollow: from_paper.then(|| "the paper, 2014 (other hardware)".to_owned()),
            rows,
        }),
    }
}

fn answer_mark(comparison: &Comparison) -> Option<AnswerMark> {
    Some(AnswerMark {
        ratio: comparison.ratio?,
        interval: comparison.interval.map(pair),
        blocks: comparison.pairs.iter().map(|&(_, ratio)| ratio).collect(),
        paper: comparison.paper_ratio,
    })
}

/// Without anything to compare with: how far the blocks of each workload are apart, and its value as text.
fn spread(source: &Source<'_>) -> Figure {
    let run = source.run();
    let reference = run.plan.reference.as_str();
    let measured = |name: &str| source.analysis.cells.iter().any(|cell| cell.environment == name);
    let looks = looks(source);
    // Where the reference itself has no valid trial, the first that has one stands in.
    let shown = looks.iter().find(|(name, _)| name == reference && measured(name));
    let shown = shown.or_else(|| looks.iter().find(|(name, _)| measured(name)));
    let row = |workload: &Workload| {
        let (metric, unit, better) = described(&workload.deciding);
        let cell = shown.and_then(|(name, _)| source.cell(&workload.name, name, &workload.deciding));
        let mark = cell.map(|cell| AnswerMark {
            ratio: 1.0,
            interval: None,
            blocks: cell.values.iter().map(|&(_, value)| value / cell.shown).collect(),
            paper: None,
        });
        let value = cell.map_or("–".to_owned(), |cell| units::human(cell.shown, unit));
        AnswerRow { label: workload.name.clone(), metric, better, marks: vec![mark], apart: vec![value], noise: None }
    };
    let label = shown.map_or(reference.to_owned(), |(_, series)| series.label.clone());
    Figure {
        name: "answer",
        title: format!("{label} alone: its values, and the variation between its blocks"),
        caption: "Nothing to compare with: each row shows its blocks relative to their own mean, and the mean as a \
                  number. Right of 1× is more of the row's metric; its arrow points to the better side."
            .to_owned(),
        drawing: Drawing::Answer(Answer {
            base: "its own mean".to_owned(),
            series: shown.map(|(_, series)| series.clone()).into_iter().collect(),
            apart: vec![Column { heading: "mean".to_owned(), remark: "over blocks".to_owned() }],
            margin: None,
            hollow: None,
            rows: run.plan.workloads.iter().map(row).collect(),
        }),
    }
}

/// The environments of which something is measured in one of these workloads.
fn home<'a>(source: &Source<'a>, workloads: &[&Workload]) -> Vec<&'a Environment> {
    let is_home = |environment: &&Environment| workloads.iter().any(|workload| workload.runs_in(&environment.name));
    source.environments().filter(is_home).collect()
}

/// Bars of one metric; `None` where no workload has a value.
pub(crate) fn bar_panel(source: &Source<'_>, heading: &str, metric: &str, workloads: &[&Workload]) -> Option<BarPanel> {
    let home = home(source, workloads);
    let reference = source.run().plan.reference.as_str();
    let bar = |workload: &Workload, environment: &Environment| {
        let cell = source.cell(&workload.name, &environment.name, metric)?;
        let base = source.cell(&workload.name, reference, metric);
        let Some((base, comparison)) = base.zip(source.comparison(&workload.name, &environment.name, metric)) else {
            return Some(Bar { value: cell.shown, whisker: None, dots: cell.values.clone() });
        };
        let base = base.beside(&comparison.pairs);
        let whisker = comparison.interval.map(|interval| (base * interval.low, base * interval.high));
        Some(Bar { value: cell.beside(&comparison.pairs), whisker, dots: cell.values.clone() })
    };
    let group = |workload: &&Workload| BarGroup {
        label: workload.name.clone(),
        bars: home.iter().map(|environment| bar(workload, environment)).collect(),
    };
    let groups = workloads.iter().map(group).filter(|group| group.bars.iter().any(Option::is_some));
    let groups: Vec<BarGroup> = groups.collect();
    let (quantity, unit, better) = described(metric);
    (!groups.is_empty()).then(|| BarPanel {
        heading: heading.to_owned(),
        remark: units::is_better(better).to_owned(),
        quantity,
        unit,
        series: None,
        groups,
    })
}

/// The paper's figure out of its own numbers.
pub(crate) fn paper_panel(figure: &str, metric: &str) -> Option<BarPanel> {
    let series = [Class::Process, Class::Container, Class::Vm].map(in_paper);
    let group = |value: &paper::Value| BarGroup {
        label: value.workload.clone(),
        bars: [value.native, value.container, value.vm]
            .map(|value| Some(Bar { value, whisker: None, dots: Vec::new() }))
            .into(),
    };
    let values = || paper().values.iter().filter(|value| value.figure == figure && value.metric == metric);
    let groups: Vec<BarGroup> = values().map(group).collect();
    let (quantity, unit, better) = described(metric);
    let (quantity, unit) = match values().find_map(|value| value.unit) {
        Some(unit) => ("CPU".to_owned(), unit),
        None => (quantity, unit),
    };
    let (heading, remark) =
        (format!("the paper (2014), {figure}"), format!("Native, Docker, KVM; {}", units::is_better(better)));
    (!groups.is_empty()).then(|| BarPanel { heading, remark, quantity, unit, series: Some(series.into()), groups })
}

pub(crate) const BAR_CAPTION: &str = "Bars: means over blocks, of other environments over those that the reference has as well. Dots: \
                           blocks, those of one block joined. Whiskers: the paired 95 % interval of the ratio, applied to the \
                           reference's mean over the same blocks; the reference has none.";

/// A figure of bars of these workloads.
pub(crate) fn bars(
    source: &Source<'_>,
    name: &'static str,
    (title, caption): (&str, &str),
    workloads: &[&Workload],
    panels: Vec<BarPanel>,
) -> Figure {
    let home = home(source, workloads);
    let is_home = |name: &str| home.iter().any(|environment| environment.name == name);
    let series = looks(source).into_iter().filter(|(name, _)| is_home(name)).map(|(_, series)| series).collect();
    let drawing = Drawing::Bars(Bars { series, panels });
    Figure { name, title: title.to_owned(), caption: format!("{caption}{}", some_blocks(source)), drawing }
}

/// For a caption: that not every block is drawn, where they are too many.
fn some_blocks(source: &Source<'_>) -> String {
    let blocks = source.run().plan.profile.blocks as usize;
    let every = crate::figures::every(blocks);
    if every > 1 { format!(" Of {blocks} blocks one of every {every} is drawn.") } else { String::new() }
}

/// The paper's Figs. 5 and 6.
fn paired_with_paper(source: &Source<'_>) -> Vec<Figure> {
    let wanted = [
        ("sequential", "Fig. 5", "bandwidth_bytes_per_s", "Sequential throughput, today and in the paper's Fig. 5"),
        ("random-iops", "Fig. 6", "iops", "Random I/O throughput, today and in the paper's Fig. 6"),
    ];
    let figure = |(name, figure, metric, title): (&'static str, &str, &str, &str)| {
        // A workload that the paper shows in another figure has its place there.
        let elsewhere = |workload: &Workload| {
            let of = |value: &&paper::Value| value.workload == workload.name && value.metric == metric;
            paper().values.iter().find(of).is_some_and(|value| value.figure != figure)
        };
        let workloads = source.run().plan.workloads.iter();
        let workloads: Vec<_> =
            workloads.filter(|w| w.deciding == metric && w.is_direct_storage() && !elsewhere(w)).collect();
        let mut panels = vec![bar_panel(source, "this run", metric, &workloads)?];
        panels.extend(paper_panel(figure, metric));
        let caption = format!("{BAR_CAPTION} The paper's values are of other hardware: compare shapes, not heights.");
        Some(bars(source, name, (title, &caption), &workloads, panels))
    };
    wanted.into_iter().filter_map(figure).collect()
}

/// For commands.
fn wall_time(source: &Source<'_>) -> Option<Figure> {
    let workloads: Vec<_> = source.run().plan.workloads.iter().filter(|w| w.deciding == "wall_time_ns").collect();
    let panel = bar_panel(source, "this run", "wall_time_ns", &workloads)?;
    Some(bars(source, "wall-time", ("Wall time: shorter is better", BAR_CAPTION), &workloads, vec![panel]))
}

fn cpu_per_io(source: &Source<'_>) -> Option<Figure> {
    let metric = "cpu_ns_per_io";
    let storage: Vec<_> = source.run().plan.workloads.iter().filter(|workload| workload.is_direct_storage()).collect();
    let (large, small): (Vec<_>, Vec<_>) =
        storage.iter().partition(|workload| workload.deciding == "bandwidth_bytes_per_s");
    let panels = [("judged by IOPS or latency", small), ("judged by bandwidth", large)];
    let panels = panels.iter().filter_map(|(heading, workloads)| bar_panel(source, heading, metric, workloads));
    let panels: Vec<_> = panels.collect();
    let title = "CPU time per I/O: what the same work costs the host";
    let caption = format!("{BAR_CAPTION} Of a VM it is the time of all of its VMM: vCPUs, IOThread, main loop.");
    (!panels.is_empty()).then(|| bars(source, "cpu-per-io", (title, &caption), &storage, panels))
}

/// Which distributions a pair of figures is about.
pub(crate) struct Distributions {
    /// Names of the figures: cumulated, and by the tail.
    pub(crate) names: [&'static str; 2],
    /// Directions in records, the preferred first.
    pub(crate) directions: &'static [&'static str],
    /// The workload that is shown if there is one.
    pub(crate) preferred: &'static str,
}

/// The paper's Fig. 7.
const COMPLETION: Distributions =
    Distributions { names: ["latency-cdf", "latency-tail"], directions: &["read", "write"], preferred: PAPERS_LATENCY };

/// The latencies of one workload, cumulated and by their tail.
pub(crate) fn latency(source: &Source<'_>, about: &Distributions) -> Vec<Figure> {
    let distributions = &source.analysis.distributions;
    let of = |workload: &Workload, direction: &str| {
        distributions.iter().any(|d| d.workload == workload.name && d.direction == direction)
    };
    let has = |workload: &&Workload| about.directions.iter().any(|direction| of(workload, direction));
    let workloads = || source.run().plan.workloads.iter().filter(has);
    let Some(workload) = workloads().find(|workload| workload.name == about.preferred).or(workloads().next()) else {
        return Vec::new();
    };
    let Some(&direction) = about.directions.iter().find(|direction| of(workload, direction)) else {
        return Vec::new();
    };
    let noun = direction.replace('_', " ");
    let curve = |(name, series): &(String, Series)| {
        let of = |d: &&Distribution| d.workload == workload.name && d.environment == *name && d.direction == direction;
        let points = distributions.iter().find(of)?.cumulated();
        (!points.is_empty()).then(|| Curve { series: series.clone(), points })
    };
    let curves: Vec<Curve> = looks(source).iter().filter_map(curve).collect();
    if curves.is_empty() {
        return Vec::new();
    }
    let series: Vec<Series> = curves.iter().map(|curve| curve.series.clone()).collect();
    let name = &workload.name;
    let figure = |key, title: String, caption: &str, tail: bool| {
        let mut panels =
            vec![CurvePanel { heading: format!("this run: {name}"), remark: String::new(), curves: curves.clone() }];
        if name == PAPERS_LATENCY {
            panels.push(papers_latency());
        }
        let drawing = Drawing::Curves(Curves { series: series.clone(), panels, tail });
        Figure { name: key, title, caption: caption.to_owned(), drawing }
    };
    vec![
        figure(
            about.names[0],
            format!("The time of every {noun} of {name}, cumulated: further left is faster"),
            "Histograms of all valid trials, merged. Marks: 10, 30, 50, 70 and 90 %.",
            false,
        ),
        figure(
            about.names[1],
            format!("The slowest {noun}s of {name}: each step up is ten times rarer, further left is faster"),
            "The same distributions by their tail. A curve ends where what lies beyond could be fewer than ten stalls. Marks: 50, 90, \
             99, 99.9 and 99.99 %.",
            true,
        ),
    ]
}

fn papers_latency() -> CurvePanel {
    let curve = |curve: &paper::LatencyCurve| {
        let points = curve.points.iter().map(|&(percent, latency)| (latency, percent / 100.0)).collect();
        Curve { series: in_paper(curve.class), points }
    };
    let (heading, remark) = ("the paper (2014), Fig. 7".to_owned(), "● Native  ■ Docker  ▲ KVM".to_owned());
    CurvePanel { heading, remark, curves: paper().latency.iter().map(curve).collect() }
}

fn percentiles(source: &Source<'_>) -> Option<Figure> {
    let looks = looks(source);
    let mut rows = Vec::new();
    for workload in &source.run().plan.workloads {
        for direction in ["read", "write", "trim", "sync", "round_trip"] {
            let span = |(name, _): &(String, Series)| {
                let mut of = distributions_of(&source.analysis.distributions, &workload.name, name).iter();
                let distribution = of.find(|distribution| distribution.direction == direction)?;
                let percentile = |q| distribution.percentile_ns(q);
                Some(Span { p50: percentile(0.5)?, p99: percentile(0.99), p999: percentile(0.999) })
            };
            let spans: Vec<_> = looks.iter().map(span).collect();
            if spans.iter().any(Option::is_some) {
                rows.push(SpanRow { label: workload.name.clone(), direction: direction.replace('_', " "), spans });
            }
        }
    }
    let series = looks.into_iter().map(|(_, series)| series).collect();
    (!rows.is_empty()).then(|| Figure {
        name: "latency-percentiles",
        title: "Latency from the median to the tail, by workload: lower is better".to_owned(),
        caption:
            "Percentiles of merged histograms, never averages of percentiles; one that their number cannot bear is \
                  absent."
                .to_owned(),
        drawing: Drawing::Spans(Spans { series, rows }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bench_results::testing;

    #[test]
    fn however_many_kinds_there_are_each_environment_has_a_look() {
        let known = testing::record(1, 1, false).run.environments;
        let new = |index: usize| {
            let (class, kind) = (known[index % 4].class(), format!("kind-{index}"));
            Environment { name: format!("e{index}"), kind, ..known[0].clone() }.of_class(class, &[])
        };
        let all: Vec<_> = (0..9).map(new).collect();
        let slots: Vec<_> = looks_of(all.iter()).into_iter().map(|(_, series)| series.slot).collect();
        assert_eq!(slots, [0, 3, 1, 2, 4, 5, 1, 2, 0]);
    }
}
