//! Typed jobs to the text of a job file.

use std::time::Duration;

/// Reads, writes, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Reads only.
    Read,
    /// Writes only.
    Write,
    /// Both, with this percentage of reads.
    Mixed {
        /// 0 to 100 (`rwmixread`).
        read_percent: u8,
    },
}

/// In which order offsets come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// One after the other.
    Sequential(Direction),
    /// Uniformly at random.
    Random(Direction),
}

impl Pattern {
    /// Value of fio's `rw`.
    fn rw(self) -> &'static str {
        match self {
            Pattern::Sequential(Direction::Read) => "read",
            Pattern::Sequential(Direction::Write) => "write",
            Pattern::Sequential(Direction::Mixed { .. }) => "rw",
            Pattern::Random(Direction::Read) => "randread",
            Pattern::Random(Direction::Write) => "randwrite",
            Pattern::Random(Direction::Mixed { .. }) => "randrw",
        }
    }

    fn read_percent(self) -> Option<u8> {
        let (Pattern::Sequential(direction) | Pattern::Random(direction)) = self;
        match direction {
            Direction::Mixed { read_percent } => Some(read_percent),
            Direction::Read | Direction::Write => None,
        }
    }
}

/// When a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// After this time, going round the file as often as it takes (`time_based`).
    Time(Duration),
    /// When the whole size was done once.
    Whole,
}

/// One job section with the options that `bench` and most block benchmarks need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Section and report name.
    pub name: String,
    /// File or block device.
    pub filename: String,
    /// Bytes of it that are driven.
    pub size_bytes: u64,
    /// Order and direction.
    pub pattern: Pattern,
    /// Bytes of each I/O.
    pub block_size_bytes: u64,
    /// I/Os in flight of each process.
    pub iodepth: u32,
    /// Processes, reported as one (`group_reporting`).
    pub numjobs: u32,
    /// Past the page cache (`O_DIRECT`).
    pub direct: bool,
    /// `ioengine`, such as `libaio`.
    pub engine: String,
    /// When it ends.
    pub length: Length,
    /// Start of the random generator.
    pub seed: u32,
    /// New random data for each write (`refill_buffers`): incompressible, at some cost.
    pub refill_buffers: bool,
    /// fsync when the job ends.
    pub end_fsync: bool,
    /// Start only when all earlier jobs have ended; totals are kept apart from theirs.
    pub stonewall: bool,
    /// Further options by fio's names, such as `fdatasync` or `rate_iops`.
    pub more: Vec<(&'static str, String)>,
}

/// A job that cannot be written down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The job file has lines, and sections in brackets.
    #[error("the {what} of a fio job must not contain line ends or brackets: {value:?}")]
    Text {
        /// `name`, `filename`, or the option.
        what: &'static str,
        /// What was given.
        value: String,
    },
    /// Zero means something else to fio, or nothing.
    #[error("the {what} of fio job `{job}` must not be 0")]
    Zero {
        /// Which number.
        what: &'static str,
        /// Name of the job.
        job: String,
    },
}

/// The variable with which fio's buffers lie in huge pages, where the kernel has them (glibc 2.35, "Memory Allocation Tunables": malloc
/// asks for them by madvise(2)). In scattered pages a large I/O is split into several requests, more of them or fewer by chance.
pub const HUGE_BUFFERS: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");

/// Where a huge page of x86-64 begins, a buffer does: both are needed.
const HUGE_PAGE_BYTES: u64 = 2 << 20;

/// The text of a job file, one section for each job.
pub fn job_file(jobs: &[Job]) -> Result<String, JobError> {
    let mut text = String::new();
    for job in jobs {
        check(job)?;
        section(&mut text, job);
    }
    Ok(text)
}

