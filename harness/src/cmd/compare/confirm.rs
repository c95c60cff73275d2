//! An alarm must come back in a fresh run, executed by the command that the user gave.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use bench_results::compare::{Judgement, Sides};
use bench_results::policy::Policy;
use bench_results::store::{Record, list_runs};

use super::{CompareArgs, Loaded, load_record};

/// Execute fresh runs until no alarm is left, or all have come back as often as the policy asks.
pub fn confirm(args: &CompareArgs, loaded: &Loaded, policy: &Policy, judgement: &mut Judgement) -> Result<()> {
    let cannot = match (args.command.is_empty(), judgement.method.unit()) {
        (true, _) => Some("no command was given (-- bench run ...)"),
        (false, "run") => Some("a single fresh run cannot confirm an alarm of a set of runs"),
        _ => None,
    };
    if let Some(why) = cannot {
        let asked = policy.confirm;
        judgement
            .notes
            .push(format!("the policy asks for {asked} fresh run(s), but {why}: the alarm stays unconfirmed"));
        return Ok(());
    }
    for number in 1..=policy.confirm {
        if judgement.alarms().next().is_none() {
            break;
        }
        eprintln!("bench: an alarm is to be confirmed: fresh run {number} of {}", policy.confirm);
        let mut fresh = [execute(args)?];
        loaded.primary.iter().for_each(|primary| primary.decide(&mut fresh[0]));
        let sides = match loaded.sides(args) {
            Sides::Runs { base, allowed, .. } => Sides::Runs { base, new: &fresh, allowed },
            Sides::Environments { base, new, .. } => Sides::Environments { runs: &fresh, base, new },
        };
        let again = loaded
            .judge(args, sides, policy)
            .with_context(|| format!("comparing the fresh run {}", fresh[0].run.id))?;
        judgement.confirm(&again);
        judgement.notes.push(format!("fresh run {number} to confirm an alarm: {}", fresh[0].run.id));
    }
    Ok(())
}

/// Execute the command; its run is the one that is new in `--out`.
fn execute(args: &CompareArgs) -> Result<Record> {
    let shown = args.command.join(" ");
    let ids = || Ok::<_, anyhow::Error>(list_runs(&args.out)?.into_iter().map(|run| run.id).collect::<BTreeSet<_>>());
    let before = ids()?;
    // What it prints is not the result of the comparison.
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]).stdin(Stdio::null()).stdout(std::io::stderr());
    let status = command.status().with_context(|| format!("executing `{shown}` for a fresh run"))?;
    let new: Vec<String> = ids()?.difference(&before).cloned().collect();
    match &new[..] {
        [id] => load_record(&args.out.join(id)),
        [] => bail!(
            "`{shown}` ended with {status} and left no run in {}: let it write there (bench run --out), or name its folder with --out",
            args.out.display()
        ),
        several => bail!("`{shown}` left several runs, and one was to be compared: {}", several.join(", ")),
    }
}
