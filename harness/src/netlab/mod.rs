//! The lab: network namespaces, links and NAT that are made for one instance. The machine's own network is never touched.
//!
//! ```text
//! direct    host[up0 .1]═════════════════════════════════════════[eth0 .2]peer
//! bridge    inside[eth0 .3]══port0┐host[br0]┌up0═════════════════[eth0 .2]peer
//! routed    inside[eth0]══port0┐host[br0, gateway]→[up0 .1]══════[eth0 .2]peer     (hook, nat: with nftables in between)
//! engine    the engine's bridge, container and rules→[up0 .1]════[eth0 .2]peer
//! ```
//!
//! Every link is a veth pair (a guest's port is a tap). A namespace lives as long as somebody holds its descriptor or is in it:
//! when `bench` ends, however it ends, and the processes in its cgroups are killed, all of this is gone (docs/adr/0005-lab.md).

mod build;
mod counters;
mod interface;
mod iptables;
mod listening;
mod nft;
mod peer;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

pub use counters::Counters;
pub use interface::{Interface, describe};
pub use listening::is_listening;
pub use peer::{peer_hint, peer_server, peer_spec};

/// The other machine. All addresses are out of the range that is set aside for benchmarks (RFC 2544, 198.18.0.0/15).
pub const PEER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// This machine, on the link to the peer.
const HOST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// A guest or container on a bridge to the peer.
const BRIDGED: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 3);
/// This machine, on the bridge behind which containers and guests are hidden.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
/// A guest or container behind that bridge.
const BEHIND: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 2);
/// Length of every network's prefix.
const PREFIX: u8 = 24;
/// Name of the device by which work inside reaches the peer, where it has a namespace or a kernel of its own.
const DEVICE: &str = "eth0";
/// Its name where the work is in the host's namespace.
const UPLINK: &str = "up0";
/// A guest's tap, and the host's end of a container's link.
pub const PORT: &str = "port0";
/// The bridge.
const BRIDGE: &str = "br0";

/// What is set in every namespace, and in the guest, so that TCP is the same everywhere (ip-sysctl in the kernel's documents):
/// the kernel's own defaults on a machine with much memory, nothing carried over from an earlier connection, and cubic, or reno
/// where this machine lets no namespace but the first have cubic by default.
pub fn sysctls() -> [(&'static str, &'static str); 4] {
    let allowed = crate::host::read("/proc/sys/net/ipv4/tcp_allowed_congestion_control").unwrap_or_default();
    let control = if allowed.split_whitespace().any(|name| name == "cubic") { "cubic" } else { "reno" };
    [
        ("net/ipv4/tcp_rmem", "4096\t131072\t6291456"),
        ("net/ipv4/tcp_wmem", "4096\t16384\t4194304"),
        ("net/ipv4/tcp_congestion_control", control),
        ("net/ipv4/tcp_no_metrics_save", "1"),
    ]
}

/// How work reaches the peer. Each from `Bridge` on adds one thing to the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// In the host's namespace, over its link.
    Direct,
    /// Over a bridge that the host's link to the peer is a port of.
    Bridge,
    /// Over a bridge, and routed by the host.
    Routed,
    /// Routed, with an nftables hook that counts each packet.
    Hook,
    /// Routed, with connection tracking and masquerading.
    Nat,
    /// Over the bridge of a container engine, and behind its own rules.
    Engine,
}

impl Route {
    /// From the value of the option `net`; absent for `none`.
    pub fn named(name: &str) -> Option<Route> {
        match name {
            "host" => Some(Route::Direct),
            "bridge" => Some(Route::Bridge),
            "routed" => Some(Route::Routed),
            "hook" => Some(Route::Hook),
            "nat" => Some(Route::Nat),
            _ => None,
        }
    }

    /// For the sameness table.
    pub fn text(self) -> &'static str {
        match self {
            Route::Direct => "the host's own link",
            Route::Bridge => "a bridge on the host's link",
            Route::Routed => "a bridge, routed by the host",
            Route::Hook => "a bridge, routed by the host, one nftables hook",
            Route::Nat => "a bridge, routed by the host, nftables masquerade with connection tracking",
            Route::Engine => {
                "the engine's bridge, routed by the host, the engine's iptables rules with connection tracking"
            }
        }
    }

    /// The program that sets or reads its rules; absent without any.
    pub fn program(self) -> Option<&'static str> {
        match self {
            Route::Hook | Route::Nat => Some("nft"),
            Route::Engine => Some("iptables"),
            Route::Direct | Route::Bridge | Route::Routed => None,
        }
    }

    /// Address, and gateway where there is one, of work with a namespace or kernel of its own to which the lab gives them.
    fn address(self) -> (Ipv4Addr, Option<Ipv4Addr>) {
        match self {
            Route::Direct | Route::Engine => (HOST, None),
            Route::Bridge => (BRIDGED, None),
            Route::Routed | Route::Hook | Route::Nat => (BEHIND, Some(GATEWAY)),
        }
    }

    fn is_routed(self) -> bool {
        matches!(self, Route::Routed | Route::Hook | Route::Nat)
    }
}

