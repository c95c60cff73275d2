//! A test host: a complete Debian in QEMU under TCG, whose emulated CPU has SVM: KVM in it is real, and only speed is not.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};

/// A boot of the host itself, on a machine that is busy with other things.
const BOOT: Duration = Duration::from_secs(240);
/// Room for the results.
const RESULTS_BYTES: u64 = 512 << 20;
/// Everything that is executed in a host.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hosts");

/// Which Debian, and what is in it.
pub struct Host {
    /// Name for people, and of its folders.
    pub name: &'static str,
    /// Of Debian.
    pub suite: &'static str,
    /// Beside what every host has.
    pub packages: &'static [&'static str],
    /// On the kernel's command line.
    pub init: &'static str,
}

/// What every host has: a stock kernel, and what `bench doctor --install` would install.
const PACKAGES: [&str; 14] = [
    "linux-image-amd64",
    "initramfs-tools",
    "kmod",
    "fio",
    "iperf3",
    "qemu-system-x86",
    "nftables",
    "busybox-static",
    "e2fsprogs",
    "xz-utils",
    "zstd",
    "iproute2",
    "procps",
    "util-linux",
];

/// A part of what is done in a host.
pub struct Part {
    /// Its name, and of its folder of results.
    pub name: &'static str,
    /// Script in `parts`, and its words.
    pub script: &'static str,
    /// How long it may take.
    pub seconds: u64,
}

impl Host {
    /// Boot it, do these parts, and return the folder of what came out: one folder for each part.
    pub fn run(&self, parts: &[&Part], programs: &[(&str, &Path)]) -> PathBuf {
        let image = self.image();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hosts").join(self.name);
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        let (input, results) = (folder.join("input.tar"), folder.join("results.tar"));
        write_input(&folder, &input, parts, programs);
        File::create(&results).unwrap().set_len(RESULTS_BYTES).unwrap();
        let console = folder.join("console.log");
        let deadline = BOOT + Duration::from_secs(parts.iter().map(|part| part.seconds).sum());
        eprintln!("{}: booting; its console is {}", self.name, console.display());
        let qemu = self.qemu(&image, &folder).stdout(Stdio::piped()).spawn().unwrap();
        watch(self.name, qemu, &console, deadline);
        let out = folder.join("out");
        fs::create_dir(&out).unwrap();
        let unpacked = Command::new("tar").arg("-C").arg(&out).arg("-xf").arg(&results).output().unwrap();
        assert!(unpacked.status.success(), "{}: no results: see {}", self.name, console.display());
        fs::remove_file(input).unwrap();
        fs::remove_file(results).unwrap();
        out
    }

    /// Its root and kernel.
    fn image(&self) -> PathBuf {
        let packages: Vec<_> = PACKAGES.iter().chain(self.packages).copied().collect();
        installed(self.name, self.suite, Path::new(FOLDER).join("init.sh").to_str().unwrap(), &packages)
    }

