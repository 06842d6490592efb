//! Why recorded decisions were not replayed.

use shared::Explain;

/// Why recorded decisions were not replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file cannot be read.
    #[error("cannot read `{file}`: {reason}")]
    Read {
        /// Which.
        file: String,
        /// What the system says.
        reason: String,
    },
    /// A line is no audit record.
    #[error("`{file}` line {line} is no audit record: {reason}")]
    Damaged {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A line is longer than any audit record.
    #[error("`{file}` line {line} is longer than {limit} bytes")]
    LineTooLong {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// How long a line may be.
        limit: usize,
    },
    /// More leases are in force, or were given back, than a replay keeps in memory.
    #[error("the records hold more than {limit} leases in force or given back")]
    TooManyLeases {
        /// How many it keeps.
        limit: usize,
    },
}

impl Explain for ReplayError {
    fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "replay-read",
            Self::Damaged { .. } => "replay-damaged",
            Self::LineTooLong { .. } => "replay-line-too-long",
            Self::TooManyLeases { .. } => "replay-too-many-leases",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "name files that are readable: JSON lines, plain or as `.zst`, or `-`",
            Self::Damaged { .. } => {
                "export the records again with `ringfence-participant audit export`, or count such lines with `--skip-damaged`"
            }
            Self::LineTooLong { .. } => "write one record a line, as `ringfence-participant audit export` does",
            Self::TooManyLeases { .. } => "replay the records of one site at a time",
        }
    }
}
