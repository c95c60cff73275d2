//! The work folder: where commands are executed, on the same storage in every environment, and fresh for each instance.
//!
//! It is an ext4 image on the host: natively and in a container mounted from a loop device with direct I/O, in a guest from a virtio
//! disk. What is mounted natively is seen in the instance's own mount namespace only, and goes with it; image and loop device are in
//! the ledger.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bench_agent::{Job, JobStatus};
use bench_container::{Bind, LoopDevice};
use bench_results::record::WorkFolder;
use bench_vm::{Disk, WORK_FILES};
use bench_workloads::{WORK_FILE_SYSTEM, WORK_FOLDER};
use sha2::{Digest, Sha256};

use super::environment::{PATH, same_file};
use super::instance::Instance;
use crate::caller::Hands;
use crate::failure::NotInside;
use crate::host::target::FileSystem;
use crate::ledger::{Change, ChangeId, Ledger};
use crate::paths;
use crate::trusted::{Folder, seen_by_descriptor};

/// The size of the work folder, unless `--size` or a suite says another: nothing is written that the command does not write.
pub const SIZE_BYTES: u64 = 1 << 30;
/// Left to ext4 itself for the files that are brought along, and for its journal.
const EXTRA_BYTES: u64 = 32 << 20;
/// Files that are seen outside of the work file system, in it.
const ELSEWHERE: &str = ".bench";
/// How long it may take to write what a command left in memory.
const SYNC_NS: u64 = 120_000_000_000;

/// A file or folder of the host of which every instance gets a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// On the host.
    pub source: PathBuf,
    /// Inside, wherever that is.
    pub seen_at: PathBuf,
}

impl Staged {
    /// True when the copy is seen where it lies in the work file system.
    pub fn is_in_place(&self) -> bool {
        self.seen_at.starts_with(WORK_FILE_SYSTEM)
    }
}

/// How processes of the host come to the work folder.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Means {
    /// The image by a loop device, past the page cache or not.
    Loop { direct: bool },
    /// A plain folder, and why.
    Folder { why: String },
}

/// What the work folders of a run have in common.
#[derive(Debug)]
pub struct WorkPlan {
    /// Where images and folders are made.
    folder: Folder,
    /// True where only root can write there: what commands execute must not be another's to change.
    is_roots: bool,
    /// How their names begin.
    prefix: String,
    /// What every one of them holds at first.
    content: PathBuf,
    /// Path in the content and path inside, of files that are seen elsewhere.
    elsewhere: Vec<(PathBuf, PathBuf)>,
    image_bytes: u64,
    size_bytes: u64,
    file_system: FileSystem,
    means: Means,
    /// Where the program of each command is, inside, and what it is a copy of.
    pub commands: Vec<(PathBuf, PathBuf)>,
    /// SHA-256 over the files that come along.
    pub digest: String,
}

impl WorkPlan {
    /// Copy what comes along, and find out how the folder can be had. `folder`: where the images are to be.
    pub fn prepare(ledger: &Ledger, folder: &Path, id: &str, size_bytes: u64, staged: &[Staged]) -> Result<WorkPlan> {
        let hands = Hands::in_folder(folder)?;
        let folder = hands.folder(folder)?;
        let file_system = FileSystem::of(&folder.path)?;
        // It is executed as root.
        let content = paths::state_dir()?.join(format!("{id}.files"));
        ledger.create_folder(&content)?;
        let elsewhere = stage(&content, staged)?;
        let content_bytes = bytes(&content)?;
        let image_bytes = (size_bytes + content_bytes * 11 / 10 + EXTRA_BYTES).next_multiple_of(1 << 20);
        file_system.check_space(image_bytes).context("making room for the work folder of the command")?;
        let digest = digest(&content).with_context(|| format!("reading {}", content.display()))?;
        let mut plan = WorkPlan {
            folder,
            is_roots: hands.whose().is_none(),
            prefix: format!(".{id}.work"),
            content,
            elsewhere,
            image_bytes,
            size_bytes,
            file_system,
            means: Means::Loop { direct: true },
            commands: Vec::new(),
            digest,
        };
        plan.means = plan.try_loop(ledger)?;
        Ok(plan)
    }

