//! Ten seconds of noise: what a spinning program loses to others on every CPU, how evenly it goes, and how evenly a disk reads.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench_results::Direction;
use bench_results::simulation::{Judged, Noise, RUNS};
use rand::{Rng, RngCore};
use serde::Serialize;

use super::super::target::reopen_directly;
use super::read;
use super::system::steal_ticks;

/// Each half of the probe.
const HALF: Duration = Duration::from_secs(5);
/// Work is counted by windows of this length; two in a row are one pair, as two trials of a block are.
const WINDOW: Duration = Duration::from_millis(250);
/// A gap between two reads of the clock that is longer than this was taken by somebody else.
const DETOUR_NS: u64 = 1_000;
/// Size of the file that is read.
const FILE_BYTES: usize = 64 << 20;
/// One read.
const READ_BYTES: usize = 4096;
/// Blocks of the run in whose terms the noise is told: the profile `quick`.
const BLOCKS: u32 = 8;
/// Margins that are tried, in percent.
const MARGINS: [f64; 8] = [1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 50.0];

/// What ten seconds showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NoiseFigure {
    /// Share of the time on a CPU that others took from a spinning program, on the worst CPU.
    pub taken: f64,
    /// Longest time that it was kept from running, in nanoseconds.
    pub longest_gap_ns: u64,
    /// Share of all CPU time that a hypervisor gave to others meanwhile; absent where the kernel does not say.
    pub steal: Option<f64>,
    /// How evenly the CPUs went: standard deviation of the logarithm of work in one window ÷ work in the next.
    pub cpu_sd_log: Option<f64>,
    /// The same of direct reads of 4 KiB, one at a time.
    pub disk_sd_log: Option<f64>,
    /// Why there is none of the disk.
    pub no_disk: Option<String>,
    /// The smallest margin tried at which 80 % of runs of eight such blocks call equal sides equivalent.
    pub margin: Option<f64>,
    /// One sentence for people.
    pub sentence: String,
}

/// Take ten seconds: CPUs first, then reads of a file in `folder`.
pub fn measure(folder: &Path) -> Result<NoiseFigure> {
    ensure!(folder.is_dir(), "measuring noise: cannot create a file to read in {}", folder.display());
    let cpus = super::super::cpus::choose(None, false)?.0;
    let before = read("/proc/stat").as_deref().and_then(steal_ticks);
    let spins: Vec<Spin> = std::thread::scope(|scope| {
        let threads: Vec<_> = cpus.iter().map(|&cpu| scope.spawn(move || spin(cpu, HALF))).collect();
        threads.into_iter().flat_map(std::thread::ScopedJoinHandle::join).collect()
    });
    let after = read("/proc/stat").as_deref().and_then(steal_ticks);
    let steal = before.zip(after).map(|(before, after)| {
        after.1.saturating_sub(before.1) as f64 / after.0.saturating_sub(before.0).max(1) as f64
    });
    let reads = read_for(folder, HALF);
    let cpu = worst(spins.iter().map(|spin| spin.windows.as_slice()));
    let disk = reads.as_deref().ok().map(|windows| worst([windows]));
    // What has no figure is worse than any: a window in which nothing was done at all.
    let margins = std::iter::once(&cpu).chain(&disk).map(|noise| resolved(noise.as_ref()?));
    let margin = margins.reduce(|all, one| Some(f64::max(all?, one?))).flatten();
    let mut figure = NoiseFigure {
        taken: spins.iter().map(|spin| spin.taken).fold(0.0, f64::max),
        longest_gap_ns: spins.iter().map(|spin| spin.longest_gap_ns).max().unwrap_or(0),
        steal,
        cpu_sd_log: cpu.map(|noise| noise.sd_log),
        disk_sd_log: disk.as_ref().and_then(|noise| Some(noise.as_ref()?.sd_log)),
        no_disk: match (&disk, reads) {
            (_, Err(e)) => Some(format!("{e:#}")),
            (Some(None), _) => Some(format!("no read completed for {} ms or longer", WINDOW.as_millis())),
            _ => None,
        },
        margin,
        sentence: String::new(),
    };
    figure.sentence = sentence(&figure);
    Ok(figure)
}

/// What one CPU showed.
struct Spin {
    taken: f64,
    longest_gap_ns: u64,
    /// Reads of the clock in each window.
    windows: Vec<u64>,
}

/// Read the clock again and again on one CPU.
fn spin(cpu: usize, time: Duration) -> Spin {
    // Where it may not be pinned, the gaps are those of wherever it runs.
    let _ = bench_container::pin(0, cpu);
    let start = Instant::now();
    let (mut last, mut windows) = (0, vec![0_u64]);
    let (mut taken_ns, mut longest_gap_ns) = (0, 0);
    let (window_ns, end_ns) = (WINDOW.as_nanos() as u64, time.as_nanos() as u64);
    while last < end_ns {
        let now = start.elapsed().as_nanos() as u64;
        let gap = now - last;
        if gap > DETOUR_NS {
            taken_ns += gap;
            longest_gap_ns = longest_gap_ns.max(gap);
        }
        if now >= windows.len() as u64 * window_ns {
            windows.push(0);
        }
        if let Some(window) = windows.last_mut() {
            *window += 1;
        }
        last = now;
    }
    // The last window has only begun.
    windows.pop();
    Spin { taken: taken_ns as f64 / last as f64, longest_gap_ns, windows }
}

