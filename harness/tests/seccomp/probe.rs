//! Inside: every system call once, with arguments that no call has a use for, and what the kernel answered.

use std::arch::asm;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// Numbers that are tried: all that there are, and some that nobody has.
const NUMBERS: std::ops::Range<i64> = 0..600;
/// How long one may take: `pause` and the like never end.
const DEADLINE: Duration = Duration::from_millis(300);
/// The numbers of these are not asked for. Their child lives in its parent's memory (vfork), or they take as long as disks do (sync).
const LEFT_OUT_64: [i64; 2] = [libc::SYS_vfork, libc::SYS_sync];
const LEFT_OUT_32: [i64; 2] = [190, 36];
/// Not a pointer, not a descriptor, not a process, no set of flags.
const NONSENSE: [i64; 3] = [-1; 3];

/// `ABI CALL ANSWER` on a line each.
pub fn all() {
    for number in NUMBERS.filter(|number| !LEFT_OUT_64.contains(number)) {
        println!("x86-64 {number} {}", answer(|| call_64(number, NONSENSE)));
    }
    for number in NUMBERS.filter(|number| !LEFT_OUT_32.contains(number)) {
        println!("i386 {number} {}", answer(|| call_32(number, NONSENSE)));
    }
    // Where the answer depends on the first argument.
    for family in 0..50 {
        println!(
            "x86-64 socket-{family} {}",
            answer(|| call_64(libc::SYS_socket, [family, libc::SOCK_STREAM.into(), 0]))
        );
        println!("i386 socket-{family} {}", answer(|| call_32(359, [family, libc::SOCK_STREAM.into(), 0])));
    }
    for kind in [0, 1, 8, 9, 0x2_0000, 0x2_0008, 0x2_0009, 0x4_0000, 0xffff_fffe, 0xffff_ffff] {
        println!("x86-64 personality-{kind:x} {}", answer(|| call_64(libc::SYS_personality, [kind, 0, 0])));
    }
    for bit in 8..32 {
        // Without what a child would share with its parent.
        let flags = 1_i64 << bit;
        let shared = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_SIGHAND | libc::CLONE_THREAD | libc::CLONE_SETTLS;
        if i64::from(shared) & flags == 0 {
            println!("x86-64 clone-{flags:x} {}", answer(|| call_64(libc::SYS_clone, [flags | 17, 0, 0])));
        }
    }
}

/// What came of a call in a child: an error's number, `done`, or how the child ended.
fn answer(call: impl FnOnce() -> i64) -> String {
    let (mut told, mut tell) = std::io::pipe().unwrap();
    // SAFETY: this program has one thread.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            drop(told);
            let this = std::process::id();
            let result = call();
            // A child of the child's says nothing.
            if std::process::id() == this {
                say(&mut tell, result);
            }
            // SAFETY: it ends this process at once.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            drop(tell);
            let ended = end_of(child);
            // Grandchildren that hold the pipe have ended too: the last to write closes it.
            match listen(&mut told) {
                Some(error @ -4095..=-1) => format!("error {}", -error),
                Some(_) => "done".to_owned(),
                None => ended,
            }
        }
    }
}

fn say(tell: &mut PipeWriter, result: i64) {
    drop(tell.write_all(&result.to_ne_bytes()));
}

fn listen(told: &mut PipeReader) -> Option<i64> {
    let mut bytes = [0; 8];
    told.read_exact(&mut bytes).ok().map(|()| i64::from_ne_bytes(bytes))
}

fn end_of(child: Pid) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) if Instant::now() > deadline => {
                kill(child, Signal::SIGKILL).unwrap();
                waitpid(child, None).unwrap();
                return "does not end".to_owned();
            }
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_micros(200)),
            Ok(WaitStatus::Exited(_, status)) => return format!("exits with {status}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => return format!("is ended by {signal}"),
            other => return format!("{other:?}"),
        }
    }
}

/// Arguments beyond the third are nonsense. No library's part in it: one would know some numbers.
fn call_64(number: i64, [first, second, third]: [i64; 3]) -> i64 {
    let result;
    // SAFETY: no argument is a pointer to anything of this process.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") first, in("rsi") second, in("rdx") third,
            in("r10") -1_i64, in("r8") -1_i64, in("r9") -1_i64, lateout("rcx") _, lateout("r11") _);
    }
    result
}

/// As a 32-bit program would.
fn call_32(number: i64, [first, second, third]: [i64; 3]) -> i64 {
    let result: i64;
    // SAFETY: as above; rbx, which the compiler keeps for itself, is given back.
    unsafe {
        asm!("xchg rbx, {first}", "int 0x80", "xchg rbx, {first}", first = inout(reg) first => _,
            inlateout("rax") number => result, in("rcx") second, in("rdx") third, in("rsi") -1_i64, in("rdi") -1_i64,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _);
    }
    i64::from(result as i32)
}
