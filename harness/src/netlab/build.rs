//! Making a lab: one thread, which leaves each namespace when it has a netlink socket and a descriptor of it.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::packet_route::link::{BridgeStpState, InfoData, InfoVeth};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::nft::nft;
use super::{BRIDGE, DEVICE, GATEWAY, HOST, Lab, PEER, PORT, PREFIX, Route, UPLINK, User, interface, sysctls};

/// Indices of our devices; small numbers belong to devices that some kernels put into every namespace.
const UPLINK_INDEX: u32 = 101;
const BRIDGE_INDEX: u32 = 102;
const PORT_INDEX: u32 = 103;
const DEVICE_INDEX: u32 = 101;
const LOOPBACK_INDEX: u32 = 1;

/// Counts what is forwarded. Priorities are numbers: nft before 0.9.1 knows no names of them.
const HOOK: &str = "table ip bench {
  chain forward {
    type filter hook forward priority 0; policy accept;
    counter
  }
}
";
/// Hides what is behind the bridge; the rule sees the first packet of each connection.
const NAT: &str = "table ip bench {
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    oifname \"up0\" counter masquerade
  }
}
";

/// A namespace that this thread made.
struct Namespace {
    file: File,
    netlink: Handle,
}

impl Namespace {
    /// Make one; the thread is in it afterwards.
    fn make() -> Result<Namespace> {
        unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace")?;
        Namespace::here()
    }

    /// One that is somebody's; the thread is in it afterwards. What an earlier lab left in it goes with that lab's peer, but later.
    async fn of_others(path: &Path) -> Result<Namespace> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        setns(&file, CloneFlags::CLONE_NEWNET).with_context(|| format!("entering {}", path.display()))?;
        let namespace = Namespace::here()?;
        if interface::names()?.iter().any(|name| name == UPLINK) {
            // It may go meanwhile; one that stays is an error when the next is made.
            drop(namespace.netlink.link().del(UPLINK_INDEX).execute().await);
        }
        Ok(namespace)
    }

    /// The one that this thread is in.
    fn here() -> Result<Namespace> {
        let file = File::open("/proc/thread-self/ns/net").context("opening the new network namespace")?;
        let (connection, netlink, _) = rtnetlink::new_connection().context("opening a netlink socket")?;
        tokio::spawn(connection);
        Ok(Namespace { file, netlink })
    }

    fn enter(&self) -> Result<()> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).context("entering a network namespace of the lab")
    }

    async fn address(&self, index: u32, address: Ipv4Addr) -> Result<()> {
        let added = self.netlink.address().add(index, IpAddr::V4(address), PREFIX).execute().await;
        added.with_context(|| format!("giving a device the address {address}"))
    }

    async fn default_route(&self, gateway: Ipv4Addr) -> Result<()> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build();
        self.netlink.route().add(route).execute().await.with_context(|| format!("routing by {gateway}"))
    }

    async fn up(&self, index: u32) -> Result<()> {
        let message = LinkUnspec::new_with_index(index).up().build();
        self.netlink.link().set(message).execute().await.context("bringing a device up")
    }

    /// One end of a veth pair here, the other as [`DEVICE`] in `other`, both up; ours a port of `bridge` if there is one.
    async fn link(&self, (name, index): (&str, u32), other: &Namespace, bridge: Option<u32>) -> Result<()> {
        // Not up yet: an end cannot be brought up before the other is there.
        let far = LinkMessageBuilder::<LinkUnspec>::new().name(DEVICE).index(DEVICE_INDEX);
        let far = far.setns_by_fd(other.file.as_raw_fd()).build();
        let near = LinkMessageBuilder::<LinkVeth>::new(name, DEVICE).index(index).up();
        let near = near.set_info_data(InfoData::Veth(InfoVeth::Peer(far)));
        let near = match bridge {
            Some(bridge) => near.controller(bridge),
            None => near,
        };
        let made = self.netlink.link().add(near.build()).execute().await;
        made.with_context(|| format!("making the veth pair of {name}"))?;
        other.up(DEVICE_INDEX).await
    }

    /// A bridge without spanning tree and multicast snooping, both of which cost and neither of which is asked about.
    async fn bridge(&self) -> Result<()> {
        let bridge = LinkBridge::new(BRIDGE).index(BRIDGE_INDEX).up();
        let bridge = bridge.stp_state(BridgeStpState::Disabled).mcast_snooping(false);
        self.netlink.link().add(bridge.build()).execute().await.context("making a bridge")
    }
}

