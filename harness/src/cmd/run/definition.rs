//! What is to be measured, checked before anything is touched.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use bench_results::record::{self, Plan, Profile, Run};
use bench_results::sequential::{self, Sequential};
use bench_workloads::{EnvironmentDefinition, Suite, Workload};

use super::RunArgs;
use super::along::Along;
use super::{asked, jobs};
use crate::conductor::plan::{self, Planned};
use crate::conductor::work;
use crate::environments;
use crate::host;

/// What is to be measured.
pub struct Definition {
    /// Names of the suites, joined by `,`; `command` for the user's own, `fio-job` for job files.
    pub suite: String,
    /// What is measured, and where.
    pub workloads: Vec<Planned>,
    /// All environments, the reference first, then the control.
    pub environments: Vec<EnvironmentDefinition>,
    /// Names of the environments that the user asked for: one that cannot be had is an error then.
    pub named: BTreeSet<String>,
    /// What commands bring along into every environment.
    pub along: Along,
    /// True when a target is needed.
    pub needs_target: bool,
    profile: Profile,
    control: Option<String>,
    until_decided: bool,
    seed: u64,
}

impl Definition {
    /// From the arguments; nothing on the machine is looked at but suite files, and what commands need.
    pub fn resolve(args: &RunArgs) -> Result<Definition> {
        let suites = args.suite.iter().map(|name| suite(name)).collect::<Result<Vec<_>>>()?;
        let mut profile = profile(&suites, args)?;
        ensure!(
            profile.verdicts || !args.until_decided,
            "--until-decided: the profile `{}` gives no verdicts, so that nothing would ever be decided; use another --profile",
            profile.name
        );
        let named = args.env.iter().map(|asked| asked.name().to_owned()).collect();
        let mut environments = asked::environments(&suites, &args.env)?;
        let reference = asked::reference(&mut environments, args.reference.as_deref())?;
        let control = asked::add_control(&mut environments, &reference, &profile, args.no_control);
        for with in &args.with {
            ensure!(with.exists(), "--with {}: there is no such file", with.display());
        }
        let mut workloads = workloads(&suites, args, &environments, control.as_deref())?;
        if let Some(seconds) = args.runtime {
            jobs::set_runtime(seconds, &mut workloads)?;
        }
        if let Some(engine) = args.ioengine {
            jobs::set_engine(engine, &mut workloads)?;
        }
        jobs::fit(&mut profile, args.size, &workloads)?;
        if !args.fio_job.is_empty() {
            jobs::own_times(&mut profile, &workloads);
        }
        if let Some(metric) = &args.primary {
            decide_by(metric, &mut workloads)?;
        }
        let only_native = environments.iter().all(environments::has_the_hosts_files);
        let along = Along::of(&mut workloads, &args.with, only_native)?;
        let names: Vec<_> = suites.iter().map(|suite| suite.name.as_str()).collect();
        let definition = Definition {
            suite: match (args.command.is_empty(), args.fio_job.is_empty()) {
                (false, _) => "command".to_owned(),
                (true, false) => "fio-job".to_owned(),
                (true, true) => names.join(","),
            },
            needs_target: workloads.iter().any(|planned| planned.workload.needs_target()),
            workloads,
            along,
            environments,
            named,
            profile,
            control,
            until_decided: args.until_decided,
            seed: args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
        };
        if args.until_decided {
            // Where the blocks have no room for looks, nothing is prepared in vain.
            let names: Vec<_> = definition.environments.iter().map(|environment| environment.name.clone()).collect();
            definition.plan(&names, &definition.workloads)?;
        }
        Ok(definition)
    }

    /// The definition of a run that goes on: the environments that it had, at the rates that it found out.
    pub fn of_run(mut self, run: &Run) -> Definition {
        self.environments.retain(|environment| run.environments.iter().any(|known| known.name == environment.name));
        self.named = run.environments.iter().map(|known| known.name.clone()).collect();
        for planned in &mut self.workloads {
            let known = run.plan.workloads.iter().find(|known| known.name == planned.workload.name());
            let rate = known.and_then(record::Workload::rate_per_s);
            if let (true, Some(rate)) = (planned.workload.needs_pace(), rate) {
                planned.workload.set_pace(rate);
            }
            let own = run.environments.iter().filter_map(|environment| {
                let rate = environment.own_rates_per_s.get(planned.workload.name())?;
                Some((environment.name.clone(), *rate))
            });
            planned.own_rates_per_s.extend(own);
        }
        self
    }

