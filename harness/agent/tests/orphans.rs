//! An agent that is a process of its own: what a job leaves behind ends with it.

use std::os::fd::AsFd;

use bench_agent::{Job, JobOutput, JobStatus, Reply, Request, adopt_orphans, read_frame, serve, write_frame};

/// Command lines that hold this word.
fn running(word: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(word)).count()
}

#[test]
fn workers_in_sessions_of_their_own_end_with_their_job() {
    adopt_orphans();
    let (input, mut to) = std::io::pipe().unwrap();
    let (mut from, mut output) = std::io::pipe().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().to_path_buf();
    let agent = std::thread::spawn(move || serve(input.as_fd(), &mut output, &folder, Vec::new()));
    let Reply::Greeting(_) = read_frame(&mut from).unwrap() else { panic!("no greeting") };
    // As fio starts its workers; one of them has a child of its own.
    let script = "setsid sleep 311.7 & setsid sh -c 'sleep 311.7; true' & sleep 0.2; [ -z \"$1\" ] || sleep 60";
    for (more, status) in [("", JobStatus::Exited(0)), ("hang", JobStatus::DeadlinePassed)] {
        let job = Job {
            argv: ["/bin/sh", "-c", script, "sh", more].map(str::to_owned).to_vec(),
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            deadline_ns: 1_000_000_000,
            ..Job::default()
        };
        write_frame(&mut to, &Request::Execute(job)).unwrap();
        let Reply::Done(done) = read_frame(&mut from).unwrap() else { panic!("the job was not done") };
        let done: JobOutput = *done;
        assert_eq!(done.status, status);
        assert_eq!(running("sleep\x00311.7"), 0);
    }
    write_frame(&mut to, &Request::Shutdown).unwrap();
    agent.join().unwrap().unwrap();
}
