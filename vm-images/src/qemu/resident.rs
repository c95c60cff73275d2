//! Memory of a running QEMU.

use std::path::Path;

use crate::vmm::Resident;

/// Read it (proc_pid_smaps(5)).
pub(super) fn resident(pid: u32) -> std::io::Result<Resident> {
    Ok(parse(&std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("smaps"))?))
}

fn parse(smaps: &str) -> Resident {
    let (mut ram, mut rest, mut is_ram) = (0, 0, false);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Rss:") => {
                let bytes = words.next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024;
                *(if is_ram { &mut ram } else { &mut rest }) += bytes;
            }
            // The head of a mapping: a range of addresses, and at the end what is mapped.
            Some(word) if word.contains('-') && !word.ends_with(':') => is_ram = line.contains("memory-backend-memfd"),
            _ => {}
        }
    }
    Resident { guest_ram_bytes: ram, rest_bytes: rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_ram_is_told_from_the_rest() {
        let smaps = "55d0-55d1 r-xp 00000000 08:01 1 /usr/bin/qemu-system-x86_64\nSize: 8 kB\nRss: 8 kB\n\
            7f00-7f40 rw-s 00000000 00:01 7 /memfd:memory-backend-memfd (deleted)\nRss: 2048 kB\nVmFlags: rd wr\n\
            7f50-7f60 rw-p 00000000 00:00 0\nRss: 4 kB\n";
        assert_eq!(parse(smaps), Resident { guest_ram_bytes: 2048 << 10, rest_bytes: 12 << 10 });
    }

    #[test]
    fn of_a_process_without_a_guest_everything_is_the_rest() {
        let own = resident(std::process::id()).unwrap();
        assert!(own.guest_ram_bytes == 0 && own.rest_bytes > 1 << 20, "{own:?}");
    }
}
