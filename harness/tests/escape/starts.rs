//! Starts of containers from hostile root folders: each is started, and what lies outside must be as before. What is attacked is the
//! starter, which is root on the host while it follows paths that the maker of the folder laid.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::hostile::{Expected, Start, starts};

/// With the host's ids, and with others.
pub const VARIANTS: [&str; 2] = ["", "--userns"];

/// What the shell of a root looks for, and says: `REACHED` for what must not be reached, `LACKS` for what a container must have,
/// and `WELL` at the end.
pub const LOOK: &str = r#"
reach() { echo "REACHED $*"; }
for up in . .. ../.. ../../../../../../../../../../.. /.. /../..; do
  for file in "$MARKER" /marker; do [ -e "$up$file" ] && reach "$up$file"; done
done
for file in sys/kernel/core_pattern sys/kernel/modprobe sysrq-trigger irq/default_smp_affinity; do
  [ -e /proc/$file ] && (: >>/proc/$file) 2>/dev/null && reach "/proc/$file for writing"
done
for file in keys timer_list interrupts kcore; do
  [ -n "$(busybox head -c 1 /proc/$file 2>/dev/null)" ] && reach "/proc/$file"
done
(: >/escape) 2>/dev/null && reach "the root for writing"
n=3; while [ $n -lt 24 ]; do [ -d /proc/self/fd/$n/. ] && reach "a folder by descriptor $n"; n=$((n+1)); done
mounts() { busybox cat /proc/self/mountinfo 2>/dev/null; }
roots=$(mounts | while read -r id parent device root point rest; do [ "$point" = / ] && echo $id; done | busybox wc -l)
[ "$roots" -gt 1 ] && reach "$roots mounts at the root"
[ "$roots" -gt 0 ] || echo LACKS mounts
[ -n "$(busybox head -c 1 /proc/kallsyms 2>/dev/null)" ] && reach /proc/kallsyms
[ -d /proc/1/task ] || echo LACKS /proc
[ -d /sys/kernel ] || echo LACKS /sys
[ -c /dev/null ] && [ -d /dev/pts ] && [ -e /dev/ptmx ] || echo LACKS /dev
(: >/tmp/x) 2>/dev/null || echo LACKS /tmp
echo WELL
"#;

/// Where one start happens: all of it is new each time.
pub struct Ground {
    /// The root folder, with a shell in it.
    pub root: PathBuf,
    /// A folder of the host that must stay as it is.
    pub outside: PathBuf,
    /// Folders and a file of the host that may be given as volumes; `given` may be written to.
    pub given: PathBuf,
    pub read_only: PathBuf,
    pub file: PathBuf,
}

impl Ground {
    pub fn make(folder: &Path) -> io::Result<Ground> {
        let at = |name: &str| folder.join(name);
        let ground = Ground {
            root: at("root"),
            outside: at("outside"),
            given: at("given"),
            read_only: at("read-only"),
            file: at("file"),
        };
        for folder in [&ground.outside, &ground.given, &ground.read_only] {
            fs::create_dir(folder)?;
        }
        fs::create_dir_all(ground.root.join("bin"))?;
        for folder in ["proc", "sys", "dev", "tmp", "mnt"] {
            fs::create_dir(ground.root.join(folder))?;
        }
        let busybox = folder.parent().unwrap_or(folder).join("busybox");
        fs::hard_link(&busybox, ground.root.join("bin/busybox"))?;
        fs::hard_link(&busybox, ground.outside.join("cat"))?;
        symlink("busybox", ground.root.join("bin/sh"))?;
        for folder in ["x", "pts", "shm", "mqueue", "kcore"] {
            fs::create_dir(ground.outside.join(folder))?;
        }
        for file in [ground.outside.join("marker"), ground.read_only.join("kept"), ground.file.clone()] {
            fs::write(file, "kept")?;
        }
        Ok(ground)
    }

    /// A path of the host with as many steps up before it as lead to any root.
    pub fn climbing(&self) -> String {
        format!("{}{}", "../".repeat(24), self.outside.display().to_string().trim_start_matches('/'))
    }

