//! What a site does that has lost debits: it records them as spent, whatever they cost. There is no other way on, since
//! nobody can know less than everything was spent.

use shared::audit::AuditKind;
use shared::privacy::PrivacyUnit;
use shared_privacy::ledger::Debit;

use super::{DATA_SET, Keeping, audited};
use crate::error::SiteError;

/// The highest number of a lost debit that is believed: no ledger has as many, and numbers never run out after it.
pub const MAX_ADOPTED: u64 = 1 << 40;

/// Appends one debit of unknown cost, which spends the whole budget for good, numbered above every debit that ledger,
/// counter, audit log or whoever says `at_least` know of; from then on they agree again. Answers the debit; `is_dry`
/// writes nothing.
pub fn adopt(keeping: &Keeping, at_least: u64, is_dry: bool) -> Result<Debit, SiteError> {
    let mut chain = keeping.chain()?;
    let counter = keeping.counter();
    // A counter that cannot be read counts as one that was lost: what it knew, the log or the coordinator knows.
    let counted = counter.read().ok().flatten().map_or(0, |known| known.debits);
    let audited = audited::highest(keeping.store.as_ref(), &keeping.journal)?;
    let known = [chain.head.debits, counted, audited, at_least].into_iter().fold(0, u64::max);
    let debit = Debit {
        data_set: DATA_SET.to_owned(),
        unit: PrivacyUnit::Record,
        mechanism: None,
        purpose: format!("debits up to {known} that were lost"),
        at: keeping.clock.now(),
        sequence: known.saturating_add(1),
        previous: chain.head.head,
    };
    if !is_dry {
        chain.append(debit.clone(), keeping.store.as_ref(), &keeping.identity)?;
        counter.write(chain.head)?;
        keeping.journal.write(AuditKind::Debit, &debit)?;
    }
    Ok(debit)
}
