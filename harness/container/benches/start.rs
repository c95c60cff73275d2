//! From nothing to a container that has ended: group, namespaces, root, `true`, and all of it gone. As root.

use std::path::{Path, PathBuf};

use bench_container::{Cgroup, Limits, Namespace, Root, Spec};
use criterion::Criterion;

fn contain(tree: &Path) {
    let cgroup =
        Cgroup::plan(&format!("bench-start-{}", std::process::id())).unwrap().create(&Limits::default()).unwrap();
    let mut spec = Spec {
        argv: vec!["/bin/true".into()],
        namespaces: Namespace::DOCKER.into(),
        root: Some(Root { tree: tree.to_path_buf(), binds: Vec::new(), overlay: false }),
        parent_death_signal: true,
        ..Spec::default()
    };
    spec.join(&cgroup);
    let status = bench_container::command(&spec).unwrap().status().unwrap();
    assert!(status.success(), "{status}");
    cgroup.remove().unwrap();
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("container-init") {
        bench_container::init_main();
    }
    let root = tempfile::tempdir().unwrap();
    for folder in ["bin", "proc", "sys", "dev", "tmp"] {
        std::fs::create_dir(root.path().join(folder)).unwrap();
    }
    let places = ["/usr/bin/busybox", "/bin/busybox"].map(PathBuf::from);
    let busybox = places.into_iter().find(|path| path.exists()).expect("install busybox-static");
    std::fs::copy(busybox, root.path().join("bin/true")).unwrap();
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("container of true", |bencher| bencher.iter(|| contain(root.path())));
    criterion.final_summary();
}