    /// QEMU in its own tree: everything that it opens is below `cache` or `folder`, which are there under the same names.
    fn qemu(&self, image: &Path, folder: &Path) -> Command {
        // Emulated counters are in step: without `tsc=reliable` the host would take a slow clock.
        let line = format!("root=/dev/vda rw console=ttyS0 panic=-1 quiet tsc=reliable {}", self.init);
        let emulator = emulator();
        let mut qemu = Command::new("unshare");
        qemu.args(["--mount", "sh", "-euc", IN_TREE, "sh"]).args([&emulator, image, folder]);
        qemu.args("-nodefaults -no-user-config -no-reboot -display none -machine q35".split(' '));
        qemu.args("-accel tcg,thread=multi -cpu max -smp 2 -m 4G -serial stdio".split(' '));
        qemu.arg("-kernel")
            .arg(image.join("vmlinuz"))
            .arg("-initrd")
            .arg(image.join("initrd"))
            .args(["-append", &line]);
        // The root is thrown away with all that was written to it.
        for (path, flags) in [
            (image.join("root.ext4"), "snapshot=on,cache=unsafe"),
            (folder.join("input.tar"), "readonly=on"),
            (folder.join("results.tar"), "cache=writeback"),
        ] {
            qemu.arg("-drive").arg(format!("if=virtio,format=raw,{flags},file={}", path.display()));
        }
        qemu.stdin(Stdio::null());
        // A host does not outlive a test that is killed.
        // SAFETY: the hook makes one system call and allocates nothing.
        unsafe { qemu.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
        qemu
    }
}

/// Enter the tree $1 with the folders $2 and $3 in it, and become QEMU with the other words.
const IN_TREE: &str = "for folder in \"$2\" \"$3\"; do mkdir -p \"$1$folder\"; mount --bind \"$folder\" \"$1$folder\"; done; \
    tree=$1; shift 3; exec chroot \"$tree\" qemu-system-x86_64 \"$@\"";

/// A tree with the emulator: QEMU before 8.1, as Debian 12 has it, may execute a breakpoint for ever that a kernel used for a moment to
/// patch its own code (QEMU's commits cb62bd15e14e and deba78709ae8). A host patches itself at each static key: under 7.2 one stood
/// still with `soft lockup` after 11 minutes.
fn emulator() -> PathBuf {
    installed("emulator", "trixie", "-", &["qemu-system-x86"]).join("tree")
}

/// Hosts that are tested side by side share the emulator: one of them installs it.
static INSTALLING: Mutex<()> = Mutex::new(());

/// What `build.sh` installs, from the cache where it is there: it depends on the list of packages and on the scripts.
fn installed(name: &str, suite: &str, init: &str, packages: &[&str]) -> PathBuf {
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = std::env::var_os("BENCH_HOSTS_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/bench-test-hosts"),
        PathBuf::from,
    );
    let scripts = ["build.sh", "init.sh"].map(|name| fs::read_to_string(Path::new(FOLDER).join(name)).unwrap());
    let key = Sha256::digest(format!("{suite} {packages:?} {scripts:?}"));
    let key: String = key.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let home = cache.join(format!("{name}-{key}"));
    if home.exists() {
        return home;
    }
    fs::create_dir_all(&cache).unwrap();
    let new = tempfile::tempdir_in(&cache).unwrap();
    eprintln!("{name}: installing Debian {suite} into {}", home.display());
    let mut build = Command::new("sh");
    build.arg(Path::new(FOLDER).join("build.sh")).arg(new.path()).args([suite, init]).args(packages);
    let status = build.status().unwrap();
    assert!(status.success(), "{name}: building it failed: {status}");
    // An outdated one is never used again.
    let others = fs::read_dir(&cache).unwrap().flatten();
    let others = others.filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{name}-")));
    others.for_each(|entry| fs::remove_dir_all(entry.path()).unwrap());
    fs::rename(new.keep(), &home).unwrap();
    home
}

/// A tar archive of `in/`: the scripts, the list of parts, and programs under other names.
fn write_input(folder: &Path, archive: &Path, parts: &[&Part], programs: &[(&str, &Path)]) {
    let staged = folder.join("in");
    fs::create_dir(&staged).unwrap();
    fs::copy(Path::new(FOLDER).join("main.sh"), staged.join("main.sh")).unwrap();
    for script in fs::read_dir(Path::new(FOLDER).join("parts")).unwrap().flatten() {
        fs::copy(script.path(), staged.join(script.file_name())).unwrap();
    }
    for (name, path) in programs {
        // Symbols only take time to copy in an emulated machine.
        let stripped = Command::new("strip").arg("-o").arg(staged.join(name)).arg(path).status();
        assert!(stripped.unwrap().success(), "{}", path.display());
    }
    let line = |part: &&Part| format!("{} {} {}\n", part.name, part.seconds, part.script);
    fs::write(staged.join("parts"), parts.iter().map(line).collect::<String>()).unwrap();
    let packed = Command::new("tar").arg("-C").arg(folder).arg("-cf").arg(archive).arg("in").status().unwrap();
    assert!(packed.success());
    fs::remove_dir_all(staged).unwrap();
}

/// Keep the console, tell of each part, and end it when its time is over.
fn watch(name: &str, mut qemu: Child, console: &Path, deadline: Duration) {
    let began = Instant::now();
    let output = qemu.stdout.take().unwrap();
    let (name, path) = (name.to_owned(), console.to_owned());
    let reader = std::thread::spawn(move || {
        let mut file = File::create(path).unwrap();
        let mut lines = BufReader::new(output);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            std::io::Write::write_all(&mut file, &line).unwrap();
            let text = String::from_utf8_lossy(&line);
            if let Some((_, news)) = text.split_once("host: ") {
                eprintln!("{name}: {}", news.trim());
            }
            line.clear();
        }
    });
    while qemu.try_wait().unwrap().is_none() {
        if began.elapsed() > deadline {
            qemu.kill().unwrap();
            qemu.wait().unwrap();
            eprintln!("ended after {} s: it did not power off", deadline.as_secs());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    reader.join().unwrap();
}
