//! The runtime's program: what it says of itself, and its commands.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bench_agent::printable;
use bench_container::{Namespace, Spec};
use oci_spec::runtime::{Features, LinuxNamespaceType};
use tokio::process::Command;
use tokio::time::timeout;

use crate::conductor::environment::PATH;
use crate::conductor::instance::{Ground, Pipes};
use crate::host::fingerprint;

/// How long each command of a runtime may take. The slowest took a second, on an emulated machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Characters of its words that are kept.
const SAID_LIMIT: usize = 400;

/// A runtime.
pub struct Runtime {
    /// Its program.
    pub program: PathBuf,
    /// The first line of what it says of its version.
    pub version: String,
    /// False where it says that it has no filters of system calls.
    pub has_seccomp: bool,
    /// The namespaces that it knows; absent where it does not say.
    namespaces: Option<Vec<LinuxNamespaceType>>,
}

impl Runtime {
    /// Ask it what it is and has. Not all have the command `features`: those are asked for everything, and fail where they lack it.
    pub async fn ask(program: PathBuf, ground: &Ground<'_>) -> Result<Runtime> {
        let call = Call { program: &program, groups: ground.cgroup.paths() };
        let version = call.run(ground, &["--version"]).await?;
        let line = String::from_utf8_lossy(&version).lines().next().map(|line| printable(line.trim(), SAID_LIMIT));
        let version = line.filter(|line| !line.is_empty());
        let version = version.with_context(|| format!("{} does not tell its version", call.name("--version")))?;
        let told = call.run(ground, &["features"]).await.ok();
        let features = told.and_then(|text| serde_json::from_slice::<Features>(&text).ok());
        let linux = features.as_ref().and_then(|features| features.linux().as_ref());
        let seccomp = linux.and_then(|linux| linux.seccomp().as_ref()?.enabled().to_owned());
        let namespaces = linux.and_then(|linux| linux.namespaces().clone());
        Ok(Runtime { version, has_seccomp: seccomp != Some(false), namespaces, program })
    }

    /// Whether it knows a kind of namespaces, or may know it.
    pub fn has_namespace(&self, kind: Namespace) -> bool {
        self.namespaces.as_ref().is_none_or(|known| known.contains(&namespace_type(kind)))
    }

    /// A name for facts about it.
    pub fn name(&self) -> String {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect()
    }
}

/// A kind of namespaces as the specification has it.
pub fn namespace_type(kind: Namespace) -> LinuxNamespaceType {
    match kind {
        Namespace::Mount => LinuxNamespaceType::Mount,
        Namespace::Pid => LinuxNamespaceType::Pid,
        Namespace::Ipc => LinuxNamespaceType::Ipc,
        Namespace::Uts => LinuxNamespaceType::Uts,
        Namespace::Cgroup => LinuxNamespaceType::Cgroup,
        Namespace::Net => LinuxNamespaceType::Network,
        Namespace::User => LinuxNamespaceType::User,
        Namespace::Time => LinuxNamespaceType::Time,
    }
}

/// How a runtime is called.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// Its program.
    pub program: &'a Path,
    /// The groups that it runs in, so that it is killed with them.
    pub groups: &'a [PathBuf],
}