    /// The plan for those environments that can be had.
    pub fn plan(&self, environments: &[String], workloads: &[Planned]) -> Result<Plan> {
        let mut plan = plan::make(plan::Request {
            suite: &self.suite,
            profile: self.profile.clone(),
            seed: self.seed,
            environments,
            control: self.control.clone().filter(|control| environments.contains(control)),
            workloads,
            drives: self.needs_target,
        });
        if self.until_decided {
            let homes = plan.workloads.iter().map(|workload| workload.environments.len() as u32);
            let square = sequential::square(homes, plan.profile.turns);
            let looks = sequential::looks(square, plan.profile.blocks)?;
            plan.sequential = Some(Sequential { looks, stopped_after: None });
        }
        Ok(plan)
    }

    /// True when an environment must be able to reach a peer: it has a workload that does, or it says how it would.
    pub fn is_networked(&self, environment: &EnvironmentDefinition) -> bool {
        let has = |planned: &&Planned| planned.environments.contains(&environment.name);
        self.workloads.iter().filter(has).any(|planned| planned.workload.needs_network())
            || environment.options.contains_key("net")
    }

    /// How long and how often.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Size of the target.
    pub fn size_bytes(&self) -> u64 {
        self.profile.size_bytes
    }
}

fn suite(name: &str) -> Result<Suite> {
    match name {
        path if path.ends_with(".toml") || path.contains('/') => {
            Ok(Suite::load(Path::new(path), environments::kinds())?)
        }
        name => Ok(Suite::builtin(name)?),
    }
}

/// The first suite's profile of that name; all must have one, with the same turns and times.
fn profile(suites: &[Suite], args: &RunArgs) -> Result<Profile> {
    let profiles = suites.iter().map(|suite| suite.profile(&args.profile)).collect::<Result<Vec<_>, _>>()?;
    let Some(&first) = profiles.first() else { bail!("--suite: name at least one suite") };
    let times = |profile: &Profile| (profile.turns, profile.runtime_s, profile.warmup_s);
    if let Some(other) = profiles.iter().find(|profile| times(profile) != times(first)) {
        let said =
            |profile: &Profile| format!("{} × {} s after {} s", profile.turns, profile.runtime_s, profile.warmup_s);
        let (first, other, name) = (said(first), said(other), &args.profile);
        bail!("--suite: the profile `{name}` is {first} in one suite and {other} in another: run them one by one");
    }
    let mut profile = first.clone();
    if !args.command.is_empty() {
        // A command takes as long as it takes: turns would not make it shorter.
        profile.turns = 1;
    }
    profile.blocks = args.blocks.unwrap_or(profile.blocks);
    profile.margin = args.margin.unwrap_or(profile.margin);
    let size_bytes = if args.command.is_empty() { profile.size_bytes } else { work::SIZE_BYTES };
    profile.size_bytes = args.size.unwrap_or(size_bytes);
    host::target::check_size(profile.size_bytes).map_err(anyhow::Error::msg)?;
    Ok(profile)
}

/// What is measured, each with the environments of its suite (or those that the user named) in the order of all.
fn workloads(
    suites: &[Suite],
    args: &RunArgs,
    environments: &[EnvironmentDefinition],
    control: Option<&str>,
) -> Result<Vec<Planned>> {
    let all = || environments.iter().map(|environment| environment.name.clone());
    if !args.command.is_empty() {
        return Ok(vec![Planned::new(Workload::command(args.command.clone()), all().collect())]);
    }
    let of_files = jobs::workloads(&args.fio_job)?.into_iter();
    let mut planned: Vec<Planned> = of_files.map(|workload| Planned::new(workload, all().collect())).collect();
    for suite in suites.iter().filter(|_| args.fio_job.is_empty()) {
        let of_suite = |name: &String| suite.environments.iter().any(|environment| environment.name == *name);
        let asked = |name: &String| args.env.iter().any(|asked| asked.name() == name);
        let wanted = |name: &String| asked(name) || of_suite(name) || control == Some(name.as_str());
        for workload in &suite.workloads {
            ensure!(
                planned.iter().all(|other| other.workload.name() != workload.name()),
                "--suite: two suites have a workload `{}`: run them one by one",
                workload.name()
            );
            planned.push(Planned::new(workload.clone(), all().filter(wanted).collect()));
        }
    }
    for name in &args.only {
        if !planned.iter().any(|planned| planned.workload.name() == name) {
            let names: Vec<_> = planned.iter().map(|planned| planned.workload.name()).collect();
            let of = if args.fio_job.is_empty() { args.suite.join(",") } else { "the job files".to_owned() };
            bail!("there is no workload `{name}` in {of}; there are {}", names.join(", "));
        }
    }
    planned.retain(|planned| args.only.is_empty() || args.only.iter().any(|name| name == planned.workload.name()));
    Ok(planned)
}

