//! What commands bring along into every environment: their programs, and the files that they name. Looked for before anything is
//! measured, so that a command which cannot be executed is an error and no failed trial.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bench_workloads::{WORK_FILE_SYSTEM, WORK_FOLDER};

use crate::conductor::plan::Planned;
use crate::conductor::work::Staged;
use crate::host::packages;
use crate::output;

/// Larger files do not come along unasked: each instance gets a copy.
const LARGEST: u64 = 1 << 30;
/// Words of a command that are looked at, for the programs that they may name.
const MOST_WORDS: usize = 1000;
/// Where every environment has something of its own, and of its own kind.
const EVERYWHERE: [&str; 3] = ["/proc", "/sys", "/dev"];
/// The devices that every environment has.
const DEVICES: [&str; 10] = ["null", "zero", "full", "random", "urandom", "tty", "stdin", "stdout", "stderr", "ptmx"];

/// What comes along.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Along {
    /// Programs that are executed where they are on the host.
    pub programs: Vec<PathBuf>,
    /// Programs of which a copy is executed, and others that the words of a command name.
    pub others: Vec<PathBuf>,
    /// Files and folders of which every environment gets a copy on the storage that the command works on.
    pub staged: Vec<Staged>,
    /// Where the program of each command is, inside and on the host.
    pub commands: Vec<(PathBuf, PathBuf)>,
}

impl Along {
    /// Look at the commands among what is planned, and tell them where their programs are. `with`: what the user brings along.
    pub fn of(planned: &mut [Planned], with: &[PathBuf], only_native: bool) -> Result<Along> {
        let mut finder = Finder { along: Along::default(), with, only_native };
        let mut has_commands = false;
        for planned in planned {
            let Some(argv) = planned.workload.argv().map(<[String]>::to_vec) else { continue };
            has_commands = true;
            let name = argv.first().map_or("", String::as_str);
            let inside = finder.program(name)?;
            planned.workload.set_program(inside.display().to_string());
            argv.iter().skip(1).try_for_each(|argument| finder.argument(argument))?;
            finder.words(argv.iter().skip(1));
        }
        if has_commands {
            with.iter().try_for_each(|path| finder.asked_for(path))?;
        }
        finder.along.check()?;
        Ok(finder.along)
    }

    /// True when there is no command.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Files that are mounted over others of the same path.
    pub fn points(&self) -> Vec<PathBuf> {
        self.staged.iter().filter(|staged| !staged.is_in_place()).map(|staged| staged.seen_at.clone()).collect()
    }

    fn check(&self) -> Result<()> {
        for (index, one) in self.staged.iter().enumerate() {
            let other = self.staged[..index].iter().find(|other| other.seen_at == one.seen_at);
            if let Some(other) = other {
                bail!(
                    "{} and {} would both be {} inside: rename one of them",
                    other.source.display(),
                    one.source.display(),
                    one.seen_at.display()
                );
            }
            let path = one.seen_at.to_string_lossy();
            ensure!(!path.contains('\n'), "`{}` cannot be copied: its path has a line break", path.escape_debug());
        }
        Ok(())
    }
}

struct Finder<'a> {
    along: Along,
    with: &'a [PathBuf],
    only_native: bool,
}

