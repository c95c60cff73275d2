//! Driving the target natively: written once, then kept at work until its throughput is steady.

use anyhow::{Context, Result, anyhow, bail};
use bench_agent::JobStatus;
use bench_results::record::Settle;
use bench_workloads::{Place, drive_job, drive_result, fill_job, is_steady};

use super::agent_client::AgentClient;
use super::instance::{Instance, Setting};
use super::plan::DRIVE_S;
use super::trial;

/// Write the whole target once with incompressible data: unwritten extents read as zeros without I/O.
pub async fn fill(driver: &mut Instance<'_>, place: &Place, setting: &Setting) -> Result<()> {
    let output = driver.agent.execute(&fill_job(place)).await.context("filling the target")?;
    if output.status != JobStatus::Exited(0) {
        let said = tail(&output.stderr.text(), &output.stdout.text());
        bail!("filling the target: fio ended with {:?}: {said}", output.status);
    }
    if let Some(target) = &setting.target {
        trial::sync(target.path())?;
    }
    setting.filled.set(true);
    Ok(())
}

fn tail(stderr: &str, stdout: &str) -> String {
    let text = if stderr.trim().is_empty() { stdout } else { stderr };
    let lines: Vec<_> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}

/// Drive the target for one second after the other until its throughput is steady or `most_s` are over.
pub async fn settle(agent: &mut AgentClient, place: &Place, most_s: f64) -> Result<Settle> {
    let mut settle = Settle { steady: false, seconds: 0.0, iops: Vec::new() };
    while !settle.steady && settle.seconds + DRIVE_S <= most_s {
        let iops = drive(agent, place, settle.iops.len() as u64).await?;
        settle.seconds += DRIVE_S;
        settle.iops.push(iops);
        settle.steady = is_steady(&settle.iops);
    }
    Ok(settle)
}

/// Drive the target for [`DRIVE_S`]; the IOPS.
pub async fn drive(agent: &mut AgentClient, place: &Place, seed: u64) -> Result<f64> {
    let output = agent.execute(&drive_job(place, DRIVE_S, seed)).await.context("driving the target")?;
    drive_result(&output).map_err(|why| anyhow!(why)).context("driving the target")
}
