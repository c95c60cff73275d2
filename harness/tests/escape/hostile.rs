//! Hostile root folders, and what is asked of a container in them.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::starts::Ground;

/// What must come of a start.
#[derive(Clone, Copy)]
pub enum Expected {
    /// The program runs in a container that has all it should have.
    Well,
    /// It ends with a reason in which this stands.
    Refused(&'static str),
    /// One of the two.
    Either,
}

/// Changes a root folder.
type Change = Box<dyn Fn(&Ground) -> io::Result<()>>;
/// Makes something at a path.
type Maker = fn(&Path) -> io::Result<()>;

/// One attempt on the starter.
pub struct Start {
    pub name: String,
    /// Make the root folder hostile.
    pub make: Change,
    /// What another thread does all the while.
    pub race: Option<fn(&Ground)>,
    /// Arguments of `container run`, each a start of its own.
    pub arguments: Vec<String>,
    /// The program; a shell that looks around if there is none.
    pub command: &'static [&'static str],
    pub expected: Expected,
}

impl Start {
    fn new(name: impl Into<String>, make: impl Fn(&Ground) -> io::Result<()> + 'static) -> Start {
        let (make, arguments) = (Box::new(make), vec![String::new()]);
        Start { name: name.into(), make, race: None, arguments, command: &[], expected: Expected::Well }
    }

    fn with(mut self, arguments: &str) -> Start {
        self.arguments = vec![arguments.to_owned()];
        self
    }

    /// With `N` in the arguments as each of the numbers that a descriptor may have.
    fn for_descriptors(mut self, arguments: &str) -> Start {
        self.arguments = (0..=20).map(|number| arguments.replace('N', &number.to_string())).collect();
        self
    }

    fn executing(mut self, command: &'static [&'static str]) -> Start {
        self.command = command;
        self
    }

    fn refused(mut self, named: &'static str) -> Start {
        self.expected = Expected::Refused(named);
        self
    }

    fn either(mut self) -> Start {
        self.expected = Expected::Either;
        self
    }

    fn racing(mut self, race: fn(&Ground)) -> Start {
        (self.race, self.expected) = (Some(race), Expected::Either);
        self
    }
}

/// All of them.
pub fn starts() -> Vec<Start> {
    [special_places(), working_directories(), programs(), volumes(), races()].into_iter().flatten().collect()
}

