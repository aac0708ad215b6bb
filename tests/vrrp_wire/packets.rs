//! What must never stop the adverts.

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::capture::{Capture, Frame};
use crate::net::{Engine, FAST, Pair, VIP, able, config, until};

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::new();
    let mut capture = Capture::new(&pair.b.net);
    let (unread, mut full) = std::io::pipe().unwrap();
    // SAFETY: plain system calls on descriptors of ours.
    unsafe {
        libc::fcntl(full.as_raw_fd(), libc::F_SETPIPE_SZ, 4096);
        libc::fcntl(full.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK);
    }
    while full.write(&[b'x'; 64]).is_ok() {}
    // The daemon shall wait when it writes.
    // SAFETY: as above.
    unsafe { libc::fcntl(full.as_raw_fd(), libc::F_SETFL, 0) };
    pair.a.write(&config(201, VIP, FAST));
    pair.a.start_with(Engine::Agent, OwnedFd::from(full));
    until("a owns the VIP", || pair.a.owns(VIP));
    let ours = |f: &Frame| matches!(f, Frame::Advert { priority: 201, .. });
    until("thirty adverts", || capture.count(ours) >= 30);
    // Nor does it stop a reload or a stop.
    assert!(pair.a.agent(&["reload"]).1);
    pair.a.end(libc::SIGTERM);
    assert!(!pair.a.owns(VIP));
    assert!(capture.count(|f| matches!(f, Frame::Advert { priority: 0, .. })) == 1);
    drop(unread);
}