/// Reads in each window, past the page cache, of a file that is made for it without a name: nothing stays, however this ends.
fn read_for(folder: &Path, time: Duration) -> Result<Vec<u64>> {
    let mut writable =
        tempfile::tempfile_in(folder).with_context(|| format!("making a file to read in {}", folder.display()))?;
    let file = reopen_directly(&writable, OpenOptions::new().read(true));
    let file = file.with_context(|| format!("opening a file in {} past the page cache", folder.display()))?;
    let mut content = vec![0; FILE_BYTES];
    rand::rng().fill_bytes(&mut content);
    std::io::Write::write_all(&mut writable, &content).context("filling the file to read")?;
    writable.sync_all().context("syncing the file to read")?;
    read_windows(&file, time).context("reading past the page cache")
}

fn read_windows(file: &File, time: Duration) -> std::io::Result<Vec<u64>> {
    let mut space = vec![0_u8; 2 * READ_BYTES];
    let aligned = space.as_ptr().align_offset(READ_BYTES);
    let buffer = &mut space[aligned..aligned + READ_BYTES];
    let mut rng = rand::rng();
    let mut windows = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time {
        let end = start + WINDOW * (windows.len() as u32 + 1);
        let mut count = 0;
        while Instant::now() < end {
            let at = rng.random_range(0..FILE_BYTES / READ_BYTES) * READ_BYTES;
            file.read_exact_at(buffer, at as u64)?;
            count += 1;
        }
        windows.push(count);
    }
    Ok(windows)
}

/// The most uneven; absent where one of them has no figure.
fn worst<'a>(all: impl IntoIterator<Item = &'a [u64]>) -> Option<Noise> {
    let all: Option<Vec<Noise>> = all.into_iter().map(pairs).collect();
    all?.into_iter().max_by(|a, b| a.sd_log.total_cmp(&b.sd_log))
}

/// Each window against the next, two by two; absent where one of them is empty.
fn pairs(windows: &[u64]) -> Option<Noise> {
    let ratios: Vec<f64> = windows.chunks_exact(2).map(|pair| pair[0] as f64 / pair[1] as f64).collect();
    Noise::of(&ratios)
}

/// The smallest margin at which equal sides are called equivalent in 80 % of runs.
fn resolved(noise: &Noise) -> Option<f64> {
    MARGINS.into_iter().map(|percent| percent / 100.0).find(|&margin| {
        noise.rates(1.0, Judged { blocks: BLOCKS, margin, better: Direction::Higher }, RUNS).equivalent >= 0.8
    })
}

fn sentence(figure: &NoiseFigure) -> String {
    let stalled = figure.disk_sd_log.is_none() && figure.margin.is_none();
    let of = if figure.disk_sd_log.is_some() || stalled { "CPUs and disk go" } else { "CPUs go" };
    match figure.margin {
        Some(margin) => format!(
            "as evenly as {of} from one quarter of a second to the next, {BLOCKS} blocks tell equal sides from a \
             difference of {:.0} %; a run's own blocks say it better (`bench power`)",
            margin * 100.0
        ),
        None => format!(
            "{of} so unevenly that {BLOCKS} blocks would not resolve even {:.0} %: find out what disturbs this machine \
             before measuring on it",
            MARGINS[MARGINS.len() - 1]
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_machine_resolves_more_than_an_uneven_one() {
        let windows = |swing: u64| -> Vec<u64> { (0..20).map(|i| 10_000 + swing * [0, 3, 1, 4, 2][i % 5]).collect() };
        let margin = |swing| resolved(&pairs(&windows(swing)).unwrap());
        assert_eq!(margin(1), Some(0.01));
        assert!(margin(300).unwrap() > 0.05, "{:?}", margin(300));
        assert_eq!(pairs(&[1, 2, 3]), None, "too short to tell");
        assert_eq!(pairs(&[0; 20]), None, "nothing was read at all");
        let (even, mut stalled) = (windows(1), windows(1));
        stalled[7] = 0;
        assert!(worst([even.as_slice(), &even]).is_some());
        assert_eq!(
            worst([even.as_slice(), &stalled]),
            None,
            "one that stalled has no figure, and hides behind no other"
        );
    }

    #[test]
    fn a_spinning_program_sees_what_it_loses() {
        let spin = spin(super::super::super::cpus::choose(None, false).unwrap().0[0], Duration::from_millis(600));
        assert_eq!(spin.windows.len(), 2);
        assert!(spin.windows.iter().all(|&count| count > 1000), "{:?}", spin.windows);
        assert!((0.0..1.0).contains(&spin.taken) && spin.longest_gap_ns > 0, "{}", spin.taken);
    }

    #[test]
    fn a_disk_is_read_and_nothing_is_left() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let is_empty = || std::fs::read_dir(folder.path()).unwrap().next().is_none();
        let read = std::thread::scope(|scope| {
            let reader = scope.spawn(|| read_for(folder.path(), Duration::from_millis(600)));
            std::thread::sleep(Duration::from_millis(300));
            while !reader.is_finished() {
                assert!(is_empty(), "a kill now would leave it");
                std::thread::sleep(Duration::from_millis(20));
            }
            reader.join().unwrap()
        });
        match read {
            Ok(windows) => assert!(windows.len() == 3 && windows.iter().all(|&count| count > 0), "{windows:?}"),
            Err(e) => eprintln!("skipped: {e:#}"),
        }
        assert!(is_empty());
        let error = format!("{:#}", read_for(&folder.path().join("none"), WINDOW).unwrap_err());
        assert!(error.contains("making a file to read in"), "{error}");
    }
}
