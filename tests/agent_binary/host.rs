//! A host with one interface, on a wire of its own, and what a child does to get there.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::process::Command;

use crate::netns::Net;

/// With `eth0`, whose other end is a bridge's port in the same namespace: adverts go out and nobody hears them.
pub(crate) struct Alone(Net);

impl Alone {
    pub(crate) fn new(address: &str) -> Alone {
        let net = Net::new();
        for line in [
            "link set lo up",
            "link add br0 type bridge mcast_snooping 0",
            "link set br0 up",
            "link add name port1 type veth peer name eth0",
            "link set dev port1 master br0 up",
            "link set eth0 up",
        ] {
            net.ip(line);
        }
        net.ip(&format!("addr add {address} dev eth0"));
        Alone(net)
    }

    /// What [`enter`] takes.
    pub(crate) fn file(&self) -> fs::File {
        fs::File::open(self.0.path()).unwrap()
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        self.0.command(program)
    }

    pub(crate) fn owns(&self, vip: &str) -> bool {
        self.0.ip("-o addr show dev eth0").contains(&format!(" {vip}/"))
    }
}

/// Moves the calling thread into a network namespace.
pub(crate) fn enter(namespace: &fs::File) -> io::Result<()> {
    // SAFETY: a file that is open; a number.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a directory the root of the calling process.
pub(crate) fn change_root(root: &CStr) -> io::Result<()> {
    // SAFETY: a string that ends with its zero.
    if unsafe { libc::chroot(root.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    match unsafe { libc::chdir(c"/".as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
