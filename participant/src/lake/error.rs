//! What can go wrong with a lake.

use std::io;
use std::path::{Path, PathBuf};

use shared::Explain;
use shared_crypto::CryptoError;

use crate::event::EventError;

/// What can go wrong with a lake. After every one of them the lake is as it was before the call.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The disk is full, or the quota is spent.
    #[error("there is no space left for `{path}`; nothing was stored", path = path.display())]
    Full {
        /// What was being written.
        path: PathBuf,
    },
    /// The operating system refused something else.
    #[error("could not read or write `{path}`: {source}", path = path.display())]
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process has the lake open.
    #[error("the lake `{folder}` is open in another process", folder = folder.display())]
    Locked {
        /// Which.
        folder: PathBuf,
    },
    /// The manifest was changed.
    #[error("line {line} of the lake's manifest is not what was written: {reason}")]
    Manifest {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A segment was changed, cut or removed.
    #[error("the lake's segment `{segment}` is not what was written")]
    Segment {
        /// Its file name.
        segment: String,
    },
    /// A segment does not open with this key, or cannot be sealed.
    #[error(transparent)]
    Seal(#[from] CryptoError),
    /// A stored event is none, or an event cannot be written.
    #[error(transparent)]
    Event(#[from] EventError),
}

impl LakeError {
    /// Says where the operating system failed.
    pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> Self {
        |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: path.to_owned() },
            _ => Self::Io { path: path.to_owned(), source },
        }
    }
}

impl Explain for LakeError {
    fn code(&self) -> &'static str {
        match self {
            Self::Full { .. } => "lake-full",
            Self::Io { .. } => "lake-io",
            Self::Locked { .. } => "lake-locked",
            Self::Manifest { .. } => "lake-manifest",
            Self::Segment { .. } => "lake-segment",
            Self::Seal(error) => error.code(),
            Self::Event(error) => error.code(),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Full { .. } => "free disk space and ingest the same input again; stored events are recognised",
            Self::Io { .. } => "check the folder, its permissions and the disk",
            Self::Locked { .. } => "stop the other process, or give this one another folder",
            Self::Manifest { .. } | Self::Segment { .. } => "restore the lake's folder from a backup",
            Self::Seal(error) => error.hint(),
            Self::Event(error) => error.hint(),
        }
    }
}
