//! Probes of isolation: `bench isolation MARKER` tries all of them inside, an [`Observer`] looks at the same things on the host.
//!
//! `bench_results::isolation` declares the probes and decides what they say; here is how each is executed.

mod attempts;
mod attempts_of_kernel;
mod call;
mod child;
mod markers;
mod observer;
mod read;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bench_results::isolation::{PROBES, Sign};
use bench_results::record::Sight;
use nix::errno::Errno;

pub use observer::{Observer, Outside};

/// How long what was made is left to be seen, after everything else.
const LINGER: Duration = Duration::from_millis(500);

/// How something was tried: what it gave, or why it was refused.
type Tried = Result<String, String>;

/// Name of an error, as programmers write it.
fn named(errno: Errno) -> String {
    format!("{errno:?}")
}

/// The same of an error of the standard library.
fn name_of(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| named(Errno::from_raw(number)))
}

fn sight(tried: Tried) -> Sight {
    tried.map_or_else(Sight::Error, Sight::Value)
}

/// Try everything, and print a JSON object of what was seen by the probes' ids.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench isolation: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let [marker] = arguments.as_slice() else { bail!("usage: bench isolation MARKER (started by bench itself)") };
    let number: u32 = marker.parse().with_context(|| format!("MARKER {marker:?} is no number of 32 bits"))?;
    let mut seen: BTreeMap<&str, Sight> = BTreeMap::new();
    for probe in PROBES.iter().filter(|probe| probe.sign.is_read()) {
        seen.insert(probe.id, read::read(probe, Path::new("/proc/self/exe")));
    }
    let made = markers::make(number);
    seen.extend(made.sights());
    for probe in PROBES.iter().filter(|probe| probe.sign == Sign::Permitted) {
        seen.insert(probe.id, child::tried(|| attempts::attempt(probe.id)));
    }
    std::thread::sleep(LINGER);
    made.remove();
    crate::output::print_line(&serde_json::to_string(&seen).context("writing JSON")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_probe_can_be_executed() {
        for probe in PROBES.iter() {
            let known = match probe.sign {
                Sign::Permitted => attempts::find(probe.id).is_some(),
                Sign::Seen => markers::IDS.contains(&probe.id),
                _ => probe.how != bench_results::isolation::How::Call || call::find(probe.id).is_some(),
            };
            assert!(known, "{}", probe.id);
        }
    }

    #[test]
    fn errors_have_their_names() {
        assert_eq!(named(Errno::EPERM), "EPERM");
        let missing = std::fs::File::open("/no/such").unwrap_err();
        assert_eq!(name_of(&missing), "ENOENT");
    }
}