impl Call<'_> {
    /// Run a command of it to its end; its standard output.
    pub async fn run(self, ground: &Ground<'_>, arguments: &[&str]) -> Result<Vec<u8>> {
        let mut command = self.command(ground, arguments, None)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.with_context(|| format!("starting {}", self.program.display()))?;
        let name = self.name(verb(arguments));
        let Ok(ended) = timeout(PATIENCE, child.wait_with_output()).await else { bail!(did_not_end(&name)) };
        let ended = ended.with_context(|| format!("waiting for {name}"))?;
        ensure!(ended.status.success(), failed(&name, ended.status, &String::from_utf8_lossy(&ended.stderr)));
        Ok(ended.stdout)
    }

    /// Run the command `create` to its end; the streams that the container's process has from it. `work`: what is mounted for the runtime
    /// alone.
    pub async fn create(
        self,
        ground: &Ground<'_>,
        arguments: &[&str],
        work: Option<bench_container::Work>,
    ) -> Result<Pipes> {
        let mut command = self.command(ground, arguments, work)?;
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("starting {}", self.program.display()))?;
        let pipes = Pipes::of(&mut child)?;
        let name = self.name("create");
        let Ok(ended) = timeout(PATIENCE, child.wait()).await else { bail!(did_not_end(&name)) };
        let status = ended.with_context(|| format!("waiting for {name}"))?;
        ensure!(status.success(), failed(&name, status, &pipes.last_words().await));
        Ok(pipes)
    }

    fn command(self, ground: &Ground<'_>, arguments: &[&str], work: Option<bench_container::Work>) -> Result<Command> {
        let argv =
            [self.program.display().to_string()].into_iter().chain(arguments.iter().map(|&word| word.to_owned()));
        let spec = Spec {
            argv: argv.collect(),
            env: vec![("PATH".to_owned(), PATH.to_owned())],
            work,
            parent_death_signal: true,
            ..Spec::default()
        };
        ground.command_in(spec, self.groups)
    }

    fn name(self, verb: &str) -> String {
        format!("`{} {verb}`", self.program.display())
    }
}

/// The command among the arguments: what is no option and no value of `--root`.
fn verb<'a>(arguments: &[&'a str]) -> &'a str {
    let after_root = if arguments.first() == Some(&"--root") { 2 } else { 0 };
    arguments.get(after_root).copied().unwrap_or_default()
}

fn did_not_end(name: &str) -> String {
    format!("{name} did not end within {} s", PATIENCE.as_secs())
}

/// That a command failed, in the runtime's own words. Some do not know hybrid cgroups, and not all of those say so.
fn failed(name: &str, status: ExitStatus, said: &str) -> String {
    let said = printable(&reason(said), SAID_LIMIT);
    let is_hybrid = fingerprint::cgroup_version() == "hybrid" && said.contains("cgroup") && !said.contains("hybrid");
    let hint = if is_hybrid { " (the cgroups of this host are hybrid: v1 controllers beside cgroup2)" } else { "" };
    match said.is_empty() {
        true => format!("{name} failed ({status}) and did not say why"),
        false => format!("{name} failed ({status}): {said}{hint}"),
    }
}

/// The last line of a runtime's words; of logfmt (`time="..." level=error msg="..."`) the message.
fn reason(said: &str) -> String {
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let message = line.split_once("level=error msg=\"").and_then(|(_, rest)| rest.strip_suffix('"'));
    message.map_or_else(|| line.to_owned(), |message| message.replace("\\\"", "\""))
}

/// Arguments with the folder of the runtime's state.
pub fn with_root<'a>(state: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    ["--root", state].into_iter().chain(arguments.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn the_reason_is_found_in_a_runtimes_words() {
        let runc = "time=\"2026-01-01T00:00:00Z\" level=warning msg=\"odd\"\n\
            time=\"2026-01-01T00:00:00Z\" level=error msg=\"runc create failed: \\\"x\\\" is wrong\"\n\n";
        assert_eq!(reason(runc), "runc create failed: \"x\" is wrong");
        assert_eq!(reason("first\n  the last line \n"), "the last line");
        assert_eq!(reason(""), "");
        let status = ExitStatus::from_raw(256);
        assert_eq!(failed("`r create`", status, " \n"), "`r create` failed (exit status: 1) and did not say why");
        assert_eq!(failed("`r create`", status, "no\u{7}"), "`r create` failed (exit status: 1): no");
    }

    #[test]
    fn the_command_is_named_and_not_its_options() {
        assert_eq!(verb(&with_root("/run/x", &["start", "id"])), "start");
        assert_eq!(verb(&["features"]), "features");
        assert_eq!(verb(&[]), "");
    }
}
