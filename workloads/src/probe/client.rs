//! The probe's measuring end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::{MOST_BYTES, Mode, Outcome, Pace, ProbeError, Session};

/// How long the server may take to listen.
const CONNECT: Duration = Duration::from_secs(5);
/// When a datagram counts as lost.
pub(crate) const LOST: Duration = Duration::from_millis(200);
/// How long a TCP answer may take before the session has failed.
const ANSWER: Duration = Duration::from_secs(10);
/// Significant digits of recorded round trips.
const DIGITS: u8 = 2;
/// Time for the last packets of a flood to arrive before they are counted.
const ARRIVE: Duration = Duration::from_millis(20);

/// Measure.
pub fn ask(session: &Session, pace: &Pace) -> Result<Outcome, ProbeError> {
    // Sleeps until an intended time would else be late by the kernel's default slack of 50 µs.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    let mut control = connect_patiently(session).map_err(session.failed("connecting to the server at"))?;
    match session.mode {
        Mode::TcpRr => {
            let done = timed(pace, |_| exchange(session, &mut control).map(|()| true));
            done.map_err(session.failed("exchanging with"))
        }
        Mode::TcpCrr => timed(pace, |_| connect_and_exchange(session).map(|()| true))
            .map_err(session.failed("connecting and exchanging with")),
        Mode::UdpRr => {
            let socket = udp(session).map_err(session.failed("opening a UDP socket to"))?;
            timed(pace, |number| exchange_datagrams(session, &socket, number))
                .map_err(session.failed("exchanging datagrams with"))
        }
        Mode::UdpFlood => {
            let socket = udp(session).map_err(session.failed("opening a UDP socket to"))?;
            flood(session, pace, &socket, &mut control).map_err(session.failed("sending packets to"))
        }
    }
}

fn connect(session: &Session) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(session.end())?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER))?;
    Ok(stream)
}

fn connect_patiently(session: &Session) -> io::Result<TcpStream> {
    let deadline = Instant::now() + CONNECT;
    loop {
        match connect(session) {
            Err(e) if e.kind() == ErrorKind::ConnectionRefused && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

fn udp(session: &Session) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect(session.end())?;
    socket.set_read_timeout(Some(LOST))?;
    Ok(socket)
}

fn exchange(session: &Session, stream: &mut TcpStream) -> io::Result<()> {
    let (request, mut response) = ([0; MOST_BYTES], [0; MOST_BYTES]);
    stream.write_all(&request[..session.request_bytes])?;
    stream.read_exact(&mut response[..session.response_bytes])
}

fn connect_and_exchange(session: &Session) -> io::Result<()> {
    let mut stream = connect(session)?;
    exchange(session, &mut stream)?;
    // The server closes first: its end is part of the transaction.
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::new(ErrorKind::InvalidData, "the server sent more than one response")),
    }
}

/// False when the answer did not come in time; a late answer to an earlier request is passed over.
fn exchange_datagrams(session: &Session, socket: &UdpSocket, number: u64) -> io::Result<bool> {
    let (mut request, mut response) = ([0; MOST_BYTES], [0; MOST_BYTES]);
    request[..8].copy_from_slice(&number.to_le_bytes());
    socket.send(&request[..session.request_bytes])?;
    loop {
        match socket.recv(&mut response) {
            Ok(length) if length == session.response_bytes && response[..8] == request[..8] => return Ok(true),
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(false),
            Err(e) => return Err(e),
        }
    }
}

/// Transactions for as long as the pace says, one in flight. At a fixed rate a round trip begins when it was due, not when it
/// could at last be sent: a stall delays all that should have happened meanwhile, and each of them counts.
fn timed(pace: &Pace, mut transaction: impl FnMut(u64) -> io::Result<bool>) -> io::Result<Outcome> {
    let mut histogram = Histogram::<u64>::new(DIGITS).map_err(io::Error::other)?;
    let begin = Instant::now();
    let counted_from = begin + Duration::from_secs_f64(pace.warmup_s);
    let end = counted_from + Duration::from_secs_f64(pace.runtime_s);
    let mut outcome = Outcome::default();
    let mut counting = false;
    for number in 0.. {
        let due = match pace.per_s {
            Some(per_s) => begin + Duration::from_secs_f64(number as f64 / per_s),
            None => Instant::now(),
        };
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if due >= end {
            break;
        }
        if due >= counted_from && !counting {
            counting = true;
            outcome.warmup_s = begin.elapsed().as_secs_f64();
        }
        let answered = transaction(number)?;
        let now = Instant::now();
        if !counting {
            continue;
        }
        if answered {
            let round_trip = now.duration_since(due).as_nanos() as u64;
            histogram.record(round_trip.max(1)).map_err(io::Error::other)?;
        } else {
            outcome.lost += 1;
        }
    }
    outcome.done = histogram.len();
    outcome.seconds = Instant::now().duration_since(counted_from).as_secs_f64();
    if outcome.done > 0 {
        outcome.mean_ns = Some(histogram.mean());
        outcome.max_ns = Some(histogram.max());
    }
    outcome.bins = histogram.iter_recorded().map(|bin| (bin.value_iterated_to(), bin.count_at_value())).collect();
    Ok(outcome)
}