    /// Attach a small file, to see whether that can be done and goes past the page cache.
    fn try_loop(&self, ledger: &Ledger) -> Result<Means> {
        let name = format!("{}-try", self.prefix);
        let path = self.folder.path.join(&name);
        let (made, file) = ledger.create_file(&self.folder, &name)?;
        file.set_len(1 << 20).with_context(|| format!("making {} larger", path.display()))?;
        let change = ledger.record(loop_change(&path, &file)?)?;
        let means = match LoopDevice::attach(&seen_by_descriptor(&file), self.file_system.block_bytes()) {
            Ok(device) => Means::Loop { direct: device.is_direct },
            Err(e) if !self.is_roots => bail!(
                "no loop device is available here ({e}), and others than root can write to {}: they could change the command's files in a \
                 plain folder there; give --out, or a --target, in a folder of root's",
                self.folder.path.display()
            ),
            Err(e) => Means::Folder { why: format!("no loop device is available here: {e}") },
        };
        ledger.undo(change)?;
        ledger.undo(made)?;
        Ok(means)
    }

    /// A fresh one, for an instance of this name; `is_disk`: an image for a disk of its own, which is not mounted on the host.
    pub fn make<'a>(&self, ledger: &'a Ledger, name: &str, is_disk: bool) -> Result<Work<'a>> {
        let name = format!("{}-{name}", self.prefix);
        let path = self.folder.path.join(&name);
        let mut work = Work { ledger, changes: Vec::new(), source: path.clone(), device: None, image: None };
        if let (Means::Folder { .. }, false) = (&self.means, is_disk) {
            work.changes.push(ledger.create_folder(&path)?);
            copy(&self.content, &path)?;
            return Ok(work);
        }
        let (made, image) = ledger.create_file(&self.folder, &name)?;
        work.changes.push(made);
        let image = work.image.insert(image);
        work.source = seen_by_descriptor(&*image);
        let written = bench_vm::write_ext4(&work.source, &self.content, self.image_bytes, true);
        written.with_context(|| format!("making a work folder's image, {}", path.display()))?;
        image.sync_all().with_context(|| format!("syncing {}", path.display()))?;
        if let (Means::Loop { direct }, false) = (&self.means, is_disk) {
            work.changes.push(ledger.record(loop_change(&path, image)?)?);
            let device = LoopDevice::attach(&work.source, self.file_system.block_bytes());
            let device = device.with_context(|| format!("attaching a loop device to {}", path.display()))?;
            ensure!(
                device.is_direct == *direct,
                "the loop device of {} does not do I/O as that of the first image did",
                path.display()
            );
            work.source.clone_from(&device.path);
            work.device = Some(device);
        }
        Ok(work)
    }

    /// The disk of a guest that has this image; `options`: aio, IOThread and cache mode as the target would have them.
    pub fn disk(&self, options: Disk) -> Disk {
        let is_refused = matches!(self.means, Means::Loop { direct: false });
        let cache = if is_refused && options.is_direct() { "writeback".to_owned() } else { options.cache };
        // io_uring and threads read through the page cache as well; Linux's own asynchronous I/O does not.
        let aio = if is_refused && options.aio == "native" { "threads".to_owned() } else { options.aio };
        Disk { size_bytes: self.image_bytes, is_device: false, cache, aio, ..options }
    }

    /// For the record: what a verdict needs to be the same on both sides.
    pub fn record(&self, disk: Option<&Disk>) -> WorkFolder {
        let (direct, form) = match (disk, &self.means) {
            (Some(disk), _) => (disk.is_direct(), "ext4 image"),
            (None, Means::Loop { direct }) => (*direct, "ext4 image"),
            (None, Means::Folder { .. }) => (false, "folder"),
        };
        let storage = format!("{form} on {}", self.file_system);
        WorkFolder { storage, direct, size_bytes: self.size_bytes }
    }

    /// In words, for the sameness table.
    pub fn row(&self, disk: Option<&Disk>) -> String {
        let way = match (disk, &self.means) {
            (Some(disk), _) => format!("raw virtio-blk disk ({disk})"),
            (None, Means::Loop { direct: true }) => "loop device with direct I/O".to_owned(),
            (None, Means::Loop { direct: false }) => {
                "loop device through the page cache, since its file system refuses direct I/O".to_owned()
            }
            (None, Means::Folder { why }) => why.clone(),
        };
        format!("{WORK_FILE_SYSTEM} is an {}, {way}", self.record(disk).storage).replace("an folder", "a folder")
    }

    /// What the reader should know of the storage.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.file_system.is_memory {
            warnings.push(format!(
                "the command works on {}, so it writes to no disk; give --out or --target on a disk if it should",
                self.file_system
            ));
        }
        if let Means::Folder { why } = &self.means {
            warnings.push(format!(
                "the work folder of commands is a plain folder natively and in containers ({why}); a guest has its own file system"
            ));
        }
        warnings
    }

    /// What a native process sees: `kept` comes to other places before the host's folder is covered.
    pub fn natively(&self, work: &Work<'_>, kept: Vec<Bind>) -> bench_container::Work {
        let files = self.files(Path::new(WORK_FILE_SYSTEM));
        bench_container::Work { source: work.source.clone(), target: PathBuf::from(WORK_FILE_SYSTEM), kept, files }
    }

    /// What a container sees, by way of an empty folder of the host.
    pub fn in_container(&self, work: &Work<'_>, by: &Path) -> Result<(bench_container::Work, Vec<Bind>)> {
        fs::create_dir(by).with_context(|| format!("creating {}", by.display()))?;
        let mut binds = vec![bind(by, Path::new(WORK_FILE_SYSTEM))];
        binds.extend(self.files(by));
        let (kept, files) = (Vec::new(), Vec::new());
        let work = bench_container::Work { source: work.source.clone(), target: by.to_path_buf(), kept, files };
        Ok((work, binds))
    }

    fn files(&self, mounted_on: &Path) -> Vec<Bind> {
        self.elsewhere.iter().map(|(file, seen_at)| bind(&mounted_on.join(file), seen_at)).collect()
    }

    /// The programs of commands that are executed where they are on the host.
    pub fn executed_in_place(&self) -> impl Iterator<Item = PathBuf> {
        let in_place = self.commands.iter().filter(|(inside, _)| !inside.starts_with(WORK_FILE_SYSTEM));
        in_place.map(|(_, source)| source.clone())
    }

    /// The rows of the sameness table about the programs of commands: inside, each must be the same file as on the host.
    pub async fn programs(&self, instance: &mut Instance<'_>) -> Result<BTreeMap<String, String>> {
        let mut rows = BTreeMap::new();
        for (inside, source) in &self.commands {
            let copy = inside.strip_prefix(WORK_FILE_SYSTEM).map(|file| self.content.join(file));
            let outside = copy.unwrap_or_else(|_| source.clone()).display().to_string();
            let inside = inside.display().to_string();
            let digest = same_file(instance, &inside, &outside).await.map_err(|e| NotInside(format!("{e:#}")))?;
            rows.insert(format!("{inside} sha256"), digest);
        }
        Ok(rows)
    }
}

