//! Opens paths in the folder without ever leaving it.
//!
//! Every path is resolved with `openat2` from a descriptor of the folder, beneath it and without
//! following links, so that a link that someone inserts between two steps has no effect.
//! (`cap-std`, which the guests' side uses, follows links that stay inside. An observer must not do
//! that, or it would see one file under two names.)

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::base::filestamp::{Inode, inode};
use crate::resource::names::OWN;

/// The open folder.
#[derive(Debug)]
pub(super) struct Root {
    folder: OwnedFd,
    inode: Inode,
}

impl Root {
    /// Opens the folder, and checks that it can be listed and entered. `path` itself may be a link.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let inode = inode(&rustix::fs::fstat(&folder)?);
        let root = Self { folder, inode };
        root.check_access()?;
        Ok(root)
    }

    /// Returns the device and inode of the folder.
    pub(super) fn inode(&self) -> Inode {
        self.inode
    }

    /// Returns whether nothing is in the folder but what the host itself puts there.
    pub(super) fn is_empty(&self) -> Result<bool, Errno> {
        let mut listing = self.open_folder(OsStr::new(""))?;
        while let Some(entry) = listing.read() {
            if ![&b"."[..], b"..", OWN.as_bytes()].contains(&entry?.file_name().to_bytes()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Checks that this folder is still the one at `path`, and can be listed and entered.
    pub(super) fn check(&self, path: &Path) -> io::Result<()> {
        if inode(&rustix::fs::stat(path)?) != self.inode {
            return Err(io::Error::new(io::ErrorKind::NotFound, "another folder is there now"));
        }
        self.check_access()
    }

    fn check_access(&self) -> io::Result<()> {
        Ok(rustix::fs::accessat(&self.folder, ".", Access::READ_OK | Access::EXEC_OK, AtFlags::EACCESS)?)
    }

    /// Returns the status of the entry at a path. Does not follow a link.
    pub(super) fn stat(&self, path: &OsStr) -> Result<Stat, Errno> {
        rustix::fs::fstat(self.resolve(path, OFlags::PATH | OFlags::NOFOLLOW, ResolveFlags::NO_SYMLINKS)?)
    }

    /// Opens a file for reading. Does not wait for the other end of a FIFO.
    pub(super) fn open_file(&self, path: &OsStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        self.resolve(path, flags, ResolveFlags::NO_SYMLINKS)
    }

    /// Opens a folder for listing; the empty path is the folder itself.
    pub(super) fn open_folder(&self, path: &OsStr) -> Result<Dir, Errno> {
        let path = if path.is_empty() { OsStr::new(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        Dir::new(self.resolve(path, flags, ResolveFlags::NO_SYMLINKS)?)
    }

    /// Checks that a link leads to something beneath the folder; fails with `XDEV` if it leads out,
    /// or is absolute.
    pub(super) fn follow(&self, link: &OsStr) -> Result<(), Errno> {
        self.resolve(link, OFlags::PATH, ResolveFlags::empty()).map(drop)
    }

    fn resolve(&self, path: &OsStr, flags: OFlags, how: ResolveFlags) -> Result<OwnedFd, Errno> {
        let how = how | ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.folder, path, flags | OFlags::CLOEXEC, Mode::empty(), how)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}
