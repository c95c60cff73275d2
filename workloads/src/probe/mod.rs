//! Our own network probe, a program like fio (`bench probe server|client`): request and response, connect and close, and floods of
//! small packets, with every single transaction in a histogram.
//!
//! Plain blocking sockets and one thread for the work, as the simplest client would do it. The first TCP connection of a client
//! is the session: when it ends, the server ends.

mod client;
mod server;

use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub(crate) use client::LOST;
pub use client::ask;
pub use server::serve;

/// What is exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Requests and responses on one TCP connection, one in flight (netperf's TCP_RR).
    TcpRr,
    /// The same in UDP datagrams, numbered; an answer that does not come in time is lost (netperf's UDP_RR).
    UdpRr,
    /// A new TCP connection for each request (netperf's TCP_CRR).
    TcpCrr,
    /// UDP datagrams as fast as they can be sent, counted by the receiver.
    UdpFlood,
}

impl Mode {
    /// Name on the command line and in suites.
    pub fn name(self) -> &'static str {
        match self {
            Mode::TcpRr => "tcp-rr",
            Mode::UdpRr => "udp-rr",
            Mode::TcpCrr => "tcp-crr",
            Mode::UdpFlood => "udp-flood",
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        let all = [Mode::TcpRr, Mode::UdpRr, Mode::TcpCrr, Mode::UdpFlood];
        all.into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| format!("there is no exchange `{text}`; there are {}", all.map(Mode::name).join(", ")))
    }
}

/// Both ends' parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Session {
    /// What is exchanged.
    pub mode: Mode,
    /// Where the server is.
    pub address: Ipv4Addr,
    /// Its port, of TCP and UDP alike.
    pub port: u16,
    /// Bytes of a request; of a packet of a flood.
    pub request_bytes: usize,
    /// Bytes of a response.
    pub response_bytes: usize,
}

/// What the client alone has to know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Seconds before counting begins.
    pub warmup_s: f64,
    /// Seconds that count.
    pub runtime_s: f64,
    /// Transactions per second; absent: as fast as answers come.
    pub per_s: Option<f64>,
}

/// What a client prints, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Transactions that were answered; packets that were received.
    pub done: u64,
    /// Answers that did not come in time; packets that were sent and not received.
    pub lost: u64,
    /// Seconds before the first of them began.
    pub warmup_s: f64,
    /// Seconds that were counted.
    pub seconds: f64,
    /// Mean round trip in nanoseconds.
    pub mean_ns: Option<f64>,
    /// Largest round trip in nanoseconds.
    pub max_ns: Option<u64>,
    /// Round trips in nanoseconds (within 1 %) and how often they occurred.
    pub bins: Vec<(u64, u64)>,
}

/// Smallest request: it holds its number.
pub const LEAST_BYTES: usize = 8;
/// Largest request and response: what one UDP datagram over Ethernet holds.
pub const MOST_BYTES: usize = 1472;

/// The probe could not go on.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {address}:{port}")]
pub struct ProbeError {
    /// What was being done.
    doing: &'static str,
    address: Ipv4Addr,
    port: u16,
    /// Why it failed.
    source: std::io::Error,
}

impl Session {
    fn failed(&self, doing: &'static str) -> impl FnOnce(std::io::Error) -> ProbeError + use<> {
        let (address, port) = (self.address, self.port);
        move |source| ProbeError { doing, address, port, source }
    }

    fn end(&self) -> (Ipv4Addr, u16) {
        (self.address, self.port)
    }
}
