//! From results to the record of an imported run.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use bench_agent::printable;
use bench_results::Histogram;
use bench_results::imported::{Imported, ImportedFile};
use bench_results::limits;
use bench_results::percentiles::Recorded;
use bench_results::record::{
    Class, Environment, Instance, Limits, Plan, PlannedTrial, Profile, Run, SCHEMA_VERSION, State, Trial, Workload,
};
use bench_workloads::import::{self, Sample, Tool};

use crate::cmd::{given, run::run_id, this_build};
use crate::conductor;

/// Longest name of a workload: with block and environment it names a trial.
const NAME_LENGTH: usize = 64;
/// Notes on a file that the record keeps.
const MOST_NOTES: usize = 10;
/// Options of a workload in two environments whose difference is told.
const MOST_DIFFERENCES: usize = 10;
/// Of a name or a value in a warning.
const SHOWN_LENGTH: usize = 80;
/// Options by which histograms bear percentiles.
const IN_FLIGHT: [&str; 2] = ["iodepth", "jobs"];

/// Options of a workload by name.
type Parameters = BTreeMap<String, String>;

/// A file that was read.
pub struct Source {
    /// Name of its environment.
    pub environment: String,
    /// Its own name.
    pub name: String,
    /// Of its content.
    pub sha256: String,
    /// What it holds.
    pub file: import::File,
}

/// All results, by workload and environment.
#[derive(Default)]
struct Results {
    /// The name in the tool's output, and what is planned of it.
    workloads: Vec<(Tool, String, Workload)>,
    environments: Vec<String>,
    /// By place in both lists.
    parameters: BTreeMap<(usize, usize), Parameters>,
    /// By place in both lists, one for each block.
    samples: BTreeMap<(usize, usize), Vec<Sample>>,
    /// By tool.
    versions: BTreeMap<Tool, BTreeSet<String>>,
}

/// The run, complete, and its trials. `name`: a part of its id.
pub fn build(sources: Vec<Source>, name: Option<&str>) -> Result<(Run, Vec<Trial>)> {
    let mut warnings = warnings(&sources);
    let (mut results, mut files) = (Results::default(), Vec::new());
    for source in sources {
        files.push(file(&source));
        let environment = results.environment(&source.environment);
        for result in source.file.results {
            results.versions.entry(result.tool).or_default().insert(result.version);
            for workload in result.workloads {
                results.add(environment, result.tool, workload)?;
            }
        }
    }
    warnings.extend(results.share_parameters());
    let (plan, trials) = results.plan()?;
    let now = conductor::now();
    let run = Run {
        schema_version: SCHEMA_VERSION,
        id: run_id(&name.map_or_else(|| plan.suite.replace(',', "+"), str::to_owned)),
        bench: this_build()?,
        command: ["bench".to_owned()].into_iter().chain(given()).collect(),
        started_at: now.clone(),
        ended_at: Some(now),
        state: State::Complete,
        environments: results.environments.iter().map(|name| environment(name)).collect(),
        plan,
        left_out: Vec::new(),
        limits: Limits { cpus: String::new(), memory_bytes: 0 },
        target: None,
        baseline: None,
        settle: None,
        fingerprint: results.fingerprint(),
        warnings,
        overhead: None,
        breaks: Vec::new(),
        imported: Some(Imported { files }),
    };
    Ok((run, trials))
}

/// What the reader should know of the files: what is left out of them or around it, and which are the same.
fn warnings(sources: &[Source]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let notes = &source.file.notes;
        warnings.extend(notes.iter().take(MOST_NOTES).map(|note| format!("{}: {note}", source.name)));
        if notes.len() > MOST_NOTES {
            warnings.push(format!("{}: and {} more such lines", source.name, notes.len() - MOST_NOTES));
        }
        if let Some(before) = sources[..at].iter().find(|before| before.sha256 == source.sha256) {
            warnings.push(format!(
                "{} is the same as {}: counted twice, it makes the results look more certain than they are",
                source.name, before.name
            ));
        }
    }
    warnings
}

fn file(source: &Source) -> ImportedFile {
    let tools: BTreeSet<&str> = source.file.results.iter().map(|result| result.version.as_str()).collect();
    ImportedFile {
        name: source.name.clone(),
        sha256: source.sha256.clone(),
        environment: source.environment.clone(),
        tools: tools.into_iter().map(str::to_owned).collect(),
        results: u32::try_from(source.file.results.len()).unwrap_or(u32::MAX),
    }
}

fn environment(name: &str) -> Environment {
    Environment {
        name: name.to_owned(),
        kind: "imported".to_owned(),
        class: Some(Class::Unknown),
        capabilities: Some(BTreeSet::new()),
        definition: "imported".to_owned(),
        accelerator: None,
        accelerator_note: None,
        own_rates_per_s: BTreeMap::new(),
        work: None,
        sameness: BTreeMap::new(),
    }
}

