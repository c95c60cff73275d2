//! What is to be measured, checked before anything is touched.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use bench_results::record::{Plan, Profile};
use bench_workloads::{EnvironmentDefinition, Suite, Workload};

use super::RunArgs;
use crate::conductor::plan;
use crate::{host, output};

/// What is to be measured.
pub struct Definition {
    /// Name of the suite; `command` for the user's own.
    pub suite: String,
    /// What is measured.
    pub workloads: Vec<Workload>,
    /// Where, the reference first, then the control.
    pub environments: Vec<EnvironmentDefinition>,
    /// True when the user named the environments: one that cannot be had is an error then.
    pub named: bool,
    /// True when a target is needed.
    pub needs_target: bool,
    profile: Profile,
    control: Option<String>,
    seed: u64,
}

impl Definition {
    /// From the arguments; nothing on the machine is looked at but suite files.
    pub fn resolve(args: &RunArgs) -> Result<Definition> {
        let suite = match args.suite.as_str() {
            path if path.ends_with(".toml") || path.contains('/') => Suite::load(Path::new(path))?,
            name => Suite::builtin(name)?,
        };
        let profile = profile(&suite, args)?;
        let workloads = workloads(&suite, args)?;
        let named = !args.env.is_empty();
        let mut environments = if named { args.env.clone() } else { suite.environments.clone() };
        let reference = reference(&mut environments, args.reference.as_deref())?;
        let control = add_control(&mut environments, &reference, &profile, args.no_control);
        Ok(Definition {
            suite: if args.command.is_empty() { suite.name } else { "command".to_owned() },
            needs_target: workloads.iter().any(Workload::needs_target),
            workloads,
            environments,
            named,
            profile,
            control,
            seed: args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
        })
    }

    /// The plan for those environments that can be had.
    pub fn plan(&self, environments: &[String]) -> Plan {
        plan::make(plan::Request {
            suite: &self.suite,
            profile: self.profile.clone(),
            seed: self.seed,
            environments,
            control: self.control.clone().filter(|control| environments.contains(control)),
            workloads: &self.workloads,
            drives: self.needs_target,
        })
    }

    /// Size of the target.
    pub fn size_bytes(&self) -> u64 {
        self.profile.size_bytes
    }

    /// For `--dry-run`.
    pub fn describe(&self) -> String {
        let names: Vec<_> = self.environments.iter().map(|environment| environment.name.clone()).collect();
        let plan = self.plan(&names);
        let mut rows = vec![["block", "order", "workload", "environment", "seed"].map(str::to_owned).to_vec()];
        rows.extend(plan.trials.iter().map(|trial| {
            vec![
                trial.block.to_string(),
                trial.order.to_string(),
                trial.workload.clone(),
                trial.environment.clone(),
                trial.seed.to_string(),
            ]
        }));
        let shown = (self.environments.iter().map(ToString::to_string)).collect::<Vec<_>>().join(", ");
        format!(
            "{}\nenvironments: {shown}\nreference: {}\nprofile: {}, {} blocks of {} s after {} s of warm-up, margin {} %\n\
             seed: {}\n{} trials, {} as planned (images, the first writing of the target and starts come on top)\n",
            output::columns(&rows),
            plan.reference,
            plan.profile.name,
            plan.profile.blocks,
            plan.profile.runtime_s,
            plan.profile.warmup_s,
            plan.profile.margin * 100.0,
            plan.seed,
            plan.trials.len(),
            output::duration(plan.planned_s),
        )
    }
}

fn profile(suite: &Suite, args: &RunArgs) -> Result<Profile> {
    let mut profile = suite.profile(&args.profile)?.clone();
    profile.blocks = args.blocks.unwrap_or(profile.blocks);
    profile.margin = args.margin.unwrap_or(profile.margin);
    profile.size_bytes = args.size.unwrap_or(profile.size_bytes);
    host::target::check_size(profile.size_bytes).map_err(anyhow::Error::msg)?;
    Ok(profile)
}

fn workloads(suite: &Suite, args: &RunArgs) -> Result<Vec<Workload>> {
    if !args.command.is_empty() {
        return Ok(vec![Workload::command(args.command.clone())]);
    }
    for name in &args.only {
        if !suite.workloads.iter().any(|workload| workload.name() == name) {
            let names: Vec<_> = suite.workloads.iter().map(Workload::name).collect();
            bail!("suite `{}` has no workload `{name}`; it has {}", suite.name, names.join(", "));
        }
    }
    let wanted = |workload: &&Workload| args.only.is_empty() || args.only.iter().any(|name| name == workload.name());
    Ok(suite.workloads.iter().filter(wanted).cloned().collect())
}

/// Put the reference first; `native` (or the first) unless the user says which.
fn reference(environments: &mut Vec<EnvironmentDefinition>, asked: Option<&str>) -> Result<String> {
    for (index, environment) in environments.iter().enumerate() {
        let earlier = environments[..index].iter().any(|other| other.name == environment.name);
        ensure!(
            !earlier,
            "--env names `{}` twice; give one of them another name: other={environment}",
            environment.name
        );
    }
    let position = |name: &str| environments.iter().position(|environment| environment.name == name);
    let index = match asked {
        Some(name) => match position(name) {
            Some(index) => index,
            None => {
                let names: Vec<_> = environments.iter().map(|environment| environment.name.as_str()).collect();
                bail!("--reference {name}: the environments of this run are {}", names.join(", "));
            }
        },
        None => position("native").unwrap_or(0),
    };
    let reference = environments.remove(index);
    let name = reference.name.clone();
    environments.insert(0, reference);
    Ok(name)
}

/// A second environment with the reference's definition, where verdicts are given and there is something to compare.
fn add_control(
    environments: &mut Vec<EnvironmentDefinition>,
    reference: &str,
    profile: &Profile,
    unwanted: bool,
) -> Option<String> {
    if unwanted || !profile.verdicts || environments.len() < 2 {
        return None;
    }
    let name = format!("{reference}-control");
    if environments.iter().any(|environment| environment.name == name) {
        return None;
    }
    environments.insert(1, EnvironmentDefinition { name: name.clone(), ..environments[0].clone() });
    Some(name)
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
        assert!(definition.needs_target && !definition.named);
    }

    #[test]
    fn a_smoke_run_and_a_lone_environment_have_no_control() {
        assert_eq!(names(&resolve("--profile smoke").unwrap()), ["native", "container", "vm"]);
        assert_eq!(names(&resolve("--env container").unwrap()), ["container"]);
        assert_eq!(names(&resolve("--no-control").unwrap()), ["native", "container", "vm"]);
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
            ("--env vm:nonsense=1", "qemu"),
            ("--env native,native", "twice"),
            ("--reference nonsense", "container"),
            ("--size 0", "size"),
            ("--size 5", "unit"),
            ("--size 1500KiB", "1MiB"),
            ("--blocks 0", "blocks"),
        ] {
            let error = format!("{:#}", resolve(line).err().unwrap_or_else(|| panic!("`{line}` was taken")));
            assert!(error.contains(named), "`{line}`: {error}");
        }
    }

    #[test]
    fn a_command_is_a_workload_without_target() {
        let definition = resolve("-- sh -c true").unwrap();
        assert!(!definition.needs_target);
        assert_eq!(definition.suite, "command");
    }
}