impl Finder<'_> {
    /// The program of a command: where it is inside.
    fn program(&mut self, name: &str) -> Result<PathBuf> {
        ensure!(!name.is_empty(), "the command is empty: name a program after `--`");
        let found = match name.contains('/') {
            true => PathBuf::from(name),
            false => bench_vm::search(name).or_else(|| packages::find(name)).with_context(|| {
                format!(
                    "the command `{name}` was not found in PATH; a shell's own commands need a shell, as in -- sh -c '{name} ...'"
                )
            })?,
        };
        if let Some(why) = bench_vm::obstacle(&found) {
            bail!("the command `{name}` cannot be executed: {why}");
        }
        let source = std::path::absolute(&found).with_context(|| format!("finding {}", found.display()))?;
        let inside = inside(&found)?;
        if inside.starts_with(WORK_FILE_SYSTEM) {
            self.stage(&source, &inside);
            self.along.others.push(source.clone());
        } else {
            self.along.programs.push(source.clone());
        }
        self.along.commands.push((inside.clone(), source));
        Ok(inside)
    }

    /// An argument that is a file comes along; one that is something else which only this machine has is refused.
    fn argument(&mut self, argument: &str) -> Result<()> {
        let path = Path::new(argument);
        let Ok(found) = fs::metadata(path) else { return Ok(()) };
        let inside = match inside(path) {
            Ok(inside) => inside,
            // Above everything: the root, from a folder that the environments do not have.
            Err(_) if found.is_dir() => return Ok(()),
            Err(e) => return Err(e),
        };
        if argument.starts_with('-') || self.is_everywhere(&inside, &found) || self.is_brought(path) {
            return Ok(());
        }
        let is_native = self.only_native && path.is_absolute() && !inside.starts_with(WORK_FILE_SYSTEM);
        if found.is_file() && found.len() <= LARGEST {
            let source = std::path::absolute(path).with_context(|| format!("finding {argument}"))?;
            if bench_vm::is_program(&source) && bench_vm::obstacle(&source).is_none() {
                self.along.others.push(source.clone());
            }
            self.stage(&source, &inside);
            return Ok(());
        }
        ensure!(is_native, "{}", refusal(argument, &found));
        Ok(())
    }

    /// What `--with` names is in the tools tree; where that is not where the command would look for it, it is staged as well.
    fn asked_for(&mut self, path: &Path) -> Result<()> {
        let inside = inside(path)?;
        if inside.starts_with(WORK_FILE_SYSTEM) {
            let source = std::path::absolute(path).with_context(|| format!("finding {}", path.display()))?;
            self.stage(&source, &inside);
        }
        Ok(())
    }

    fn stage(&mut self, source: &Path, seen_at: &Path) {
        let staged = Staged { source: source.to_path_buf(), seen_at: seen_at.to_path_buf() };
        if !self.along.staged.contains(&staged) {
            self.along.staged.push(staged);
        }
    }

    /// The programs that a script or a wrapper (`sh -c '...'`, `env`, `time`) names come along; of files that are named inside of an
    /// argument it is said that they do not.
    fn words<'b>(&mut self, arguments: impl Iterator<Item = &'b String>) {
        let is_end = |c: char| c.is_whitespace() || "\"'`;|&()<>=,{}$".contains(c);
        let words: BTreeSet<(&str, bool)> = arguments
            .flat_map(|argument| argument.split(is_end).map(move |word| (word, word.len() < argument.len())))
            .filter(|(word, _)| !word.is_empty())
            .take(MOST_WORDS)
            .collect();
        for (word, is_part) in words {
            let path = Path::new(word);
            if !word.contains('/') {
                let program = bench_vm::search(word).filter(|program| bench_vm::obstacle(program).is_none());
                self.along.others.extend(program.filter(|program| !self.along.others.contains(program)));
            } else if is_part && self.is_missed(path) {
                eprintln!(
                    "bench: {word} is named inside of an argument and does not come along by itself: add --with {word} if the \
                     command needs it"
                );
            }
        }
    }

    /// True for what is on this machine and would not be where the command looks for it.
    fn is_missed(&self, path: &Path) -> bool {
        let Ok(found) = fs::metadata(path) else { return false };
        let is_staged = |inside: &PathBuf| self.along.staged.iter().any(|staged| staged.seen_at == *inside);
        let missed = |inside: PathBuf| {
            let is_covered = inside.starts_with(WORK_FILE_SYSTEM);
            !is_staged(&inside) && !self.is_everywhere(&inside, &found) && (is_covered || !self.only_native)
        };
        path.is_absolute() && !self.is_brought(path) && inside(path).is_ok_and(missed)
    }

    /// True for what every environment has.
    fn is_everywhere(&self, inside: &Path, found: &fs::Metadata) -> bool {
        let own = EVERYWHERE.iter().any(|folder| inside.starts_with(folder));
        let kind = found.file_type();
        let is_device = kind.is_block_device() || kind.is_char_device();
        let is_own = DEVICES.iter().any(|name| inside == Path::new("/dev").join(name));
        let is_work = [WORK_FILE_SYSTEM, WORK_FOLDER, "/"].iter().any(|folder| inside == Path::new(folder));
        is_work || own && (!is_device || is_own)
    }

    /// True for what `--with` brings.
    fn is_brought(&self, path: &Path) -> bool {
        let absolute = |path: &Path| std::path::absolute(path).map(|path| plain(&path)).unwrap_or_default();
        let path = absolute(path);
        self.with.iter().any(|with| path.starts_with(absolute(with)))
    }
}

