//! The ledger beside the audit log, which has an entry for every debit. Looks at each entry of the log once, and notes
//! how far it has looked.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use shared::audit::{AuditKind, AuditRecord};
use shared::canonical::{self, CanonicalError};
use shared::store::{Batch, Key, Store};
use shared_privacy::ledger::Debit;

use super::LedgerFault;
use super::chain::Chain;
use crate::audit::SiteJournal;
use crate::error::SiteError;

const TREE: &str = "privacy-ledger-audited";
const WITNESS: &str = "the audit log";

/// How far the log was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    /// So many entries.
    entries: u64,
    /// The highest debit among them.
    debits: u64,
}

/// The number of the last debit that the log knows, whatever the ledger says.
pub(super) fn highest(store: &dyn Store, journal: &SiteJournal) -> Result<u64, SiteError> {
    let mark = read(store)?;
    let mut found = debits(journal, mark.entries..journal.log().size());
    found.try_fold(mark.debits, |highest, debit| Ok(highest.max(debit?.sequence)))
}

/// Refuses a chain that lacks a debit which the log has, or has another one in its place; appends to the log what it lacks.
pub(super) fn check(chain: &Chain, store: &dyn Store, journal: &SiteJournal) -> Result<(), SiteError> {
    let mark = read(store)?;
    let highest = compare(chain, journal, mark)?;
    let missing: Vec<&Debit> = chain.debits.iter().filter(|debit| debit.sequence > highest).collect();
    journal.write_all(AuditKind::Debit, &missing)?;
    let now = Mark { entries: journal.log().size(), debits: chain.head.debits };
    if now != mark {
        store.apply(Batch::new().put(key(), canonical::encode(&now)?))?;
    }
    Ok(())
}

/// Compares the whole log with the chain: every debit stands in both.
pub(super) fn verify(chain: &Chain, journal: &SiteJournal) -> Result<(), SiteError> {
    let highest = compare(chain, journal, Mark::default())?;
    match chain.debits.iter().find(|debit| debit.sequence > highest) {
        Some(debit) => Err(LedgerFault::Forked { sequence: debit.sequence, witness: WITNESS }.into()),
        None => Ok(()),
    }
}

/// Compares what the log has from `mark` on; the highest debit in it.
fn compare(chain: &Chain, journal: &SiteJournal, mark: Mark) -> Result<u64, SiteError> {
    let mut highest = mark.debits;
    for debit in debits(journal, mark.entries..journal.log().size()) {
        let debit = debit?;
        highest = highest.max(debit.sequence);
        if debit.sequence <= chain.head.debits && !chain.holds(&debit) {
            return Err(LedgerFault::Forked { sequence: debit.sequence, witness: WITNESS }.into());
        }
    }
    if highest > chain.head.debits {
        return Err(LedgerFault::RolledBack { debits: chain.head.debits, known: highest, witness: WITNESS }.into());
    }
    Ok(highest)
}

/// The debits among these entries of the log.
fn debits(journal: &SiteJournal, entries: Range<u64>) -> impl Iterator<Item = Result<Debit, SiteError>> {
    let read = |index| -> Result<Option<Debit>, SiteError> {
        let record: AuditRecord = canonical::decode(journal.log().entry(index)?.body.as_bytes())?;
        if record.kind != AuditKind::Debit {
            return Ok(None);
        }
        Ok(Some(serde_json::from_value(record.content).map_err(CanonicalError::Decode)?))
    };
    entries.filter_map(move |index| read(index).transpose())
}

fn read(store: &dyn Store) -> Result<Mark, SiteError> {
    let bytes = store.get(&key())?;
    Ok(bytes.map(|bytes| canonical::decode(&bytes)).transpose()?.unwrap_or_default())
}

fn key() -> Key {
    Key::new(TREE, "mark")
}
