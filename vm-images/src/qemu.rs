//! From a typed configuration to QEMU's arguments, by pure functions (qemu(1)).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::guest::{MARK, PORT, ROOT_SERIAL, TARGET_SERIAL, WORK_SERIAL};
use crate::image::Image;

/// QEMU's name of the target's block node.
pub const TARGET_NODE: &str = "target";

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// Hardware virtualisation.
    Kvm,
    /// Software emulation.
    Tcg,
}

impl std::fmt::Display for Accelerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Accelerator::Kvm => "KVM",
            Accelerator::Tcg => "TCG emulation",
        })
    }
}

/// The target, or what commands work in, as a disk of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// File or block device of the host.
    pub path: PathBuf,
    /// Which of the two.
    pub is_device: bool,
    /// Bytes that the guest sees.
    pub size_bytes: u64,
    /// QEMU's name of a cache mode: `none`, `directsync`, `writeback`, `writethrough`, `unsafe`.
    pub cache: String,
    /// `io_uring`, `native` or `threads`.
    pub aio: String,
    /// A thread of its own for its I/O.
    pub iothread: bool,
}

impl Disk {
    /// True when its cache mode goes past the host's page cache.
    pub fn is_direct(&self) -> bool {
        matches!(self.cache.as_str(), "none" | "directsync")
    }
}

impl std::fmt::Display for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let iothread = if self.iothread { "IOThread" } else { "no IOThread" };
        write!(f, "cache={}, aio={}, {iothread}", self.cache, self.aio)
    }
}

/// A guest's network card: a tap of the host that exists already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// Name of the tap, in the network namespace that QEMU is started in.
    pub name: String,
    /// Whether the host's kernel moves the packets (vhost-net) or QEMU does.
    pub vhost: bool,
}

/// A guest's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// QEMU.
    pub qemu: PathBuf,
    /// What executes the guest's instructions.
    pub accelerator: Accelerator,
    /// Number of virtual CPUs.
    pub cpus: u32,
    /// RAM.
    pub memory_bytes: u64,
    /// What it boots.
    pub image: Image,
    /// The storage under test.
    pub target: Option<Disk>,
    /// The ext4 image that commands work in.
    pub work: Option<Disk>,
    /// Its network card.
    pub network: Option<Tap>,
    /// True where the host's own CPU is emulated: the guest's instructions are, under KVM as well.
    pub emulated_host: bool,
    /// The host's `mitigations=`, for the guest's kernel.
    pub mitigations: Option<String>,
    /// For sockets and console; only for root.
    pub runtime_dir: PathBuf,
}

/// Where a running guest is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sockets {
    /// QMP.
    pub qmp: PathBuf,
    /// The agent's port.
    pub agent: PathBuf,
    /// What the guest's kernel says: QEMU's standard output, as far as it is kept.
    pub console: PathBuf,
    /// What QEMU itself says.
    pub log: PathBuf,
}

impl Sockets {
    /// In the configuration's `runtime_dir`.
    pub fn in_folder(folder: &Path) -> Sockets {
        let file = |name| folder.join(name);
        Sockets { qmp: file("qmp"), agent: file("agent"), console: file("console.log"), log: file("qemu.log") }
    }
}

/// A JSON value as an argument: no escaping of commas and equals signs.
fn json_argument(value: &Value) -> String {
    value.to_string()
}

