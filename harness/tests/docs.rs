//! Every command that README and docs show is executed: for real where that is quick, else as far as its plan.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use support::{Stage, finish, names, stage};

/// What becomes of a command of the docs here.
enum How {
    /// Its plan is made (`--dry-run`). It may fail only for want of a file of the example that is not on this machine.
    Plan(&'static [&'static str]),
    /// It is executed, with other words in the place of some.
    Real(&'static [(&'static str, &'static str)]),
    /// It is not executed, and why.
    Skip(&'static str),
}
use How::{Plan, Real, Skip};

/// A run that is judged, as short as it can be.
const QUICK: (&str, &str) = ("bench run", "bench run --blocks 5 --env native,container");

/// Where files of other tools are.
const IMPORTS: &str = "harness/tests/import.rs imports results of all tools";

/// All of them, in the order in which they are executed: later ones read what earlier ones wrote.
const COMMANDS: &[(&str, How)] = &[
    ("bench run --suite io --profile standard", Plan(&[])),
    ("bench run --suite network", Plan(&[])),
    ("bench run --suite io,network", Plan(&[])),
    ("bench run --suite nat-ladder", Plan(&[])),
    ("bench run --suite lifecycle", Plan(&[])),
    ("bench run --suite docker-ladder", Plan(&[])),
    ("bench run --suite network --env native,container:net=nat,docker", Plan(&["Docker engine"])),
    ("bench run --suite database", Plan(&[])),
    ("bench run --suite open-loop", Plan(&[])),
    ("bench run --suite io --ioengine io_uring", Plan(&[])),
    ("bench run --suite isolation", Plan(&[])),
    ("bench run --suite isolation --dry-run", Real(&[])),
    ("bench run --suite isolation --env native,container,docker", Plan(&["Docker engine"])),
    ("bench run --only rand-read --env native,vm", Plan(&[])),
    ("bench run --target /dev/nvme1n1 --destroy-data", Plan(&["/dev/nvme1n1"])),
    ("bench run --env old=vm:qemu=/opt/q9/qemu-system-x86_64,new=vm --reference old", Plan(&["/opt/q9"])),
    (
        "bench run --env old=vm:qemu=/opt/qemu-9/bin/qemu-system-x86_64,new=vm:qemu=/opt/qemu-10/bin/qemu-system-x86_64 --reference old",
        Plan(&["/opt/qemu-9"]),
    ),
    (
        "bench run --env old=vm:kernel=/boot/vmlinuz-6.12,new=vm:kernel=/boot/vmlinuz-6.13 --reference old",
        Plan(&["/boot/vmlinuz-6.12"]),
    ),
    (
        "bench run --env old=native:fio=/opt/fio-3.36/bin/fio,new=native:fio=/opt/fio-3.38/bin/fio --reference old",
        Plan(&["/opt/fio-3.36"]),
    ),
    ("bench run --env old=container,new=container:userns=yes --reference old", Plan(&[])),
    ("bench run --env container,runc=oci:runtime=/usr/sbin/runc", Plan(&["/usr/sbin/runc"])),
    ("bench run --env native,container,docker", Plan(&["Docker engine"])),
    ("bench run --env +docker", Plan(&["Docker engine"])),
    ("bench run --env docker,open=docker:seccomp=unconfined --reference docker", Plan(&["Docker engine"])),
    ("bench run --env native,container --with $PWD/old/app --out base -- $PWD/old/app --work", Plan(&[])),
    ("bench run --env native,container --with $PWD/new/app --out new -- $PWD/new/app --work", Plan(&[])),
    ("bench run --fio-job wal.fio", Plan(&[])),
    ("bench run --profile standard --until-decided", Plan(&[])),
    ("bench run --dry-run", Real(&[])),
    ("bench run -- sort /etc/passwd", Real(&[QUICK])),
    ("bench run --resume last", Real(&[])),
    ("bench report last --format md", Real(&[])),
    ("bench report last --primary read_latency_p99_ns", Real(&[("read_latency_p99_ns", "cpu_time_ns")])),
    ("bench export last", Real(&[])),
    ("bench report ID.tar.gz --format md", Real(&[])),
    ("bench compare ID.tar.gz last", Real(&[])),
    ("bench compare BASE NEW", Real(&[("BASE NEW", "ID.tar.gz last")])),
    ("bench compare base new --allow-difference tools,workload", Real(&[("base new", "ID.tar.gz last")])),
    (
        "bench compare base.tar.gz last --policy gate.toml -- bench run --suite io --only rand-read",
        Real(&[("base.tar.gz", "ID.tar.gz")]),
    ),
    ("bench compare last --env old,new", Real(&[("old,new", "native,container")])),
    (
        "bench compare base.tar.gz last --history main-runs",
        Real(&[("base.tar.gz", "ID.tar.gz"), ("main-runs", "bench-runs")]),
    ),
    ("bench import native=a.json vm=b.json", Skip(IMPORTS)),
    ("bench import native=a.json native=b.json vm=c.json", Skip(IMPORTS)),
    ("bench import base.json --name before", Skip(IMPORTS)),
    ("bench power last --margin 5%", Real(&[])),
    ("bench power last --gate", Real(&[("--gate", "--gate --blocks 8")])),
    ("bench container run -- sh", Real(&[])),
    ("bench container run --net nat -- sh", Real(&[])),
    ("bench vm run --options net=nat -- sh", Real(&[])),
    ("bench doctor --kvm --noise", Skip("it measures for ten seconds: harness/tests/doctor.rs executes both")),
    ("bench clean", Real(&[])),
];

/// A guide with an example that is a file of its own, and the lines of a registry that name it.
struct Guide {
    /// Page in docs/.
    page: &'static str,
    /// Folder of the examples' files.
    folder: &'static str,
    /// The files, which are compiled for tests, and shown by the page.
    files: &'static [&'static str],
    /// The registry.
    registry: &'static str,
    /// Its lines, as the page shows them; the example itself is the module `example` there.
    lines: [&'static str; 2],
}

const GUIDES: [Guide; 2] = [
    Guide {
        page: "ADD-AN-ENVIRONMENT.md",
        folder: "harness/src/environments/tests",
        files: &["niced.rs"],
        registry: "harness/src/environments/mod.rs",
        lines: ["mod niced;", "    &niced::Niced,"],
    },
    Guide {
        page: "ADD-A-WORKLOAD.md",
        folder: "workloads/src/kinds/tests",
        files: &["writes.toml", "dd.rs"],
        registry: "workloads/src/kinds/mod.rs",
        lines: ["mod dd;", "    (\"dd\", read::<dd::Dd>),"],
    },
];

/// The lines of code blocks that begin with `bench`, without what is said about them.
fn shown() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let pages = names(&root.join("docs")).into_iter().map(|name| format!("docs/{name}"));
    let pages = pages.filter(|name| name.ends_with(".md")).chain(["README.md".to_owned()]);
    let mut shown = BTreeSet::new();
    for page in pages {
        let text = fs::read_to_string(root.join(page)).unwrap();
        // Between fences is every second part.
        for block in text.split("```").skip(1).step_by(2) {
            let lines = block.lines().map(str::trim).filter(|line| line.starts_with("bench "));
            shown.extend(lines.map(|line| {
                let command = line.split(" #").next().unwrap_or(line);
                command.split_whitespace().collect::<Vec<_>>().join(" ")
            }));
        }
    }
    shown
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path))
        .unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A page with these files in its code blocks.
