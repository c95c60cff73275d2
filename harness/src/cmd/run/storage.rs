//! What storage workloads need besides the target: that it is written before a rate is found out, that fio's engines
//! work in every environment; and whose page cache they go through.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use bench_agent::printable;
use bench_results::record::{self, Capability};
use bench_workloads::{Place, Workload, engine_job, engine_result};

use super::definition::Definition;
use crate::conductor::environment::Environment;
use crate::conductor::instance::{Instance, Setting};
use crate::conductor::settle;
use crate::output;

/// The engine that all storage workloads had when there was no other: where fio works, it does.
const USUAL: &str = "libaio";

/// Write the target before the conductor would. What is not written yet is read without I/O: no rate could be found out.
pub async fn fill(driver: Option<&Environment>, setting: &Setting) -> Result<()> {
    let Some(driver) = driver else { return Ok(()) };
    output::tell(
        "bench: writing the target once with incompressible data, to find out how fast paced workloads can go",
    );
    let mut instance = Instance::start(driver, setting).await?;
    instance.resume().await?;
    settle::fill(&mut instance, &driver.place, setting).await?;
    instance.stop().await
}

/// Refuse an environment in which fio cannot do its I/O with the engines of the workloads there: each of their trials would fail.
pub async fn check_engines(
    definition: &Definition,
    environment: &record::Environment,
    place: &Place,
    instance: &mut Instance<'_>,
) -> Result<()> {
    let engines: BTreeSet<_> = workloads(definition, environment).flat_map(Workload::engines).collect();
    for engine in engines.iter().filter(|engine| *engine != USUAL) {
        let done = instance.agent.execute(&engine_job(place, engine)).await?;
        if let Err(said) = engine_result(&done) {
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
