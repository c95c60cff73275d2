//! What `bench container run` may be asked for; what people type after using docker is taken where it means the same here.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bench_results::quantity::{parse_count, parse_duration, parse_size};

use crate::netlab::Route;

/// Processes and threads of a container that is not limited to another number.
pub const PIDS: u64 = 4096;

/// Arguments of `bench container run`.
#[derive(clap::Args)]
pub struct RunArgs {
    /// Root folder instead of the tools tree, such as the files of a distribution
    #[arg(long, value_name = "DIR")]
    pub rootfs: Option<PathBuf>,
    /// The network: only a loopback device, the host's network, or a lab with a peer
    #[arg(long, visible_alias = "network", value_enum, default_value = "none")]
    pub net: Network,
    /// CPU time limit in CPUs, such as 1.5
    #[arg(long, value_name = "NUMBER", value_parser = cpu_time, allow_hyphen_values = true)]
    pub cpus: Option<f64>,
    /// CPUs that it may use, such as 0-1,4
    #[arg(long, visible_alias = "cpuset-cpus", value_name = "LIST")]
    pub cpuset: Option<String>,
    /// Memory, such as 256MiB or 256m
    #[arg(short, long, value_name = "SIZE", value_parser = memory, allow_hyphen_values = true)]
    pub memory: Option<u64>,
    /// Processes and threads: 4096 unless another number is given, or `unlimited`
    #[arg(long, visible_alias = "pids-limit", value_name = "N", value_parser = pids, allow_hyphen_values = true)]
    pub pids: Option<Pids>,
    /// Reads per second from a block device
    #[arg(long, value_name = "DEVICE:N")]
    pub io_read_iops: Vec<String>,
    /// Writes per second to a block device
    #[arg(long, value_name = "DEVICE:N")]
    pub io_write_iops: Vec<String>,
    /// Bytes read per second from a block device
    #[arg(long, value_name = "DEVICE:SIZE")]
    pub io_read_bps: Vec<String>,
    /// Bytes written per second to a block device
    #[arg(long, value_name = "DEVICE:SIZE")]
    pub io_write_bps: Vec<String>,
    /// Host name inside
    #[arg(long, value_name = "NAME", default_value = "container")]
    pub hostname: String,
    /// A part of the cgroup's name, for ps and systemd-cgtop; no command accepts it
    #[arg(long, value_parser = name)]
    pub name: Option<String>,
    /// A time namespace whose boot and monotonic clocks are shifted by this, such as 1d or -1h
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true)]
    pub time_offset: Option<f64>,
    /// A user namespace: root inside is user 100000 outside
    #[arg(long)]
    pub userns: bool,
    /// User inside: a number, or a name in /etc/passwd of the root folder, optionally with a group
    #[arg(short, long, value_name = "USER[:GROUP]", allow_hyphen_values = true)]
    pub user: Option<String>,
    /// Use a process 1 that reaps orphans and forwards signals
    #[arg(long)]
    pub init: bool,
    /// Read standard input also if it is a file or a device
    #[arg(short, long)]
    pub interactive: bool,
    /// Allocate a terminal inside; default if standard input and output are terminals
    #[arg(short, long)]
    pub tty: bool,
    /// Time for CMD to end after SIGTERM, SIGINT, SIGHUP or SIGQUIT before it is killed, in seconds or as 500ms, 1min
    #[arg(long, value_name = "TIME", value_parser = stop_timeout, allow_hyphen_values = true, default_value = "10s")]
    pub stop_timeout: Duration,
    /// Mount a file, folder or device of the host; `ro` is for files and folders
    #[arg(short, long = "volume", value_name = "SRC:DST[:ro]")]
    pub volume: Vec<String>,
    /// An environment variable; without a value, yours is used
    #[arg(short, long = "env", value_name = "KEY[=VALUE]")]
    pub env: Vec<String>,
    /// Working directory inside
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// A capability besides the default ones, such as NET_RAW
    #[arg(long, value_name = "NAME")]
    pub cap_add: Vec<String>,
    /// The seccomp filter [default: docker]
    #[arg(long, value_enum)]
    seccomp: Option<Seccomp>,
    /// No effect: a container is always removed. Accepted for compatibility with docker
    #[arg(long)]
    pub rm: bool,
    /// Print CMD's process id on the host, its namespaces and its cgroup
    #[arg(long)]
    pub verbose: bool,
    #[arg(short, long, hide = true, value_name = "PORTS", allow_hyphen_values = true)]
    publish: Vec<String>,
    #[arg(short, long, hide = true)]
    detach: bool,
    #[arg(long, hide = true, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Network {
    /// A new network namespace with a loopback device
    None,
    /// The host's network
    Host,
    /// A lab with a peer, over a bridge
    Bridge,
    /// A lab with a peer, behind NAT
    Nat,
}

impl Network {
    pub fn route(self) -> Option<Route> {
        match self {
            Network::None | Network::Host => None,
            Network::Bridge => Some(Route::Bridge),
            Network::Nat => Some(Route::Nat),
        }
    }
}

/// How many processes and threads there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pids {
    Most(u64),
    Unlimited,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Seccomp {
    /// Docker's default profile
    Docker,
    /// None
    Unconfined,
}

