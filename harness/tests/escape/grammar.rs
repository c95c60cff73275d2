//! Small root folders and options drawn from a grammar, and starts of containers from them. Nothing outside may change, nothing may be
//! reached, and each start ends as one may end.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::hostile::{device, file, pipe, program, socket};
use crate::starts::{Ground, LOOK, copy_busybox, settings};

/// Printed, and the same every time: a start that failed can be tried again by its number.
const SEED: u64 = 0x2024_2162;
/// How long one may take, on any machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// Names that a start looks at, and others.
const NAMES: [&str; 12] = ["proc", "sys", "dev", "tmp", "mnt", "work", "vol", "etc", "bin", "a", "dev/pts", "sys/fs"];

/// Start this many containers; what was reached, one line each.
pub fn fuzz(folder: &Path, bench: &Path, starts: usize) -> io::Result<Vec<String>> {
    fs::create_dir(folder)?;
    copy_busybox(folder)?;
    let (before, mut found, mut ran) = (settings(), Vec::new(), 0);
    for number in 0..starts {
        let place = folder.join(number.to_string());
        fs::create_dir(&place)?;
        let mut draw = Draw(ChaCha8Rng::seed_from_u64(SEED + number as u64));
        let ground = Ground::make(&place)?;
        draw.tree(&ground)?;
        let arguments = draw.arguments(&ground);
        let kept = ground.kept();
        let output = run(&ground, bench, &arguments)?;
        ran += usize::from(output.status.success());
        let changed = if ground.kept() == kept { None } else { Some("something outside changed") };
        if let Some(what) = changed.or_else(|| wrong(&output)) {
            let text =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            found.push(format!("start {number} of seed {SEED:#x}: {what}: {arguments:?}: {}: {text}", output.status));
        }
        fs::remove_dir_all(&place)?;
    }
    let after = settings();
    let changed = before.iter().filter(|(path, text)| after.get(*path).is_some_and(|now| now != *text));
    found.extend(changed.map(|(path, text)| format!("{} was {text:?}", path.display())));
    println!("random starts: {starts} of seed {SEED:#x}, {ran} of them ran, {} reached anything", found.len());
    Ok(found)
}

/// Why a start did not end as one may end.
fn wrong(output: &Output) -> Option<&'static str> {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let is_silent = err.lines().all(|line| line.contains("--userns") || line.contains("on the host; "));
    match output.status.code() {
        _ if out.contains("REACHED") => Some("something was reached"),
        _ if err.contains("panicked") => Some("it panicked"),
        Some(125..=127) if is_silent => Some("it was refused without a reason"),
        // 1: the program's own, that found no file.
        Some(0 | 1 | 125..=127) => None,
        _ => Some("it ended otherwise"),
    }
}

fn run(ground: &Ground, bench: &Path, arguments: &[String]) -> io::Result<Output> {
    let mut command = Command::new(bench);
    command.args(["container", "run", "--rootfs"]).arg(&ground.root).args(arguments);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let began = Instant::now();
    while child.try_wait()?.is_none() && began.elapsed() < DEADLINE {
        std::thread::sleep(Duration::from_millis(1));
    }
    // It does nothing to one that has ended; one that has not ends otherwise than it may.
    child.kill()?;
    child.wait_with_output()
}

/// False where a link that was made before leads elsewhere: who draws the tree must not write to the host either.
fn lies_in(root: &Path, path: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    path.parent().and_then(real).zip(real(root)).is_some_and(|(folder, root)| folder.starts_with(root))
}

/// The grammar, with its source of chance.
struct Draw(ChaCha8Rng);

impl Draw {
    fn one_in(&mut self, count: u32) -> bool {
        self.0.random_ratio(1, count)
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all.choose(&mut self.0).copied().unwrap_or_default()
    }

