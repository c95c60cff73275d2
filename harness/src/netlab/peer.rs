//! What answers at the other end of a lab. It talks to whatever is inside, so it is held as a container is, and is nobody.

use std::path::PathBuf;

use anyhow::Result;
use bench_container::{Bind, Namespace, Root, Spec};

use super::PEER;

/// The user and the group `nobody`, by number: the tools tree has no names.
const NOBODY: &str = "65534:65534";

/// What answers at the peer when a person is in a lab: iperf3, as often as asked. Program and arguments.
pub fn peer_server() -> Result<Vec<String>> {
    let iperf3 = crate::host::packages::require("iperf3")?.display().to_string();
    Ok([iperf3, "-s".to_owned(), "-4".to_owned(), "-B".to_owned(), PEER.to_string()].to_vec())
}

/// What to tell that person.
pub fn peer_hint() -> String {
    format!("bench: a peer is at {PEER}: ping {PEER}, iperf3 -c {PEER}")
}

/// A program at the peer: in the tools tree, without a capability, in namespaces of its own but for the lab's network, which is
/// to be entered.
pub fn peer_spec(argv: Vec<String>, tree: PathBuf, binds: Vec<Bind>) -> Spec {
    Spec {
        argv,
        namespaces: Namespace::DOCKER.into_iter().filter(|kind| *kind != Namespace::Net).collect(),
        root: Some(Root { tree, binds, overlay: false }),
        hostname: Some("peer".to_owned()),
        user: Some(NOBODY.to_owned()),
        parent_death_signal: true,
        ..Spec::default()
    }
}
