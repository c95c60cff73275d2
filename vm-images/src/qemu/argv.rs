//! From a guest to QEMU's arguments, by pure functions (qemu(1)).

use std::path::Path;

use serde_json::{Value, json};

use super::{CONTROL, MachineType, Qemu, TARGET_NODE};
use crate::guest::{MARK, PORT, ROOT_SERIAL, TARGET_SERIAL, WORK_SERIAL};
use crate::vmm::{Accelerator, Disk, Guest, Tap};

/// Program and arguments.
pub(super) fn argv(qemu: &Qemu, guest: &Guest, agent: &Path, has_control: bool) -> Vec<String> {
    let mut arguments = Arguments { machine: qemu.machine, argv: vec![qemu.program.display().to_string()] };
    arguments.machine(guest);
    arguments.kernel(guest);
    // Whoever starts it reads the console, and limits what is kept of it.
    arguments.option("chardev", "file,id=console,path=/dev/stdout".into());
    arguments.option("serial", "chardev:console".into());
    match has_control {
        true => arguments.control(&guest.runtime_dir.join(CONTROL)),
        false => arguments.option("name", "guest,debug-threads=on".into()),
    }
    arguments.agent(agent);
    arguments.root(&guest.image.root);
    arguments.disks(guest);
    if let Some(tap) = &guest.network {
        arguments.network(tap);
    }
    arguments.argv
}

/// Arguments that grow.
struct Arguments {
    machine: MachineType,
    argv: Vec<String>,
}

impl Arguments {
    fn switch(&mut self, name: &str) {
        self.argv.push(format!("-{name}"));
    }

    fn option(&mut self, name: &str, value: String) {
        self.argv.extend([format!("-{name}"), value]);
    }

    /// A virtio device with what names it; at a slot where the machine has slots.
    fn device(&mut self, kind: &str, named: &str, slot: u8, more: &str) {
        let device = match self.machine {
            MachineType::Q35 => format!("virtio-{kind}-pci,{named},addr={slot:#x}{more}"),
            MachineType::Microvm => format!("virtio-{kind}-device,{named}{more}"),
        };
        self.option("device", device);
    }

    fn machine(&mut self, guest: &Guest) {
        ["nodefaults", "no-user-config", "no-reboot"].into_iter().for_each(|name| self.switch(name));
        self.option("display", "none".into());
        self.option("machine", self.machine.options().into());
        let (accelerator, cpu) = match guest.accelerator {
            Accelerator::Kvm => ("kvm", "host"),
            Accelerator::Tcg => ("tcg,thread=multi", "max"),
        };
        self.option("accel", accelerator.into());
        self.option("cpu", cpu.into());
        self.option("smp", guest.cpus.to_string());
        self.option("m", format!("{}M", guest.memory_bytes >> 20));
        // Shared memory is accounted as such: the guest's RAM can be told from QEMU's own memory.
        let ram = json!({"qom-type": "memory-backend-memfd", "id": "ram", "size": guest.memory_bytes, "share": true});
        self.option("object", json_argument(&ram));
        if self.machine == MachineType::Microvm {
            // As PCI devices are: by the virtio standard, and not as before it.
            self.option("global", "virtio-mmio.force-legacy=false".into());
        }
    }

    fn kernel(&mut self, guest: &Guest) {
        self.option("kernel", guest.image.kernel.display().to_string());
        self.option("initrd", guest.image.initramfs.display().to_string());
        self.option("append", command_line(self.machine, guest));
    }

    fn control(&mut self, socket: &Path) {
        self.option("chardev", format!("socket,id=qmp,path={},server=on,wait=off", escaped(socket)));
        self.option("mon", "chardev=qmp,mode=control".into());
    }

    fn agent(&mut self, socket: &Path) {
        self.device("serial", "id=serial", 3, "");
        self.option("chardev", format!("socket,id=agent,path={},server=on,wait=off", escaped(socket)));
        self.option("device", format!("virtserialport,bus=serial.0,chardev=agent,name={PORT}"));
    }

    fn root(&mut self, image: &Path) {
        let root = json!({"driver": "file", "filename": image, "node-name": "root-file", "read-only": true});
        let root = json!({"driver": "raw", "file": root, "node-name": "root", "read-only": true});
        self.option("blockdev", json_argument(&root));
        self.device("blk", &format!("drive=root,serial={ROOT_SERIAL}"), 4, "");
    }

    fn disks(&mut self, guest: &Guest) {
        let disks = [(&guest.target, TARGET_NODE, TARGET_SERIAL, 5), (&guest.work, WORK_SERIAL, WORK_SERIAL, 7)];
        let disks =
            disks.into_iter().filter_map(|(disk, node, serial, slot)| Some((disk.as_ref()?, node, serial, slot)));
        if disks.clone().any(|(disk, ..)| disk.iothread) {
            self.option("object", "iothread,id=io".into());
        }
        for (disk, node, serial, slot) in disks {
            let iothread = if disk.iothread { ",iothread=io" } else { "" };
            self.option("blockdev", json_argument(&blockdev(disk, node)));
            let write_cache = if matches!(disk.cache.as_str(), "directsync" | "writethrough") { "off" } else { "on" };
            let more = format!(",write-cache={write_cache}{iothread}");
            self.device("blk", &format!("drive={node},serial={serial}"), slot, &more);
        }
    }

