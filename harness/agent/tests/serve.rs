//! The agent over real pipes: what it answers, and what it refuses.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::thread::JoinHandle;

use bench_agent::{
    Bytes, Job, JobFile, JobOutput, JobStatus, Reply, Request, ServeError, Streams, Window, read_frame, serve,
    write_frame,
};

struct Agent {
    to: PipeWriter,
    from: PipeReader,
    scratch: tempfile::TempDir,
    thread: JoinHandle<Result<(), ServeError>>,
}

fn start() -> Agent {
    let (input, to) = std::io::pipe().unwrap();
    let (from, mut output) = std::io::pipe().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().to_path_buf();
    let thread = std::thread::spawn(move || serve(input.as_fd(), &mut output, &folder, vec!["a warning".into()]));
    let mut agent = Agent { to, from, scratch, thread };
    let Reply::Greeting(greeting) = agent.receive() else { panic!("no greeting") };
    assert_eq!(greeting.warnings, ["a warning"]);
    assert!(greeting.clock_read_ns > 0.0 && greeting.cpus > 0);
    agent
}

impl Agent {
    fn send(&mut self, request: &Request) {
        write_frame(&mut self.to, request).unwrap();
    }

    fn receive(&mut self) -> Reply {
        read_frame(&mut self.from).unwrap()
    }

    fn ask(&mut self, request: &Request) -> Reply {
        self.send(request);
        self.receive()
    }

    fn execute(&mut self, job: Job) -> JobOutput {
        match self.ask(&Request::Execute(job)) {
            Reply::Done(output) => *output,
            other => panic!("{other:?}"),
        }
    }

    fn end(mut self) {
        self.send(&Request::Shutdown);
        self.thread.join().unwrap().unwrap();
    }
}

fn sh(script: &str) -> Job {
    Job {
        argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        ..Job::default()
    }
}

#[test]
fn it_tells_time_digests_and_texts() {
    let mut agent = start();
    let Reply::Pong { clock_ns: first } = agent.ask(&Request::Ping) else { panic!() };
    let Reply::Pong { clock_ns: second } = agent.ask(&Request::Ping) else { panic!() };
    assert!(second > first);
    let file = agent.scratch.path().join("abc");
    std::fs::write(&file, "abc").unwrap();
    let paths = vec![file.display().to_string(), "/no/such/file".to_owned()];
    let Reply::Digests(digests) = agent.ask(&Request::Digest(paths.clone())) else { panic!() };
    // FIPS 180-2, appendix B.1.
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(digests, [Some(expected.to_owned()), None]);
    let Reply::Texts(texts) = agent.ask(&Request::Read(paths)) else { panic!() };
    assert_eq!(texts, [Some("abc".to_owned()), None]);
    agent.end();
}

#[test]
fn a_job_has_its_files_and_its_environment_and_leaves_nothing() {
    let mut agent = start();
    let mut job = sh("cat in; echo $GIVEN; echo ${HOME-none}; echo out > out; echo err >&2; exit 3");
    job.env.push(("GIVEN".into(), "yes".into()));
    job.files = vec![JobFile { name: "in".into(), content: "hello ".into() }];
    job.collect = vec!["out".into(), "absent".into()];
    let output = agent.execute(job);
    assert_eq!(output.status, JobStatus::Exited(3));
    assert_eq!(output.stdout.text(), "hello yes\nnone\n", "nothing is inherited");
    assert_eq!(output.stderr.text(), "err\n");
    assert_eq!(output.file("out").map(Bytes::text).as_deref(), Some("out\n"));
    assert_eq!(output.files.len(), 1);
    assert_eq!(std::fs::read_dir(agent.scratch.path()).unwrap().count(), 0);
    agent.end();
}

#[test]
fn ends_of_all_kinds_are_told_apart() {
    let mut agent = start();
    assert_eq!(agent.execute(sh("kill -9 $$")).status, JobStatus::Signaled(9));
    let missing = Job { argv: vec!["/no/such/program".into()], ..Job::default() };
    assert!(matches!(agent.execute(missing).status, JobStatus::NotStarted { errno: 2, .. }));
    let folder = Job { argv: vec!["/".into()], ..Job::default() };
    assert!(matches!(agent.execute(folder).status, JobStatus::NotStarted { errno: 13, .. }));
    let output = agent.execute(Job { deadline_ns: 200_000_000, ..sh("sleep 20 & sleep 20") });
    assert_eq!(output.status, JobStatus::DeadlinePassed);
    assert!(output.ended_ns - output.started_ns < 5_000_000_000);
    agent.end();
}

#[test]
fn cpu_time_is_the_jobs_own() {
    let mut agent = start();
    let busy = agent.execute(sh("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"));
    let idle = agent.execute(sh("sleep 0.3"));
    let cpu = |output: &JobOutput| output.rusage.user_ns + output.rusage.system_ns;
    assert!(cpu(&busy) > 10_000_000 && cpu(&idle) < cpu(&busy), "{} {}", cpu(&busy), cpu(&idle));
    agent.end();
}

#[test]
fn names_that_leave_the_scratch_folder_are_refused() {
    for name in ["../escape", "/etc/passwd", "", "..", "a/b"] {
        let mut agent = start();
        let mut job = sh("true");
        job.files = vec![JobFile { name: name.into(), content: "x".into() }];
        assert!(matches!(agent.ask(&Request::Execute(job)), Reply::Refused(_)), "{name:?}");
        let job = Job { collect: vec![name.into()], ..sh("true") };
        assert!(matches!(agent.ask(&Request::Execute(job)), Reply::Refused(_)), "{name:?}");
        agent.end();
    }
}