/// Docker's words after `--security-opt`: for no filter, for the filter, and for what is always so here.
const UNCONFINED: [&str; 2] = ["seccomp=unconfined", "seccomp:unconfined"];
const CONFINED: [&str; 2] = ["seccomp=builtin", "seccomp:builtin"];
const ALWAYS_ON: [&str; 3] = ["no-new-privileges", "no-new-privileges=true", "no-new-privileges:true"];

impl RunArgs {
    /// Whether Docker's filter of system calls is to hold it.
    pub fn is_filtered(&self) -> bool {
        self.seccomp != Some(Seccomp::Unconfined) && !self.has_option(&UNCONFINED)
    }

    fn has_option(&self, wanted: &[&str]) -> bool {
        self.security_opt.iter().any(|option| wanted.contains(&option.as_str()))
    }

    /// Refuse what docker has and this has not.
    pub fn check(&self) -> Result<()> {
        if let Some(ports) = self.publish.first() {
            bail!(
                "-p {ports}: a container is not reachable from other machines; with --net bridge or nat, it is reachable from a peer in the lab"
            );
        }
        ensure!(!self.detach, "-d: a container ends with bench; run bench itself in the background, with `&`");
        let is_off = self.seccomp == Some(Seccomp::Unconfined) || self.has_option(&UNCONFINED);
        let is_on = self.seccomp == Some(Seccomp::Docker) || self.has_option(&CONFINED);
        ensure!(
            !(is_on && is_off),
            "--seccomp and --security-opt ask for the filter of system calls and for none: give one of them"
        );
        let known = || UNCONFINED.iter().chain(&CONFINED).chain(&ALWAYS_ON);
        let is_known = |option: &&String| known().any(|known| known == option);
        if let Some(option) = self.security_opt.iter().find(|option| !is_known(option)) {
            bail!(
                "--security-opt {option}: of docker's options there is seccomp=unconfined here (--seccomp unconfined)"
            );
        }
        Ok(())
    }
}

fn cpu_time(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(cpus) if (0.01..=4096.0).contains(&cpus) => Ok(cpus),
        _ if text.trim().ends_with('%') => {
            Err(format!("`{text}` could be a share of one CPU or of all: write a number of CPUs, such as 0.5 or 1.5"))
        }
        _ => Err(format!("`{text}` is not a number of CPUs from 0.01 up, such as 1.5")),
    }
}

/// As docker has it, a number alone is in bytes; one too small for that is refused, since it can hardly be meant.
fn memory(text: &str) -> Result<u64, String> {
    match text.trim().parse() {
        Ok(bytes @ 1_048_576..=0xfff_ffff_ffff_ffff) => Ok(bytes),
        _ => parse_size(text),
    }
}

fn pids(text: &str) -> Result<Pids, String> {
    match text {
        "unlimited" | "-1" => Ok(Pids::Unlimited),
        _ => count(text).map(Pids::Most).map_err(|e| format!("{e}, or `unlimited`")),
    }
}

/// As docker has it, a number alone is in seconds.
fn stop_timeout(text: &str) -> Result<Duration, String> {
    let seconds = text.trim().parse::<u32>().map(f64::from).or_else(|_| parse_duration(text))?;
    match (0.0..1e9).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(format!("`{text}` is in the past: write 0 to have it killed at once")),
    }
}

/// What docker takes for a name, and no more than a file's name has room for.
fn name(text: &str) -> Result<String, String> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    match text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_known) && text.len() <= 128 {
        true => Ok(text.to_owned()),
        false => {
            Err("a name begins with a letter or digit, in which these and `_`, `.`, `-` follow, 128 at most".to_owned())
        }
    }
}

/// A whole number above 0.
pub fn count(text: &str) -> Result<u64, String> {
    parse_count(text, u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_as_docker_takes_them() {
        for (text, bytes) in
            [("64m", 64 << 20), ("1G", 1 << 30), ("512k", 512 << 10), ("67108864", 64 << 20), ("1GiB", 1 << 30)]
        {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for text in ["64", "", "-1", "m", "0", "99999999999999999999"] {
            assert!(memory(text).is_err(), "{text}");
        }
        assert_eq!(
            ["7", "unlimited", "-1"].map(|text| pids(text).unwrap()),
            [Pids::Most(7), Pids::Unlimited, Pids::Unlimited]
        );
        assert!(["0", "-2", "", "x"].iter().all(|text| pids(text).is_err()));
        for (text, ms) in [("10", 10_000), ("0", 0), ("500ms", 500), ("1min", 60_000)] {
            assert_eq!(stop_timeout(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert!(["-1", "-1s", "", "soon"].iter().all(|text| stop_timeout(text).is_err()));
    }

    #[test]
    fn names_are_dockers() {
        for (text, is_fine) in
            [("web", true), ("Web_1.a-b", true), ("", false), ("-x", false), ("a/b", false), ("ä", false)]
        {
            assert_eq!(name(text).is_ok(), is_fine, "{text}");
        }
        assert!(name(&"a".repeat(129)).is_err());
    }
}