/// Make a lab on this thread, which must end afterwards.
pub(super) fn make(route: Route, user: User, host: Option<&Path>, program: Option<&Path>) -> Result<Lab> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(async {
        let peer = Namespace::make()?;
        settings(&[])?;
        let inside = match user {
            User::Container => Some(Namespace::make()?),
            User::Process | User::Guest => None,
        };
        if inside.is_some() {
            settings(&[])?;
        }
        let host = match host {
            Some(path) => Namespace::of_others(path).await?,
            None => Namespace::make()?,
        };
        settings(&of_host(route))?;
        links(route, user, &host, &peer, inside.as_ref()).await?;
        rules(route, program)?;
        Ok(Lab { route, host: host.file, peer: peer.file, inside: inside.map(|inside| inside.file) })
    })
}

async fn links(route: Route, user: User, host: &Namespace, peer: &Namespace, inside: Option<&Namespace>) -> Result<()> {
    let uplink_port = (route == Route::Bridge).then_some(BRIDGE_INDEX);
    if !matches!(route, Route::Direct | Route::Engine) {
        host.bridge().await?;
    }
    host.link((UPLINK, UPLINK_INDEX), peer, uplink_port).await?;
    peer.address(DEVICE_INDEX, PEER).await?;
    if route != Route::Bridge {
        host.address(UPLINK_INDEX, HOST).await?;
    }
    if route.is_routed() {
        host.address(BRIDGE_INDEX, GATEWAY).await?;
    }
    // Without NAT the peer has to know the way back.
    if matches!(route, Route::Routed | Route::Hook) {
        peer.default_route(HOST).await?;
    }
    for namespace in [Some(host), Some(peer), inside].into_iter().flatten() {
        namespace.up(LOOPBACK_INDEX).await?;
    }
    match (user, inside) {
        (User::Container, Some(inside)) => {
            host.link((PORT, PORT_INDEX), inside, Some(BRIDGE_INDEX)).await?;
            let (address, gateway) = route.address();
            inside.address(DEVICE_INDEX, address).await?;
            match gateway {
                Some(gateway) => inside.default_route(gateway).await,
                None => Ok(()),
            }
        }
        (User::Guest, _) => tap(host).await,
        _ => Ok(()),
    }
}

/// A guest's device: a tap that is a port of the bridge.
async fn tap(host: &Namespace) -> Result<()> {
    host.enter()?;
    bench_container::make_tap(PORT)
        .context("making a tap device for the guest by /dev/net/tun (is the kernel's module tun there?)")?;
    let message = LinkUnspec::new_with_name(PORT).controller(BRIDGE_INDEX).up().build();
    host.netlink.link().set(message).execute().await.context("making the tap a port of the bridge")
}

/// Where bridge netfilter is built in, bridged frames would cross the hooks of IP.
const BRIDGES_ALONE: [(&str, &str); 3] = [
    ("net/bridge/bridge-nf-call-iptables", "0"),
    ("net/bridge/bridge-nf-call-ip6tables", "0"),
    ("net/bridge/bridge-nf-call-arptables", "0"),
];

/// What the host's namespace has beyond what is set everywhere. An engine's bridges are as it has them.
fn of_host(route: Route) -> Vec<(&'static str, &'static str)> {
    let bridges = BRIDGES_ALONE.into_iter().filter(|_| route != Route::Engine);
    bridges.chain(route.is_routed().then_some(("net/ipv4/ip_forward", "1"))).collect()
}

/// Settings of this thread's namespace, each read back. What a kernel does not have needs no setting.
fn settings(more: &[(&str, &str)]) -> Result<()> {
    const QUIET: [(&str, &str); 3] = [
        ("net/ipv6/conf/all/disable_ipv6", "1"),
        ("net/ipv6/conf/default/disable_ipv6", "1"),
        // For a ping in a user namespace, whose CAP_NET_RAW counts nothing here.
        ("net/ipv4/ping_group_range", "0\t2147483647"),
    ];
    for (name, value) in QUIET.iter().chain(&sysctls()).chain(more) {
        let file = Path::new("/proc/sys").join(name);
        if !file.exists() {
            continue;
        }
        fs::write(&file, value).with_context(|| format!("writing `{value}` to {} of the lab", file.display()))?;
        let found = fs::read_to_string(&file).with_context(|| format!("reading {} back", file.display()))?;
        ensure!(
            found.trim() == *value,
            "{} of the lab reads `{}` after writing `{value}`",
            file.display(),
            found.trim()
        );
    }
    Ok(())
}

/// The thread is in the host's namespace.
fn rules(route: Route, program: Option<&Path>) -> Result<()> {
    let rules = match route {
        Route::Hook => HOOK,
        Route::Nat => NAT,
        _ => return Ok(()),
    };
    let program = program.context("no nft was looked for")?;
    nft(program, &["-f", "-"], rules).context("setting the lab's rules").map(drop)
}