fn with_files(guide: &Guide, mut text: String) -> String {
    for name in guide.files {
        let (begin, end) = (format!("<!-- {name}: written by a test -->\n"), format!("<!-- /{name} -->"));
        let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{} has no {begin}", guide.page));
        let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{} has no {end}", guide.page));
        let language = if name.ends_with(".rs") { "rust" } else { "toml" };
        let code = read(&format!("{}/{name}", guide.folder));
        text = format!("{before}{begin}```{language}\n{code}```\n{end}{after}");
    }
    text
}

/// `BLESS=1` writes them anew.
#[test]
fn the_guides_show_examples_that_are_compiled() {
    for guide in &GUIDES {
        let page = format!("docs/{}", guide.page);
        let is = read(&page);
        let should = with_files(guide, is.clone());
        if std::env::var_os("BLESS").is_some() {
            fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&page), should).unwrap();
        } else {
            assert!(is == should, "{page} does not show the files in {}; BLESS=1 writes them anew", guide.folder);
        }
    }
}

/// Nothing but the registry names an example: so one file and two lines are enough.
#[test]
fn an_example_is_one_file_and_two_lines_of_a_registry() {
    for guide in &GUIDES {
        let (page, registry) = (read(&format!("docs/{}", guide.page)), read(guide.registry));
        let [module, kind] = guide.lines;
        for line in guide.lines {
            assert!(page.contains(&format!("```rust\n{line}\n```\n")), "{} does not show `{line}`", guide.page);
        }
        let name = module.trim_start_matches("mod ").trim_end_matches(';');
        let here = kind.replace(&format!("{name}::"), "example::");
        assert_eq!(registry.matches(&here).count(), 1, "{} has no line `{here}`", guide.registry);
        assert_eq!(registry.matches("example").count(), 2, "{} says more of the example", guide.registry);
    }
}

