//! Why a journal cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use crate::ErrorKind;

/// Why a journal could not be opened, read or written.
///
/// Whatever the reason, a file that is refused was not changed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("journal {}: {reason}", path.display())]
pub struct JournalError {
    path: PathBuf,
    reason: String,
    kind: ErrorKind,
}

impl JournalError {
    pub(super) fn new(path: &Path, kind: ErrorKind, reason: impl Into<String>) -> JournalError {
        JournalError { path: path.into(), reason: reason.into(), kind }
    }

    /// A call on the file failed.
    pub(super) fn io(path: &Path, doing: &str, error: &io::Error) -> JournalError {
        let cure = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "; make room and start the program again: what was recorded stays recorded"
            }
            io::ErrorKind::NotFound
                if path.parent().is_some_and(|directory| !directory.as_os_str().is_empty() && !directory.exists()) =>
            {
                "; the directory must exist"
            }
            _ => "",
        };
        JournalError::new(path, ErrorKind::Io, format!("{doing}: {error}{cure}"))
    }

    /// The store below refused.
    pub(super) fn store(path: &Path, doing: &str, error: impl Into<redb::Error>) -> JournalError {
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => JournalError::locked(path),
            // What no system call said, the bytes did.
            redb::Error::Io(error) if error.raw_os_error().is_none() => JournalError::damaged(path, &error.to_string()),
            redb::Error::Io(error) => JournalError::io(path, doing, &error),
            redb::Error::Corrupted(what) => JournalError::damaged(path, &what),
            redb::Error::RepairAborted => JournalError::damaged(path, "it cannot be repaired"),
            redb::Error::UpgradeRequired(version) => JournalError::new(
                path,
                ErrorKind::InvalidData,
                format!(
                    "written in format {version} of the store, which this build cannot read: use the build that wrote it"
                ),
            ),
            error => JournalError::new(path, ErrorKind::Io, format!("{doing}: {error}")),
        }
    }

    pub(super) fn locked(path: &Path) -> JournalError {
        let reason = "another program has it open; wait for it to end, or give this one a journal of its own";
        JournalError::new(path, ErrorKind::InUse, reason)
    }

    pub(super) fn damaged(path: &Path, what: &str) -> JournalError {
        let reason = format!(
            "damaged, or no journal at all ({what}); it was left as it is: restore it from a copy, or start with another file"
        );
        JournalError::new(path, ErrorKind::InvalidData, reason)
    }

    /// The kind: [`ErrorKind::InUse`] for one that another program has open, [`ErrorKind::InvalidData`] for one that is damaged,
    /// foreign or newer, [`ErrorKind::Io`] where a call failed.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
