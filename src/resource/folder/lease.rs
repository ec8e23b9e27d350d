//! Uses the read leases of Linux to find out whether someone has a file open for writing.
//!
//! The kernel grants `fcntl(F_SETLEASE, F_RDLCK)` only while no process has the file open for
//! writing. A process that then opens it for writing waits until the lease is released. So a file
//! cannot change while it is hashed under a lease. Rejected: looking for writers in `/proc/*/fd`
//! (it sees only one user's processes, and its cost grows with the number of processes), and
//! waiting until size and time stop changing (a guess, and slow). The latter is the fallback if
//! leases are refused.
//!
//! This is the only module of the folder with `unsafe` in it: `rustix` has no leases.

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::Once;

/// Why there is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Someone has the file open for writing.
    Busy,
    /// The file system does not support leases, or this user may not take one on the file.
    Unsupported,
}

/// A read lease, which blocks writers until it is dropped.
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

    /// Returns whether no process has tried to open the file for writing since. Such a process
    /// waits for the lease (at most `/proc/sys/fs/lease-break-time`), so call this often.
    pub(super) fn holds(&self) -> bool {
        // SAFETY: F_GETLEASE takes no argument and touches no memory of ours; the descriptor is
        // borrowed, so it is open.
        let kind = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_GETLEASE) };
        // Once a break has begun, the kernel returns the target type of the lease.
        kind == libc::F_RDLCK
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // A failure does not matter: it means that the lease is gone already.
        set(self.file, libc::F_UNLCK);
    }
}

/// Calls `F_SETLEASE`. Returns zero, or the error number.
fn set(file: BorrowedFd<'_>, kind: libc::c_int) -> i32 {
    // SAFETY: F_SETLEASE takes a plain number and touches no memory of ours; the descriptor is
    // borrowed, so it is open.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
    if result == 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL) }
}

/// Ignores SIGIO, once per process, unless something else handles it.
///
/// The kernel sends SIGIO when a lease is broken, which by default ends the process.
/// [`Lease::holds`] polls instead. (`F_SETSIG` could choose another signal, but not none.
/// `F_SETOWN` can clear the receiver only after the lease exists, which leaves a moment in which
/// the signal would end the process.) Child processes inherit this, which changes nothing unless
/// they ask for SIGIO, and then they handle it.
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
    fn a_writer_prevents_a_lease_and_breaks_an_existing_one() {
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