fn bind(source: &Path, target: &Path) -> Bind {
    Bind { source: source.to_path_buf(), target: target.to_path_buf(), read_only: false }
}

fn loop_change(path: &Path, image: &File) -> Result<Change> {
    let found = image.metadata().with_context(|| format!("looking at {}", path.display()))?;
    Ok(Change::LoopDevice { image: path.to_path_buf(), device: found.dev(), inode: found.ino() })
}

/// The work folder of one instance. Dropping it undoes it: what is mounted must be gone by then, or go with killed processes.
pub struct Work<'a> {
    ledger: &'a Ledger,
    changes: Vec<ChangeId>,
    /// What is to be mounted: a loop device or a folder; a guest's image.
    pub source: PathBuf,
    device: Option<LoopDevice>,
    /// Open as long as it is used: others may have made something else of its name.
    image: Option<File>,
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        drop(self.device.take());
        for id in self.changes.iter().rev() {
            if let Err(e) = self.ledger.undo(*id) {
                eprintln!("bench: {e:#}");
            }
        }
    }
}

/// Write what the last command left in memory: it would be the next trial's load, alike for all environments.
pub async fn sync(instance: &mut Instance<'_>) -> Result<()> {
    sync_inside(&["-f", WORK_FILE_SYSTEM], instance).await.context("syncing the work folder")
}

