//! Definitions are read by the kinds that there are; what is wrong is said with what would be right.

use bench_workloads::Suite;
use proptest::prelude::*;

use super::*;

#[test]
fn kinds_are_found_by_name_and_are_what_records_of_before_take_them_for() {
    for kind in KINDS {
        assert_eq!(find(kind.name()).unwrap().name(), kind.name());
        assert!(kind.name() == "oci" || read(kind.name()).is_ok());
    }
    for name in ["native", "container", "vm"] {
        assert_eq!(find(name).ok().map(|kind| kind.class()), Class::of_kind(name));
    }
}

#[test]
fn what_is_wrong_is_said_with_what_would_be_right() {
    for (text, said) in [
        ("podman", "there is no kind of environment `podman`; there are native, container, docker, oci, vm"),
        ("x=podman", "native, container, docker, oci, vm"),
        ("A=vm", "a-z"),
        ("../x=vm", "a-z"),
        (
            "vm:speed=1",
            "vm has no option `speed`; it has qemu, kernel, fio, accel, machine, aio, cache, iothread, boot-timeout, net",
        ),
        (
            "container:speed=1",
            "container has no option `speed`; it has fio, userns, seccomp, root, net, read_iops, write_iops",
        ),
        ("native:qemu=/x", "native has no option `qemu`; it has fio"),
        ("vm:accel=xen", "accel=xen: it must be one of auto, kvm, tcg"),
        ("vm:machine=pc", "machine=pc: it must be one of q35, microvm"),
        ("vm:aio=posix", "aio=posix: it must be one of io_uring, native, threads"),
        ("vm:cache=all", "it must be one of none, directsync, writeback, writethrough, unsafe"),
        ("vm:iothread=1", "it must be one of yes, no"),
        ("vm:net=host", "net=host: it must be one of none, bridge, routed, hook, nat"),
        ("container:net=lan", "net=lan: it must be one of none, host, bridge, routed, hook, nat"),
        ("container:seccomp=on", "it must be one of docker, unconfined"),
        ("container:root=layers", "it must be one of bind, overlay"),
        ("container:userns=on", "it must be one of yes, no"),
        ("docker:speed=1", "docker has no option `speed`; it has fio, engine, seccomp, net, runtime"),
        ("docker:engine=none", "engine=none: it must be one of machine, private"),
        ("docker:seccomp=docker", "seccomp=docker: it must be one of default, unconfined"),
        ("docker:net=nat", "net=nat: it must be one of none, host, bridge"),
        ("docker:runtime=a/b", "runtime=a/b: it must be the name of a runtime that the engine knows"),
        ("vm:qemu=qemu", "qemu=qemu: it must be an absolute path"),
        ("container:read_iops=0", "read_iops=0: it must be a whole number above 0"),
        ("container:write_iops=1.5", "whole number"),
        ("vm:boot-timeout=90", "boot-timeout=90: it must be a time from 1s to 1d, such as 90s or 5min"),
        ("vm:boot-timeout=0s", "from 1s"),
        ("vm:accel", "`accel` is not KEY=VALUE"),
        ("oci", "oci needs the option `runtime`, as in NAME=oci:runtime=/usr/sbin/runc"),
        ("runc=oci:seccomp=docker", "oci needs the option `runtime`"),
        ("oci:runtime=runc", "runtime=runc: it must be an absolute path"),
        ("oci:speed=1", "oci has no option `speed`; it has runtime, fio, seccomp, net"),
        ("oci:runtime=/r:net=lan", "net=lan: it must be one of none, host, bridge, routed, hook, nat"),
        ("", "native, container, docker, oci, vm"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn every_option_is_described_with_what_it_takes() {
    let all = described();
    for (form, text) in [
        ("native:fio=PATH", "The fio to measure with instead of the installed one"),
        ("container:seccomp=docker|unconfined", "Docker's filter of system calls, or none"),
        ("container:net=none|host|bridge|routed|hook|nat", "How it reaches the peer"),
        ("container:read_iops=N", "Most reads of the target's disk a second"),
        ("vm:iothread=yes|no", "A thread of its own for the disks' I/O, unless `no`"),
        ("vm:boot-timeout=TIME", "How long a boot may take"),
    ] {
        assert!(all.contains(&vec![form.to_owned(), text.to_owned()]), "{form}: {all:#?}");
    }
    for row in &all {
        let (kind, option) = row[0].split_once(':').unwrap();
        let (name, values) = option.split_once('=').unwrap();
        assert!(!values.is_empty() && !row[1].is_empty(), "{row:?}");
        let refused = find(kind).unwrap().check_option(name, "\u{1}").unwrap_err().to_string();
        assert!(refused.starts_with(&format!("{name}=")), "{refused}");
    }
}

#[test]
fn every_option_is_taken_with_each_of_its_values() {
    for text in [
        "native:fio=/opt/fio",
        "container:fio=/opt/fio:userns=yes:seccomp=docker:root=overlay:net=host:read_iops=1000:write_iops=500",
        "container:userns=no:seccomp=unconfined:root=bind:net=none",
        "container:fio=/opt/fio:userns=yes:seccomp=docker:net=host:read_iops=1000:write_iops=500",
        "docker:fio=/opt/fio:engine=machine:seccomp=default:net=none:runtime=runc",
        "docker:engine=private:seccomp=unconfined:runtime=io.containerd.runc.v2",
        "vm:qemu=/q:kernel=/k:fio=/f:accel=auto:machine=q35:aio=io_uring:cache=none:iothread=yes:boot-timeout=90s:net=nat",
        "vm:accel=kvm:machine=microvm:aio=native:cache=directsync:iothread=no:boot-timeout=5min:net=bridge",
        "vm:accel=tcg:aio=threads:cache=writeback:net=routed",
        "vm:cache=writethrough:net=hook",
        "vm:cache=unsafe:net=none",
        "runc=oci:runtime=/usr/sbin/runc:fio=/opt/fio:seccomp=docker:net=host",
        "oci:runtime=/r:seccomp=unconfined:net=none",
    ] {
        let definition = read(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(read(&definition.to_string()), Ok(definition));
    }
}

#[test]
fn an_environment_reaches_the_peer_as_it_says_or_as_its_kind_does() {
    for (text, alone, networked) in [
        ("native", None, Some(Route::Direct)),
        ("container", None, Some(Route::Nat)),
        ("vm", None, Some(Route::Nat)),
        ("oci:runtime=/r", None, Some(Route::Nat)),
        ("oci:runtime=/r:net=host", Some(Route::Direct), Some(Route::Direct)),
        ("container:net=host", Some(Route::Direct), Some(Route::Direct)),
        ("vm:net=bridge", Some(Route::Bridge), Some(Route::Bridge)),
        ("vm:net=none", None, None),
        ("docker:net=none", None, None),
        ("docker", None, Some(Route::Engine)),
        ("docker:net=bridge", Some(Route::Engine), Some(Route::Engine)),
        ("docker:net=host", Some(Route::Direct), Some(Route::Direct)),
    ] {
        let definition = read(text).unwrap();
        let kind = kind_of(&definition).unwrap();
        let route = |networked| kind.route(&definition, networked).unwrap();
        assert_eq!((route(false), route(true)), (alone, networked), "{text}");
    }
}

#[test]
fn the_machines_engine_connects_nothing_to_a_lab() {
    let definition = read("docker:engine=machine").unwrap();
    let kind = kind_of(&definition).unwrap();
    assert_eq!(kind.route(&definition, false).unwrap(), None);
    let error = kind.route(&definition, true).unwrap_err().to_string();
    assert!(error.contains("never touches the machine's firewall"), "{error}");
}

#[test]
fn the_suites_name_environments_that_there_are() {
    for name in Suite::builtin_names() {
        for environment in Suite::builtin(name).unwrap().environments {
            assert_eq!(read(&environment.to_string()), Ok(environment), "{name}");
        }
    }
}

#[test]
fn a_suite_with_an_unknown_kind_is_refused_at_its_place() {
    let text = "name = \"mine\"\ntitle = \"t\"\nenvironments = [\"native\", \"podman\"]\n[[workload]]\nname = \"w\"\ntitle = \"w\"\n\
        kind = \"command\"\nargv = [\"true\"]\ndeciding = \"wall_time_ns\"\n[[profile]]\nname = \"quick\"\nblocks = 3\nruntime = \"1s\"\n\
        warm-up = \"0s\"\nsettle = \"0s\"\nsize = \"64MiB\"\nmargin = \"5%\"\nverdicts = true\n";
    let error = Suite::parse(text, "mine.toml", kinds()).unwrap_err().to_string();
    assert!(error.starts_with("mine.toml:3:27") && error.contains("native, container, docker, oci, vm"), "{error}");
    assert!(Suite::parse(&text.replace("podman", "vm"), "mine.toml", kinds()).is_ok());
}

/// A VMM is spoken to in its own crate, and named where the kind `vm` is: what remains elsewhere is said here, with its reason.
#[test]
fn nothing_else_knows_which_vmm_there_is() {
    const KNOWN: [(&str, &str); 4] = [
        // The kind's file, and its module.
        ("harness/src/environments/mod.rs", "qemu"),
        // The signature of a hypervisor beneath the host.
        ("harness/src/host/machine.rs", "Hypervisor::QEMU"),
        // Names of before.
        ("results/src/aliases.rs", "\"qmp.\""),
        ("results/src/aliases.rs", "\"qemu\""),
    ];
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let sources =
        ["harness/src", "harness/agent/src", "harness/container/src", "reports/src", "results/src", "workloads/src"];
    let mut folders: Vec<_> = sources.iter().map(|folder| root.join(folder)).collect();
    let (mut files, mut found) = (0, Vec::new());
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            if path.is_dir() {
                folders.push(path);
            } else if !name.starts_with("harness/src/environments/qemu") && !name.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                let named =
                    code.lines().filter(|line| ["qemu", "qmp"].iter().any(|vmm| line.to_lowercase().contains(vmm)));
                let unknown =
                    named.filter(|line| !KNOWN.iter().any(|(file, text)| name == *file && line.contains(text)));
                found.extend(unknown.map(|line| format!("{name}: {line}")));
                files += 1;
            }
        }
    }
    assert!(files > 100 && found.is_empty(), "{files} files: {found:#?}");
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(name in "[a-z0-9][a-z0-9-]{0,31}", tcg in any::<bool>(), path in "/[a-z/]{1,20}") {
        let accel = if tcg { "tcg" } else { "auto" };
        let definition = read(&format!("{name}=vm:accel={accel}:qemu={path}")).unwrap();
        prop_assert_eq!(read(&definition.to_string()), Ok(definition));
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,40}") {
        let _ = read(&text);
    }
}