/// Where a container gets file systems of its own.
fn special_places() -> Vec<Start> {
    let mut all = Vec::new();
    for name in ["proc", "sys", "dev", "tmp"] {
        let links: [(&str, &'static str); 8] = [
            ("a folder of the host", "{outside}"),
            ("the same by climbing", "{climbing}"),
            ("another folder of the root", "/mnt"),
            ("nothing", "/nowhere"),
            ("itself", name),
            ("a descriptor of the starter", "/proc/self/fd/5"),
            ("the starter's root", "/proc/self/root"),
            ("its working directory", "/proc/self/cwd"),
        ];
        for (what, to) in links {
            let make = move |ground: &Ground| replace_by_link(ground, name, to);
            all.push(Start::new(format!("/{name} is a link to {what}"), make).refused("is a symbolic link"));
        }
        let kinds: [(&str, Maker); 4] =
            [("a file", file), ("a socket", socket), ("a pipe", pipe), ("a device", device)];
        for (what, make) in kinds {
            let replace = move |ground: &Ground| {
                fs::remove_dir(ground.root.join(name))?;
                make(&ground.root.join(name))
            };
            all.push(Start::new(format!("/{name} is {what}"), replace).refused("it must be a folder"));
        }
        let remove = move |ground: &Ground| fs::remove_dir(ground.root.join(name));
        all.push(Start::new(format!("/{name} is absent"), remove));
    }
    for number in [3, 4, 6, 7, 8, 9] {
        let make = move |ground: &Ground| replace_by_link(ground, "dev", &format!("/proc/self/fd/{number}"));
        all.push(Start::new(format!("/dev is a link to descriptor {number}"), make).refused("is a symbolic link"));
    }
    all.push(Start::new("all places are absent", |ground| {
        ["proc", "sys", "dev", "tmp"].iter().try_for_each(|name| fs::remove_dir(ground.root.join(name)))
    }));
    all.push(
        Start::new("one place is absent and another a link", |ground| {
            fs::remove_dir(ground.root.join("sys"))?;
            replace_by_link(ground, "dev", "{outside}")
        })
        .refused("/dev of the root folder is a symbolic link"),
    );
    all.push(Start::new("links lie below the places", |ground| {
        for link in ["dev/pts", "dev/shm", "dev/null", "proc/kcore", "proc/sys", "sys/firmware", "sys/fs"] {
            symlink(&ground.outside, ground.root.join(link))?;
        }
        Ok(())
    }));
    all
}

fn working_directories() -> Vec<Start> {
    let link = |to: &'static str| move |ground: &Ground| symlink(ground.fill_link(to), ground.root.join("work"));
    let plain = |_: &Ground| Ok(());
    let mut all = vec![
        Start::new("the working directory is any descriptor", plain).for_descriptors("-w /proc/self/fd/N").either(),
        Start::new("it is one of process 1", plain).for_descriptors("-w /proc/1/fd/N").either(),
        Start::new("it is above a descriptor", plain).for_descriptors("-w /proc/self/fd/N/../../..").either(),
        Start::new("it is by a thread's descriptor", plain).for_descriptors("-w /proc/thread-self/fd/N/..").either(),
        Start::new("it climbs", plain).with("-w ../../../../../../.."),
        Start::new("it is a file", plain).with("-w /bin/busybox").refused("/bin/busybox"),
        Start::new("it is absent", plain).with("-w /nowhere").refused("/nowhere"),
        Start::new("it is the host's folder", plain).with("-w {outside}").refused("outside"),
    ];
    for (what, to) in [
        ("the starter's root", "/proc/self/root"),
        ("the starter's working directory", "/proc/self/cwd"),
        ("the root of process 1", "/proc/1/root/.."),
        ("above the starter's executable", "/proc/self/exe/.."),
        ("the executable's folder of another process", "/proc/2/cwd"),
        ("/dev/fd", "/dev/fd/0/.."),
    ] {
        all.push(Start::new(format!("it is a link to {what}"), link(to)).with("-w /work").either());
    }
    all.push(Start::new("it is a link to the host's folder", link("{outside}")).with("-w /work").refused("/work"));
    all.push(
        Start::new("it is to be made below the host's folder", link("{outside}")).with("-w /work/new").refused("/work"),
    );
    all.push(Start::new("it is a link that climbs there", link("{climbing}")).with("-w /work").refused("/work"));
    all.push(Start::new("it is a link to itself", link("work")).with("-w /work").refused("/work"));
    all.push(
        Start::new("it is a link to any descriptor", |ground| {
            let links = (0..=20).map(|number| (format!("/proc/self/fd/{number}"), format!("work{number}")));
            links.into_iter().try_for_each(|(to, name)| symlink(to, ground.root.join(name)))
        })
        .for_descriptors("-w /workN")
        .either(),
    );
    all
}

/// The program, its folder and its interpreter.
fn programs() -> Vec<Start> {
    let mut all = Vec::new();
    for number in 0..=12 {
        let interpreter = move |ground: &Ground| {
            let line = format!("#!/proc/self/fd/{number}/{}/cat\nREACHED by an interpreter\n", ground.climbing());
            program(&ground.root.join("bin/trap"), &line)
        };
        let name = format!("the program's interpreter is above descriptor {number}");
        all.push(Start::new(name, interpreter).executing(&["/bin/trap"]).refused("/bin/trap"));
    }
    let script = |line: &'static str| {
        move |ground: &Ground| {
            program(&ground.root.join("bin/trap"), &ground.fill_link(&format!("#!{line}\nREACHED\n")))
        }
    };
    let lines = [
        ("the host's", "{outside}/cat"),
        ("above the starter's root", "/proc/self/root/{climbing}/cat"),
        ("above its working directory", "/proc/self/cwd/{climbing}/cat"),
    ];
    for (what, line) in lines {
        let name = format!("the program's interpreter is {what}");
        all.push(Start::new(name, script(line)).executing(&["/bin/trap"]).refused("/bin/trap"));
    }
    for (what, to) in [
        ("a program of the host", "{outside}/cat"),
        ("one that it climbs to", "{climbing}/cat"),
        ("one above a descriptor", "/proc/self/fd/5/{climbing}/cat"),
        ("one above another descriptor", "/proc/self/fd/7/{climbing}/cat"),
    ] {
        let make = move |ground: &Ground| symlink(ground.fill_link(to), ground.root.join("bin/trap"));
        let name = format!("the program is a link to {what}");
        all.push(Start::new(name, make).executing(&["trap", "/proc/self/status"]).refused("trap"));
    }
    // The same descriptors by their other names.
    for folder in ["/dev/fd", "/proc/thread-self/fd", "/proc/1/fd"] {
        for number in [0, 3, 5, 7] {
            let interpreter = move |ground: &Ground| {
                let line = format!("#!{folder}/{number}/{}/cat\nREACHED by an interpreter\n", ground.climbing());
                program(&ground.root.join("bin/trap"), &line)
            };
            let name = format!("the program's interpreter is above {folder}/{number}");
            all.push(Start::new(name, interpreter).executing(&["/bin/trap"]).refused("/bin/trap"));
        }
    }
    all.push(
        Start::new("the folder of programs is above any descriptor", |ground| {
            let links = (0..=20).map(|number| (number, format!("/proc/self/fd/{number}/{}", ground.climbing())));
            links.into_iter().try_for_each(|(number, to)| symlink(to, ground.root.join(format!("programs{number}"))))
        })
        .for_descriptors("-e PATH=/programsN")
        .executing(&["cat", "/proc/self/mountinfo"])
        .refused("`cat` was not found"),
    );
    all
}

