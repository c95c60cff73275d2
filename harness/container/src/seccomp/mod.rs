//! Docker's default filter of system calls (seccomp(2)), as runc installs it on x86-64: for 64-bit and for 32-bit programs.
//!
//! A call that is not allowed fails with EPERM; one that is newer than the profile with ENOSYS, so that programs fall back to older ones.

mod docker;
mod runtime;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use libc::{
    BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, sock_filter,
};
use syscalls::{x86, x86_64};

use crate::capabilities;
use crate::init::{Doing, Failure};
pub use runtime::seccomp_for_runtimes;

use docker::{ABSENT, BY_ARGUMENT, Test};

/// The moby release whose default profile this is.
pub const PROFILE: &str = "29.7.2";

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// How a program calls the kernel: `AUDIT_ARCH_*`, and the calls there.
type Abi = (u32, fn() -> Calls);
/// Names to numbers. (To have them all at once takes 20 µs; to parse each name that is allowed takes a millisecond.)
type Calls = BTreeMap<&'static str, u32>;

const ABIS: [Abi; 2] = [
    (0xc000_003e, || x86_64::Sysno::iter().map(|call| (call.name(), call.id() as u32)).collect()),
    (0x4000_0003, || x86::Sysno::iter().map(|call| (call.name(), call.id() as u32)).collect()),
];

const REFUSED: u32 = SECCOMP_RET_ERRNO | libc::EPERM as u32;
const UNKNOWN: u32 = SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// From here on this process and all that it starts are held by it. `more`: capabilities besides the default. Needs `no_new_privs`.
pub(crate) fn install(more: &[String]) -> Result<(), Failure> {
    let kept = capabilities::kept(more)?;
    let mut program = program(&|name| capabilities::set(name).is_some_and(|one| kept.contains(one)));
    load(&mut program).doing("installing the filter of system calls (`--seccomp unconfined` starts it without one)")
}

fn load(program: &mut [sock_filter]) -> io::Result<()> {
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let mode = libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: the kernel copies as many instructions as there are, and checks them.
    match unsafe { libc::syscall(libc::SYS_seccomp, mode, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, &raw const filter) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The filter for somebody who holds some capabilities, named as in [`docker`].
fn program(holds: &dyn Fn(&str) -> bool) -> Vec<sock_filter> {
    let mut program = vec![read(ARCHITECTURE)];
    for (architecture, calls) in ABIS {
        let body = rules(&calls(), holds);
        program.push(jump(BPF_JEQ, architecture, 1, 0));
        program.push(instruction(BPF_JMP | BPF_JA, body.len() as u32, 0, 0));
        program.extend(body);
    }
    program.push(answer(SECCOMP_RET_KILL_PROCESS));
    program
}

/// Answers to every call of one ABI.
fn rules(calls: &Calls, holds: &dyn Fn(&str) -> bool) -> Vec<sock_filter> {
    let names = docker::allowed(holds);
    let allowed: BTreeSet<u32> = names.iter().filter_map(|name| calls.get(name).copied()).collect();
    let newest = allowed.last().copied().unwrap_or_default();
    let mut rules = vec![read(NUMBER), jump(BPF_JGT, newest, 0, 1), answer(UNKNOWN)];
    let mut on = |name: &str, then: Vec<sock_filter>| {
        if let Some(number) = calls.get(name).filter(|_| !names.contains(name)) {
            rules.push(jump(BPF_JEQ, *number, 0, then.len() as u8));
            rules.extend(then);
        }
    };
    on(ABSENT, vec![answer(UNKNOWN)]);
    for (name, tests) in BY_ARGUMENT {
        let tests = tests.iter().flat_map(|test| [compare(*test), answer(SECCOMP_RET_ALLOW)]);
        on(name, [read(FIRST_ARGUMENT)].into_iter().chain(tests).chain([answer(REFUSED)]).collect());
    }
    for (first, last) in runs(&allowed) {
        rules.extend([jump(BPF_JGE, first, 0, 2), jump(BPF_JGT, last, 1, 0), answer(SECCOMP_RET_ALLOW)]);
    }
    rules.push(answer(REFUSED));
    rules
}

/// First and last of numbers that follow each other.
fn runs(numbers: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    runs
}

/// The next instruction is executed if the test holds, and left out if not.
fn compare(test: Test) -> sock_filter {
    match test {
        Test::Below(value) => jump(BPF_JGE, value, 1, 0),
        Test::Is(value) => jump(BPF_JEQ, value, 0, 1),
        Test::Above(value) => jump(BPF_JGT, value, 0, 1),
        Test::NoneOf(bits) => jump(BPF_JSET, bits, 1, 0),
    }
}

fn read(offset: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0)
}

/// How many instructions to leave out when the comparison with a value holds, and when not.
fn jump(comparison: u32, value: u32, holds: u8, fails: u8) -> sock_filter {
    instruction(BPF_JMP | comparison | BPF_K, value, holds, fails)
}

fn answer(value: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, value, 0, 0)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::docker::{ALWAYS, BY_CAPABILITY};
    use super::*;

    #[test]
    fn every_name_is_a_call_of_one_abi_at_least() {
        let names = [ALWAYS, ABSENT]
            .into_iter()
            .chain(BY_CAPABILITY.map(|(_, calls)| calls))
            .chain(BY_ARGUMENT.map(|(name, _)| name));
        let known = ABIS.map(|(_, calls)| calls());
        let is_unknown = |name: &&str| known.iter().all(|calls| !calls.contains_key(name));
        let unknown: Vec<_> = names.flat_map(str::split_whitespace).filter(is_unknown).collect();
        // Of other architectures, or parts of another call (`socketcall`, `sendto`).
        assert_eq!(unknown, ["recv", "riscv_hwprobe", "send"]);
    }

    #[test]
    fn the_page_on_security_says_how_many_calls_are_open() {
        let names = capabilities::names(&[]);
        let holds = |capability: &str| names.iter().any(|name| name.strip_prefix("CAP_") == Some(capability));
        let allowed = docker::allowed(&holds);
        let in_part = BY_ARGUMENT.iter().map(|(name, _)| *name);
        let open: BTreeSet<&str> = allowed.iter().copied().chain(in_part).collect();
        let [native, other] = ABIS.map(|(_, calls)| {
            let calls = calls();
            open.iter().filter(|name| calls.contains_key(**name)).count().saturating_add(5) / 10 * 10
        });
        let said = format!("some {native} 64-bit system calls open, and {other} 32-bit ones");
        assert!(include_str!("../../../../docs/SECURITY.md").contains(&said), "{said}");
    }

    #[test]
    fn numbers_that_follow_each_other_are_one_comparison() {
        assert_eq!(runs(&[0, 1, 2, 5, 7, 8].into()), [(0, 2), (5, 5), (7, 8)]);
        assert_eq!(runs(&BTreeSet::new()), []);
    }
}