#[test]
fn streams_are_forwarded_both_ways() {
    let mut agent = start();
    agent.send(&Request::Execute(Job { streams: Streams::Forward, ..sh("cat; echo end >&2; exit 5") }));
    agent.send(&Request::Stdin("one two".into()));
    agent.send(&Request::StdinEnd);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = loop {
        match agent.receive() {
            Reply::Stdout(Bytes(bytes)) => out.extend(bytes),
            Reply::Stderr(Bytes(bytes)) => err.extend(bytes),
            Reply::Done(output) => break output.status,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((out.as_slice(), err.as_slice()), (&b"one two"[..], &b"end\n"[..]));
    assert_eq!(status, JobStatus::Exited(5));
    agent.end();
}

#[test]
fn a_conductor_that_goes_away_takes_the_job_along() {
    let mut agent = start();
    let marker = agent.scratch.path().join("pid");
    agent.send(&Request::Execute(sh(&format!("echo $$ > {}; exec sleep 60", marker.display()))));
    while std::fs::read_to_string(&marker).unwrap_or_default().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pid = std::fs::read_to_string(&marker).unwrap();
    drop(agent.to);
    agent.thread.join().unwrap().unwrap();
    assert!(!std::path::Path::new("/proc").join(pid.trim()).exists(), "the job was killed and waited for");
}

#[test]
fn a_frame_that_is_too_long_or_no_json_ends_it() {
    use std::io::Write;
    for bytes in [&[0xff, 0xff, 0xff, 0xff][..], &[0, 0, 0, 2, b'{', b'x'], &[0, 0, 0, 9, b'"']] {
        let mut agent = start();
        agent.to.write_all(bytes).unwrap();
        drop(agent.to);
        assert!(agent.thread.join().unwrap().is_err(), "{bytes:?}");
    }
}

/// What a job's terminal shows until it has shown this.
fn shown_until(agent: &mut Agent, wanted: &str) -> String {
    let mut shown = String::new();
    while !shown.contains(wanted) {
        match agent.receive() {
            Reply::Stdout(bytes) => shown.push_str(&bytes.text()),
            other => panic!("{other:?} after {shown:?}"),
        }
    }
    shown
}

/// The rest of what it shows, and how the job ended.
fn end_of(agent: &mut Agent) -> (String, JobStatus) {
    let mut shown = String::new();
    loop {
        match agent.receive() {
            Reply::Stdout(bytes) => shown.push_str(&bytes.text()),
            Reply::Done(output) => return (shown, output.status),
            other => panic!("{other:?} after {shown:?}"),
        }
    }
}

fn on_terminal(script: &str) -> Job {
    let window = Window { rows: 33, columns: 77 };
    Job { streams: Streams::Terminal { window, stderr_apart: false }, ..sh(script) }
}

#[test]
fn a_job_on_a_terminal_leads_a_session_that_ctrl_c_reaches() {
    let mut agent = start();
    let script = "tty >/dev/null && [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo on a terminal; stty size; \
        trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.05; done";
    agent.send(&Request::Execute(on_terminal(script)));
    let shown = shown_until(&mut agent, "ready");
    assert!(shown.contains("on a terminal\r\n33 77\r\n"), "{shown:?}");
    agent.send(&Request::Stdin("\u{3}".into()));
    let (shown, status) = end_of(&mut agent);
    assert!(shown.contains("interrupted") && status == JobStatus::Exited(5), "{shown:?} {status:?}");
    agent.end();
}

#[test]
fn lines_are_edited_and_a_new_size_is_told() {
    let mut agent = start();
    let script =
        "trap 'stty size' WINCH; echo ready; while ! read line; do :; done; echo \"got $line\"; cat; echo end of input";
    agent.send(&Request::Execute(on_terminal(script)));
    shown_until(&mut agent, "ready");
    agent.send(&Request::Resize(Window { rows: 50, columns: 120 }));
    // dash reads on after the trap only when the line has come.
    agent.send(&Request::Stdin("wrong\u{15}rightt\u{7f}\r".into()));
    let shown = shown_until(&mut agent, "got right\r\n");
    assert!(shown.contains("50 120"), "{shown:?}");
    agent.send(&Request::StdinEnd);
    let (shown, status) = end_of(&mut agent);
    assert!(shown.ends_with("end of input\r\n") && status == JobStatus::Exited(0), "{shown:?} {status:?}");
    agent.end();
}

#[test]
fn a_program_that_reads_nothing_stops_nobody_and_all_it_shows_at_its_end_comes() {
    let mut agent = start();
    agent.send(&Request::Execute(on_terminal("stty raw; echo ready; sleep 1; seq 1 5000")));
    shown_until(&mut agent, "ready");
    for _ in 0..300 {
        agent.send(&Request::Stdin(Bytes(vec![b'x'; 1000])));
    }
    let (shown, status) = end_of(&mut agent);
    assert!(shown.contains("\n5000") && status == JobStatus::Exited(0), "{}", shown.len());
    assert!(matches!(agent.ask(&Request::Ping), Reply::Pong { .. }));
    agent.end();
}

#[test]
fn an_error_stream_apart_from_the_terminal_stays_a_pipe() {
    let mut agent = start();
    let streams = Streams::Terminal { window: Window::default(), stderr_apart: true };
    agent.send(&Request::Execute(Job { streams, ..sh("[ -t 2 ] || echo apart >&2") }));
    let mut said = String::new();
    loop {
        match agent.receive() {
            Reply::Stderr(bytes) => said.push_str(&bytes.text()),
            Reply::Done(output) => break assert_eq!(output.status, JobStatus::Exited(0)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(said, "apart\n");
    let nowhere = Job { argv: vec!["/nowhere".into()], ..on_terminal("") };
    assert!(matches!(agent.execute(nowhere).status, JobStatus::NotStarted { errno: 2, .. }));
    agent.end();
}
