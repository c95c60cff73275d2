//! Each attempt is made by a child process of its own, so that whatever it brings about goes with it.

use std::io::{Read, Write};

use bench_results::isolation::SILENT;
use bench_results::record::Sight;
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, alarm, fork};

use super::{Tried, named, sight};

/// Seconds after which an attempt is ended.
const PATIENCE_S: u32 = 10;

/// Make an attempt in a child. A filter of system calls may answer with a signal.
pub(super) fn tried(attempt: impl FnOnce() -> Tried) -> Sight {
    let (mut reader, mut writer) = match std::io::pipe() {
        Ok(ends) => ends,
        Err(e) => return Sight::Error(format!("no pipe: {e}")),
    };
    // SAFETY: this program has one thread.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            alarm::set(PATIENCE_S);
            let said = serde_json::to_vec(&sight(attempt())).unwrap_or_default();
            drop(writer.write_all(&said));
            // SAFETY: it ends this process at once, without what the parent has registered for its own end.
            unsafe { libc::_exit(0) }
        }
        Ok(ForkResult::Parent { child }) => {
            drop(writer);
            let mut said = Vec::new();
            drop(reader.read_to_end(&mut said));
            match waitpid(child, None) {
                Ok(WaitStatus::Signaled(_, signal, _)) => Sight::Error(signal.to_string()),
                _ => serde_json::from_slice(&said).unwrap_or_else(|_| Sight::Error(SILENT.to_owned())),
            }
        }
        Err(e) => Sight::Error(format!("no child process: {}", named(e))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_finds_comes_back_and_a_signal_is_named() {
        assert_eq!(tried(|| Ok("x".to_owned())), Sight::Value("x".to_owned()));
        assert_eq!(tried(|| Err("EPERM".to_owned())), Sight::Error("EPERM".to_owned()));
        let killed = tried(|| {
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
            Ok(String::new())
        });
        assert_eq!(killed, Sight::Error("SIGKILL".to_owned()));
    }
}
