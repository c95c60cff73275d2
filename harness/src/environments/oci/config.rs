//! `config.json` of the OCI runtime specification 1.0.2: a container as `bench` makes it itself, in another program's words.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bench_container::{Bind, Namespace};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Capabilities, Linux, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxCpuBuilder, LinuxDeviceCgroup,
    LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxMemoryBuilder, LinuxNamespaceBuilder, LinuxResources,
    LinuxResourcesBuilder, LinuxSeccomp, Mount, MountBuilder, Process, RootBuilder, Spec, SpecBuilder,
};

use super::runtime::namespace_type;
use crate::environments::contained::HOSTNAME;

/// The version of the specification.
const VERSION: &str = "1.0.2";

/// File systems of the container's own, as Docker has them: type, place, options.
const OWN: [(&str, &str, &str); 6] = [
    ("proc", "/proc", "nosuid,noexec,nodev"),
    ("tmpfs", "/dev", "nosuid,strictatime,mode=755,size=65536k"),
    ("devpts", "/dev/pts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620"),
    ("tmpfs", "/dev/shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
    ("mqueue", "/dev/mqueue", "nosuid,noexec,nodev"),
    ("sysfs", "/sys", "nosuid,noexec,nodev,ro"),
];
/// Where nothing of the host is bound over it.
const TEMPORARY: (&str, &str, &str) = ("tmpfs", "/tmp", "nosuid,nodev,mode=1777");

/// What a container is made of.
pub struct Wanted<'a> {
    /// The first process.
    pub argv: Vec<String>,
    /// Its root, read-only.
    pub tree: &'a Path,
    /// What it sees of the host.
    pub binds: &'a [Bind],
    /// Namespaces of its own.
    pub namespaces: &'a [Namespace],
    /// A network namespace that is there already, to be entered.
    pub network: Option<&'a Path>,
    /// Its group, as [`bench_container::Below`] has it.
    pub cgroups_path: &'a Path,
    /// Its CPUs, as a list.
    pub cpus: String,
    /// Limit of its memory.
    pub memory_bytes: u64,
    /// Docker's filter of system calls.
    pub seccomp: bool,
}

impl Wanted<'_> {
    /// The configuration.
    pub fn config(&self) -> Result<Spec> {
        let root = RootBuilder::default().path(self.tree).readonly(true).build()?;
        let spec = SpecBuilder::default()
            .version(VERSION)
            .root(root)
            .process(self.process()?)
            .mounts(self.mounts()?)
            .linux(self.linux()?);
        let spec = match self.namespaces.contains(&Namespace::Uts) {
            true => spec.hostname(HOSTNAME),
            false => spec,
        };
        spec.build().context("writing down the container for the runtime")
    }

    fn process(&self) -> Result<Process> {
        let names = bench_container::capability_names(&[]);
        let set = names.iter().map(|name| serde_json::from_value(name.as_str().into()));
        let set: Capabilities = set.collect::<Result<_, _>>().context("naming capabilities")?;
        // None is handed down to programs that root does not execute.
        let capabilities = LinuxCapabilitiesBuilder::default()
            .bounding(set.clone())
            .effective(set.clone())
            .permitted(set)
            .inheritable(Capabilities::new())
            .ambient(Capabilities::new())
            .build()?;
        let mut process = Process::default();
        process
            .set_terminal(Some(false))
            .set_args(Some(self.argv.clone()))
            .set_env(Some(Vec::new()))
            .set_cwd(PathBuf::from("/"))
            .set_capabilities(Some(capabilities))
            .set_rlimits(None)
            .set_no_new_privileges(Some(true));
        Ok(process)
    }

    fn mounts(&self) -> Result<Vec<Mount>, OciSpecError> {
        let has_tmp = !self.binds.iter().any(|bind| bind.target == Path::new(TEMPORARY.1));
        let own = OWN.into_iter().chain(has_tmp.then_some(TEMPORARY));
        let own = own.map(|(kind, place, options)| {
            let options: Vec<String> = options.split(',').map(str::to_owned).collect();
            MountBuilder::default().typ(kind).source(kind).destination(place).options(options).build()
        });
        let mut binds: Vec<_> = self.binds.iter().collect();
        binds.sort_by_key(|bind| bind.target.components().count());
        own.chain(binds.into_iter().map(bound)).collect()
    }

    fn linux(&self) -> Result<Linux> {
        let namespaces = self.namespaces.iter().map(|kind| {
            let namespace = LinuxNamespaceBuilder::default().typ(namespace_type(*kind));
            match self.network.filter(|_| *kind == Namespace::Net) {
                Some(path) => namespace.path(path).build(),
                None => namespace.build(),
            }
        });
        let linux = LinuxBuilder::default()
            .namespaces(namespaces.collect::<Result<Vec<_>, _>>()?)
            .cgroups_path(self.cgroups_path)
            .resources(self.resources()?)
            .masked_paths(bench_container::masked_paths())
            .readonly_paths(bench_container::read_only_paths());
        let linux = match self.seccomp {
            true => {
                let filter: LinuxSeccomp = serde_json::from_value(bench_container::seccomp_for_runtimes(&[]))
                    .context("writing down Docker's filter of system calls")?;
                linux.seccomp(filter)
            }
            false => linux,
        };
        Ok(linux.build()?)
    }

    /// The limits that the group above has already, and those of devices, which only the runtime sets.
    fn resources(&self) -> Result<LinuxResources> {
        let limit = i64::try_from(self.memory_bytes).context("limiting its memory")?;
        let mut devices = vec![LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build()?];
        for bind in self.binds {
            devices.extend(device(bind)?);
        }
        let resources = LinuxResourcesBuilder::default()
            .cpu(LinuxCpuBuilder::default().cpus(self.cpus.clone()).build()?)
            .memory(LinuxMemoryBuilder::default().limit(limit).build()?)
            .devices(devices);
        Ok(resources.build()?)
    }
}

