//! Whether a server is ready.

use anyhow::{Context, Result};

/// True when a TCP port is listened on in the network namespace of a process.
pub fn is_listening(pid: u32, port: u16) -> Result<bool> {
    let file = format!("/proc/{pid}/net/tcp");
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
    Ok(listens(&text, port))
}

/// Looks for state 0A (`TCP_LISTEN`) in `/proc/net/tcp` (proc_pid_net(5)).
fn listens(text: &str, port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    text.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&wanted)) && fields.nth(1) == Some("0A")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listening_port_counts() {
        let text = "  sl  local_address rem_address   st tx_queue\n   0: 020012C6:1451 00000000:0000 0A 00000000:00000000\n   \
            1: 020012C6:1452 010012C6:C351 01 00000000:00000000\n";
        assert!(listens(text, 5201));
        assert!(!listens(text, 5202) && !listens(text, 520));
    }
}