/// Why something does not come along by itself.
fn refusal(argument: &str, found: &fs::Metadata) -> String {
    let kind = found.file_type();
    let what = if kind.is_dir() {
        "is a folder"
    } else if kind.is_file() {
        let (size, most) = (output::bytes(found.len()), output::bytes(LARGEST));
        return format!(
            "the argument `{argument}` has {size}; only files of up to {most} are copied automatically: add it with --with {argument}"
        );
    } else if kind.is_block_device() || kind.is_char_device() {
        return format!(
            "the argument `{argument}` is a device of this machine, which is not available inside: environments have \
             their own devices, and --with copies only files and folders"
        );
    } else {
        "is neither a file nor a folder"
    };
    format!("the argument `{argument}` {what}, which is not copied automatically: add it with --with {argument}")
}

/// Where a path of the command line leads inside: a relative one starts in the work folder there.
fn inside(path: &Path) -> Result<PathBuf> {
    if path.is_absolute() {
        return Ok(plain(path));
    }
    let inside = plain(&Path::new(WORK_FOLDER).join(path));
    ensure!(
        inside.starts_with(WORK_FILE_SYSTEM),
        "`{}` lies above the current folder, which environments do not have: name it by its absolute path",
        path.display()
    );
    Ok(inside)
}

/// Without `.` and `..`, by the words alone.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use bench_workloads::Workload;

    use super::*;

    fn along(words: &[&str], only_native: bool) -> Result<Along> {
        let workload = Workload::command(words.iter().map(|word| (*word).to_owned()).collect());
        Along::of(
            &mut [Planned { workload, environments: Vec::new(), own_rates_per_s: Default::default() }],
            &[],
            only_native,
        )
    }

    #[test]
    fn a_relative_path_starts_in_the_work_folder_and_an_absolute_one_stays() {
        for (path, leads_to) in [
            ("x", "/tmp/work/x"),
            ("./sub/../x", "/tmp/work/x"),
            ("../x", "/tmp/x"),
            ("/etc/../etc/passwd", "/etc/passwd"),
            ("/tmp/x", "/tmp/x"),
        ] {
            assert_eq!(inside(Path::new(path)).unwrap(), Path::new(leads_to), "{path}");
        }
        assert!(inside(Path::new("../../x")).unwrap_err().to_string().contains("absolute path"));
    }

    #[test]
    fn files_come_along_and_what_every_environment_has_is_left_alone() {
        let found =
            along(&["cat", "/etc/passwd", "/proc/version", "/dev/null", "/", "/tmp", ".", "..", "-n", "no"], false);
        let found = found.unwrap();
        assert_eq!(found.points(), [Path::new("/etc/passwd")]);
        assert_eq!(found.staged.len(), 1);
        assert_eq!(found.commands[0].0, found.programs[0]);
        assert!(along(&["ls", "/usr"], false).unwrap_err().to_string().contains("--with /usr"));
        assert!(along(&["ls", "/usr"], true).is_ok(), "natively it is there");
        assert!(
            along(&["ls", "src"], true).unwrap_err().to_string().contains("--with src"),
            "it is not in the work folder"
        );
    }

    #[test]
    fn programs_that_words_name_come_along() {
        let found = along(&["sh", "-c", "cat x | sort -n; true"], false).unwrap();
        let has = |name: &str| found.others.iter().any(|program| program.ends_with(name));
        assert!(has("cat") && has("sort") && has("true") && !has("sh"), "{found:?}");
    }
}
