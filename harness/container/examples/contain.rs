//! The smallest container: `contain ROOT CMD...` (as root). ROOT needs nothing but CMD.

use std::process::ExitCode;

use bench_container::{Cgroup, Limits, Namespace, Root, Spec};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    if std::env::args().nth(1).as_deref() == Some("container-init") {
        bench_container::init_main();
    }
    let mut arguments = std::env::args().skip(1);
    let tree = arguments.next().ok_or("usage: contain ROOT CMD...")?.into();
    let cgroup = Cgroup::plan(&format!("contain-{}", std::process::id()))?.create(&Limits::default())?;
    let mut spec = Spec {
        argv: arguments.collect(),
        env: vec![("PATH".into(), "/bin:/usr/bin".into())],
        namespaces: Namespace::DOCKER.into(),
        root: Some(Root { tree, binds: Vec::new(), overlay: false }),
        hostname: Some("container".into()),
        parent_death_signal: true,
        ..Spec::default()
    };
    spec.join(&cgroup);
    let status = bench_container::command(&spec)?.status()?;
    cgroup.remove()?;
    Ok(ExitCode::from(status.code().unwrap_or(125) as u8))
}