fn flood(session: &Session, pace: &Pace, socket: &UdpSocket, control: &mut TcpStream) -> io::Result<Outcome> {
    let packet = [0; MOST_BYTES];
    let send_until = |end: Instant| {
        let mut sent = 0_u64;
        while Instant::now() < end {
            match socket.send(&packet[..session.request_bytes]) {
                Ok(_) => sent += 1,
                // The device's queue is full.
                Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(sent)
    };
    let begin = Instant::now();
    send_until(begin + Duration::from_secs_f64(pace.warmup_s))?;
    let warmup_s = begin.elapsed().as_secs_f64();
    thread::sleep(ARRIVE);
    let before = received(control)?;
    let begin = Instant::now();
    let sent = send_until(begin + Duration::from_secs_f64(pace.runtime_s))?;
    let seconds = begin.elapsed().as_secs_f64();
    thread::sleep(ARRIVE);
    let done = received(control)?.saturating_sub(before);
    Ok(Outcome { done, lost: sent.saturating_sub(done), warmup_s, seconds, ..Outcome::default() })
}

/// How many packets the server has received.
fn received(control: &mut TcpStream) -> io::Result<u64> {
    let mut answer = [0; 8];
    control.write_all(&[0])?;
    control.read_exact(&mut answer)?;
    Ok(u64::from_le_bytes(answer))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::probe::serve;

    fn session(mode: Mode, port: u16) -> Session {
        Session { mode, address: Ipv4Addr::LOCALHOST, port, request_bytes: 100, response_bytes: 200 }
    }

    /// A port that was free a moment ago.
    fn free_port() -> u16 {
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
    }

    fn both_ends(mode: Mode, per_s: Option<f64>) -> Outcome {
        let session = session(mode, free_port());
        let server = thread::spawn(move || serve(&session));
        let outcome = ask(&session, &Pace { warmup_s: 0.1, runtime_s: 0.3, per_s }).unwrap();
        server.join().unwrap().unwrap();
        outcome
    }

    #[test]
    fn every_transaction_is_in_the_histogram() {
        for mode in [Mode::TcpRr, Mode::UdpRr, Mode::TcpCrr] {
            let outcome = both_ends(mode, None);
            assert!(outcome.done > 100, "{mode:?}: {outcome:?}");
            assert_eq!(outcome.bins.iter().map(|bin| bin.1).sum::<u64>(), outcome.done);
            assert!((0.25..1.0).contains(&outcome.seconds), "{mode:?}: {outcome:?}");
            assert!((0.1..0.3).contains(&outcome.warmup_s), "{mode:?}: {outcome:?}");
            let rate_ns = outcome.seconds * 1e9 / outcome.done as f64;
            assert!(outcome.mean_ns.unwrap() <= rate_ns * 1.02, "one in flight: {outcome:?}");
        }
    }

    #[test]
    fn a_flood_is_counted_by_the_receiver() {
        let outcome = both_ends(Mode::UdpFlood, None);
        assert!(outcome.done > 1000 && outcome.bins.is_empty(), "{outcome:?}");
        assert!((0.1..0.3).contains(&outcome.warmup_s), "{outcome:?}");
    }

    #[test]
    fn at_a_fixed_rate_as_many_are_sent_as_asked() {
        let outcome = both_ends(Mode::TcpRr, Some(500.0));
        assert!((149..=151).contains(&outcome.done), "{outcome:?}");
    }

    /// A server that stalls for 50 ms while 1000 a second are due: with latency from the intended time the whole stall shows.
    #[test]
    fn a_stall_counts_for_all_that_were_due_meanwhile() {
        let pace = Pace { warmup_s: 0.0, runtime_s: 0.3, per_s: Some(1000.0) };
        let outcome = timed(&pace, |number| {
            thread::sleep(Duration::from_millis(if number == 100 { 50 } else { 0 }));
            Ok(true)
        });
        let late: u64 = outcome.unwrap().bins.iter().filter(|bin| bin.0 > 10_000_000).map(|bin| bin.1).sum();
        assert!((35..=50).contains(&late), "{late} of about 40 were late");
    }

    #[test]
    fn an_answer_that_does_not_come_is_lost_and_not_slow() {
        let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let session = session(Mode::UdpRr, silent.local_addr().unwrap().port());
        let socket = udp(&session).unwrap();
        let pace = Pace { warmup_s: 0.0, runtime_s: 0.3, per_s: None };
        let outcome = timed(&pace, |number| exchange_datagrams(&session, &socket, number)).unwrap();
        assert!(outcome.done == 0 && outcome.lost >= 1 && outcome.mean_ns.is_none(), "{outcome:?}");
    }

    #[test]
    fn a_server_that_is_not_there_is_an_error() {
        let silent = session(Mode::TcpRr, free_port());
        let error = connect(&silent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}