    fn network(&mut self, tap: &Tap) {
        let vhost = if tap.vhost { "on" } else { "off" };
        self.option("netdev", format!("tap,id=net,ifname={},script=no,downscript=no,vhost={vhost}", tap.name));
        // Without a boot ROM: the guest does not boot from the network, and the file may not be installed.
        let rom = if self.machine == MachineType::Q35 { ",romfile=" } else { "" };
        self.device("net", "netdev=net", 6, rom);
    }
}

/// A JSON value as an argument: no escaping of commas and equals signs.
fn json_argument(value: &Value) -> String {
    value.to_string()
}

/// A comma in the value of an option is written twice.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

fn command_line(machine: MachineType, guest: &Guest) -> String {
    let mut words = vec!["console=ttyS0", "panic=-1", "quiet", "loglevel=1", "random.trust_cpu=on", MARK];
    let by_tcg = guest.accelerator == Accelerator::Tcg;
    if by_tcg {
        // Emulated counters of several CPUs are in step, but the kernel cannot know and would take a slow clock.
        words.extend(["tsc=reliable", "no_timer_check"]);
    }
    if by_tcg || guest.emulated_host {
        // While it boots on several CPUs it patches its own code, of which QEMU before 8.1 may execute the former for ever (QEMU's
        // commits cb62bd15e14e and deba78709ae8; about one boot in 200 on a busy machine): `/init` starts the other CPUs.
        words.push("maxcpus=1");
    }
    if guest.target.is_some() {
        words.push("bench.target");
    }
    if guest.work.is_some() {
        words.push("bench.work");
    }
    // There is no timer but the PIT, by which a kernel finds the speed of the counter only where nothing else keeps QEMU from its CPU;
    // without, it waits for ever. Linux before 5.9 does not know the word.
    let is_told = by_tcg && machine == MachineType::Microvm;
    let speed = is_told.then(|| format!("tsc_early_khz={}", guest.tsc_khz));
    let mitigations = guest.mitigations.as_ref().map(|value| format!("mitigations={value}"));
    words.into_iter().map(str::to_owned).chain(speed).chain(mitigations).collect::<Vec<_>>().join(" ")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;
    use crate::vmm::Vmm;

    fn qemu(machine: MachineType) -> Qemu {
        Qemu { program: "/usr/bin/qemu-system-x86_64".into(), machine }
    }

    fn guest() -> Guest {
        Guest {
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
            tsc_khz: 2_400_000,
            mitigations: Some("off".into()),
            runtime_dir: "/run/bench,1".into(),
        }
    }

    /// `BLESS=1 cargo test -p bench-vm` writes the golden files anew.
    fn golden(name: &str, machine: MachineType, guest: &Guest) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let text = qemu(machine).launch(guest).argv.join("\n") + "\n";
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{name}");
    }

    #[test]
    fn the_arguments_are_the_golden_ones() {
        use MachineType::{Microvm, Q35};
        golden("tcg-file.argv", Q35, &guest());
        let device = Disk {
            path: "/dev/nvme1n1".into(),
            is_device: true,
            aio: "native".into(),
            cache: "directsync".into(),
            iothread: false,
            size_bytes: 1 << 30,
        };
        let kvm = Guest { accelerator: Accelerator::Kvm, target: Some(device), mitigations: None, ..guest() };
        golden("kvm-device.argv", Q35, &kvm);
        golden("no-target.argv", Q35, &Guest { target: None, ..guest() });
        let tap = Tap { name: "port0".into(), vhost: true };
        let work = Disk { path: "/srv/a,b/work".into(), ..guest().target.unwrap() };
        golden("work.argv", Q35, &Guest { target: None, work: Some(work), ..guest() });
        golden("network.argv", Q35, &Guest { target: None, network: Some(tap.clone()), ..guest() });
        let disk = Disk { iothread: false, ..guest().target.unwrap() };
        golden("microvm-tcg.argv", Microvm, &Guest { target: Some(disk), ..guest() });
        golden("microvm-kvm.argv", Microvm, &Guest { network: Some(tap), ..kvm });
    }

    #[test]
    fn what_qemu_would_take_apart_is_escaped() {
        let argv = qemu(MachineType::Q35).launch(&guest()).argv.join("\n");
        assert!(argv.contains("path=/run/bench,,1/qmp"));
        assert!(argv.contains(r#""filename":"/srv/a,b/target""#));
    }

    #[test]
    fn a_microvm_has_no_pci() {
        let argv = qemu(MachineType::Microvm).launch(&guest()).argv.join("\n");
        assert!(!argv.contains("-pci") && !argv.contains("addr=") && argv.contains("acpi=on"), "{argv}");
    }
}
