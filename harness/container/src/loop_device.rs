//! Loop devices by ioctl (loop(4)): a file as a block device, past the page cache where its file system can.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

// Numbers of linux/loop.h.
const LOOP_CLR_FD: libc::c_ulong = 0x4c01;
const LOOP_GET_STATUS64: libc::c_ulong = 0x4c05;
const LOOP_CONFIGURE: libc::c_ulong = 0x4c0a;
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// How long a device may be in use after the processes that mounted it were killed: the kernel unmounts a moment later.
const DETACH: Duration = Duration::from_secs(10);
/// How often another process may take the free device that the kernel named.
const RACES: u32 = 32;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

impl Info {
    fn with_flags(flags: u32) -> Info {
        Info {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        }
    }
}

/// A file as a block device. It is detached when nobody uses it any more: when this is dropped and nothing is mounted from it.
#[derive(Debug)]
pub struct LoopDevice {
    /// Its node.
    pub path: PathBuf,
    /// False where the kernel refused to go past the page cache of the file's file system.
    pub is_direct: bool,
    _open: File,
}

impl LoopDevice {
    /// Attach a free device to a file, for direct I/O where that can be had. `block_bytes`: logical blocks of the disk beneath, without
    /// which a kernel may refuse direct I/O.
    pub fn attach(image: &Path, block_bytes: u32) -> io::Result<LoopDevice> {
        let image = OpenOptions::new().read(true).write(true).open(image)?;
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
        let mut last = io::Error::from_raw_os_error(libc::EBUSY);
        for _ in 0..RACES {
            // SAFETY: this request takes no argument.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as libc::Ioctl) };
            if number < 0 {
                return Err(io::Error::last_os_error());
            }
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = OpenOptions::new().read(true).write(true).open(&path)?;
            let info = Info::with_flags(LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO);
            let config = Config { fd: image.as_raw_fd() as u32, block_size: block_bytes, info, reserved: [0; 8] };
            // SAFETY: the kernel reads a structure of this layout, which outlives the call.
            match unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as libc::Ioctl, &raw const config) } {
                0 => {
                    let is_direct = status(&device)?.flags & LO_FLAGS_DIRECT_IO != 0;
                    return Ok(LoopDevice { path, is_direct, _open: device });
                }
                _ => last = io::Error::last_os_error(),
            }
            if last.raw_os_error() != Some(libc::EBUSY) {
                break;
            }
        }
        Err(last)
    }
}

fn status(device: &File) -> io::Result<Info> {
    let mut info = Info::with_flags(0);
    // SAFETY: the kernel writes a structure of this layout, which outlives the call.
    match unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64 as libc::Ioctl, &raw mut info) } {
        0 => Ok(info),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Detach every device that stands on this very file (path, number of its file system, inode), whatever the device's number, and wait
/// until it is gone. What is still mounted from it goes with the processes that see the mount.
pub fn detach(image: &Path, numbers: (u64, u64)) -> io::Result<()> {
    let deadline = Instant::now() + DETACH;
    loop {
        let devices = on_file(image, numbers)?;
        if devices.is_empty() {
            return Ok(());
        }
        for device in &devices {
            // In use by a mount, it is marked to be detached after that. Gone meanwhile, it is what was wanted.
            // SAFETY: this request takes no argument.
            unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD as libc::Ioctl) };
        }
        drop(devices);
        if Instant::now() > deadline {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The devices that stand on a file: an attached one keeps its file's inode from being another's.
fn on_file(image: &Path, numbers: (u64, u64)) -> io::Result<Vec<File>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block")?.flatten() {
        let name = entry.file_name();
        let Ok(backing) = fs::read(entry.path().join("loop/backing_file")) else { continue };
        let backing = backing.strip_suffix(b"\n").unwrap_or(&backing);
        if backing.strip_suffix(b" (deleted)").unwrap_or(backing) != image.as_os_str().as_bytes() {
            continue;
        }
        let Ok(device) = File::open(Path::new("/dev").join(&name)) else { continue };
        if status(&device).is_ok_and(|info| (info.device, info.inode) == numbers) {
            found.push(device);
        }
    }
    Ok(found)
}