/// Program and arguments.
pub fn argv(config: &Config) -> Vec<String> {
    let sockets = Sockets::in_folder(&config.runtime_dir);
    let mut argv = vec![config.qemu.display().to_string()];
    let mut option = |name: &str, value: String| argv.extend([format!("-{name}"), value]);
    option("nodefaults", String::new());
    option("no-user-config", String::new());
    option("no-reboot", String::new());
    option("display", "none".into());
    option("machine", "q35,memory-backend=ram,hpet=off,smm=off,vmport=off".into());
    let (accelerator, cpu) = match config.accelerator {
        Accelerator::Kvm => ("kvm", "host"),
        Accelerator::Tcg => ("tcg,thread=multi", "max"),
    };
    option("accel", accelerator.into());
    option("cpu", cpu.into());
    option("smp", config.cpus.to_string());
    option("m", format!("{}M", config.memory_bytes >> 20));
    // Shared memory is accounted as such: the guest's RAM can be told from QEMU's own memory.
    let ram = json!({"qom-type": "memory-backend-memfd", "id": "ram", "size": config.memory_bytes, "share": true});
    option("object", json_argument(&ram));
    option("kernel", config.image.kernel.display().to_string());
    option("initrd", config.image.initramfs.display().to_string());
    option("append", command_line(config));
    // Whoever starts it reads the console, and limits what is kept of it.
    option("chardev", "file,id=console,path=/dev/stdout".into());
    option("serial", "chardev:console".into());
    option("chardev", format!("socket,id=qmp,path={},server=on,wait=off", escaped(&sockets.qmp)));
    option("mon", "chardev=qmp,mode=control".into());
    option("device", "virtio-serial-pci,id=serial,addr=0x3".into());
    option("chardev", format!("socket,id=agent,path={},server=on,wait=off", escaped(&sockets.agent)));
    option("device", format!("virtserialport,bus=serial.0,chardev=agent,name={PORT}"));
    let root = json!({"driver": "file", "filename": config.image.root, "node-name": "root-file", "read-only": true});
    let root = json!({"driver": "raw", "file": root, "node-name": "root", "read-only": true});
    option("blockdev", json_argument(&root));
    option("device", format!("virtio-blk-pci,drive=root,serial={ROOT_SERIAL},addr=0x4"));
    let disks = [(&config.target, TARGET_NODE, TARGET_SERIAL, "0x5"), (&config.work, WORK_SERIAL, WORK_SERIAL, "0x7")];
    let disks = disks.into_iter().filter_map(|(disk, node, serial, slot)| Some((disk.as_ref()?, node, serial, slot)));
    if disks.clone().any(|(disk, ..)| disk.iothread) {
        option("object", "iothread,id=io".into());
    }
    for (disk, node, serial, slot) in disks {
        let iothread = if disk.iothread { ",iothread=io" } else { "" };
        option("blockdev", json_argument(&blockdev(disk, node)));
        let write_cache = if matches!(disk.cache.as_str(), "directsync" | "writethrough") { "off" } else { "on" };
        option(
            "device",
            format!("virtio-blk-pci,drive={node},serial={serial},addr={slot},write-cache={write_cache}{iothread}"),
        );
    }
    if let Some(tap) = &config.network {
        let vhost = if tap.vhost { "on" } else { "off" };
        option("netdev", format!("tap,id=net,ifname={},script=no,downscript=no,vhost={vhost}", tap.name));
        // Without a boot ROM: the guest does not boot from the network, and the file may not be installed.
        option("device", "virtio-net-pci,netdev=net,addr=0x6,romfile=".into());
    }
    argv.retain(|argument| !argument.is_empty());
    argv
}

/// A comma in the value of an option is written twice.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

fn command_line(config: &Config) -> String {
    let mut words = vec!["console=ttyS0", "panic=-1", "quiet", "loglevel=1", "random.trust_cpu=on", MARK];
    let by_tcg = config.accelerator == Accelerator::Tcg;
    if by_tcg {
        // Emulated counters of several CPUs are in step, but the kernel cannot know and would take a slow clock.
        words.extend(["tsc=reliable", "no_timer_check"]);
    }
    if by_tcg || config.emulated_host {
        // While it boots on several CPUs it patches its own code, of which QEMU before 8.1 may execute the former for ever (QEMU's
        // commits cb62bd15e14e and deba78709ae8; about one boot in 200 on a busy machine): `/init` starts the other CPUs.
        words.push("maxcpus=1");
    }
    if config.target.is_some() {
        words.push("bench.target");
    }
    if config.work.is_some() {
        words.push("bench.work");
    }
    let mitigations = config.mitigations.as_ref().map(|value| format!("mitigations={value}"));
    words.into_iter().map(str::to_owned).chain(mitigations).collect::<Vec<_>>().join(" ")
}

