//! Read leases: how Linux tells whether someone has a file open for writing.
//!
//! `fcntl(F_SETLEASE, F_RDLCK)` is granted only while no process has the file open for writing, and
//! whoever then opens it for writing waits until we let go. So a file that is hashed under a lease
//! is hashed whole. Rejected: to look for writers in `/proc/*/fd` (sees one user's processes only,
//! and costs more the more processes there are), and to wait until size and time stand still (a
//! guess, and slow); the latter is what is left where leases are refused.
//!
//! This is the only module of the folder with `unsafe` in it: `rustix` has no leases.

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::Once;

/// Why there is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Someone has the file open for writing.
    Busy,
    /// This file system, or this file's owner, does not let us.
    Unsupported,
}

/// Holds off writers, until dropped.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    file: BorrowedFd<'a>,
}

impl<'a> Lease<'a> {
    /// Takes a lease on a file that is open for reading only.
    pub(super) fn take(file: BorrowedFd<'a>) -> Result<Self, Refusal> {
        ignore_breaks();
        match set(file, libc::F_RDLCK) {
            0 => Ok(Self { file }),
            libc::EAGAIN => Err(Refusal::Busy),
            _ => Err(Refusal::Unsupported),
        }
    }

    /// Whether no one has asked for the file since. Whoever does waits for us (at most
    /// `/proc/sys/fs/lease-break-time`), so ask often.
    pub(super) fn holds(&self) -> bool {
        // SAFETY: F_GETLEASE takes no argument and touches no memory of ours; the descriptor is
        // borrowed, so it is open.
        let kind = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_GETLEASE) };
        // Once a break has begun the kernel names what the lease is to become.
        kind == libc::F_RDLCK
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // It cannot fail in a way that matters: if the lease is gone already, that is what was
        // wanted.
        set(self.file, libc::F_UNLCK);
    }
}

/// `F_SETLEASE`; zero, or the error's number.
fn set(file: BorrowedFd<'_>, kind: libc::c_int) -> i32 {
    // SAFETY: F_SETLEASE takes a plain number and touches no memory of ours; the descriptor is
    // borrowed, so it is open.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
    if result == 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL) }
}

/// A broken lease sends SIGIO, which by default ends the process. We ask with [`Lease::holds`]
/// instead, so the signal is ignored, once per process, and only if nothing else handles it.
/// (`F_SETSIG` could choose another signal, but not none; and `F_SETOWN` clears the receiver only
/// after the lease is there, which leaves a moment to be killed in.) Processes that we start
/// inherit this, which changes nothing unless they ask for SIGIO, and then they handle it.
fn ignore_breaks() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: a zeroed `sigaction` is a valid value of that plain struct (default handler,
        // empty mask), and both calls get pointers to live locals of the right type. SIG_IGN runs
        // no code of ours in a signal's context.
        unsafe {
            let mut current: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(libc::SIGIO, std::ptr::null(), &raw mut current) == 0
                && current.sa_sigaction == libc::SIG_DFL
            {
                current.sa_sigaction = libc::SIG_IGN;
                libc::sigaction(libc::SIGIO, &raw const current, std::ptr::null_mut());
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::fd::AsFd as _;

    use super::{Lease, Refusal};

    #[test]
    fn a_writer_bars_the_lease_and_later_breaks_it_without_harm() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let writer = File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        assert_eq!(Lease::take(reader.as_fd()).err(), Some(Refusal::Busy));
        drop(writer);

        let lease = Lease::take(reader.as_fd()).unwrap();
        assert!(lease.holds());
        let second = std::thread::spawn(move || OpenOptions::new().write(true).open(path).map(drop));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while lease.holds() {
            assert!(std::time::Instant::now() < deadline, "the writer was not noticed");
            std::thread::yield_now();
        }
        assert!(!second.is_finished(), "the writer waits for the lease");
        drop(lease);
        second.join().unwrap().unwrap();
    }
}
