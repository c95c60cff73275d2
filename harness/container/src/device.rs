//! Network devices by ioctl: what netlink cannot make (taps) and offloads (netdevice(7), ioctl_tun, ethtool).

use std::ffi::c_char;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;

/// Make a tap device of this name in the thread's network namespace. It stays until the namespace goes or somebody removes it.
/// It passes on the headers of large packets (`IFF_VNET_HDR`): without them a guest would lose all offloads.
pub fn make_tap(name: &str) -> io::Result<()> {
    let tun = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    // SAFETY: the request is initialised and outlives the call; the kernel writes no more than an ifreq.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF as libc::Ioctl, &raw mut request) })?;
    // SAFETY: the third argument is a plain number.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETPERSIST as libc::Ioctl, 1) })
}

/// The offloads that change what a packet costs, with the numbers of their getters (linux/ethtool.h).
const OFFLOADS: [(&str, u32); 6] = [
    ("rx-checksum", 0x14),
    ("tx-checksum", 0x16),
    ("scatter-gather", 0x18),
    ("tso", 0x1e),
    ("gso", 0x23),
    ("gro", 0x2b),
];

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Which offloads a device of the thread's network namespace has turned on, by name.
pub fn offloads(name: &str) -> io::Result<Vec<(&'static str, bool)>> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    let mut found = Vec::with_capacity(OFFLOADS.len());
    for (offload, command) in OFFLOADS {
        let mut value = EthtoolValue { command, data: 0 };
        let mut request = request(name)?;
        request.ifr_ifru.ifru_data = (&raw mut value).cast::<c_char>();
        // SAFETY: the request points to a structure of the layout that these commands fill; both outlive the call.
        check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as libc::Ioctl, &raw mut request) })?;
        found.push((offload, value.data != 0));
    }
    Ok(found)
}

fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: an all-zero ifreq is a valid one: it is plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{name}` is no name for a network device")));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as c_char;
    }
    Ok(request)
}

/// Bring a device of this network namespace up.
pub(crate) fn up(name: &str) -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is initialised, names a device and outlives the call; the kernel only reads it.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, &raw const request) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_tells_its_offloads() {
        let found = offloads("lo").unwrap();
        assert_eq!(found.len(), OFFLOADS.len());
        assert!(found.contains(&("gso", true)), "{found:?}");
    }

    #[test]
    fn what_is_no_device_is_an_error() {
        assert_eq!(offloads("nonsense0").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert!(offloads("a-name-that-is-too-long-for-a-device").is_err());
    }
}