fn check(job: &Job) -> Result<(), JobError> {
    let more = job.more.iter().map(|(name, value)| (*name, value));
    for (what, value) in [("name", &job.name), ("filename", &job.filename)].into_iter().chain(more) {
        if value.is_empty() || value.contains(['\n', '\r', '[', ']', '\0']) {
            return Err(JobError::Text { what, value: value.clone() });
        }
    }
    let numbers = [
        ("size", job.size_bytes),
        ("block size", job.block_size_bytes),
        ("iodepth", u64::from(job.iodepth)),
        ("numjobs", u64::from(job.numjobs)),
    ];
    match numbers.into_iter().find(|&(_, number)| number == 0) {
        Some((what, _)) => Err(JobError::Zero { what, job: job.name.clone() }),
        None => Ok(()),
    }
}

fn section(text: &mut String, job: &Job) {
    let flag = |on: bool| u8::from(on).to_string();
    // fio splits file names at unescaped colons.
    let filename = job.filename.replace('\\', "\\\\").replace(':', "\\:");
    let mut options = vec![
        ("filename", filename),
        ("size", job.size_bytes.to_string()),
        ("rw", job.pattern.rw().to_owned()),
        ("bs", job.block_size_bytes.to_string()),
        ("iodepth", job.iodepth.to_string()),
        ("numjobs", job.numjobs.to_string()),
        ("group_reporting", flag(true)),
        ("ioengine", job.engine.clone()),
        ("direct", flag(job.direct)),
        // Another sequence for every seed, and no map of what was done already, which would cost CPU time.
        ("randrepeat", flag(false)),
        ("randseed", job.seed.to_string()),
        ("norandommap", flag(true)),
        ("random_generator", "tausworthe64".to_owned()),
        ("refill_buffers", flag(job.refill_buffers)),
        ("end_fsync", flag(job.end_fsync)),
        ("iomem_align", HUGE_PAGE_BYTES.to_string()),
        // fio would choose the CPU's counter natively and the kernel's clock in some guests.
        ("clocksource", "clock_gettime".to_owned()),
    ];
    if let Some(percent) = job.pattern.read_percent() {
        options.push(("rwmixread", percent.to_string()));
    }
    if let Length::Time(time) = job.length {
        options.push(("time_based", flag(true)));
        options.push(("runtime", format!("{}ms", time.as_millis().max(1))));
    }
    if job.stonewall {
        options.push(("stonewall", flag(true)));
    }
    options.extend(job.more.iter().cloned());
    text.push_str(&format!("[{}]\n", job.name));
    for (name, value) in options {
        text.push_str(&format!("{name}={value}\n"));
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn job() -> Job {
        Job {
            name: "measured".into(),
            filename: "/dev/disk/by-path/pci-0000:00".into(),
            size_bytes: 1 << 30,
            pattern: Pattern::Random(Direction::Mixed { read_percent: 70 }),
            block_size_bytes: 4096,
            iodepth: 32,
            numjobs: 8,
            direct: true,
            engine: "libaio".into(),
            length: Length::Time(Duration::from_millis(2500)),
            seed: 7,
            refill_buffers: false,
            end_fsync: false,
            stonewall: true,
            more: vec![("fdatasync", "1".into())],
        }
    }

    #[test]
    fn a_section_says_everything_and_escapes_colons() {
        let text = job_file(&[job()]).unwrap();
        assert!(text.starts_with("[measured]\n"));
        for line in [
            "rw=randrw",
            "fdatasync=1",
            "rwmixread=70",
            "runtime=2500ms",
            "filename=/dev/disk/by-path/pci-0000\\:00",
            "stonewall=1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }

    #[test]
    fn what_would_become_another_line_is_refused() {
        let error = job_file(&[Job { filename: "x\nexec_prerun=reboot".into(), ..job() }]).unwrap_err();
        assert!(matches!(error, JobError::Text { what: "filename", .. }));
        assert!(matches!(job_file(&[Job { iodepth: 0, ..job() }]), Err(JobError::Zero { what: "iodepth", .. })));
    }
}