fn bound(bind: &Bind) -> Result<Mount, OciSpecError> {
    let access = if bind.read_only { "ro" } else { "rw" };
    let options: Vec<String> = ["rbind", "rprivate", "nosuid", access].map(str::to_owned).to_vec();
    MountBuilder::default()
        .typ("bind")
        .source(bind.source.clone())
        .destination(bind.target.clone())
        .options(options)
        .build()
}

/// That a block device which is bound may be used.
fn device(bind: &Bind) -> Result<Option<LinuxDeviceCgroup>, OciSpecError> {
    // What the runtime will see in the work folder is not there yet, and is no device.
    let Some(found) = bind.source.metadata().ok().filter(|found| found.file_type().is_block_device()) else {
        return Ok(None);
    };
    let (major, minor) = (nix::sys::stat::major(found.rdev()), nix::sys::stat::minor(found.rdev()));
    let rule = LinuxDeviceCgroupBuilder::default()
        .allow(true)
        .typ(LinuxDeviceType::B)
        .major(major as i64)
        .minor(minor as i64)
        .access("rw");
    Ok(Some(rule.build()?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn config(binds: &[Bind], network: Option<&Path>, seccomp: bool) -> Value {
        let wanted = Wanted {
            argv: vec!["/bench".to_owned()],
            tree: Path::new("/tree"),
            binds,
            namespaces: &Namespace::DOCKER,
            network,
            cgroups_path: Path::new("/ours/c"),
            cpus: "0-1".to_owned(),
            memory_bytes: 1 << 30,
            seccomp,
        };
        serde_json::to_value(wanted.config().unwrap()).unwrap()
    }

    #[test]
    fn a_container_is_written_down_as_ours_is_made() {
        let config = config(&[], Some(Path::new("/proc/1/fd/5")), false);
        let names = bench_container::capability_names(&[]);
        let in_set = |set: &str| {
            let mut found: Vec<String> =
                serde_json::from_value(config["process"]["capabilities"][set].clone()).unwrap();
            found.sort_by_key(|name| names.iter().position(|known| known == name));
            found
        };
        assert_eq!(["bounding", "effective", "permitted"].map(in_set), [&names, &names, &names].map(Clone::clone));
        assert_eq!(["inheritable", "ambient"].map(in_set), [const { Vec::<String>::new() }; 2]);
        let process = &config["process"];
        assert_eq!((&process["terminal"], &process["noNewPrivileges"]), (&json!(false), &json!(true)));
        assert!(process.get("rlimits").is_none() && process["user"]["uid"] == 0 && process["cwd"] == "/");
        assert_eq!(config["root"], json!({"path": "/tree", "readonly": true}));
        let network = json!({"type": "network", "path": "/proc/1/fd/5"});
        let linux = &config["linux"];
        assert!(linux["namespaces"].as_array().unwrap().contains(&network), "{}", linux["namespaces"]);
        assert_eq!(linux["namespaces"].as_array().unwrap().len(), 6);
        assert_eq!((&linux["cgroupsPath"], &config["ociVersion"]), (&json!("/ours/c"), &json!("1.0.2")));
        let resources = &linux["resources"];
        assert_eq!((&resources["cpu"]["cpus"], &resources["memory"]["limit"]), (&json!("0-1"), &json!(1 << 30)));
        assert_eq!(resources["devices"], json!([{"allow": false, "access": "rwm"}]));
        assert!(linux.get("seccomp").is_none() && linux["maskedPaths"].to_string().contains("/proc/kcore"));
        assert!(linux["readonlyPaths"].to_string().contains("/proc/sysrq-trigger"), "{linux}");
        assert!(config["mounts"].to_string().contains("\"/tmp\""));
    }

    #[test]
    fn the_work_folder_takes_the_place_of_the_temporary_one_and_comes_before_what_lies_in_it() {
        let bind = |target: &str, read_only| Bind { source: "/".into(), target: target.into(), read_only };
        let config = config(&[bind("/tmp/x/y", false), bind("/tmp", false), bind("/bench", true)], None, true);
        let mounts = config["mounts"].as_array().unwrap();
        let places: Vec<_> = mounts[OWN.len()..].iter().map(|mount| mount["destination"].as_str().unwrap()).collect();
        assert_eq!(places, ["/tmp", "/bench", "/tmp/x/y"]);
        assert!(mounts.iter().all(|mount| mount["destination"] != "/tmp" || mount["type"] == "bind"));
        let options = |at: usize| mounts[OWN.len() + at]["options"].to_string();
        assert!(options(0).contains("\"rw\"") && options(1).contains("\"ro\""));
        assert_eq!(config["linux"]["seccomp"]["defaultErrnoRet"], nix::errno::Errno::EPERM as i32);
        assert!(config["linux"]["seccomp"]["syscalls"].as_array().unwrap().len() > 3);
    }
}