/// sync(1) inside, with these arguments.
pub async fn sync_inside(arguments: &[&str], instance: &mut Instance<'_>) -> Result<()> {
    let job = Job {
        argv: ["sync"].iter().chain(arguments).map(|word| (*word).to_owned()).collect(),
        env: vec![("PATH".to_owned(), PATH.to_owned())],
        deadline_ns: SYNC_NS,
        ..Job::default()
    };
    instance.resume().await?;
    let output = instance.agent.execute(&job).await?;
    instance.pause().await?;
    match output.status {
        JobStatus::Exited(0) => Ok(()),
        status => bail!("sync(1): {status:?}: {}", output.stderr.text().trim()),
    }
}

/// Copy what comes along to where it lies in the work file system; the path in there and the path inside of what is seen elsewhere.
fn stage(content: &Path, staged: &[Staged]) -> Result<Vec<(PathBuf, PathBuf)>> {
    let make = |folder: &Path| fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()));
    let in_content = |inside: &Path| content.join(inside.strip_prefix(WORK_FILE_SYSTEM).unwrap_or(inside));
    make(&in_content(Path::new(WORK_FOLDER)))?;
    make(&content.join(ELSEWHERE))?;
    let mut elsewhere = Vec::new();
    for one in staged {
        let to = match one.is_in_place() {
            true => in_content(&one.seen_at),
            false => {
                let file = Path::new(ELSEWHERE).join(elsewhere.len().to_string());
                elsewhere.push((file.clone(), one.seen_at.clone()));
                content.join(file)
            }
        };
        make(to.parent().unwrap_or(content))?;
        copy(&one.source, &to)?;
    }
    let path = content.join(WORK_FILES);
    let mut list = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    for (file, seen_at) in &elsewhere {
        writeln!(list, "{} {}", file.display(), seen_at.display())
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(elsewhere)
}

/// Copy a file, or what a folder holds; of links in it the link, of `from` itself what it leads to.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let doing = || format!("copying {} to {}", from.display(), to.display());
    if !from.is_dir() {
        return fs::copy(from, to).map(drop).with_context(doing);
    }
    fs::create_dir_all(to).with_context(doing)?;
    for entry in fs::read_dir(from).with_context(doing)? {
        let entry = entry.with_context(doing)?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().with_context(doing)?;
        if kind.is_symlink() {
            let link = fs::read_link(&path).with_context(doing)?;
            std::os::unix::fs::symlink(link, to).with_context(doing)?;
        } else if kind.is_dir() || kind.is_file() {
            copy(&path, &to)?;
        }
    }
    Ok(())
}

/// Files below a folder with their sizes, in the order of their paths.
fn walk(folder: &Path, files: &mut Vec<(PathBuf, u64)>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let metadata = path.symlink_metadata()?;
        match metadata.is_dir() {
            true => walk(&path, files)?,
            false => files.push((path, metadata.len().next_multiple_of(4096))),
        }
    }
    files.sort();
    Ok(())
}

fn bytes(content: &Path) -> Result<u64> {
    let mut files = Vec::new();
    walk(content, &mut files).with_context(|| format!("reading {}", content.display()))?;
    Ok(files.iter().map(|(_, size)| size).sum())
}

fn digest(content: &Path) -> std::io::Result<String> {
    let mut files = Vec::new();
    walk(content, &mut files)?;
    let mut hasher = Sha256::new();
    for (path, _) in files.iter().filter(|(path, _)| !path.is_symlink()) {
        hasher.update(path.strip_prefix(content).unwrap_or(path).as_os_str().as_encoded_bytes());
        hasher.update(bench_agent::sha256(path)?);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
