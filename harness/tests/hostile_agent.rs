//! The conductor's own client against an agent that is hostile: it ends with an error, in time and with little memory.

#[path = "../src/conductor/agent_client.rs"]
#[allow(dead_code)]
mod agent_client;

use std::io::Write;
use std::os::unix::net::UnixStream as Peer;
use std::time::{Duration, Instant};

use agent_client::AgentClient;
use bench_agent::{
    Bytes, Greeting, Job, JobFile, JobOutput, JobStatus, PROTOCOL_VERSION, Reply, Request, Rusage, encode, read_frame,
};
use bench_results::testing::peak_kib;

const WITHIN: Duration = Duration::from_millis(500);

fn greeting() -> Reply {
    Reply::Greeting(Greeting {
        protocol: PROTOCOL_VERSION,
        kernel_release: "6.1".into(),
        hostname: "guest".into(),
        pid: 1,
        cpus: 1,
        clock_source: None,
        clock_read_ns: 20.0,
        clock_ns: 0,
        began_ns: 0,
        warnings: Vec::new(),
    })
}

fn done(files: Vec<JobFile>) -> Reply {
    Reply::Done(Box::new(JobOutput {
        status: JobStatus::Exited(0),
        stdout: Bytes::default(),
        stderr: Bytes::default(),
        files,
        started_ns: u64::MAX,
        ended_ns: 0,
        rusage: Rusage::default(),
    }))
}

/// A frame of any bytes.
fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

/// Talk to a peer that does this with its end of a real socket.
fn against<T>(peer: impl FnOnce(Peer) + Send + 'static, talk: impl AsyncFnOnce(tokio::net::UnixStream) -> T) -> T {
    let (ours, theirs) = Peer::pair().unwrap();
    let peer = std::thread::spawn(move || peer(theirs));
    ours.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let said = runtime.block_on(async { talk(tokio::net::UnixStream::from_std(ours).unwrap()).await });
    drop(runtime);
    peer.join().unwrap();
    said
}

async fn greet(stream: tokio::net::UnixStream) -> anyhow::Result<(AgentClient, Greeting)> {
    let (input, output) = tokio::io::split(stream);
    AgentClient::greet(input, output, WITHIN).await
}

/// What is said of a peer that sends these bytes again and again, or once and then nothing.
fn refusal(bytes: Vec<u8>, endless: bool) -> String {
    let began = Instant::now();
    let peer = move |mut stream: Peer| {
        while stream.write_all(&bytes).is_ok() && endless {}
        if !endless {
            // Until the other side has had enough.
            drop(std::io::Read::read(&mut stream, &mut [0]));
        }
    };
    let error = against(peer, async |stream| greet(stream).await.err());
    assert!(began.elapsed() < 10 * WITHIN, "{:?}", began.elapsed());
    format!("{:#}", error.expect("it was believed"))
}

#[test]
fn what_is_no_greeting_is_refused() {
    let deep = [b"[".repeat(200_000), b"]".repeat(200_000)].concat();
    for (bytes, said) in [
        (u32::MAX.to_be_bytes().to_vec(), "4294967295 bytes was announced"),
        (b"a terminal, perhaps\n".to_vec(), "was announced"),
        (vec![0; 4], "reading the agent's answer"),
        (frame(b"{\"greeting\":17}"), "reading the agent's answer"),
        (frame(b"{\"greeting\":{\"protocol\":\"one\"}}"), "reading the agent's answer"),
        (frame(b"\xff\xfe{}"), "reading the agent's answer"),
        (frame(b"{\"greeting\":{\"hostname\":\"\xff\"}}"), "reading the agent's answer"),
        (frame(b"{\"other\":1}"), "unknown variant"),
        (frame(&deep), "reading the agent's answer"),
        (encode(&Reply::Pong { clock_ns: 1 }).unwrap(), "a pong instead of a greeting"),
        (frame(&vec![b' '; 9 << 20]), "not the end of a job"),
    ] {
        for endless in [false, true] {
            let error = refusal(bytes.clone(), endless);
            assert!(error.contains(said), "{said}: {error}");
        }
    }
    let future = Reply::Greeting(Greeting {
        protocol: 99,
        ..match greeting() {
            Reply::Greeting(greeting) => greeting,
            _ => unreachable!(),
        }
    });
    assert!(refusal(encode(&future).unwrap(), false).contains("protocol 99"));
}

