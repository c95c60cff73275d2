//! Isolation: the matrix of resources by environments, and behind each cell what was seen.

use bench_results::isolation::{Cell, Evidence, Isolation, Outcome, Row, Separation, Standing};
use serde::Serialize;

use crate::build::Source;
use crate::figures::Table;
use crate::report::Report;

/// All that a report shows of isolation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct IsolationSection {
    /// Labels of the environments.
    pub(crate) environments: Vec<String>,
    /// Name of the environment that is the positive control of every probe.
    pub(crate) control: Option<String>,
    /// One line for each environment, in their order.
    pub(crate) summaries: Vec<String>,
    /// One for each class of resource.
    pub(crate) classes: Vec<ClassRow>,
}

/// A class of resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ClassRow {
    pub(crate) name: &'static str,
    /// One for each environment.
    pub(crate) cells: Vec<Standing>,
    pub(crate) probes: Vec<ProbeRow>,
}

/// A probe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ProbeRow {
    pub(crate) id: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) question: &'static str,
    pub(crate) why: &'static str,
    pub(crate) source: &'static str,
    pub(crate) undone: &'static str,
    /// One for each environment.
    pub(crate) cells: Vec<ProbeCell>,
}

/// A probe in an environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ProbeCell {
    pub(crate) outcome: Outcome,
    /// What was seen, by block.
    pub(crate) evidence: Vec<Evidence>,
}

/// The section; absent of a run without probes.
pub(crate) fn section(source: &Source<'_>) -> Option<IsolationSection> {
    let found = source.analysis.isolation.as_ref()?;
    let label = |name: &String| {
        let environment = source.run().environments.iter().find(|environment| environment.name == *name);
        environment.map_or_else(|| name.clone(), |environment| environment.label())
    };
    let places = 0..found.environments.len();
    let class = |resource| ClassRow {
        name: bench_results::isolation::Resource::name(resource),
        cells: places.clone().map(|at| found.standing(resource, at)).collect(),
        probes: found.rows.iter().filter(|row| row.probe.resource == resource).map(probe).collect(),
    };
    Some(IsolationSection {
        environments: found.environments.iter().map(label).collect(),
        control: found.control.clone(),
        summaries: places.clone().map(|at| summary(found, at)).collect(),
        classes: found.resources().map(class).collect(),
    })
}

fn summary(found: &Isolation, at: usize) -> String {
    match found.control.as_ref() == found.environments.get(at) {
        true => "the positive control: what it cannot see or do proves nothing elsewhere".to_owned(),
        false => found.summary(at),
    }
}

fn probe(row: &Row) -> ProbeRow {
    let probe = row.probe;
    ProbeRow {
        id: probe.id,
        kind: probe.sign.kind(),
        question: probe.question,
        why: probe.why,
        source: probe.source,
        undone: probe.undone,
        cells: row.cells.iter().map(cell).collect(),
    }
}

fn cell(cell: &Cell) -> ProbeCell {
    ProbeCell { outcome: cell.outcome.clone(), evidence: cell.evidence.clone() }
}

impl ProbeCell {
    /// Name of its class on the page.
    pub(crate) fn class(&self) -> &'static str {
        match self.outcome {
            Outcome::Hosts => "inconclusive",
            Outcome::Own | Outcome::Denied => "equivalent",
            Outcome::NotTestable(_) => "none",
        }
    }

    /// What was seen, in lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let why = self.outcome.why().map(|why| format!("not testable: {why}"));
        why.into_iter().chain(self.evidence.iter().map(line)).collect()
    }
}

fn line(evidence: &Evidence) -> String {
    let outside: Vec<&str> = evidence.outside.iter().map(bench_results::record::Sight::text).collect();
    let outside = match outside.as_slice() {
        [] => String::new(),
        [before, after] if before != after => format!("; on the host before: {before}; after: {after}"),
        [first, ..] => format!("; on the host: {first}"),
    };
    format!("block {}: inside: {}{outside}", evidence.block, evidence.inside.text())
}

impl ClassRow {
    /// Name of a cell's class on the page.
    pub(crate) fn class(standing: &Standing) -> &'static str {
        match standing.separation {
            Separation::Separated | Separation::Refused => "equivalent",
            Separation::Partly | Separation::Shared => "inconclusive",
            Separation::NotTestable => "none",
        }
    }

    /// Which of its probes say so.
    pub(crate) fn because(standing: &Standing) -> Vec<String> {
        let listed = |what: &str, ids: &[&str]| (!ids.is_empty()).then(|| format!("{what}: {}", ids.join(", ")));
        [listed("the host's", &standing.hosts), listed("denied", &standing.denied)].into_iter().flatten().collect()
    }
}

impl IsolationSection {
    /// `container: processes, mounts separated; time shared`, for each environment but the control.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.environments.iter().zip(&self.summaries).map(|(name, summary)| format!("{name}: {summary}")).collect()
    }
}

impl Report {
    /// Classes by environments.
    pub(crate) fn isolation_table(&self) -> Table {
        let Some(section) = &self.isolation else { return Table { head: Vec::new(), rows: Vec::new() } };
        let row = |class: &ClassRow| {
            let cells = class.cells.iter().map(|standing| standing.separation.text().to_owned());
            [class.name.to_owned()].into_iter().chain(cells).collect()
        };
        Table { head: head("resource", section), rows: section.classes.iter().map(row).collect() }
    }

    /// Probes by environments.
    pub(crate) fn probes_table(&self) -> Table {
        let Some(section) = &self.isolation else { return Table { head: Vec::new(), rows: Vec::new() } };
        let row = |probe: &ProbeRow| {
            let cells = probe.cells.iter().map(|cell| cell.outcome.text().to_owned());
            [format!("{}: {}", probe.id, probe.question)].into_iter().chain(cells).collect()
        };
        let rows = section.classes.iter().flat_map(|class| &class.probes).map(row).collect();
        Table { head: head("probe", section), rows }
    }
}

fn head(first: &str, section: &IsolationSection) -> Vec<String> {
    [first.to_owned()].into_iter().chain(section.environments.iter().cloned()).collect()
}