/// Where volumes are to be seen.
fn volumes() -> Vec<Start> {
    let plain = |_: &Ground| Ok(());
    let link = |to: &'static str| move |ground: &Ground| symlink(ground.fill_link(to), ground.root.join("vol"));
    let at =
        |name: &'static str, make: fn(&Path) -> io::Result<()>| move |ground: &Ground| make(&ground.root.join(name));
    vec![
        Start::new("a volume's place is a link to the host's folder", link("{outside}")).with("-v {given}:/vol").either(),
        Start::new("a volume is to lie below such a link", link("{outside}")).with("-v {given}:/vol/x").either(),
        Start::new("a file is to lie below such a link", link("{outside}")).with("-v {file}:/vol/new").either(),
        Start::new("its place is a link that climbs", link("{climbing}")).with("-v {given}:/vol").either(),
        Start::new("its place is a link to a descriptor", link("/proc/self/fd/5")).with("-v {given}:/vol").either(),
        Start::new("it lies above a descriptor", link("/proc/self/fd/5/..")).with("-v {given}:/vol/x").either(),
        Start::new("its place is a link to the starter's root", link("/proc/self/root")).with("-v {given}:/vol/x").either(),
        Start::new("its place is a link to nothing", link("/nowhere")).with("-v {file}:/vol").either(),
        Start::new("its place is a link to /proc", link("/proc/sys")).with("-v {given}:/vol").refused("/proc"),
        Start::new("its place is a link into /proc", link("/proc/self")).with("-v {given}:/vol/x").either(),
        Start::new("its place is in /proc", plain).with("-v {given}:/proc/sys").refused("/proc"),
        Start::new("its place is /proc", plain).with("-v {given}:/proc").refused("/proc"),
        Start::new("its place is a link to /dev", link("/dev")).with("-v {file}:/vol/x"),
        Start::new("a volume lies over /dev, and its null is a link to the host's file", covering("null", "{outside}/marker"))
            .with("-v {given}:/dev")
            .either(),
        Start::new("the same by a link to /dev, and null is the core pattern", covering("null", "/proc/sys/kernel/core_pattern"))
            .with("-v {given}:/vol")
            .either(),
        Start::new("the same, and null is a pipe", |ground| {
            symlink("/dev", ground.root.join("vol"))?;
            pipe(&ground.given.join("null"))
        })
        .with("-v {given}:/vol")
        .either(),
        Start::new("a volume lies over the terminals, and ptmx is a link", covering("ptmx", "{outside}/marker"))
            .with("-t -v {given}:/dev/pts")
            .either(),
        Start::new("a volume lies over the terminals, and ptmx is a pipe", |ground| pipe(&ground.given.join("ptmx")))
            .with("-t -v {given}:/dev/pts")
            .either(),
        Start::new("its place climbs", plain).with("-v {given}:/../../../vol"),
        Start::new("a folder is to lie on a file", at("vol", file)).with("-v {given}:/vol").refused("/vol of the root folder"),
        Start::new("a folder is to lie on a socket", at("vol", socket)).with("-v {given}:/vol").refused("a socket"),
        Start::new("a folder is to lie on a pipe", at("vol", pipe)).with("-v {given}:/vol").refused("a pipe"),
        Start::new("a file is to lie on a folder", plain).with("-v {file}:/mnt").refused("a folder"),
        Start::new("a file is to lie below a file", at("vol", file)).with("-v {file}:/vol/x").refused("/vol/x"),
        Start::new("a file lies on a pipe", at("vol", pipe)).with("-v {file}:/vol"),
        Start::new("a volume lies where nothing is", plain).with("-v {given}:/a/b/c -v {file}:/a/d"),
        Start::new("a volume has a link below which another is to lie", |ground| {
            symlink(&ground.outside, ground.given.join("link"))
        })
        .with("-v {given}:/mnt -v {file}:/mnt/link/new")
        .either(),
        Start::new("a read-only volume lies in another, given in the wrong order", |ground| {
            fs::create_dir(ground.given.join("in"))
        })
        .with("-v {read-only}:/mnt/in:ro -v {given}:/mnt")
        .executing(&["/bin/sh", "-c", "(echo x >/mnt/in/x) 2>/dev/null && echo REACHED; cat=$(busybox cat /mnt/in/kept); [ $cat = kept ] && echo WELL"]),
    ]
}