#[test]
fn silence_and_a_trickle_end_at_the_deadline() {
    assert!(refusal(Vec::new(), false).contains("did not greet"));
    let trickle = |mut stream: Peer| {
        let frame = frame(&vec![b' '; 60 << 20]);
        for byte in frame.chunks(1000) {
            if stream.write_all(byte).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let began = Instant::now();
    let error = against(trickle, async |stream| greet(stream).await.err()).unwrap();
    assert!(error.to_string().contains("did not greet") && began.elapsed() < 4 * WITHIN, "{error}");
}

#[test]
fn a_greeting_is_printable_and_short() {
    let Reply::Greeting(honest) = greeting() else { unreachable!() };
    let hostile = Greeting {
        kernel_release: format!("\x1b]0;title\x07{}", "x".repeat(1 << 20)),
        warnings: vec!["\x1b[2Ja warning".into(); 10_000],
        ..honest
    };
    let peer = |mut stream: Peer| stream.write_all(&encode(&Reply::Greeting(hostile)).unwrap()).unwrap();
    let (_, greeting) = against(peer, async |stream| greet(stream).await.unwrap());
    assert!(greeting.kernel_release.starts_with("]0;titlex") && greeting.kernel_release.len() == 400);
    assert_eq!((greeting.warnings.len(), greeting.warnings[0].as_str()), (20, "[2Ja warning"));
}

/// Greets, and answers every request with the same.
fn answers(reply: Vec<u8>) -> impl FnOnce(Peer) + Send + 'static {
    move |mut stream: Peer| {
        drop(stream.write_all(&encode(&greeting()).unwrap()));
        while read_frame::<Request>(&mut stream).is_ok() {
            if stream.write_all(&reply).is_err() {
                return;
            }
        }
    }
}

fn job() -> Job {
    Job { argv: vec!["true".into()], collect: vec!["asked".into()], deadline_ns: 1, ..Job::default() }
}

#[test]
fn answers_to_other_questions_are_refused() {
    let other = encode(&Reply::Texts(vec![None])).unwrap();
    against(answers(other), async |stream| {
        let (mut agent, _) = greet(stream).await.unwrap();
        let error = agent.execute(&job()).await.unwrap_err().to_string();
        assert!(error.contains("answered texts when asked to execute"), "{error}");
        assert!(agent.compare_clocks().await.is_err());
        assert!(agent.digests(vec!["/bin/true".into()]).await.is_err());
    });
    // Unasked: the answer to the next question is there before it is asked.
    let early = |mut stream: Peer| {
        for reply in [greeting(), done(Vec::new()), Reply::Pong { clock_ns: u64::MAX }] {
            // The other side may have had enough already.
            drop(stream.write_all(&encode(&reply).unwrap()));
        }
        drop(std::io::Read::read(&mut stream, &mut [0; 1024]));
    };
    against(early, async |stream| {
        let (mut agent, _) = greet(stream).await.unwrap();
        let error = agent.compare_clocks().await.unwrap_err().to_string();
        assert!(error.contains("did not answer a ping"), "{error}");
    });
}

#[test]
fn a_file_that_was_not_asked_for_is_refused() {
    for name in ["../../etc/passwd", "/etc/passwd", "", "other", "asked/../x", "asked\0"] {
        let reply = done(vec![JobFile { name: name.into(), content: "x".into() }]);
        against(answers(encode(&reply).unwrap()), async |stream| {
            let (mut agent, _) = greet(stream).await.unwrap();
            let error = agent.execute(&job()).await.unwrap_err().to_string();
            assert!(error.contains("not asked for"), "{name:?}: {error}");
        });
    }
    let reply = done(vec![JobFile { name: "asked".into(), content: "x".into() }]);
    against(answers(encode(&reply).unwrap()), async |stream| {
        let (mut agent, _) = greet(stream).await.unwrap();
        assert_eq!(agent.execute(&job()).await.unwrap().file("asked").unwrap().text(), "x");
    });
}

#[test]
fn clocks_may_say_anything() {
    for clock_ns in [0, u64::MAX, 1 << 63, (1 << 63) - 1] {
        against(answers(encode(&Reply::Pong { clock_ns }).unwrap()), async |stream| {
            let (mut agent, _) = greet(stream).await.unwrap();
            let (first, second) = (agent.compare_clocks().await.unwrap(), agent.compare_clocks().await.unwrap());
            let _ = (second.drift_ns(first), first.ours_ns(0), first.ours_ns(u64::MAX));
        });
    }
}

#[test]
fn an_agent_that_hangs_ends_with_its_jobs_deadline() {
    let silent = |mut stream: Peer| {
        stream.write_all(&encode(&greeting()).unwrap()).unwrap();
        drop(std::io::Read::read_to_end(&mut stream, &mut Vec::new()));
    };
    against(silent, async |stream| {
        let (mut agent, _) = greet(stream).await.unwrap();
        // Half a minute passes at once.
        tokio::time::pause();
        let error = agent.execute(&job()).await.unwrap_err().to_string();
        assert!(error.contains("did not answer"), "{error}");
    });
}

#[test]
fn memory_stays_bounded() {
    let list = |item: &str| format!("[{}{item}]", format!("{item},").repeat((60 << 20) / (item.len() + 1)));
    let texts = frame(format!("{{\"texts\":{}}}", list("null")).as_bytes());
    let argued = frame(format!("{{\"done\":{}}}", list("[]")).as_bytes());
    let before = peak_kib();
    for reply in [texts, argued] {
        against(answers(reply), async |stream| {
            let (mut agent, _) = greet(stream).await.unwrap();
            assert!(agent.execute(&job()).await.is_err());
        });
    }
    let taken = peak_kib() - before;
    assert!(taken < 200_000, "{taken} kB more at the peak for frames of 60 MiB");
}
