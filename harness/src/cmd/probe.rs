//! `bench probe server|client`: our own network probe, a program like fio. Plain blocking code, in every environment.

use std::net::Ipv4Addr;
use std::process::ExitCode;

use anyhow::{Context, Result};
use bench_workloads::probe::{LEAST_BYTES, MOST_BYTES, Mode, Pace, Session, ask, serve};
use clap::{Args, Parser, Subcommand};

/// Measure round trips and small packets between two ends
#[derive(Parser)]
#[command(name = "bench probe", arg_required_else_help = true)]
struct Probe {
    #[command(subcommand)]
    end: End,
}

#[derive(Subcommand)]
enum End {
    /// Answer one client, then end
    Server(SessionArgs),
    /// Measure, and print JSON: what was answered and lost, and every round trip in bins
    Client {
        #[command(flatten)]
        session: SessionArgs,
        /// Seconds before counting begins
        #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
        warm_up: f64,
        /// Seconds that count
        #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
        seconds: f64,
        /// Transactions per second, latency from the intended time [default: as fast as answers come]
        #[arg(long, value_name = "RATE", value_parser = rate)]
        per_s: Option<f64>,
    },
    /// Print a network device's settings as JSON
    Interface {
        /// Its name
        name: String,
    },
}

#[derive(Args)]
struct SessionArgs {
    /// tcp-rr, udp-rr, tcp-crr or udp-flood
    #[arg(long, value_parser = |text: &str| text.parse::<Mode>())]
    mode: Mode,
    /// Address of the server
    #[arg(long)]
    address: Ipv4Addr,
    /// Its port
    #[arg(long)]
    port: u16,
    /// Bytes of a request, or of a packet
    #[arg(long, value_name = "BYTES", default_value = "100", value_parser = size)]
    request_bytes: usize,
    /// Bytes of a response
    #[arg(long, value_name = "BYTES", default_value = "200", value_parser = size)]
    response_bytes: usize,
}

impl SessionArgs {
    fn session(&self) -> Session {
        Session {
            mode: self.mode,
            address: self.address,
            port: self.port,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err(format!("`{text}` is not a number of seconds from 0 to 86400")),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1e7).contains(&rate) => Ok(rate),
        _ => Err(format!("`{text}` is not a rate per second above 0")),
    }
}

fn size(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(size) if (LEAST_BYTES..=MOST_BYTES).contains(&size) => Ok(size),
        _ => Err(format!("`{text}` is not a size from {LEAST_BYTES} to {MOST_BYTES} bytes")),
    }
}

/// Be one end.
pub fn main() -> ExitCode {
    let probe = match Probe::try_parse_from(std::env::args_os().skip(1)) {
        Ok(probe) => probe,
        Err(e) => {
            return ExitCode::from(crate::failure::usage(&e, crate::failure::USAGE) as u8);
        }
    };
    match run(&probe.end) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench probe: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(end: &End) -> Result<()> {
    match end {
        End::Server(session) => Ok(serve(&session.session())?),
        End::Client { session, warm_up, seconds, per_s } => {
            let pace = Pace { warmup_s: *warm_up, runtime_s: *seconds, per_s: *per_s };
            print(&ask(&session.session(), &pace)?)
        }
        End::Interface { name } => print(&crate::netlab::describe(name)?),
    }
}

fn print(value: &impl serde::Serialize) -> Result<()> {
    crate::output::print_line(&serde_json::to_string(value).context("writing JSON")?)
}