/// A link in the volume that is to be seen, and `/vol` as another name of `/dev`.
fn covering(name: &'static str, to: &'static str) -> impl Fn(&Ground) -> io::Result<()> {
    move |ground: &Ground| {
        symlink("/dev", ground.root.join("vol"))?;
        symlink(ground.fill_link(to), ground.given.join(name))
    }
}

/// Another process exchanges what the starter is about to use.
fn races() -> Vec<Start> {
    let beside = |name: &'static str, to: &'static str| {
        move |ground: &Ground| symlink(ground.fill_link(to), ground.root.join(format!("{name}-other")))
    };
    let work = |ground: &Ground| {
        fs::create_dir(ground.root.join("work"))?;
        symlink("/proc/self/fd/7", ground.root.join("work-other"))
    };
    let nested = |ground: &Ground| {
        fs::set_permissions(&ground.given, fs::Permissions::from_mode(0o777))?;
        ["in", "other"].iter().try_for_each(|name| fs::create_dir(ground.given.join(name)))
    };
    vec![
        Start::new("/proc is exchanged for a link", beside("proc", "{outside}"))
            .racing(|g| exchange(&g.root, "proc", "proc-other")),
        Start::new("/sys is exchanged for a link", beside("sys", "{outside}"))
            .racing(|g| exchange(&g.root, "sys", "sys-other")),
        Start::new("/dev is exchanged for a link", beside("dev", "/proc/self/fd/7"))
            .racing(|g| exchange(&g.root, "dev", "dev-other")),
        Start::new("/tmp is exchanged for a link", beside("tmp", "{outside}"))
            .racing(|g| exchange(&g.root, "tmp", "tmp-other")),
        Start::new("/proc is moved away and back", |_| Ok(())).racing(|ground| {
            let (place, away) = (ground.root.join("proc"), ground.root.join("away"));
            drop(fs::rename(&place, &away).and_then(|()| fs::create_dir(&place)));
            drop(fs::remove_dir(&place).and_then(|()| fs::rename(&away, &place)));
        }),
        Start::new("the working directory is exchanged for a link", work)
            .with("-w /work")
            .racing(|g| exchange(&g.root, "work", "work-other")),
        Start::new("the working directory is moved out of the root", |g| fs::create_dir_all(g.root.join("deep/work")))
            .with("-w /deep/work")
            .racing(|ground| {
                let (place, away) = (ground.root.join("deep"), ground.given.join("deep"));
                drop(fs::rename(&place, &away));
                drop(fs::rename(&away, &place));
            }),
        Start::new("a volume's place is exchanged for a link", beside("mnt", "{outside}"))
            .with("-v {given}:/mnt")
            .racing(|g| exchange(&g.root, "mnt", "mnt-other")),
        Start::new("the parent of a volume's place that is yet to be made is exchanged for a link", |ground| {
            fs::create_dir(ground.given.join("a"))?;
            symlink(&ground.outside, ground.given.join("a-other"))
        })
        .with("-v {given}:/mnt -v {file}:/mnt/a/new")
        .racing(|g| exchange(&g.given, "a", "a-other")),
        Start::new("the place of a read-only volume in a volume is exchanged", nested)
            .with("-v {given}:/mnt -v {read-only}:/mnt/in:ro")
            .executing(&["/bin/sh", "-c", "for in in /mnt/*; do (echo x >$in/kept) 2>/dev/null; done; echo WELL"])
            .racing(|g| exchange(&g.given, "in", "other")),
    ]
}