/// A disk's block device: raw, and with the flags that QEMU's cache modes stand for (qemu-block-drivers(7)).
fn blockdev(disk: &Disk, node: &str) -> Value {
    let direct = disk.is_direct();
    let no_flush = disk.cache == "unsafe";
    let cache = json!({"direct": direct, "no-flush": no_flush});
    let file = json!({
        "driver": if disk.is_device { "host_device" } else { "file" },
        "filename": disk.path,
        "node-name": format!("{node}-file"),
        "aio": disk.aio,
        "cache": cache,
        // Several guests of one block hold it open; the plan lets only one of them work.
        "locking": "off",
    });
    json!({"driver": "raw", "node-name": node, "size": disk.size_bytes, "cache": cache, "file": file})
}

/// `io_uring` where this QEMU and this kernel have it, else `native`: found out by opening a file so, QEMU's own.
pub fn detect_aio(qemu: &Path) -> &'static str {
    let works = || {
        let drive =
            json!({"driver": "file", "filename": qemu, "read-only": true, "node-name": "probe", "aio": "io_uring"});
        let mut child = Command::new(qemu)
            .args([
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-machine",
                "none",
                "-qmp",
                "stdio",
                "-blockdev",
            ])
            .arg(drive.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let quit = b"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"quit\"}\n";
        drop(child.stdin.take().map(|mut stdin| std::io::Write::write_all(&mut stdin, quit)));
        child.wait().ok().filter(|status| status.success())
    };
    if works().is_some() { "io_uring" } else { "native" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            qemu: "/usr/bin/qemu-system-x86_64".into(),
            accelerator: Accelerator::Tcg,
            cpus: 2,
            memory_bytes: 1 << 30,
            image: Image {
                kernel: "/cache/vmlinuz".into(),
                kernel_release: "6.1.0".into(),
                initramfs: "/cache/initramfs.cpio".into(),
                root: "/cache/root.ext4".into(),
                digest: "abc".into(),
            },
            target: Some(Disk {
                path: "/srv/a,b/target".into(),
                is_device: false,
                size_bytes: 1 << 26,
                cache: "none".into(),
                aio: "io_uring".into(),
                iothread: true,
            }),
            work: None,
            network: None,
            emulated_host: false,
            mitigations: Some("off".into()),
            runtime_dir: "/run/bench,1".into(),
        }
    }

    /// `BLESS=1 cargo test -p bench-vm` writes the golden files anew.
    fn golden(name: &str, config: &Config) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let text = argv(config).join("\n") + "\n";
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{name}");
    }

    #[test]
    fn the_arguments_are_the_golden_ones() {
        golden("tcg-file.argv", &config());
        let device = Disk {
            path: "/dev/nvme1n1".into(),
            is_device: true,
            aio: "native".into(),
            cache: "directsync".into(),
            iothread: false,
            size_bytes: 1 << 30,
        };
        golden(
            "kvm-device.argv",
            &Config { accelerator: Accelerator::Kvm, target: Some(device), mitigations: None, ..config() },
        );
        golden("no-target.argv", &Config { target: None, ..config() });
        let tap = Tap { name: "port0".into(), vhost: true };
        let work = Disk { path: "/srv/a,b/work".into(), ..config().target.unwrap() };
        golden("work.argv", &Config { target: None, work: Some(work), ..config() });
        golden("network.argv", &Config { target: None, network: Some(tap), ..config() });
    }

    #[test]
    fn what_qemu_would_take_apart_is_escaped() {
        let argv = argv(&config()).join("\n");
        assert!(argv.contains("path=/run/bench,,1/qmp"));
        assert!(argv.contains(r#""filename":"/srv/a,b/target""#));
    }
}
