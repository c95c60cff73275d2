//! Every attempt.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{eventually, finish, names, write_program};
use crate::world::{COMMAND, SECRET, SECRET_BYTES, Stopped, World, give, reached};

/// A run of fio that ends soon.
const FIO: &str = "run --suite io --only rand-read --profile smoke --env native --no-control --size 16MiB";

/// Tries something in a world, and says whether it was stopped.
type Attempt = fn(&World) -> Stopped;

/// Every attempt by name.
pub const ATTEMPTS: &[(&str, Attempt)] = &[
    ("a program in ~/.cache/bench", |world| a_program_in_the_cache(world, ".cache/bench", false)),
    ("a program in BENCH_CACHE_DIR", |world| a_program_in_the_cache(world, "cache", true)),
    ("a forged tools tree", a_forged_tools_tree),
    ("clean: half-made in ~/.cache/bench is a link", |world| a_link_for_what_is_half_made(world, "clean", false)),
    ("clean: half-made in BENCH_CACHE_DIR is a link", |world| a_link_for_what_is_half_made(world, "clean", true)),
    ("container run: half-made in ~/.cache/bench is a link", |world| {
        a_link_for_what_is_half_made(world, "container run -- true", false)
    }),
    ("container run: half-made in BENCH_CACHE_DIR is a link", |world| {
        a_link_for_what_is_half_made(world, "container run -- true", true)
    }),
    ("a forged tools tree in a sticky BENCH_CACHE_DIR", |world| {
        in_a_sticky_folder(world, "BENCH_CACHE_DIR", forge_the_tools_tree, |out| out.contains("forged"))
    }),
    ("ledgers of somebody else in a sticky BENCH_STATE_DIR", |world| {
        let make = |_: &World, folder: &Path| {
            fs::create_dir(folder.join("ledgers")).unwrap();
            give(&folder.join("ledgers"));
        };
        in_a_sticky_folder(world, "BENCH_STATE_DIR", make, |out| out.contains("ran"))
    }),
    ("the cache lies behind a link", the_cache_lies_behind_a_link),
    ("the cache is a link", the_cache_is_a_link),
    ("the cache's lock is a link", the_caches_lock_is_a_link),
    ("a ledger that lists root's folder", a_ledger_that_lists_a_folder),
    ("a ledger that lists root's file", a_ledger_that_lists_a_file),
    ("a pipe as a ledger", a_pipe_as_a_ledger),
    ("run.lock is a link", the_machines_lock_is_a_link),
    ("a second run by another BENCH_STATE_DIR", a_second_run_by_another_state),
    ("report: read a record of root's", |world| read_through_a_link(world, "report elsewhere/run --format json")),
    ("list: look into root's folder", |world| read_through_a_link(world, "list runs --out elsewhere")),
    ("report: write into root's run", a_report_in_roots_run),
    ("report: swap folders while they are given away", a_report_that_is_swapped_while_it_is_given_away),
    ("export: swap files while they are packed", an_export_of_what_is_swapped),
    ("export: write behind a link", an_export_behind_a_link),
    ("run: bench-runs is a link", runs_behind_a_link),
    ("run: its folder is replaced", |world| {
        a_part_of_the_run_is_replaced(world, |name| !name.starts_with('.') && name != "taken away", None)
    }),
    ("run: the folder of raw output is replaced", |world| a_part_of_the_run_is_replaced(world, is_raw, Some("raw"))),
    ("run: --target is swapped", the_target_is_swapped),
    ("run: the target of its own is replaced", the_target_of_the_run_is_replaced),
    ("run: the work folder's image is replaced", the_work_folder_of_a_command_is_replaced),
    ("run: the files that come along are replaced", files_of_a_command_are_replaced),
    ("without sudo: bench-runs is a link", runs_behind_a_link),
    ("without sudo: a report in root's run", a_report_in_roots_run),
    ("without sudo: the folder of raw output is replaced", |world| {
        a_part_of_the_run_is_replaced(world, is_raw, Some("raw"))
    }),
    ("without sudo: --target is swapped", the_target_is_swapped),
    ("without sudo: the target of its own is replaced", the_target_of_the_run_is_replaced),
];