    fn fill(&self, text: &str) -> String {
        let places = [
            ("{outside}", &self.outside),
            ("{given}", &self.given),
            ("{read-only}", &self.read_only),
            ("{file}", &self.file),
        ];
        let text = text.replace("{climbing}", &self.climbing());
        places.iter().fold(text, |text, (name, path)| text.replace(name, &path.display().to_string()))
    }

    /// All that must stay as it is.
    pub fn kept(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        for folder in [&self.outside, &self.read_only] {
            look_below(folder, &mut found);
        }
        for folder in ["/", "/dev"] {
            found.extend(names(Path::new(folder)).map(|path| (path, String::new())));
        }
        let pattern = PathBuf::from("/proc/sys/kernel/core_pattern");
        found.insert(pattern.clone(), fs::read_to_string(pattern).unwrap_or_default());
        found
    }
}

fn names(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn look_below(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for path in names(folder) {
        let Ok(metadata) = path.symlink_metadata() else { continue };
        let is_read = metadata.is_file() && metadata.len() < 4096;
        let content = if is_read { fs::read(&path).unwrap_or_default() } else { Vec::new() };
        let (mode, owner, length) = (metadata.mode(), metadata.uid(), metadata.len());
        found.insert(path.clone(), format!("{mode:o} {owner} {length} {}", String::from_utf8_lossy(&content)));
        if metadata.is_dir() {
            look_below(&path, found);
        }
    }
}

/// Every setting of the kernel but those that change by themselves.
pub fn settings() -> BTreeMap<PathBuf, String> {
    const BY_THEMSELVES: [&str; 17] = [
        "random",
        "ns_last_pid",
        "pty",
        "dentry-state",
        "inode-nr",
        "inode-state",
        "file-nr",
        "aio-nr",
        "quota",
        "perf_event_max_sample_rate",
        "nf_conntrack_count",
        "epoll",
        "keys",
        "stat_refresh",
        "cad_pid",
        "conf",
        "neigh",
    ];
    let (mut found, mut folders) = (BTreeMap::new(), vec![PathBuf::from("/proc/sys")]);
    while let Some(folder) = folders.pop() {
        for path in names(&folder) {
            let Ok(metadata) = path.symlink_metadata() else { continue };
            let is_steady = path.iter().all(|part| !BY_THEMSELVES.iter().any(|name| part == *name));
            match metadata.is_dir() {
                _ if !is_steady => {}
                true => folders.push(path),
                false if metadata.mode() & 0o444 != 0 => {
                    let text = fs::read_to_string(&path).unwrap_or_default();
                    drop(found.insert(path, text));
                }
                false => {}
            }
        }
    }
    found
}

/// One copy for all root folders.
pub fn copy_busybox(folder: &Path) -> io::Result<()> {
    let found = ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|path| Path::new(path).is_file());
    fs::copy(found.unwrap_or("/bin/busybox"), folder.join("busybox")).map(drop)
}

/// How much is tried: an emulated guest is slow.
pub struct Effort {
    /// Starts while another thread exchanges parts of the root folder.
    pub races: usize,
    /// Each how many-th start, and of those that differ in a number only each how many-th again.
    pub every: usize,
}

impl Effort {
    /// How many lines come of it.
    pub fn lines(&self) -> usize {
        VARIANTS.len() * starts().len().div_ceil(self.every) + 1
    }
}

/// Start everything, in a folder of its own each; a line for each.
pub fn all(folder: &Path, bench: &Path, effort: &Effort) -> io::Result<()> {
    fs::create_dir(folder)?;
    copy_busybox(folder)?;
    let before = settings();
    for variant in VARIANTS {
        println!("## start {variant}");
        for (number, start) in starts().iter().step_by(effort.every).enumerate() {
            let place = folder.join(format!("{}{number}", variant.trim_start_matches('-')));
            fs::create_dir(&place)?;
            let (verdict, text) = tried(start, &Ground::make(&place)?, bench, variant, effort);
            println!("{verdict} {}: {}", start.name, text.replace('\n', " "));
            fs::remove_dir_all(&place)?;
        }
    }
    let (after, name) = (settings(), "change a setting of the kernel");
    match before.iter().find(|(path, text)| after.get(*path).is_some_and(|now| now != *text)) {
        Some((path, text)) => println!("ESCAPED {name}: {} was {text:?}", path.display()),
        None => println!("stopped {name}: {} settings are as before", before.len()),
    }
    Ok(())
}

