//! A terminal inside, for somebody at one.

use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::sys::termios::LocalFlags;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::support::desk::Desk;
use crate::support::{Stage, eventually, stage};

fn sit_down(stage: &Stage, arguments: &str, script: &str) -> Desk {
    let mut command = stage.bench(&format!("container run {arguments} -- sh -c"));
    command.arg(script).env("TERM", "xterm");
    Desk::sit_down(command)
}

#[test]
fn the_terminal_inside_is_the_containers_own() {
    let Some(stage) = stage() else { return };
    let script = "tty; for n in 0 1 2; do readlink /proc/$$/fd/$n; done | sort -u; stty size; echo $TERM; \
        (: < /dev/tty) && echo controls; stat -c %u /dev/pts/0; exit 4";
    for (arguments, user) in [("", "0"), ("-it --rm", "0"), ("--init", "0"), ("--userns", "0"), ("-u 1000:5", "1000")] {
        let mut desk = sit_down(&stage, arguments, script);
        assert_eq!(desk.end(), Some(4), "{arguments}: {}", desk.shown);
        let lines: Vec<&str> = desk.shown.split("\r\n").filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, ["/dev/pts/0", "/dev/pts/0", "33 77", "xterm", "controls", user], "{arguments}");
        stage.assert_clean(desk.child.id());
    }
}

#[test]
fn keys_lines_sizes_and_job_control_are_those_of_a_terminal() {
    let Some(stage) = stage() else { return };
    for arguments in ["", "--init"] {
        let script = "trap 'echo interrupted' INT; trap 'echo size $(stty size)' WINCH; echo ready; \
            while :; do read line && echo \"got $line\"; [ \"$line\" = end ] && exit 7; done";
        let mut desk = sit_down(&stage, arguments, script);
        let before = desk.modes();
        desk.see("ready");
        let keys = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        eventually("every key goes inside", || !desk.modes().local_flags.intersects(keys));
        desk.converse("size 50 120");
        assert_eq!(desk.modes(), before, "{arguments}: line editing is back");
    }
    // Ctrl-Z stops what a shell inside has in front, and not bench.
    let mut desk = Desk::sit_down(stage.bench("container run -- sh -i"));
    desk.keys("sleep 100\r");
    std::thread::sleep(std::time::Duration::from_millis(700));
    desk.keys("\u{1a}");
    desk.see("Stopped");
    desk.keys("fg\r");
    std::thread::sleep(std::time::Duration::from_millis(700));
    desk.keys("\u{3}");
    desk.keys("echo still $((20+3)) here; exit 4\r");
    desk.see("still 23 here");
    assert_eq!(desk.end(), Some(4), "{}", desk.shown);
    assert!(!desk.shown.contains("job control turned off"), "{}", desk.shown);
}

#[test]
fn a_terminal_is_given_back_whatever_ends_the_container() {
    let Some(stage) = stage() else { return };
    for (script, signal, status) in [
        ("echo ready; exit 3", None, 3),
        ("echo ready; exec nowhere", None, 127),
        ("echo ready; trap 'exit 5' TERM; while :; do sleep 0.05; done", Some(Signal::SIGTERM), 5),
        ("echo ready; sleep 60", Some(Signal::SIGTERM), 143),
        ("echo ready; sleep 60", Some(Signal::SIGINT), 130),
        ("echo ready; sleep 60", Some(Signal::SIGHUP), 129),
        ("echo ready; sleep 60", Some(Signal::SIGQUIT), 131),
        ("echo ready; trap 'exit 6' USR1; while :; do sleep 0.05; done", Some(Signal::SIGUSR1), 6),
        ("echo ready; trap 'exit 6' ALRM; while :; do sleep 0.05; done", Some(Signal::SIGALRM), 6),
    ] {
        let mut desk = sit_down(&stage, "--stop-timeout 500ms", script);
        let before = desk.modes();
        desk.see("ready");
        if let Some(signal) = signal {
            eventually("raw mode", || desk.modes() != before);
            // Its trap comes after what it says.
            std::thread::sleep(std::time::Duration::from_millis(200));
            desk.signal(signal);
        }
        assert_eq!(desk.end(), Some(status), "{script}: {}", desk.shown);
        assert_eq!(desk.modes(), before, "{script}");
        stage.assert_clean(desk.child.id());
    }
    // Nothing was started.
    let mut desk = Desk::sit_down(stage.bench("container run -- nowhere"));
    let before = desk.modes();
    assert_eq!(desk.end(), Some(127));
    assert!(desk.modes() == before && desk.shown.contains("`nowhere` was not found"), "{}", desk.shown);
    let mut desk = Desk::sit_down(stage.bench("container run --cap-add FLY -- true"));
    assert_eq!(desk.end(), Some(125));
    assert!(desk.modes() == before && desk.shown.contains("FLY"), "{}", desk.shown);
}

