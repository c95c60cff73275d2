//! The program iptables, by which a container engine sets its rules: their counters are read, and nothing is changed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Packets that the rules which hide containers saw in this thread's namespace: the first of each connection.
pub(super) fn masqueraded(program: &Path) -> Result<u64> {
    let mut command = Command::new(program);
    command.args(["-t", "nat", "-L", "POSTROUTING", "-n", "-v", "-x"]);
    let output = command.output().with_context(|| format!("starting {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " | ");
    ensure!(output.status.success(), "{} failed ({}): {said}", program.display(), output.status);
    packets(&String::from_utf8_lossy(&output.stdout))
}

/// From the listing of a chain: packets, bytes and target are the first words of each rule.
fn packets(listing: &str) -> Result<u64> {
    let of_rule = |line: &str| {
        let mut words = line.split_whitespace();
        let packets = words.next()?.parse::<u64>().ok()?;
        (words.nth(1)? == "MASQUERADE").then_some(packets)
    };
    let counts: Vec<u64> = listing.lines().filter_map(of_rule).collect();
    let shown = || bench_agent::printable(listing.trim(), 400);
    ensure!(!counts.is_empty(), "iptables lists no rule that hides containers, but: {}", shown());
    Ok(counts.into_iter().fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As iptables 1.8.9 (nf_tables) lists it, of Docker 20.10.
    const LISTING: &str = "Chain POSTROUTING (policy ACCEPT 3 packets, 180 bytes)
    pkts      bytes target     prot opt in     out     source               destination         
      21     1260 MASQUERADE  0    --  *      !docker0  172.17.0.0/16        0.0.0.0/0           
";

    #[test]
    fn only_rules_that_hide_are_counted() {
        assert_eq!(packets(LISTING).unwrap(), 21);
        let more = format!(
            "{LISTING}       4      240 RETURN     0    --  *      *       0.0.0.0/0            0.0.0.0/0\n       2       80 MASQUERADE  tcp  --  *      *       172.18.0.2           172.18.0.2           tcp dpt:80\n"
        );
        assert_eq!(packets(&more).unwrap(), 23);
    }

    #[test]
    fn no_rule_is_no_zero() {
        let none = LISTING.lines().take(2).collect::<Vec<_>>().join("\n");
        for listing in ["", &none] {
            let error = packets(listing).unwrap_err().to_string();
            assert!(error.contains("no rule that hides containers"), "{error}");
        }
    }
}