/// Let a metric decide about all workloads that yield it.
fn decide_by(metric: &str, planned: &mut [Planned]) -> Result<()> {
    let deciding =
        planned.iter_mut().map(|planned| planned.workload.decide_by(metric)).filter(|&yields| yields).count();
    let known: BTreeSet<_> = planned.iter().flat_map(|planned| planned.workload.yields()).collect();
    let known = known.into_iter().collect::<Vec<_>>().join(", ");
    ensure!(deciding > 0, "--primary {metric}: no workload of this run yields it; there are {known}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RunArgs,
    }

    fn resolve(line: &str) -> Result<Definition> {
        let words = ["bench"].into_iter().chain(line.split_whitespace());
        Definition::resolve(&Line::try_parse_from(words)?.args)
    }

    fn names(definition: &Definition) -> Vec<&str> {
        definition.environments.iter().map(|environment| environment.name.as_str()).collect()
    }

    #[test]
    fn the_default_is_the_whole_io_suite_with_a_control() {
        let definition = resolve("").unwrap();
        assert_eq!(names(&definition), ["native", "native-control", "container", "vm"]);
        assert_eq!(definition.workloads.len(), 7);
        assert!(definition.needs_target && definition.named.is_empty());
    }

    #[test]
    fn a_smoke_run_and_a_lone_environment_have_no_control() {
        assert_eq!(names(&resolve("--profile smoke").unwrap()), ["native", "container", "vm"]);
        assert_eq!(names(&resolve("--env container").unwrap()), ["container"]);
        assert_eq!(names(&resolve("--no-control").unwrap()), ["native", "container", "vm"]);
    }

    #[test]
    fn an_environment_is_added_to_those_of_the_suite() {
        let definition = resolve("--profile smoke --env +docker").unwrap();
        assert_eq!(names(&definition), ["native", "container", "vm", "docker"]);
        assert_eq!(definition.named.iter().collect::<Vec<_>>(), ["docker"]);
        assert!(definition.workloads.iter().all(|planned| planned.environments.len() == 4));
        let error = resolve("--env native,+docker").err().unwrap().to_string();
        assert!(error.contains("write all with `+`, or none"), "{error}");
        assert!(resolve("--env +native").err().unwrap().to_string().contains("twice"));
    }

    #[test]
    fn two_builds_are_an_ordinary_run() {
        let line = "--env old=vm:qemu=/a,new=vm:qemu=/b --reference new";
        assert_eq!(names(&resolve(line).unwrap()), ["new", "new-control", "old"]);
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        for (line, named) in [
            ("--suite nonsense", "io"),
            ("--only nonsense", "rand-read"),
            ("--profile nonsense", "quick"),
            ("--env nonsense", "native"),
            ("--env vm:nonsense=1", "boot-timeout"),
            ("--env native,native", "twice"),
            ("--reference nonsense", "container"),
            ("--size 0", "size"),
            ("--size 5", "unit"),
            ("--size 1500KiB", "1MiB"),
            ("--blocks 0", "blocks"),
            ("--primary nonsense", "read_latency_p99_ns"),
            ("--ioengine nonsense", "libaio, io_uring"),
            ("--ioengine psync", "--ioengine psync: `seq-write`: ioengine `psync` is synchronous"),
            ("--suite network --ioengine io_uring", "no workload of this run is of kind fio"),
            ("--only seq-read --primary write_latency_p99_ns", "there are"),
        ] {
            let error = format!("{:#}", resolve(line).err().unwrap_or_else(|| panic!("`{line}` was taken")));
            assert!(error.contains(named), "`{line}`: {error}");
        }
    }

    #[test]
    fn a_metric_that_was_asked_for_decides_where_it_is_measured() {
        let deciding = |line: &str, name: &str| {
            let definition = resolve(line).unwrap();
            let is_it = |planned: &&Planned| planned.workload.name() == name;
            definition.workloads.iter().find(is_it).unwrap().workload.record(Vec::new()).deciding
        };
        assert_eq!(deciding("--suite io", "rand-read"), "iops");
        assert_eq!(deciding("--primary read_latency_p99_ns", "rand-read"), "read_latency_p99_ns");
        assert_eq!(deciding("--primary read_latency_p99_ns", "seq-write"), "bandwidth_bytes_per_s");
    }

    #[test]
    fn an_engine_is_that_of_all_workloads_of_fio_and_part_of_what_they_are() {
        let engines = |line: &str| {
            let workloads = resolve(line).unwrap().workloads;
            let engine = |planned: &Planned| planned.workload.record(Vec::new()).parameters["engine"].clone();
            workloads.iter().map(engine).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
        };
        assert_eq!(engines("--suite io"), ["libaio, direct"]);
        assert_eq!(engines("--suite io --ioengine io_uring"), ["io_uring, direct"]);
        let both = engines("--suite io,network --ioengine io_uring");
        assert_eq!(both, ["bench probe", "io_uring, direct", "iperf3"]);
    }

    #[test]
    fn looks_are_after_whole_squares_of_all_workloads() {
        let looks = |line: &str| {
            let definition = resolve(line)?;
            let names: Vec<_> = definition.environments.iter().map(|environment| environment.name.clone()).collect();
            let plan = definition.plan(&names, &definition.workloads)?;
            let looks = plan.sequential.into_iter().flat_map(|sequential| sequential.looks);
            anyhow::Ok(looks.map(|look| look.block).collect::<Vec<_>>())
        };
        assert!(looks("--profile standard").unwrap().is_empty());
        assert_eq!(looks("--profile standard --until-decided").unwrap(), [8, 12, 16, 20, 24, 28]);
        assert_eq!(looks("--profile standard --suite network --until-decided").unwrap(), [6, 12, 18, 24]);
        assert_eq!(looks("--suite io,network --blocks 24 --until-decided").unwrap(), [12, 24], "of four and of six");
        for (line, why) in [
            ("--until-decided", "give more --blocks"),
            ("--until-decided --suite io,network", "squares of 12 blocks"),
            ("--until-decided --profile smoke", "gives no verdicts"),
        ] {
            let error = looks(line).unwrap_err().to_string();
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    #[test]
    fn suites_are_executed_in_one_run_each_in_its_own_environments() {
        let definition = resolve("--suite io,network").unwrap();
        assert_eq!(definition.suite, "io,network");
        assert_eq!(definition.workloads.len(), 7 + 9);
        let home = |name: &str| {
            let planned = definition.workloads.iter().find(|planned| planned.workload.name() == name);
            planned.unwrap().environments.join(" ")
        };
        assert_eq!(home("rand-read"), "native native-control container vm");
        assert_eq!(home("tcp-rr"), "native native-control container-host container-nat vm-bridge vm-nat");
        let networked: Vec<_> = definition.environments.iter().filter(|e| definition.is_networked(e)).collect();
        let names: Vec<_> = networked.iter().map(|environment| environment.name.as_str()).collect();
        assert_eq!(names, ["native", "native-control", "container-host", "container-nat", "vm-bridge", "vm-nat"]);
    }

    #[test]
    fn suites_that_contradict_each_other_are_refused() {
        let error = resolve("--suite io,io").err().unwrap().to_string();
        assert!(error.contains("seq-write"), "{error}");
        let error = resolve("--suite io,network --profile standard").err().unwrap().to_string();
        assert!(error.contains("3 × 3 s") && error.contains("1 × 10 s"), "{error}");
    }

    #[test]
    fn a_command_is_a_workload_without_target() {
        let definition = resolve("-- sh -c true").unwrap();
        assert!(!definition.needs_target);
        assert_eq!(definition.suite, "command");
    }
}