/// Words as a shell takes them, where nothing is quoted.
fn execute(stage: &Stage, command: &str) -> (i32, String, String) {
    let command = command.replace("$PWD", &stage.path().display().to_string());
    let (_, arguments) = command.split_once(' ').unwrap();
    // What the hypervisor beneath takes makes trials invalid, and is not what is asked here.
    let mut bench = stage.program(&stage.unrobbed(), arguments);
    // The command of a gate is looked up by its name.
    let path = Path::new(env!("CARGO_BIN_EXE_bench")).parent().unwrap();
    bench.env("PATH", format!("{}:{}", path.display(), std::env::var("PATH").unwrap_or_default()));
    finish(bench)
}

#[test]
fn every_command_of_the_docs_is_known_here() {
    let known: BTreeSet<String> = COMMANDS.iter().map(|(command, _)| (*command).to_owned()).collect();
    let shown = shown();
    let unknown: Vec<_> = shown.difference(&known).collect();
    assert!(unknown.is_empty(), "say in COMMANDS how these are tested: {unknown:#?}");
    let gone: Vec<_> = known.difference(&shown).collect();
    assert!(gone.is_empty(), "no page shows these any more: {gone:#?}");
}

#[test]
fn every_command_of_the_docs_works() {
    let Some(stage) = stage() else { return };
    for side in ["old", "new"] {
        fs::create_dir(stage.path().join(side)).unwrap();
        fs::copy("/bin/true", stage.path().join(side).join("app")).unwrap();
    }
    fs::write(stage.path().join("gate.toml"), "confirm = 1\n").unwrap();
    fs::write(stage.path().join("wal.fio"), "[wal]\nrw=write\nfdatasync=1\nsize=4m\n").unwrap();
    for (command, how) in COMMANDS {
        let (status, out, err) = match how {
            Skip(why) => {
                eprintln!("skipped: {command}: {why}");
                continue;
            }
            Plan(_) => execute(&stage, &command.replacen("bench run", "bench run --dry-run", 1)),
            Real(others) => {
                let change = |command: String, (from, to): &(&str, &str)| command.replacen(from, to, 1);
                execute(&stage, &others.iter().fold((*command).to_owned(), change))
            }
        };
        // A regression is an answer, too: two runs of next to nothing may differ by anything.
        let is_answer = command.starts_with("bench compare") && status == 1;
        let lacks = |files: &&[&str]| files.iter().any(|file| err.contains(file));
        let is_example = matches!(how, Plan(files) if lacks(files));
        assert!(status == 0 || is_answer || is_example, "{command}: {status}\n{out}{err}");
        if command.starts_with("bench export") {
            let archive = names(stage.path()).into_iter().find(|name| name.ends_with(".tar.gz")).unwrap();
            fs::rename(stage.path().join(archive), stage.path().join("ID.tar.gz")).unwrap();
            // Another one to compare it with.
            assert_eq!(execute(&stage, &format!("{} -- sort /etc/passwd", QUICK.1)).0, 0);
        }
    }
}
