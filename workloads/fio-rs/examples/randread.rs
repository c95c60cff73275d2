//! Two seconds of random reads on the file given: `cargo run -p fio-rs --example randread -- /var/tmp/target`.

use std::time::Duration;

use fio_rs::{Direction, Job, Length, Pattern, run};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filename = std::env::args().nth(1).ok_or("usage: randread FILE (it is created with 64 MiB)")?;
    let job = Job {
        name: "rand-read".into(),
        filename,
        size_bytes: 64 << 20,
        pattern: Pattern::Random(Direction::Read),
        block_size_bytes: 4096,
        iodepth: 16,
        numjobs: 1,
        direct: true,
        engine: "libaio".into(),
        length: Length::Time(Duration::from_secs(2)),
        seed: 1,
        refill_buffers: false,
        end_fsync: false,
        more: Vec::new(),
        stonewall: false,
    };
    let (output, status) = run("fio".as_ref(), &[job])?;
    let job = output.check(status, "rand-read")?;
    println!("{:.0} IOPS, mean latency {:.0} ns", job.read.iops, job.read.clat_ns.mean);
    Ok(())
}