impl Results {
    fn environment(&mut self, name: &str) -> usize {
        let known = self.environments.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.environments.push(name.to_owned());
            self.environments.len() - 1
        })
    }

    /// Blocks of one workload in one environment have the same options; those of another environment may have others, which may be
    /// what is compared, and which is told.
    fn add(&mut self, environment: usize, tool: Tool, found: import::Workload) -> Result<()> {
        let is_it = |&at: &usize| {
            let (of, name, _) = &self.workloads[at];
            let before = self.parameters.get(&(at, environment));
            *of == tool && *name == found.name && before.is_none_or(|before| *before == found.parameters)
        };
        let known = (0..self.workloads.len()).find(is_it);
        let most = limits::WORKLOADS;
        ensure!(
            known.is_some() || self.workloads.len() < most,
            "importing more than {most} workloads: choose fewer files"
        );
        let workload = known.unwrap_or_else(|| {
            let planned = Workload {
                name: self.free_name(&found.name),
                title: found.title,
                deciding: found.deciding.to_owned(),
                parameters: Parameters::new(),
                environments: Vec::new(),
            };
            self.workloads.push((tool, found.name, planned));
            self.workloads.len() - 1
        });
        self.parameters.insert((workload, environment), found.parameters);
        self.samples.entry((workload, environment)).or_default().extend(found.samples);
        Ok(())
    }

    /// Leave to each workload the options that are the same in all of its environments, and tell of the others. Those by which
    /// histograms bear percentiles are of the environment that had most in flight: no percentile must be shown that one does not bear.
    fn share_parameters(&mut self) -> Vec<String> {
        let (mut told, mut firsts, mut all_shared) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (at, (tool, name, planned)) in self.workloads.iter().enumerate() {
            let of_all = || self.parameters.range((at, 0)..=(at, usize::MAX));
            let mut all =
                of_all().map(|((_, environment), parameters)| (&*self.environments[*environment], parameters));
            let Some((first, parameters)) = all.next() else {
                all_shared.push(Parameters::new());
                continue;
            };
            let mut shared = parameters.clone();
            for (other, theirs) in all {
                let differing = differing(parameters, theirs);
                differing.iter().for_each(|option| drop(shared.remove(option.name)));
                told.extend(differences(name, &differing, [first, other]));
            }
            if let Some((_, deepest)) = of_all().max_by_key(|(_, parameters)| in_flight(parameters)) {
                let depth = IN_FLIGHT.iter().filter_map(|name| deepest.get_key_value(*name));
                shared.extend(depth.map(|(name, value)| (name.clone(), value.clone())));
            }
            match firsts.get(&(*tool, name)) {
                None => drop(firsts.insert((*tool, name), (&planned.name, parameters))),
                Some((known, before)) => told.push(other_options(&planned.name, parameters, known, before)),
            }
            all_shared.push(shared);
        }
        for ((_, _, planned), shared) in self.workloads.iter_mut().zip(all_shared) {
            planned.parameters = shared;
        }
        told
    }

    /// A name for files, of letters, digits and `-`, that no other workload has.
    fn free_name(&self, name: &str) -> String {
        let words = name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        let mut plain = words.collect::<Vec<_>>().join("-");
        plain.truncate(NAME_LENGTH);
        if plain.is_empty() {
            "unnamed".clone_into(&mut plain);
        }
        let is_free = |name: &String| !self.workloads.iter().any(|(_, _, known)| known.name == *name);
        let (mut free, mut number) = (plain.clone(), 1);
        while !is_free(&free) {
            number += 1;
            free = format!("{plain}-{number}");
        }
        free
    }

    /// The plan, as if what was found had been planned, and the trials. Not every workload need have a value in every block.
    fn plan(&mut self) -> Result<(Plan, Vec<Trial>)> {
        let blocks = self.samples.values().map(Vec::len).max().unwrap_or(0);
        let count = blocks.saturating_mul(self.samples.len());
        ensure!(
            count <= limits::TRIALS,
            "importing {blocks} blocks of {} workloads in their environments: a record has at most {} trials, and each workload is planned \
             in every block; import workloads with many values apart from the others",
            self.samples.len(),
            limits::TRIALS
        );
        for &(workload, environment) in self.samples.keys() {
            self.workloads[workload].2.environments.push(self.environments[environment].clone());
        }
        let mut samples: Vec<_> = std::mem::take(&mut self.samples).into_iter().collect();
        let (mut planned, mut trials) = (Vec::with_capacity(count), Vec::new());
        for block in 1..=blocks {
            let mut orders: BTreeMap<usize, u32> = BTreeMap::new();
            for ((workload, environment), list) in &mut samples {
                let order = orders.entry(*workload).or_default();
                *order += 1;
                let (name, environment) = (&self.workloads[*workload].2.name, &self.environments[*environment]);
                let one = PlannedTrial {
                    // Neither name has a `+`: each place has an id of its own.
                    id: format!("b{block:02}-{name}+{environment}").into(),
                    block: u32::try_from(block)?,
                    turn: 1,
                    order: *order,
                    environment: environment.into(),
                    workload: name.into(),
                    seed: 0,
                };
                if let Some(sample) = list.get_mut(block - 1) {
                    trials.push(trial(&one, sample));
                }
                planned.push(one);
            }
        }
        let suite = self.versions.keys().map(|tool| format!("imported-{}", tool.name()));
        let plan = Plan {
            suite: suite.collect::<Vec<_>>().join(","),
            profile: profile(u32::try_from(blocks)?),
            seed: 0,
            reference: self.environments.first().cloned().unwrap_or_default(),
            control: None,
            workloads: self.workloads.iter().map(|(_, _, workload)| workload.clone()).collect(),
            trials: planned,
            starts: Vec::new(),
            planned_s: 0.0,
            sequential: None,
        };
        Ok((plan, trials))
    }

    /// Versions, where all files agree: that is all that is known of how it was measured.
    fn fingerprint(&self) -> BTreeMap<String, String> {
        let known = self.versions.iter().filter(|(tool, _)| **tool != Tool::Hyperfine);
        let one = known.filter(|(_, versions)| versions.len() == 1);
        one.flat_map(|(tool, versions)| {
            versions.iter().map(move |version| (format!("tool.{}.version", tool.name()), version.clone()))
        })
        .collect()
    }
}

