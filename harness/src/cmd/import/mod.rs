//! `bench import FILE...`: what others measured with fio, iperf3 or hyperfine, as a record that says so.

mod record;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bench_results::imported::CAVEAT;
use bench_results::limits::{self, Links};
use bench_results::record::{Run, State, Trial};
use bench_results::store::{Record, RunFolder};
use bench_workloads::{import, is_name};
use sha2::{Digest, Sha256};

use crate::caller::{Caller, Hands};
use crate::{output, paths};
use record::Source;

/// Arguments of `bench import`.
#[derive(clap::Args)]
#[command(
    after_help = "fio from 3.1 on (--output-format=json+, or json, which has no histograms), iperf3 (--json) and hyperfine\n\
    (--export-json) are read. Each result is a block; of hyperfine, each time. `report`, `compare` and `export` read\n\
    the record like any other, and judge nothing: how comparable it is, nobody knows."
)]
pub struct ImportArgs {
    /// A file of results; `vm=FILE` assigns them to the environment `vm`. The first environment is the reference
    #[arg(required = true, value_name = "[ENV=]FILE")]
    files: Vec<OsString>,
    /// Environment of files without a name
    #[arg(long, value_name = "NAME", default_value = "imported")]
    env: String,
    /// Name of the run, a part of its id [default: name of the tool]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Parent of the run folders
    #[arg(long, value_name = "DIR", default_value = "bench-runs")]
    out: PathBuf,
}

/// What is said of a name that is none.
const NAMES: &str = "a name has 1 to 32 of a-z, 0-9 and -";

/// Read all files, write the record, and print its folder. Nothing is written unless everything could be read. Behind `sudo` it is the
/// caller who does, so that nothing is read that is not theirs to read.
pub fn run(args: &ImportArgs) -> Result<i32> {
    Caller::take_over()?;
    for (option, name) in [("--env", Some(&args.env)), ("--name", args.name.as_ref())] {
        let is_good = name.is_none_or(|name| is_name(name));
        ensure!(is_good, "{option} {}: {NAMES}", name.map_or("", String::as_str));
    }
    let sources = args.files.iter().map(|word| read(word, &args.env)).collect::<Result<Vec<_>>>()?;
    let (run, trials) = record::build(sources, args.name.as_deref())?;
    let hands = paths::create_for_caller(&args.out)?;
    let path = hands.act(|| write(&args.out, &run, &trials))?;
    paths::give_to_caller(&path, hands)?;
    for warning in &run.warnings {
        eprintln!("bench: {warning}");
    }
    eprintln!("bench: {} values of {} files; {CAVEAT}", trials.len(), args.files.len());
    output::print_line(&path.display().to_string())?;
    Ok(0)
}

/// Environment and path of an argument. What is a file by its whole name is one.
fn named<'a>(word: &'a OsStr, environment: &str) -> Result<(String, &'a Path)> {
    let (whole, bytes) = (Path::new(word), word.as_bytes());
    let Some(at) = bytes.iter().position(|byte| *byte == b'=').filter(|_| !whole.exists()) else {
        return Ok((environment.to_owned(), whole));
    };
    let (name, file) = (String::from_utf8_lossy(&bytes[..at]), Path::new(OsStr::from_bytes(&bytes[at + 1..])));
    if is_name(&name) {
        return Ok((name.into_owned(), file));
    }
    if file.exists() {
        let (whole, name) = (whole.display(), bench_text::visible(&name));
        bail!("importing {whole}: there is no such file, and `{name}` cannot name an environment: {NAMES}");
    }
    Ok((environment.to_owned(), whole))
}

fn read(word: &OsStr, environment: &str) -> Result<Source> {
    let (environment, path) = named(word, environment)?;
    let shown = path.display();
    let hands = Hands::in_folder(path)?;
    let content = hands.act(|| {
        let read = limits::read(path, limits::IMPORT_BYTES, Links::Followed);
        read.with_context(|| format!("importing {shown}: reading it"))
    })?;
    let file = import::read(&content, limits::IMPORT_VALUES).map_err(|e| {
        anyhow!("importing {shown}: {e}. Nothing was imported: leave the file out, or have the tool write it again")
    })?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let sha256 = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Source { environment, name: bench_text::visible(&name).into_owned(), sha256, file })
}

/// The folder of a run, whole and readable, or not at all.
fn write(out: &Path, run: &Run, trials: &[Trial]) -> Result<PathBuf> {
    let mut folder = RunFolder::create(out, &Run { state: State::Running, ended_at: None, ..run.clone() })?;
    let path = folder.path().to_path_buf();
    let written = folder.append_trials(trials).and_then(|()| folder.replace_run(run)).context("writing the record");
    let read = || Record::load(&path).map(drop).context("reading the new record again; it was removed");
    let whole = written.and_then(|()| read());
    if whole.is_err() {
        drop(std::fs::remove_dir_all(&path));
    }
    whole?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_names_an_environment_unless_it_is_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("vm=x.json");
        std::fs::write(&odd, "").unwrap();
        for (word, environment, path) in [
            ("a.json", "imported", "a.json"),
            ("vm=a.json", "vm", "a.json"),
            ("vm=a=b.json", "vm", "a=b.json"),
            ("./vm=a.json", "imported", "./vm=a.json"),
            ("VM 1=a.json", "imported", "VM 1=a.json"),
            (odd.to_str().unwrap(), "imported", odd.to_str().unwrap()),
        ] {
            let found = named(OsStr::new(word), "imported").unwrap();
            assert_eq!(found, (environment.to_owned(), Path::new(path)), "{word}");
        }
        // What could only be meant as a name is refused as one.
        for name in ["Native", "VM_1", "", "a b"] {
            let word = format!("{name}={}", odd.display());
            let error = named(OsStr::new(&word), "imported").unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}` cannot name an environment: {NAMES}")), "{error}");
        }
        let odd_bytes = OsStr::from_bytes(b"vm=caf\xe9.json");
        assert_eq!(
            named(odd_bytes, "imported").unwrap(),
            ("vm".to_owned(), Path::new(OsStr::from_bytes(b"caf\xe9.json")))
        );
    }
}
