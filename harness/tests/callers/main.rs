//! A caller of `sudo bench` who is hostile, or whose account was taken over: what root would execute, mount, write, read, remove or
//! give away is theirs to fill, to replace by a link or a pipe, and to swap at the last moment.
//!
//! Nobody calls `sudo` here: `bench` is root with `SUDO_UID` and `SUDO_GID` set, as sudo sets them. The caller is a user id that no file
//! knows, and a thread with that id is what meddles while `bench` works.
//!
//! `BENCH_ATTACKED=/path/to/another/bench cargo test -p bench --test callers -- --nocapture` tries the same on another build.

mod attempts;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use attempts::ATTEMPTS;
use support::{Loop, finish, names};
use world::{MALLORY, World};

#[test]
fn a_hostile_caller_reaches_nothing_of_roots() {
    let only = std::env::var("BENCH_ATTEMPT").unwrap_or_default();
    let (mut tried, mut through) = (0, Vec::new());
    for (name, attempt) in ATTEMPTS.iter().filter(|(name, _)| name.contains(&only)) {
        let Some(mut world) = World::make() else { return };
        world.by_sudo = !name.starts_with("without sudo");
        tried += 1;
        match attempt(&world) {
            Ok(()) => println!("stopped {name}"),
            Err(what) => {
                println!("REACHED {name}: {what}");
                through.push(*name);
            }
        }
    }
    println!("callers: {tried} tried, {} stopped", tried - through.len());
    assert!(through.is_empty(), "{through:#?}");
}

#[test]
fn a_device_is_used_by_its_node() {
    let Some(world) = World::make() else { return };
    let device = Loop::on(&world.roots("disk"));
    std::os::unix::fs::symlink(&device.0, world.theirs("disk")).unwrap();
    let run = "run --suite io --only rand-read --profile smoke --no-control --size 16MiB --env native,container --destroy-data";
    for target in [device.0.as_str(), "disk"] {
        let (status, out, err) = world.run(&format!("{run} --target {target}"));
        assert_eq!(status, 0, "{target}: {out}{err}");
    }
    // In a folder of the caller's it could be another one at any time.
    let node = world.theirs("node");
    let number = fs::metadata(&device.0).unwrap().rdev();
    nix::sys::stat::mknod(&node, nix::sys::stat::SFlag::S_IFBLK, nix::sys::stat::Mode::S_IRWXU, number).unwrap();
    let (status, _, err) = world.run(&format!("{run} --target node"));
    assert!(
        status == 2 && err.contains("belongs to user 54321") && err.contains("name the device by its node"),
        "{err}"
    );
}

/// What is below a folder and not the caller's.
fn not_theirs(path: &Path, found: &mut Vec<String>) {
    if path.symlink_metadata().unwrap().uid() != MALLORY {
        found.push(path.display().to_string());
    }
    if path.is_dir() {
        names(path).iter().for_each(|name| not_theirs(&path.join(name), found));
    }
}

#[test]
fn what_comes_out_is_the_callers() {
    let Some(world) = World::make() else { return };
    let target = world.theirs("target");
    fs::write(&target, "").unwrap();
    std::os::unix::fs::chown(&target, Some(MALLORY), Some(MALLORY)).unwrap();
    let io = "run --suite io --only rand-read --profile smoke --no-control --size 16MiB";
    for arguments in [
        &format!("{io} --env native,container,vm:accel=tcg"),
        &format!("{io} --env native,container --target target --destroy-data"),
        &format!("{io} --env native --out new/runs"),
        "run --profile smoke --no-control --env native,container,vm:accel=tcg -- sort /etc/passwd",
        "report last",
        "export last --to x.tar.gz",
        "report x.tar.gz",
        "list runs",
    ] {
        let (status, out, err) = world.run(arguments);
        assert_eq!(status, 0, "{arguments}: {out}{err}");
    }
    let mut found = Vec::new();
    not_theirs(&world.home(), &mut found);
    assert_eq!(found, Vec::<String>::new());
    let hidden: Vec<_> = names(&world.theirs("bench-runs")).into_iter().filter(|name| name.starts_with('.')).collect();
    assert_eq!(hidden, Vec::<String>::new());
    assert_eq!(fs::metadata(&target).unwrap().len(), 16 << 20);
    // Where only root can write it is root who does, and gives the run away when it is finished.
    fs::create_dir(world.roots("runs")).unwrap();
    let out = world.roots("runs");
    let (status, _, err) = world.run(&format!("{io} --env native --out {}", out.display()));
    assert_eq!(status, 0, "{err}");
    let mut found = Vec::new();
    names(&out).iter().for_each(|name| not_theirs(&out.join(name), &mut found));
    assert_eq!(found, Vec::<String>::new());
    let (status, _, err) = finish(world.bench(&format!("report last --out {}", out.display())));
    assert_eq!(status, 0, "{err}");
}
