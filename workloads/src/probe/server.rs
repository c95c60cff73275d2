//! The probe's other end: answers one session, then ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::{MOST_BYTES, Mode, ProbeError, Session};

/// Answer one client until it goes away.
pub fn serve(session: &Session) -> Result<(), ProbeError> {
    // Before the TCP socket: who finds that one listening may use both.
    let udp = match session.mode {
        Mode::UdpRr | Mode::UdpFlood => {
            Some(UdpSocket::bind(session.end()).map_err(session.failed("binding the UDP socket"))?)
        }
        Mode::TcpRr | Mode::TcpCrr => None,
    };
    let listener = TcpListener::bind(session.end()).map_err(session.failed("listening on"))?;
    let (mut client, _) = listener.accept().map_err(session.failed("waiting for a client on"))?;
    client.set_nodelay(true).map_err(session.failed("turning delays off on"))?;
    if session.mode == Mode::TcpRr {
        return answer(session, &mut client);
    }
    let received = Arc::new(AtomicU64::new(0));
    let (worker, count) = (*session, received.clone());
    // It is ended by the end of the process, with the session.
    thread::spawn(move || match (worker.mode, udp) {
        (Mode::UdpRr, Some(socket)) => answer_datagrams(&worker, &socket),
        (_, Some(socket)) => count_datagrams(&socket, &count),
        (_, None) => answer_connections(&worker, &listener),
    });
    let mut question = [0];
    while let Ok(1) = client.read(&mut question) {
        let sent = client.write_all(&received.load(Ordering::Relaxed).to_le_bytes());
        sent.map_err(session.failed("telling the client of"))?;
    }
    Ok(())
}

/// Requests on one connection, until it ends.
fn answer(session: &Session, client: &mut TcpStream) -> Result<(), ProbeError> {
    let (mut request, response) = ([0; MOST_BYTES], [0; MOST_BYTES]);
    loop {
        match client.read_exact(&mut request[..session.request_bytes]) {
            Ok(()) => {}
            Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => return Ok(()),
            Err(e) => return Err(session.failed("reading a request on")(e)),
        }
        let sent = client.write_all(&response[..session.response_bytes]);
        sent.map_err(session.failed("answering on"))?;
    }
}

/// One request a connection. The server closes first, so that no port of the client has to rest.
fn answer_connections(session: &Session, listener: &TcpListener) {
    let (mut request, response) = ([0; MOST_BYTES], [0; MOST_BYTES]);
    while let Ok((mut client, _)) = listener.accept() {
        drop(client.set_nodelay(true));
        if client.read_exact(&mut request[..session.request_bytes]).is_ok() {
            // A client that went away is its own affair.
            drop(client.write_all(&response[..session.response_bytes]));
        }
    }
}

/// Each answer bears the number of its request.
fn answer_datagrams(session: &Session, socket: &UdpSocket) {
    let (mut request, mut response) = ([0; MOST_BYTES], [0; MOST_BYTES]);
    while let Ok((length, from)) = socket.recv_from(&mut request) {
        if length == session.request_bytes {
            response[..8].copy_from_slice(&request[..8]);
            // Lost on the way or here: the client counts it.
            drop(socket.send_to(&response[..session.response_bytes], from));
        }
    }
}

fn count_datagrams(socket: &UdpSocket, count: &AtomicU64) {
    let mut packet = [0; MOST_BYTES];
    while socket.recv(&mut packet).is_ok() {
        count.fetch_add(1, Ordering::Relaxed);
    }
}
