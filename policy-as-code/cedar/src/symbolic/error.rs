//! Why a solver gave no answer to rely on.

use shared::Explain;

/// Why a solver gave no answer to rely on.
#[derive(Debug, thiserror::Error)]
pub enum SolverError {
    /// It cannot be started.
    #[error("cannot start the solver `{program}`: {reason}")]
    Absent {
        /// Which.
        program: String,
        /// What the system says.
        reason: String,
    },
    /// It is another program, or another version.
    #[error("`{program}` is not cvc5 1.0.3 or a later cvc5 1: it says `{says}`")]
    Unfit {
        /// Which.
        program: String,
        /// The first line of what it says about its version.
        says: String,
    },
    /// It ended instead of answering.
    #[error("the solver `{program}` ended without an answer: {reason}")]
    Died {
        /// Which.
        program: String,
        /// How it ended, and what it wrote to standard error.
        reason: String,
    },
    /// It answered what is no answer.
    #[error("the solver `{program}` answered `{answer}`")]
    Nonsense {
        /// Which.
        program: String,
        /// The beginning of what it answered.
        answer: String,
    },
}

impl Explain for SolverError {
    fn code(&self) -> &'static str {
        match self {
            Self::Absent { .. } => "solver-absent",
            Self::Unfit { .. } => "solver-unfit",
            Self::Died { .. } => "solver-died",
            Self::Nonsense { .. } => "solver-nonsense",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Absent { .. } => "install it (`apt-get install cvc5`), or name it with `--solver PATH`",
            Self::Unfit { .. } => {
                "name a cvc5 with `--solver PATH` (Debian's package `cvc5` will do); other solvers lack finite sets"
            }
            Self::Died { .. } => "run again; if it ends again, look at its memory limit, or take another build of cvc5",
            Self::Nonsense { .. } => "name a cvc5 with `--solver PATH`; if this is one, report the answer",
        }
    }
}