#[test]
fn a_terminal_is_given_back_while_bench_is_stopped() {
    let Some(stage) = stage() else { return };
    let mut desk = sit_down(&stage, "", "trap 'exit 9' INT; echo ready; while :; do sleep 0.05; done");
    let before = desk.modes();
    desk.see("ready");
    eventually("raw mode", || desk.modes() != before);
    desk.signal(Signal::SIGTSTP);
    let pid = nix::unistd::Pid::from_raw(desk.child.id() as i32);
    let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert!(matches!(stopped, WaitStatus::Stopped(..)), "{stopped:?}");
    assert_eq!(desk.modes(), before);
    desk.signal(Signal::SIGCONT);
    eventually("raw mode again", || desk.modes() != before);
    desk.keys("\u{3}");
    assert_eq!(desk.end(), Some(9), "{}", desk.shown);
    assert_eq!(desk.modes(), before);
}

/// What is typed for somebody (TIOCSTI), and what is opened again by its descriptor, is the container's own terminal's.
#[test]
fn the_callers_terminal_is_out_of_reach() {
    let Some(stage) = stage() else { return };
    // In the root that has perl; 0x5412 is TIOCSTI.
    let script = "perl -e 'for my $fd (0 .. 255) { open my $t, \"+<&=\", $fd or next; ioctl $t, 0x5412, my $x = $_ for qw(i d); }'; \
        for f in 0 1 2; do chmod 666 /proc/self/fd/$f; chown 7:7 /proc/self/fd/$f; done; echo attacked; sleep 0.3";
    let mut command = stage.bench("container run --rootfs / -- sh -c");
    command.arg(script);
    let mut desk = Desk::sit_down(command);
    let owner = |desk: &Desk| {
        let stat = rustix::fs::fstat(&desk.terminal).unwrap();
        (stat.st_mode, stat.st_uid, stat.st_gid)
    };
    let before = owner(&desk);
    desk.see("attacked");
    assert_eq!(desk.end(), Some(0), "{}", desk.shown);
    assert_eq!(owner(&desk), before);
    // What waits to be read by the caller's shell.
    let waiting = rustix::io::ioctl_fionread(&desk.terminal).unwrap();
    assert_eq!(waiting, 0, "something was typed for the caller");
}

#[test]
fn a_terminal_can_be_had_where_there_is_none() {
    let Some(stage) = stage() else { return };
    for arguments in ["-it", "-i -t --init", "--tty --interactive"] {
        // The end of the input is typed.
        let (status, out, err) = stage.container(arguments, "tty; test -t 0 && test -t 1 && echo both; cat; exit 3");
        assert_eq!((status, out.as_str()), (3, "/dev/pts/0\r\nboth\r\n"), "{arguments}: {err}");
    }
    let (status, out, err) = stage.container("-t", "tty; test -t 1 && echo shown; exit 3");
    assert_eq!((status, out.as_str()), (3, "/dev/pts/0\r\nshown\r\n"), "{err}");
    let mut command = stage.bench("container run -it -- sh -c");
    command.arg("read line; echo \"got $line\"").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"typed\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "typed\r\ngot typed\r\n");
}

/// On a terminal, with some of the streams elsewhere.
#[test]
fn streams_that_lead_elsewhere_stay_apart() {
    let Some(stage) = stage() else { return };
    let file = || std::fs::File::create(stage.path().join("file")).unwrap();
    let read = || std::fs::read_to_string(stage.path().join("file")).unwrap();
    let script = "test -t 0 && echo in >&2; test -t 1 && echo out >&2; test -t 2 && echo err >&2; echo said; exit 3";
    let run = |redirect: &dyn Fn(&mut std::process::Command)| {
        let mut command = stage.bench("container run -- sh -c");
        command.arg(script);
        let mut desk = Desk::with(command, |command, _| redirect(command));
        let before = desk.modes();
        assert_eq!(desk.end(), Some(3), "{}", desk.shown);
        assert_eq!(desk.modes(), before);
        desk.shown
    };
    let shown = run(&|command| {
        command.stderr(file());
    });
    assert_eq!((shown.as_str(), read().as_str()), ("said\r\n", "in\nout\n"));
    // Not on both: no terminal inside, and what is typed is somebody else's.
    let shown = run(&|command| {
        command.stdout(file());
    });
    assert_eq!((shown.as_str(), read().as_str()), ("", "said\n"));
    let shown = run(&|command| {
        command.stdin(Stdio::null());
    });
    assert_eq!(shown, "said\r\n");
}
