//! A kernel that knows no system call newer than Linux 3.10.

use std::io;

/// The last system call of Linux 3.10 on x86-64 is finit_module, 313 (arch/x86/syscalls/syscall_64.tbl of v3.10); what came later has
/// higher numbers.
const FIRST_NEWER: u32 = 314;

/// From here on, in this thread and what it executes, every newer system call fails with ENOSYS. Cannot be taken back.
///
/// Allocates nothing: it is called between fork and exec.
pub(crate) fn only_linux_3_10() -> io::Result<()> {
    // Classic BPF (linux/filter.h), over struct seccomp_data (linux/seccomp.h): the number is its first word, the architecture its
    // second.
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const FAIL: u32 = 0x0005_0000;
    const KILL: u32 = 0;
    const X86_64: u32 = 0xc000_003e;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        step(LOAD, 0, 0, 4),
        step(JUMP_IF_EQUAL, 1, 0, X86_64),
        step(RETURN, 0, 0, KILL),
        step(LOAD, 0, 0, 0),
        step(JUMP_IF_AT_LEAST, 0, 1, FIRST_NEWER),
        step(RETURN, 0, 0, FAIL | libc::ENOSYS as u32),
        step(RETURN, 0, 0, ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel copies the program during the call, for which it lives.
    if unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The filter does what it says: a newer system call fails, an older one does not.
pub(crate) fn prove() {
    let seen = std::thread::spawn(|| {
        only_linux_3_10().unwrap();
        // SAFETY: asks for no bytes, at no address.
        let newer = unsafe { libc::syscall(libc::SYS_getrandom, std::ptr::null_mut::<u8>(), 0, 0) };
        let error = io::Error::last_os_error().raw_os_error();
        // SAFETY: no arguments, cannot fail.
        let older = unsafe { libc::syscall(libc::SYS_getpid) };
        (newer, error, older > 0)
    });
    assert_eq!(seen.join().unwrap(), (-1, Some(libc::ENOSYS), true));
}