/// `stopped` or started as it should, `ESCAPED`, or `BROKEN`: neither; and what is to be said of it.
fn tried(start: &Start, ground: &Ground, bench: &Path, variant: &str, effort: &Effort) -> (&'static str, String) {
    if let Err(e) = (start.make)(ground) {
        return ("BROKEN", format!("making it: {e}"));
    }
    let before = ground.kept();
    let mut last = ("BROKEN", "nothing was started".to_owned());
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        if let Some(race) = start.race {
            let ends = &ends;
            scope.spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    race(ground);
                }
            });
        }
        let times = if start.race.is_some() { effort.races } else { 1 };
        for arguments in (0..times).flat_map(|_| start.arguments.iter().step_by(effort.every)) {
            last = match run(start, ground, bench, &format!("{variant} {arguments}")) {
                Ok(output) => judge(start, &output),
                Err(e) => ("BROKEN", format!("starting it: {e}")),
            };
            if last.0 != "stopped" {
                break;
            }
        }
        ends.store(true, Ordering::Relaxed);
    });
    let after = ground.kept();
    let changed = before.iter().find(|(path, text)| after.get(*path) != Some(text)).map(|(path, _)| path);
    let made = after.keys().find(|path| !before.contains_key(*path));
    match changed.or(made) {
        Some(path) => ("ESCAPED", format!("{} is not as before; {}", path.display(), last.1)),
        None => last,
    }
}

fn run(start: &Start, ground: &Ground, bench: &Path, arguments: &str) -> io::Result<Output> {
    let mut command = Command::new(bench);
    // The filter of system calls would hide what else stops them.
    command.args(["container", "run", "--seccomp", "unconfined", "--rootfs"]).arg(&ground.root);
    command.args(arguments.split_whitespace().map(|word| ground.fill(word)));
    command.arg("-e").arg(format!("MARKER={}", ground.outside.join("marker").display())).arg("--");
    match start.command {
        [] => command.args(["/bin/sh", "-c", LOOK]),
        words => command.args(words.iter().map(|word| ground.fill(word))),
    };
    command.stdin(Stdio::null()).output()
}

/// What came of one start: it must not have reached anything, and either have begun well or be refused with a reason.
fn judge(start: &Start, output: &Output) -> (&'static str, String) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let err = err.lines().filter(|line| !line.contains("--userns")).collect::<Vec<_>>().join(" ");
    if let Some(line) = out.lines().find(|line| line.contains("REACHED")) {
        return ("ESCAPED", line.to_owned());
    }
    let status = output.status.code().unwrap_or(-1);
    let refused = (125..=127).contains(&status) && err.contains("bench: ");
    // Who may exchange parts of a running container's root folder can hide from it what is mounted there.
    let lacks = start.race.is_none() && out.lines().any(|line| line.starts_with("LACKS"));
    let well = status == 0 && out.lines().last() == Some("WELL") && !lacks;
    // Without overlayfs, which our guest's kernel does not load, nothing is mounted where the root folder has no place for it.
    let no_layer = refused && err.contains("laying a layer over") && err.contains("No such device");
    let as_expected = match start.expected {
        _ if no_layer => true,
        Expected::Well => well,
        Expected::Refused(named) => refused && err.contains(named),
        Expected::Either => well || refused,
    };
    let ran_all_the_same = status == 0 && matches!(start.expected, Expected::Refused(_));
    let said = if well { "it started well".to_owned() } else { format!("status {status}: {err} {out}") };
    let verdict = match as_expected {
        true => "stopped",
        false if ran_all_the_same => "ESCAPED",
        false => "BROKEN",
    };
    (verdict, said)
}
