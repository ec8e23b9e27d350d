//! Determines what is at a path, and, if it cannot become an artifact, why not.
//!
//! A symbolic link never counts, wherever it leads. Its target inside the folder counts under its
//! own path already, a change of the target raises no event at the link, and the same content at
//! two paths would be claimed twice. So every link is recorded as `ignored`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::stamp::Stamp;
use super::tree::Root;
use crate::base::escape;
use crate::base::filestamp::{FileStamp, inode};
use crate::resource::names::Names;
use crate::resource::{ResourceError, check_path};

/// What is at a path.
#[derive(Debug)]
pub(super) enum Here {
    /// Nothing that counts.
    Nothing,
    /// A regular file; its path.
    File(Box<str>, Stat),
    /// A folder that can be listed.
    Folder,
    /// Something that cannot become an artifact.
    Unsupported(Unsupported),
    /// `stat` failed.
    Unclear(Errno),
}

/// Something that cannot become an artifact.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsupported {
    /// A letter for the kind, then the identity. A change is reported if it differs from the
    /// record.
    pub(super) stamp: Box<str>,
    pub(super) reason: String,
}

impl Unsupported {
    fn new(kind: char, stat: &Stat, reason: impl Into<String>) -> Self {
        let stamp = Stamp { file: FileStamp::of(stat), racy: false };
        Self { stamp: format!("{kind}{stamp}").into(), reason: reason.into() }
    }

    /// Describes something that this user cannot read. Its stamp has no size and times, because
    /// changes to them are not reported as long as it cannot be read.
    pub(super) fn unreadable(stat: &Stat, errno: Errno) -> Self {
        let (dev, ino) = inode(stat);
        let code = errno.raw_os_error();
        let why = io::Error::from(errno);
        Self { stamp: format!("e{code}:{dev}:{ino}").into(), reason: format!("it cannot be read: {why}") }
    }
}

/// Determines what is at `path`. `folder` is the path of the folder itself.
pub(super) fn entry_at(root: &Root, folder: &Path, names: &Names, path: &OsStr) -> Here {
    let stat = match root.stat(path) {
        Ok(stat) => stat,
        // `LOOP`: a link replaced a folder. The files behind the link have other paths.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => return Here::Nothing,
        Err(errno) => return Here::Unclear(errno),
    };
    let kind = FileType::from_raw_mode(stat.st_mode);
    let is_folder = kind == FileType::Directory;
    if !names.reaches(path) || !(if is_folder { names.enters(path) } else { names.takes(path) }) {
        return Here::Nothing;
    }
    let text = match readable_name(path) {
        Ok(text) => text,
        Err(reason) if is_folder => {
            return Here::Unsupported(Unsupported::new('n', &stat, format!("{reason}; nothing in it is recorded")));
        }
        Err(reason) => return Here::Unsupported(Unsupported::new('n', &stat, reason)),
    };
    match kind {
        FileType::RegularFile => Here::File(text.into(), stat),
        FileType::Directory => match root.open_folder(path) {
            Ok(_) => Here::Folder,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Here::Nothing,
            Err(errno) => Here::Unsupported(Unsupported::unreadable(&stat, errno)),
        },
        FileType::Symlink => Here::Unsupported(link(root, folder, path, &stat)),
        FileType::Fifo => Here::Unsupported(Unsupported::new('f', &stat, "it is a FIFO, not a file")),
        FileType::Socket => Here::Unsupported(Unsupported::new('s', &stat, "it is a socket, not a file")),
        _ => Here::Unsupported(Unsupported::new('d', &stat, "it is a device, not a file")),
    }
}

/// Returns the path as text if an artifact can have it; otherwise what is wrong with it.
pub(super) fn readable_name(path: &OsStr) -> Result<&str, String> {
    let text = path.to_str().ok_or("its name is not UTF-8")?;
    match check_path(text) {
        Ok(()) => Ok(text),
        Err(ResourceError::InvalidPath { why, .. }) => Err(format!("its path cannot be used: {why}")),
        Err(other) => Err(other.to_string()),
    }
}

fn link(root: &Root, folder: &Path, path: &OsStr, stat: &Stat) -> Unsupported {
    let target = rustix::fs::readlinkat(root, path, Vec::new()).unwrap_or_default();
    let target = escape(target.as_bytes());
    let target = crate::base::bounds::cut(&target, 300);
    let nowhere = || Unsupported::new('0', stat, format!("it is a link to `{target}`, which does not exist"));
    let inside =
        || Unsupported::new('i', stat, format!("it is a link to `{target}`, which is recorded under its own path"));
    let outside = || Unsupported::new('o', stat, format!("it is a link to `{target}`, which is outside of the folder"));
    match root.follow(path) {
        Ok(()) => inside(),
        Err(Errno::NOENT | Errno::NOTDIR) => nowhere(),
        // The link leads out of the folder, but an absolute link may lead back in.
        Err(Errno::XDEV) => match (std::fs::canonicalize(folder.join(path)), std::fs::canonicalize(folder)) {
            (Ok(target), Ok(folder)) if target.starts_with(&folder) => inside(),
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => nowhere(),
            _ => outside(),
        },
        Err(Errno::LOOP) => {
            Unsupported::new('l', stat, format!("it is a link to `{target}`, which is part of a loop of links"))
        }
        Err(errno) => Unsupported::new('x', stat, format!("it is a link to `{target}`: {}", io::Error::from(errno))),
    }
}

/// Returns the escaped path, under which something unsupported is displayed and recorded.
pub(super) fn shown(path: &OsStr) -> Box<str> {
    escape(path.as_bytes()).into()
}