/// Who uses the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// A process in the host's namespace ([`Route::Direct`]), or a container that its engine connects ([`Route::Engine`]).
    Process,
    /// A container with a namespace of its own.
    Container,
    /// A guest on a tap.
    Guest,
}

/// A lab. Dropping it lets go of its namespaces.
#[derive(Debug)]
pub struct Lab {
    /// How the work reaches the peer.
    pub route: Route,
    host: File,
    peer: File,
    inside: Option<File>,
}

impl Lab {
    /// Create all namespaces and links. `host`: an existing namespace to use as the host's, which holds one lab at a time.
    pub fn make(route: Route, user: User, host: Option<&Path>) -> Result<Lab> {
        let program = route.program().map(crate::host::packages::require).transpose()?;
        let make = || build::make(route, user, host, program.as_deref());
        // Namespaces belong to threads: this one ends with its work.
        let made =
            std::thread::scope(|scope| scope.spawn(make).join()).map_err(|_| anyhow!("the lab's thread panicked"))?;
        made.with_context(|| format!("making a network lab with {}", route.text()))
    }

    /// A container that was connected by its engine is counted, too.
    pub fn find_inside(&mut self, pid: u32) -> Result<()> {
        let path = format!("/proc/{pid}/ns/net");
        self.inside = Some(File::open(&path).with_context(|| format!("opening {path}"))?);
        Ok(())
    }

    /// The namespace that work starts in: the container's own, else the host's.
    pub fn work(&self) -> PathBuf {
        path(self.inside.as_ref().unwrap_or(&self.host))
    }

    /// The other machine's namespace.
    pub fn peer(&self) -> PathBuf {
        path(&self.peer)
    }

    /// Do something in the host's namespace.
    pub fn in_host<T: Send>(&self, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_namespace(&self.host, action)
    }

    /// Do something in the peer's namespace.
    pub fn in_peer<T: Send>(&self, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_namespace(&self.peer, action)
    }

    /// The settings of all devices on the way but the work's own, by namespace and name.
    pub fn devices(&self) -> Result<Vec<(String, Interface)>> {
        let mut devices = self.in_host(|| {
            let bridge: Vec<(&str, String)> = match self.route {
                Route::Direct => Vec::new(),
                Route::Engine => engines_devices()?,
                _ => [BRIDGE, PORT].map(|name| (name, name.to_owned())).into(),
            };
            let all = [(UPLINK, UPLINK.to_owned())].into_iter().chain(bridge);
            all.map(|(label, name)| Ok((format!("host {label}"), describe(&name)?))).collect::<Result<Vec<_>>>()
        })?;
        devices.push((format!("peer {DEVICE}"), self.in_peer(|| describe(DEVICE))?));
        Ok(devices)
    }

    /// What the kernel has counted in the lab so far.
    pub fn counters(&self) -> Result<Counters> {
        counters::read(self)
    }

    /// The commands by which a guest takes its place, for a shell.
    pub fn guest_script(&self) -> String {
        let (address, gateway) = self.route.address();
        let queue = crate::host::read("/proc/sys/net/core/default_qdisc").unwrap_or_else(|| "pfifo_fast".to_owned());
        let mut lines = vec![
            "set -e".to_owned(),
            // As a card of the host would have it; one that this guest's kernel does not know stays its own.
            format!("echo '{queue}' > /proc/sys/net/core/default_qdisc || true"),
            // Before the device is up: it would ask the network for an address of its own.
            "[ ! -e /proc/sys/net/ipv6 ] || echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6".to_owned(),
            "ip link set lo up".to_owned(),
            format!("ip link set {DEVICE} up"),
            format!("ip addr add {address}/{PREFIX} dev {DEVICE}"),
        ];
        lines.extend(gateway.map(|gateway| format!("ip route add default via {gateway}")));
        lines.extend(sysctls().map(|(name, value)| format!("echo '{value}' > /proc/sys/{name}")));
        lines.join("\n")
    }
}

/// Bridge and port of an engine in this thread's namespace, under our labels. Engines draw the names of ports.
fn engines_devices() -> Result<Vec<(&'static str, String)>> {
    let names = interface::names()?;
    let find = |label, is_it: fn(&str) -> bool| {
        let name = names.iter().find(|name| is_it(name));
        name.map(|name| (label, name.clone())).with_context(|| format!("the engine made no {label} for the container"))
    };
    Ok(vec![find(BRIDGE, |name| name == "docker0")?, find(PORT, |name| name.starts_with("veth"))?])
}

/// Name of the device by which work with this route reaches the peer.
pub fn device(route: Route) -> &'static str {
    if route == Route::Direct { UPLINK } else { DEVICE }
}

/// True when the host's kernel can move a guest's packets itself.
pub fn has_vhost() -> bool {
    std::path::Path::new("/dev/vhost-net").exists()
}

/// A path by which other processes find an open file of this one.
fn path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
}

/// Do something in a namespace: on a thread of its own, since namespaces belong to threads.
fn in_namespace<T: Send>(namespace: &File, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let enter = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).context("entering a network namespace of the lab")?;
            action()
        };
        scope.spawn(enter).join().map_err(|_| anyhow!("the lab's thread panicked"))?
    })
}