    /// A few entries of the root folder become others.
    fn tree(&mut self, ground: &Ground) -> io::Result<()> {
        for _ in 0..self.0.random_range(0..4) {
            let path = ground.root.join(self.of(&NAMES));
            if (!path.starts_with(ground.root.join("bin")) || self.one_in(4)) && lies_in(&ground.root, &path) {
                drop(fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)));
                self.entry(ground, &path);
            }
        }
        for name in ["trap", "link"] {
            self.entry(ground, &ground.root.join("bin").join(name));
        }
        Ok(())
    }

    /// Anything that a folder may have. What cannot be made (its folder is gone, or is a link out of the root folder by now) is not there.
    fn entry(&mut self, ground: &Ground, path: &Path) {
        let target = self.target(ground);
        if !lies_in(&ground.root, path) {
            return;
        }
        drop(match self.0.random_range(0..9) {
            0 => Ok(()),
            1 => fs::create_dir(path),
            2 => file(path),
            3 => pipe(path),
            4 => socket(path),
            5 => device(path),
            6 => program(path, &format!("#!{target}/cat\nREACHED\n")),
            _ => symlink(target, path),
        });
    }

    /// Where a link may lead.
    fn target(&mut self, ground: &Ground) -> String {
        let number = self.0.random_range(0..12);
        let start = match self.0.random_range(0..9) {
            0 => "/".to_owned(),
            1 => ground.outside.display().to_string(),
            2 => ground.climbing(),
            3 | 4 => format!("/proc/self/fd/{number}"),
            5 => format!("/proc/self/{}", self.of(&["root", "cwd", "exe", "fd", "task", "ns/mnt"])),
            6 => format!("/proc/1/{}", self.of(&["root", "cwd", "exe", "fd/3"])),
            7 => format!("/{}", self.of(&NAMES)),
            _ => self.of(&NAMES).to_owned(),
        };
        let end = match self.0.random_range(0..4) {
            0 => format!("/{}", ground.climbing()),
            1 => "/..".to_owned(),
            _ => String::new(),
        };
        start + &end
    }

    fn arguments(&mut self, ground: &Ground) -> Vec<String> {
        let mut all = vec!["-e".to_owned(), format!("MARKER={}", ground.outside.join("marker").display())];
        for option in
            ["--userns", "--init", "--net=host", "--time-offset=1h", "--pids=64", "--cap-add=MKNOD", "--verbose"]
        {
            if self.one_in(3) {
                all.push(option.to_owned());
            }
        }
        if !self.one_in(3) {
            all.push("--seccomp=unconfined".to_owned());
        }
        if self.one_in(3) {
            all.push(format!("-w={}", self.path(ground)));
        }
        if self.one_in(5) {
            all.push(format!("-e=PATH=/bin:{}", self.path(ground)));
        }
        for _ in 0..self.0.random_range(0..3) {
            let source = *[&ground.given, &ground.read_only, &ground.file].choose(&mut self.0).unwrap_or(&&ground.file);
            let is_writable = *source == ground.given && self.one_in(2);
            // A file over a hidden one could be read there.
            let target = match self.path(ground) {
                path if path.starts_with("/proc/") => "/proc/version".to_owned(),
                path => path,
            };
            let volume = format!("{}:{target}{}", source.display(), if is_writable { "" } else { ":ro" });
            all.extend(["-v".to_owned(), volume]);
        }
        all.push("--".to_owned());
        let command: &[&str] = match self.0.random_range(0..6) {
            0 => &["trap", "/bin/busybox"],
            1 => &["/bin/link"],
            _ => &["/bin/sh", "-c", LOOK],
        };
        all.extend(command.iter().map(|word| (*word).to_owned()));
        all
    }

    /// A path inside.
    fn path(&mut self, ground: &Ground) -> String {
        match self.0.random_range(0..6) {
            0 => format!("/{}", self.target(ground)),
            1 => format!("/{}/{}", self.of(&NAMES), self.of(&NAMES)),
            2 => format!("/{}/..", self.of(&NAMES)),
            _ => format!("/{}", self.of(&NAMES)),
        }
    }
}