/// An option that two do not have alike.
struct Differing<'a> {
    name: &'a str,
    values: [String; 2],
}

fn differing<'a>(one: &'a Parameters, other: &'a Parameters) -> Vec<Differing<'a>> {
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let is_other = |name: &&String| one.get(*name) != other.get(*name);
    let shown = |value: Option<&String>| value.map_or("not given".to_owned(), |value| printable(value, SHOWN_LENGTH));
    let names = names.into_iter().filter(is_other);
    names.map(|name| Differing { name, values: [one, other].map(|all| shown(all.get(name))) }).collect()
}

/// What two environments do not have alike of a workload, in words.
fn differences(workload: &str, differing: &[Differing<'_>], environments: [&str; 2]) -> Vec<String> {
    let (workload, [first, other]) = (printable(workload, SHOWN_LENGTH), environments);
    let sentence = |Differing { name, values: [one, its] }: &Differing<'_>| {
        format!("{name} of {workload} is {one} in {first} and {its} in {other}: more than the environment differs")
    };
    let mut told: Vec<String> = differing.iter().take(MOST_DIFFERENCES).map(sentence).collect();
    let more = differing.len().saturating_sub(MOST_DIFFERENCES);
    told.extend((more > 0).then(|| format!("{more} more options of {workload} differ in {first} and {other}")));
    told
}

/// That a workload is not the one of the same name.
fn other_options(name: &str, parameters: &Parameters, known: &str, before: &Parameters) -> String {
    let differing = differing(parameters, before);
    let all = differing.iter().take(MOST_DIFFERENCES);
    let all = all.map(|Differing { name, values: [one, other] }| format!("{name} is {one} (there: {other})"));
    format!("{name} is {known} with other options: {}", all.collect::<Vec<_>>().join("; "))
}

/// How many I/Os one stall delays at most.
fn in_flight(parameters: &Parameters) -> u64 {
    Recorded::of(parameters, "read").in_flight(&Histogram::default())
}

/// Nothing was planned, and nothing is judged: not by an earlier `bench` either, which knows no imports.
fn profile(blocks: u32) -> Profile {
    Profile {
        name: "imported".to_owned(),
        blocks,
        turns: 1,
        runtime_s: 0.0,
        warmup_s: 0.0,
        settle_s: 0.0,
        size_bytes: 0,
        margin: 0.1,
        verdicts: false,
    }
}

fn trial(planned: &PlannedTrial, sample: &mut Sample) -> Trial {
    let measured = std::mem::take(&mut sample.measured);
    Trial {
        planned: planned.clone(),
        attempt: 1,
        execution: 1,
        superseded: false,
        started_at: Default::default(),
        elapsed_ns: (sample.seconds * 1e9).round() as u64,
        accelerator: None,
        failure: None,
        invalid: Vec::new(),
        remarks: Vec::new(),
        measurements: measured.measurements,
        histograms: measured.histograms,
        facts: measured.facts,
        observations: Vec::new(),
        instance: Instance::default(),
        folded: None,
    }
}