/// Programs of root's in a cache are replaced by one that says so.
fn replace_programs(cache: &Path, mark: &Path) {
    for name in names(cache).iter().filter(|name| name.starts_with("bench-")) {
        fs::remove_file(cache.join(name)).unwrap();
        write_program(&cache.join(name), &format!("#!/bin/sh\ntouch {}\n", mark.display()));
        give(&cache.join(name));
    }
}

fn a_program_in_the_cache(world: &World, cache: &str, set: bool) -> Stopped {
    let run = || {
        let mut command = world.bench(COMMAND);
        if set {
            command.env("BENCH_CACHE_DIR", world.theirs(cache));
        }
        command.args(["--", "true"]);
        finish(command)
    };
    world.make_theirs(cache);
    run();
    replace_programs(&world.theirs(cache), &world.roots("executed"));
    run();
    reached(world.roots("executed").exists(), "root executed the caller's program")
}

/// `clean`, or a build, in a cache whose folder of half-made things leads to root's.
fn a_link_for_what_is_half_made(world: &World, arguments: &str, set: bool) -> Stopped {
    let cache = if set { "cache" } else { ".cache/bench" };
    world.make_theirs(cache);
    fs::write(world.theirs(cache).join(".lock"), "").unwrap();
    world.link("precious", &format!("{cache}/half-made"));
    give(&world.theirs(cache));
    let mut command = world.bench(arguments);
    if set {
        command.env("BENCH_CACHE_DIR", world.theirs(cache));
    }
    finish(command);
    world.precious()
}

/// What `clean` reads in a state folder of the caller's.
fn a_ledger(world: &World, line: &str, name: &str) -> (i32, String, String) {
    let ledgers = world.make_theirs("state/ledgers");
    fs::write(ledgers.join(name), format!("{line}\n")).unwrap();
    give(&ledgers);
    let mut command = world.bench("clean");
    command.env("BENCH_STATE_DIR", world.theirs("state"));
    finish(command)
}