impl Ground {
    fn fill_link(&self, to: &str) -> String {
        to.replace("{outside}", &self.outside.display().to_string()).replace("{climbing}", &self.climbing())
    }
}

/// A link, and a decoy: in the root folder, as long as nothing is mounted there, it leads to a folder.
fn replace_by_link(ground: &Ground, name: &str, to: &str) -> io::Result<()> {
    let to = ground.fill_link(to);
    let decoy = ground.root.join(to.trim_start_matches("../").trim_start_matches('/'));
    fs::remove_dir(ground.root.join(name))?;
    if !decoy.starts_with(ground.root.join(name)) && to != "/nowhere" {
        fs::create_dir_all(decoy)?;
    }
    symlink(to, ground.root.join(name))
}

fn exchange(folder: &Path, one: &str, other: &str) {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let _ = renameat_with(CWD, folder.join(one), CWD, folder.join(other), RenameFlags::EXCHANGE);
}

pub fn program(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

pub fn file(path: &Path) -> io::Result<()> {
    fs::write(path, "")
}

pub fn socket(path: &Path) -> io::Result<()> {
    // A path that is too long for a socket's address is not too long for mknod.
    mknod(path, SFlag::S_IFSOCK, Mode::from_bits_truncate(0o666), 0).map_err(Into::into)
}

pub fn pipe(path: &Path) -> io::Result<()> {
    nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o666)).map_err(Into::into)
}

pub fn device(path: &Path) -> io::Result<()> {
    mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5)).map_err(Into::into)
}
