//! What storage workloads need of an environment besides the target: that fio's engines work there; and whose page cache they go through.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use bench_agent::printable;
use bench_results::record::{self, Capability};
use bench_workloads::{Place, Workload, engine_job, engine_result};

use super::definition::Definition;
use crate::conductor::instance::Instance;

/// The engine that all storage workloads had when there was no other: where fio works, it does.
const USUAL: &str = "libaio";

/// Refuse an environment in which fio cannot do its I/O with the engines of the workloads there: each of their trials would fail.
pub async fn check_engines(
    definition: &Definition,
    environment: &record::Environment,
    place: &Place,
    instance: &mut Instance<'_>,
) -> Result<()> {
    let engines: BTreeSet<_> = workloads(definition, environment).flat_map(Workload::engines).collect();
    for engine in engines.iter().filter(|engine| *engine != USUAL) {
        let output = instance.agent.execute(&engine_job(place, engine)).await?;
        if let Err(said) = engine_result(&output) {
            let cause = cause(engine, environment, instance).await?;
            bail!("fio cannot use ioengine `{engine}` there{cause} ({})", printable(&said, 200));
        }
    }
    Ok(())
}

/// What is known to stand in the way of an engine, for a sentence.
async fn cause(engine: &str, environment: &record::Environment, instance: &mut Instance<'_>) -> Result<String> {
    const DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";
    if engine != "io_uring" {
        return Ok(String::new());
    }
    let disabled = instance.agent.texts(vec![DISABLED.to_owned()]).await?.into_iter().next().flatten();
    let disabled = printable(disabled.unwrap_or_default().trim(), 8);
    if !["", "0"].contains(&disabled.as_str()) {
        return Ok(format!(": kernel.io_uring_disabled is {disabled}"));
    }
    let filters = environment.sameness.get("seccomp filters").map_or("0", String::as_str);
    Ok(match filters {
        "0" => String::new(),
        _ => ": a seccomp filter forbids io_uring, as Docker's default does; seccomp=unconfined allows it".to_owned(),
    })
}

/// Whose page cache buffered workloads go through, for the comparability table; absent where there are none.
pub fn page_cache(definition: &Definition, environment: &record::Environment) -> Option<String> {
    let is_buffered = workloads(definition, environment).any(Workload::is_buffered);
    let whose = match environment.has(Capability::OwnKernel) {
        true => "the guest kernel's own, in the guest's memory",
        false => "the host kernel's, within the memory limit",
    };
    is_buffered.then(|| whose.to_owned())
}

fn workloads<'a>(
    definition: &'a Definition,
    environment: &'a record::Environment,
) -> impl Iterator<Item = &'a Workload> + use<'a> {
    let here = definition.workloads.iter().filter(|planned| planned.environments.contains(&environment.name));
    here.map(|planned| &planned.workload)
}
