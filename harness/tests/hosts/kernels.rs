//! Kernels of other releases and flavours as guests, under emulation: which modules they need is different in each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Suite and package: stock and cloud, of this release and the next, and a backport.
const KERNELS: [(&str, &str); 5] = [
    ("bookworm", "linux-image-amd64"),
    ("bookworm", "linux-image-cloud-amd64"),
    ("trixie", "linux-image-amd64"),
    ("trixie", "linux-image-cloud-amd64"),
    ("bookworm-backports", "linux-image-amd64"),
];

/// Each boots to its agent and says its own release.
pub fn all() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels");
    let failed: Vec<_> = KERNELS.iter().filter_map(|(suite, package)| boots(&folder, suite, package).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn boots(folder: &Path, suite: &str, package: &str) -> Result<(), String> {
    let image = unpack(&folder.join(suite).join(package), suite, package)?;
    let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let release = name.strip_prefix("vmlinuz-").unwrap_or_default();
    let options = format!("accel=tcg:boot-timeout=5min:kernel={}", image.display());
    let mut guest = Command::new(env!("CARGO_BIN_EXE_bench"));
    let output = guest.args(["vm", "run", "--options", &options, "--", "uname", "-r"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if said == release {
        eprintln!("kernels: {suite} {package} {release} ok");
        return Ok(());
    }
    Err(format!("{suite} {package} {release}: `{said}` {}", String::from_utf8_lossy(&output.stderr)))
}

/// The image of a package that is downloaded and unpacked, as a user would: no `depmod` was run on it.
fn unpack(folder: &Path, suite: &str, package: &str) -> Result<PathBuf, String> {
    let root = folder.join("root");
    if !root.join("boot").exists() {
        fs::create_dir_all(folder.join("lists/partial")).unwrap();
        let apt = Apt::of(folder, suite)?;
        apt.run("apt-get", &["-q", "update"])?;
        let shown = apt.run("apt-cache", &["depends", package])?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        let real =
            shown.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).ok_or("it depends on nothing")?;
        apt.run("apt-get", &["-q", "download", real.trim()])?;
        let archives = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
        let archive =
            archives.into_iter().find(|path| path.extension().is_some_and(|e| e == "deb")).ok_or("no package")?;
        done(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&root))?;
        fs::remove_file(archive).unwrap();
    }
    let images = fs::read_dir(root.join("boot")).unwrap().flatten().map(|entry| entry.path());
    let mut images =
        images.filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz-")));
    images.next().ok_or_else(|| format!("{package} has no kernel"))
}

/// apt with lists of its own: the machine's sources stay as they are.
struct Apt {
    folder: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn of(folder: &Path, suite: &str) -> Result<Apt, String> {
        let targets = ["indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"];
        let targets = done(Command::new("apt-get").args(targets))?;
        let targets = String::from_utf8_lossy(&targets.stdout).into_owned();
        let ours = targets.lines().filter_map(|line| line.split_once(' ')).find(|(_, release)| !release.contains('-'));
        let (mirror, _) = ours.ok_or("apt knows no mirror of Debian: run apt-get update")?;
        let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
        fs::write(folder.join("sources.list"), format!("deb [signed-by={keys}] {mirror} {suite} main\n")).unwrap();
        let here = folder.display();
        let options = [
            format!("Dir::Etc::SourceList={here}/sources.list"),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={here}/lists"),
            "APT::Sandbox::User=root".to_owned(),
        ];
        Ok(Apt { folder: folder.to_owned(), options: options.into_iter().flat_map(|o| ["-o".to_owned(), o]).collect() })
    }

    fn run(&self, program: &str, words: &[&str]) -> Result<Output, String> {
        done(Command::new(program).args(&self.options).args(words).current_dir(&self.folder))
    }
}

fn done(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(output) } else { Err(format!("{command:?}: {said}")) }
}
