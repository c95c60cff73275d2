//! Signals to `bench` and to process 1.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::libc;

use crate::support::{Stage, contained, eventually, stage};

/// A container that has said `ready`.
struct Started {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Started {
    fn by(mut command: Command, script: &str) -> Started {
        let mut child = command.args(["--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut started = Started { child, out };
        assert_eq!(started.line(), "ready");
        started
    }

    fn of(stage: &Stage, arguments: &str, script: &str) -> Started {
        Started::by(stage.bench(&format!("container run {arguments}")), script)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn send(&self, number: i32) {
        send(self.child.id() as i32, number);
    }

    fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its exit status, and that nothing is left.
    fn end(mut self, stage: &Stage) -> i32 {
        let status = self.child.wait().unwrap();
        stage.assert_clean(self.child.id());
        status.code().unwrap_or_else(|| panic!("bench itself was ended: {status}"))
    }
}

/// kill(2) with a number that need have no name.
fn send(pid: i32, number: i32) {
    // SAFETY: it touches no memory.
    assert_eq!(unsafe { libc::kill(pid, number) }, 0, "signal {number} to {pid}");
}

const ENDLESS: &str = "while :; do sleep 0.05; done";

#[test]
fn a_command_is_told_to_end_and_gives_the_status() {
    let Some(stage) = stage() else { return };
    for init in ["", "--init"] {
        for (name, number) in [("TERM", 15), ("INT", 2), ("HUP", 1), ("QUIT", 3)] {
            let script = format!("trap 'echo tidied up; exit 7' {name}; echo ready; {ENDLESS}");
            let mut started = Started::of(&stage, init, &script);
            started.send(number);
            assert_eq!(started.line(), "tidied up", "{init} SIG{name}");
            assert_eq!(started.end(&stage), 7, "{init} SIG{name}");
        }
    }
}

#[test]
fn every_signal_but_the_shells_own_reaches_the_command() {
    let Some(stage) = stage() else { return };
    let numbers = [1, 3, 10, 12, 14, 15, 18, 23, 28, 30, 34, 35, 50, 63, 64];
    let traps: String = numbers.iter().map(|number| format!("trap 'echo got {number}' {number}; ")).collect();
    let script = format!("{traps} trap 'exit 9' 16; echo ready; {ENDLESS}");
    for init in ["", "--init"] {
        let mut started = Started::of(&stage, init, &script);
        for number in numbers {
            started.send(number);
            assert_eq!(started.line(), format!("got {number}"), "{init}");
        }
        started.send(16);
        assert_eq!(started.end(&stage), 9, "{init}");
    }
}

#[test]
fn no_signal_that_can_be_caught_ends_bench_or_leaves_anything() {
    let Some(stage) = stage() else { return };
    // Process 1 has no handler for any: it is ended by none of them. 32 and 33 are those that the C library keeps for itself.
    let mut started = Started::of(&stage, "--stop-timeout 60", &format!("echo ready; {ENDLESS}"));
    let stops_or_kills = [libc::SIGKILL, libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    // The two that end at once when they come one after the other.
    let impatient = [libc::SIGINT, libc::SIGTERM];
    for number in (1..=64).filter(|number| !stops_or_kills.contains(number) && !impatient.contains(number)) {
        started.send(number);
    }
    std::thread::sleep(Duration::from_millis(500));
    assert!(started.runs(), "{:?}", started.child.wait());
    started.send(libc::SIGTERM);
    std::thread::sleep(Duration::from_millis(500));
    started.send(libc::SIGTERM);
    assert_eq!(started.end(&stage), 128 + 15);
    // Where process 1 passes them on, the command ends by them.
    for number in [10, 12, 14, 16, 34, 64] {
        let started = Started::of(&stage, "--init", &format!("echo ready; {ENDLESS}"));
        started.send(number);
        assert_eq!(started.end(&stage), 128 + number);
    }
}

#[test]
fn who_does_not_end_is_killed_after_a_while_and_at_once_when_asked_twice() {
    let Some(stage) = stage() else { return };
    let deaf = format!("trap '' TERM INT; echo ready; {ENDLESS}");
    for (arguments, script) in [("--stop-timeout 1", "echo ready; sleep 60"), ("--init --stop-timeout 1s", &deaf)] {
        let (started, began) = (Started::of(&stage, arguments, script), Instant::now());
        started.send(libc::SIGTERM);
        assert_eq!(started.end(&stage), 143, "{arguments}");
        assert!((1.0..8.0).contains(&began.elapsed().as_secs_f64()), "{arguments}: {:?}", began.elapsed());
    }
    for (first, second) in [(libc::SIGTERM, libc::SIGTERM), (libc::SIGINT, libc::SIGTERM), (libc::SIGINT, libc::SIGINT)]
    {
        let (started, began) = (Started::of(&stage, "--stop-timeout 60", &deaf), Instant::now());
        started.send(first);
        std::thread::sleep(Duration::from_millis(600));
        started.send(second);
        assert_eq!(started.end(&stage), 128 + first);
        assert!(began.elapsed().as_secs() < 30);
    }
}

/// timeout(1) sends its signal to its child and to its group, which the child is in.
#[test]
fn a_signal_that_comes_twice_from_timeout_leaves_time_to_tidy_up() {
    let Some(stage) = stage() else { return };
    let script = "trap 'sleep 1; echo tidied up; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let mut command = stage.program(std::path::Path::new("timeout"), "--preserve-status 3");
    command.arg(env!("CARGO_BIN_EXE_bench")).args(["container", "run", "--", "sh", "-c", script]);
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ready\ntidied up\n");
    assert_eq!(output.status.code(), Some(7), "{output:?}");
}

#[test]
fn process_one_that_reaps_passes_real_time_signals_on() {
    let Some(stage) = stage() else { return };
    let (status, out, err) = stage.container("--init", "kill -35 1; sleep 5; echo still here");
    assert_eq!((status, out.as_str()), (128 + 35, ""), "{err}");
    assert_eq!(stage.container("--init", "kill -34 $$").0, 128 + 34, "and knows who was ended by one");
    let (status, out, err) = stage.container("--init", "trap 'echo got it' 64; kill -64 1; sleep 0.2; exit 3");
    assert_eq!((status, out.as_str()), (3, "got it\n"), "{err}");
    // From outside, to process 1 itself.
    let mut command = stage.bench("container run --init --verbose -- sleep 60");
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    let pid = said.strip_prefix("bench: process ").and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
    send(pid, 34);
    assert_eq!(child.wait().unwrap().code(), Some(128 + 34), "{said}");
    stage.assert_clean(child.id());
}

#[test]
fn what_the_caller_ignores_stays_ignored_where_that_is_meant() {
    let Some(stage) = stage() else { return };
    let ignoring = |number: i32| {
        let mut command = stage.bench("container run");
        let ignore = move || {
            // SAFETY: ignoring a signal runs no code.
            unsafe { libc::signal(number, libc::SIG_IGN) };
            Ok(())
        };
        // SAFETY: between fork and exec nothing but a system call is made.
        unsafe { command.pre_exec(ignore) };
        command
    };
    // nohup(1).
    let script = format!("trap 'exit 7' HUP; trap 'exit 8' TERM; echo ready; {ENDLESS}");
    let mut started = Started::by(ignoring(libc::SIGHUP), &script);
    started.send(libc::SIGHUP);
    std::thread::sleep(Duration::from_millis(500));
    assert!(started.runs());
    started.send(libc::SIGTERM);
    assert_eq!(started.end(&stage), 8);
    // A shell without job control starts its jobs so; they can be sent it on purpose.
    let script = format!("trap 'exit 7' INT; echo ready; {ENDLESS}");
    let started = Started::by(ignoring(libc::SIGINT), &script);
    started.send(libc::SIGINT);
    assert_eq!(started.end(&stage), 7);
    // Children that nobody waits for.
    let started = Started::by(ignoring(libc::SIGCHLD), "echo ready; exit 6");
    assert_eq!(started.end(&stage), 6);
}

/// What of the host is in reach of `kill -9 0` and `kill -9 -1`.
#[test]
fn a_signal_to_all_inside_reaches_nobody_outside() {
    let Some(stage) = stage() else { return };
    for arguments in ["", "--init", "--userns", "--net host"] {
        for target in ["0", "-1"] {
            let bench = env!("CARGO_BIN_EXE_bench");
            let line = format!(
                "sleep 60 & bystander=$!; {bench} container run {arguments} -- sh -c 'kill -9 {target}; true'; \
                 kill -0 $bystander && echo survived; kill $bystander"
            );
            let mut command = stage.program(std::path::Path::new("sh"), "-c");
            let output = command.arg(&line).process_group(0).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(said, "survived\n", "{arguments}: kill -9 {target}: {output:?}");
        }
    }
}

#[test]
fn process_one_leads_a_session_that_bench_is_not_in() {
    let Some(stage) = stage() else { return };
    for arguments in ["", "--init", "--userns"] {
        let (status, out, err) = stage.container(arguments, "cut -d' ' -f1,5,6 /proc/self/stat /proc/$$/stat");
        let ids: Vec<Vec<&str>> = out.lines().map(|line| line.split(' ').collect()).collect();
        assert_eq!(status, 0, "{err}");
        let shell = if arguments == "--init" { "2" } else { "1" };
        assert_eq!(ids[1], [shell, shell, shell], "{arguments}: pid, group and session of the shell: {out}");
        assert_eq!(ids[0][2], shell, "{arguments}: {out}");
    }
    let started = Started::of(&stage, "", "echo ready; sleep 60");
    let session = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3)).unwrap_or_default().to_owned()
    };
    let all = contained(started.child.id());
    assert!(!all.is_empty() && all.iter().all(|pid| session(pid) != session("self")), "{all:?}");
    started.send(libc::SIGTERM);
    std::thread::sleep(Duration::from_millis(400));
    started.send(libc::SIGTERM);
    started.end(&stage);
}

/// The kernel clears a death signal when the process changes its user, and when it asks for that.
#[test]
fn a_container_whose_program_cleared_its_death_signal_ends_with_bench() {
    let Some(stage) = stage() else { return };
    for arguments in ["", "--init", "--userns"] {
        let mut command = stage.bench(&format!("container run {arguments} --rootfs / -- setpriv"));
        command.args(["--reuid", "33", "--clear-groups", "--pdeathsig", "clear", "sleep", "60"]);
        let mut child = command.spawn().unwrap();
        let pid = child.id();
        let is_sleeping = |process: &String| {
            std::fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.trim() == "sleep")
        };
        eventually("the sleep", || contained(pid).iter().any(is_sleeping));
        send(pid as i32, libc::SIGKILL);
        child.wait().unwrap();
        eventually("the end of the container", || contained(pid).is_empty());
        assert_eq!(stage.run("clean").0, 0, "{arguments}");
        stage.assert_clean(pid);
    }
}

/// A process group is killed by who times out; what it started goes along.
#[test]
fn who_kills_the_callers_group_takes_the_container_along() {
    let Some(stage) = stage() else { return };
    let mut command = stage.bench("container run");
    command.process_group(0);
    let mut started = Started::by(command, "echo ready; sleep 60");
    let pid = started.child.id();
    send(-(pid as i32), libc::SIGKILL);
    started.child.wait().unwrap();
    eventually("the end of the container", || contained(pid).is_empty());
    assert_eq!(stage.run("clean").0, 0);
    stage.assert_clean(pid);
}

/// Whoever kills bench can kill the process between it and the container as well. A program that cleared its death signal is then left to
/// `bench clean`, which has its group in a ledger.
#[test]
fn when_the_process_between_is_killed_too_the_container_ends_or_clean_ends_it() {
    let Some(stage) = stage() else { return };
    for (arguments, program, ends) in [
        ("", &["sleep", "60"][..], true),
        ("-u 1000", &["sleep", "60"], true),
        ("--rootfs /", &["setpriv", "--reuid", "33", "--clear-groups", "--pdeathsig", "clear", "sleep", "60"], false),
    ] {
        let mut command = stage.bench(&format!("container run {arguments} --"));
        let mut child = command.args(program).spawn().unwrap();
        let pid = child.id();
        let is_sleeping = |process: &String| {
            std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|words| words.starts_with(b"sleep\0"))
        };
        eventually("the sleep", || contained(pid).iter().any(is_sleeping));
        let between = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        for process in [pid.to_string()].iter().map(String::as_str).chain(between.split_whitespace()) {
            send(process.parse().unwrap(), libc::SIGKILL);
        }
        child.wait().unwrap();
        if ends {
            eventually("the end of the container", || contained(pid).is_empty());
        }
        assert_eq!(stage.run("clean").0, 0, "{arguments}");
        stage.assert_clean(pid);
    }
}
