//! Why a ledger is not worked with: it is not the newest, or not the one that others know.

use std::path::PathBuf;

use shared::Explain;

/// What tells that a ledger was rolled back, forked or damaged. Nothing is spent with such a ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerFault {
    /// A debit does not carry the digest of the one before it.
    #[error("debit {0} does not follow the one before it")]
    Broken(u64),
    /// Somebody knows of later debits.
    #[error("the ledger ends at debit {debits}, and {witness} knows of debit {known}")]
    RolledBack {
        /// The ledger's last debit.
        debits: u64,
        /// The last debit that the other knows.
        known: u64,
        /// Who knows.
        witness: &'static str,
    },
    /// Somebody knows another debit of the same number.
    #[error("debit {sequence} is not the one that {witness} knows")]
    Forked {
        /// The debit's number.
        sequence: u64,
        /// Who knows another.
        witness: &'static str,
    },
    /// There are debits, and no counter.
    #[error("the ledger has debits, and its counter `{path}` is gone", path = .0.display())]
    CounterMissing(PathBuf),
    /// The counter's file is not what was written.
    #[error("the ledger's counter `{path}` is not what this site wrote: {reason}", path = path.display())]
    CounterDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The coordinator has seen a later or another ledger of this site.
    #[error("the coordinator refuses this site's ledger: {0}")]
    Disowned(String),
}

impl Explain for LedgerFault {
    fn code(&self) -> &'static str {
        match self {
            Self::Broken(_) => "ledger-broken",
            Self::RolledBack { .. } | Self::Disowned(_) => "ledger-rolled-back",
            Self::Forked { .. } => "ledger-forked",
            Self::CounterMissing(_) => "ledger-counter-missing",
            Self::CounterDamaged { .. } => "ledger-counter-damaged",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Broken(_) => "the store was changed by hand, or by a fault: bring its last good copy back",
            _ => {
                "nothing is spent with this ledger: bring the newest one back with its counter or, where that is lost, \
                 record what is lost as spent: `ringfence-participant ledger adopt --help`"
            }
        }
    }
}
