//! The program nft: rules are set by it and their counters read, in the text that every build of it reads and writes. JSON (`-j`)
//! needs one that was built with libjansson.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Run `nft` with a ruleset, or a question, in this thread's namespace; its output.
pub(super) fn nft(program: &Path, arguments: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
    // Dropped at the end of the statement: nft reads to the end.
    let sent = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().context("waiting for nft")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " | ");
        anyhow::bail!("{} failed ({}): {said}{}", program.display(), output.status, hint(&said));
    }
    sent.transpose().context("writing to nft")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What to look at: where the kernel refused, and not nft itself.
fn hint(said: &str) -> &'static str {
    let kernel = ["Could not process rule", "etlink", "cache initialization failed"];
    let is_kernels = kernel.iter().any(|words| said.contains(words));
    if is_kernels { "; does the kernel have nf_tables with NAT?" } else { "" }
}

/// Packets that the rules of a table counted, from its listing: `counter packets 12 bytes 720` in each of them.
pub(super) fn packets(listing: &str) -> Result<u64> {
    let words: Vec<&str> = listing.split_whitespace().collect();
    let counts =
        words.windows(3).filter(|words| words[..2] == ["counter", "packets"]).map(|words| words[2].parse::<u64>());
    let counts: Vec<u64> = counts.flatten().collect();
    let shown = || bench_agent::printable(listing.trim(), 400);
    ensure!(!counts.is_empty(), "nft lists no counter of the lab's rule, but: {}", shown());
    Ok(counts.into_iter().fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As nft 1.0.6 lists them.
    const NAT: &str = "table ip bench {
\tchain postrouting {
\t\ttype nat hook postrouting priority srcnat; policy accept;
\t\toifname \"up0\" counter packets 12 bytes 720 masquerade
\t}
}
";

    #[test]
    fn counters_are_read_from_every_listing() {
        assert_eq!(packets(NAT).unwrap(), 12);
        assert_eq!(packets(&NAT.replace("srcnat", "100")).unwrap(), 12);
        assert_eq!(packets("table ip bench { chain forward { counter packets 0 bytes 0 } }").unwrap(), 0);
        let warned = format!("# Warning: table ip bench is managed by iptables-nft, do not touch!\n{NAT}");
        assert_eq!(packets(&warned).unwrap(), 12);
        let two = NAT.replace(" masquerade", "\n\t\tcounter packets 30 bytes 2 accept comment \"packets 7\"");
        assert_eq!(packets(&two).unwrap(), 42);
        assert_eq!(
            packets("counter packets 18446744073709551615 bytes 1 counter packets 2 bytes 1").unwrap(),
            u64::MAX
        );
    }

    #[test]
    fn no_counter_is_no_zero() {
        for listing in ["", "table ip bench {\n}\n", "counter", "counter packets", "counter packets many bytes 1"] {
            let error = packets(listing).unwrap_err().to_string();
            assert!(error.contains("no counter"), "{error}");
        }
    }

    #[test]
    fn the_kernel_is_asked_about_only_where_it_refused() {
        let refused = |said: &str| {
            let script = format!("echo '{said}' >&2; exit 1");
            format!("{:#}", nft(Path::new("/bin/sh"), &["-c", &script], "table").unwrap_err())
        };
        assert!(refused("Error: Could not process rule: No such file or directory").contains("nf_tables"));
        assert!(refused("netlink: Error: cache initialization failed: Invalid argument").contains("nf_tables"));
        let other = refused("Error: JSON support not compiled-in");
        assert!(other.ends_with("JSON support not compiled-in"), "{other}");
    }
}