fn a_ledger_that_lists_a_folder(world: &World) -> Stopped {
    let path = world.roots("precious").display().to_string();
    a_ledger(world, &format!(r#"{{"made":{{"id":0,"change":{{"kind":"folder","path":"{path}"}}}}}}"#), "1-0.jsonl");
    if !world.roots("precious").exists() {
        return Err("root's folder was removed".to_owned());
    }
    world.precious()
}

fn a_ledger_that_lists_a_file(world: &World) -> Stopped {
    let empty = world.roots("empty");
    fs::write(&empty, "").unwrap();
    let change = format!(r#"{{"kind":"file","path":"{}","identity":null}}"#, empty.display());
    a_ledger(world, &format!(r#"{{"made":{{"id":0,"change":{change}}}}}"#), "1-0.jsonl");
    reached(!empty.exists(), "root's file was removed")
}

fn a_pipe_as_a_ledger(world: &World) -> Stopped {
    let ledgers = world.make_theirs("state/ledgers");
    nix::unistd::mkfifo(&ledgers.join("1-0.jsonl"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    give(&ledgers);
    let mut command = world.bench("clean");
    command.env("BENCH_STATE_DIR", world.theirs("state"));
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            return Err("`clean` waits for ever".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn the_machines_lock_is_a_link(world: &World) -> Stopped {
    world.make_theirs("state");
    world.link("secret", "state/run.lock");
    let mut command = world.command("true");
    command.env("BENCH_STATE_DIR", world.theirs("state"));
    finish(command);
    reached(world.secret_is_lost(), "root's file was overwritten with a process id")
}

fn a_second_run_by_another_state(world: &World) -> Stopped {
    let [one, other] = ["one", "other"].map(|name| {
        fs::create_dir(world.roots(name)).unwrap();
        world.roots(name)
    });
    let mut first = world.command("sleep 8").env("BENCH_STATE_DIR", &one).spawn().unwrap();
    eventually("the first run", || !names(&world.theirs("bench-runs")).is_empty());
    let mut second = world.command("true");
    second.env("BENCH_STATE_DIR", &other).arg("second");
    let (status, out, err) = finish(second);
    first.kill().unwrap();
    first.wait().unwrap();
    let mut clean = world.bench("clean");
    clean.env("BENCH_STATE_DIR", &one);
    finish(clean);
    let is_refused = status == 2 && err.contains("another `bench run` is measuring");
    reached(!is_refused, &format!("two runs measured at once: {status} {out}{err}"))
}

fn the_cache_lies_behind_a_link(world: &World) -> Stopped {
    world.link("private", ".cache");
    finish(world.container());
    reached(!names(&world.roots("private")).is_empty(), "root built in a folder where the caller may not even look")
}

fn the_cache_is_a_link(world: &World) -> Stopped {
    world.make_theirs(".cache");
    world.link("precious", ".cache/bench");
    finish(world.container());
    world.precious()
}

fn the_caches_lock_is_a_link(world: &World) -> Stopped {
    world.make_theirs(".cache/bench");
    world.link("absent", ".cache/bench/.lock");
    finish(world.container());
    reached(world.roots("absent").exists(), "a file was made outside")
}

fn a_forged_tools_tree(world: &World) -> Stopped {
    finish(world.container());
    let cache = world.theirs(".cache/bench");
    for tree in names(&cache).iter().filter(|name| name.starts_with("tree-")) {
        let program = cache.join(tree).join("root/usr/bin/true");
        fs::remove_file(&program).unwrap();
        write_program(&program, "#!/bin/sh\necho forged\n");
        give(&program);
    }
    let (_, out, _) = finish(world.container());
    reached(out.contains("forged"), "a container's root was the caller's")
}

/// Root's folder, in which everybody can make what is not there yet.
fn in_a_sticky_folder(world: &World, variable: &str, make: fn(&World, &Path), is_reached: fn(&str) -> bool) -> Stopped {
    let folder = world.roots("sticky");
    fs::create_dir(&folder).unwrap();
    make(world, &folder);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777)).unwrap();
    let mut command = world.bench("container run -- echo ran");
    let (_, out, _) = finish({
        command.env(variable, &folder);
        command
    });
    reached(is_reached(&out), "what somebody else made in it was used")
}

/// Copies of the real ones, under their names: the program that is asked for says another thing.
fn forge_the_tools_tree(world: &World, folder: &Path) {
    finish(world.container());
    let cache = Path::new("/var/cache/bench");
    for tree in names(cache).iter().filter(|name| name.starts_with("tree-")) {
        let copied = Command::new("cp").arg("-a").arg(cache.join(tree)).arg(folder).status().unwrap();
        assert!(copied.success());
        let program = folder.join(tree).join("root/usr/bin/echo");
        fs::remove_file(&program).unwrap();
        write_program(&program, "#!/bin/sh\nprintf 'forged\\n'\n");
        chown_all(&folder.join(tree), crate::world::MALLORY);
    }
}

/// `bench` reads what is behind these names where the caller may not.
fn read_through_a_link(world: &World, arguments: &str) -> Stopped {
    let run = world.finished();
    let hidden = world.roots("private/run");
    fs::rename(&run, &hidden).unwrap();
    chown_all(&hidden, 0);
    world.link("private", "elsewhere");
    let (_, out, _) = world.run(arguments);
    // A list names the folder, and says what state the run is in.
    let is_shown = out.contains("-command-") || out.contains("complete");
    reached(is_shown, "a record that only root may read was shown")
}

fn chown_all(path: &Path, uid: u32) {
    lchown(path, Some(uid), Some(uid)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        names(path).iter().for_each(|name| chown_all(&path.join(name), uid));
    }
}

fn a_report_in_roots_run(world: &World) -> Stopped {
    let run = world.finished();
    let roots = world.roots("run");
    fs::rename(&run, &roots).unwrap();
    fs::remove_dir_all(roots.join("report")).unwrap();
    chown_all(&roots, 0);
    world.link("run", "theirs");
    world.run("report ./theirs");
    reached(roots.join("report").exists(), "a report was written in a folder of root's")
}

/// The folder of a report leads to root's while what it holds is given away by name.
fn a_report_that_is_swapped_while_it_is_given_away(world: &World) -> Stopped {
    const FILES: usize = 300;
    let run = world.finished();
    let (inner, roots) = (run.join("report/inner"), world.roots("many"));
    for folder in [&inner, &roots] {
        fs::create_dir(folder).unwrap();
        (0..FILES).for_each(|number| fs::write(folder.join(format!("f{number}")), "").unwrap());
    }
    world.link("many", "link");
    give(&world.home());
    let meddler = world.swap(vec![(inner, world.theirs("link"))]);
    let lost = |name: &String| fs::metadata(roots.join(name)).unwrap().uid() != 0;
    let found = (0..30).find_map(|_| {
        world.run(&format!("report {}", run.display()));
        Some(names(&roots).iter().filter(|name| lost(name)).count()).filter(|lost| *lost > 0)
    });
    drop(meddler);
    reached(found.is_some(), &format!("{} of {FILES} files of root's were given away", found.unwrap_or(0)))
}

fn an_export_of_what_is_swapped(world: &World) -> Stopped {
    fs::write(world.roots("small"), SECRET).unwrap();
    fs::set_permissions(world.roots("small"), fs::Permissions::from_mode(0o600)).unwrap();
    let run = world.finished();
    let raw = run.join("raw/more");
    fs::create_dir(&raw).unwrap();
    let mut pairs = Vec::new();
    for number in 0..200 {
        let (file, link) = (raw.join(format!("f{number}")), world.theirs(&format!("l{number}")));
        fs::write(&file, "theirs").unwrap();
        symlink(world.roots("small"), &link).unwrap();
        pairs.push((file, link));
    }
    give(&world.home());
    let meddler = world.swap(pairs);
    let archive = world.theirs("x.tar.gz");
    let found = (0..60).any(|_| {
        let _ = fs::remove_file(&archive);
        world.run(&format!("export {} --to x.tar.gz", run.display()));
        let packed = Command::new("tar").arg("-xzOf").arg(&archive).output().unwrap().stdout;
        packed.windows(SECRET.len()).any(|part| part == SECRET.as_bytes())
    });
    drop(meddler);
    reached(found, "a file that only root may read was packed")
}

fn an_export_behind_a_link(world: &World) -> Stopped {
    world.finished();
    world.link("precious", "there");
    world.run("export last --to there/x.tar.gz");
    world.precious()
}

fn runs_behind_a_link(world: &World) -> Stopped {
    world.link("precious", "bench-runs");
    finish(world.command("true"));
    world.precious()
}

/// Of a run that executes this, something in its folder is replaced by a link to root's.
fn a_part_of_the_run_is_replaced(world: &World, chosen: fn(&str) -> bool, inside: Option<&str>) -> Stopped {
    let runs = world.theirs("bench-runs");
    let mut child = world.command("sleep 3").spawn().unwrap();
    let run = || names(&runs).into_iter().find(|name| !name.starts_with('.')).map(|name| runs.join(name));
    eventually("the run's folder", || run().is_some());
    let folder = match inside {
        Some(inside) => run().unwrap().join(inside),
        None => runs.clone(),
    };
    let meddler = world.replace(folder, chosen, "precious");
    child.wait().unwrap();
    drop(meddler);
    world.precious()
}

fn is_raw(name: &str) -> bool {
    name.starts_with("b01-") && !name.contains("instance")
}

/// The storage under test is swapped for root's file while it is driven.
fn the_target_is_swapped(world: &World) -> Stopped {
    let target = world.theirs("target");
    File::create(&target).unwrap().set_len(SECRET_BYTES as u64).unwrap();
    world.link("secret", "link");
    give(&world.home());
    let meddler = world.swap(vec![(target, world.theirs("link"))]);
    let lost = (0..4).any(|_| {
        world.run(&format!("{FIO} --target target --destroy-data"));
        world.secret_is_lost()
    });
    drop(meddler);
    reached(lost, "fio overwrote a file that only root may write")
}

fn the_target_of_the_run_is_replaced(world: &World) -> Stopped {
    let meddler = world.replace(world.make_theirs("bench-runs"), |name| name.ends_with(".target"), "secret");
    world.run(FIO);
    drop(meddler);
    reached(world.secret_is_lost(), "fio overwrote a file that only root may write")
}

fn the_work_folder_of_a_command_is_replaced(world: &World) -> Stopped {
    let meddler = world.replace(world.make_theirs("bench-runs"), |name| name.contains(".work-"), "secret");
    finish(world.command("true"));
    drop(meddler);
    reached(world.secret_is_lost(), "a file system was made of a file that only root may write")
}

fn files_of_a_command_are_replaced(world: &World) -> Stopped {
    let meddler = world.replace(world.make_theirs("bench-runs"), |name| name.ends_with(".files"), "precious");
    let tool = world.theirs("tool");
    write_program(&tool, "#!/bin/sh\n");
    give(&tool);
    let mut command = world.bench(COMMAND);
    finish({
        command.args(["--", "cat"]).arg(&tool);
        command
    });
    drop(meddler);
    world.precious()
}
