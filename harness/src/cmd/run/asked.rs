//! The environments of a run: those of its suites, or those that the user asked for.

use std::str::FromStr;

use anyhow::{Result, bail, ensure};
use bench_results::record::Profile;
use bench_workloads::{EnvironmentDefinition, EnvironmentError, Suite};

use crate::environments;

/// An environment that the user asks for.
#[derive(Debug, Clone)]
pub struct Asked {
    environment: EnvironmentDefinition,
    /// Beside those of the suites, not in their place.
    is_added: bool,
}

impl Asked {
    /// Its name in the run.
    pub fn name(&self) -> &str {
        &self.environment.name
    }
}

impl FromStr for Asked {
    type Err = EnvironmentError;

    fn from_str(text: &str) -> Result<Asked, EnvironmentError> {
        let added = text.strip_prefix('+');
        Ok(Asked { environment: environments::read(added.unwrap_or(text))?, is_added: added.is_some() })
    }
}

/// The environments that the user asked for, or those of all suites, each once, with those that are added.
pub fn environments(suites: &[Suite], asked: &[Asked]) -> Result<Vec<EnvironmentDefinition>> {
    let (added, instead): (Vec<_>, Vec<_>) = asked.iter().partition(|asked| asked.is_added);
    ensure!(
        added.is_empty() || instead.is_empty(),
        "--env: `+` adds to the environments of the suite, and names without it replace them; write all with `+`, or none"
    );
    let mut all = if instead.is_empty() { of_suites(suites)? } else { Vec::new() };
    all.extend(asked.iter().map(|asked| asked.environment.clone()));
    Ok(all)
}

/// The environments of all suites, each once.
fn of_suites(suites: &[Suite]) -> Result<Vec<EnvironmentDefinition>> {
    let mut all: Vec<EnvironmentDefinition> = Vec::new();
    for environment in suites.iter().flat_map(|suite| &suite.environments) {
        match all.iter().find(|known| known.name == environment.name) {
            Some(known) => ensure!(
                known == environment,
                "--suite: two suites mean different things by `{}` ({known} and {environment}): run them one by one",
                environment.name
            ),
            None => all.push(environment.clone()),
        }
    }
    Ok(all)
}

/// Put the reference first; `native` (or the first) unless the user says which.
pub fn reference(environments: &mut Vec<EnvironmentDefinition>, asked: Option<&str>) -> Result<String> {
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
pub fn add_control(
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
