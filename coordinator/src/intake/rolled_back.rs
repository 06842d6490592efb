//! The coordinator's copy of how far each site's privacy ledger goes: a site that was restored from a backup, and has
//! forgotten what it spent, is told so before it spends more. What it spent on, the coordinator never learns.

use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::privacy::{LedgerHead, LedgerShown};
use shared::store::{Batch, StoreError};

use super::{IntakeError, open};
use crate::context::Context;
use crate::enrol::Participant;
use crate::{Error, durable};

/// Takes note, durably, of the ledger that a site shows; refuses one that ends before another that it has signed, or that
/// has another debit of the same number, and keeps both words as evidence.
pub(crate) fn check_ledger(context: &Context, document: &SignedDocument, caller: &Participant) -> Result<(), Error> {
    let shown: LedgerShown = open(document, caller)?;
    let key = durable::ledger_head(&shown.participant_id);
    loop {
        let kept = context.store.get(&key)?;
        let seen: Option<SignedDocument> = kept.as_deref().map(|kept| durable::decode(key.tree, kept)).transpose()?;
        let known = seen.as_ref().map(ledger_of).transpose()?.unwrap_or_default();
        if known == shown.ledger {
            return Ok(());
        }
        if let Some(seen) = seen.filter(|_| known.debits >= shown.ledger.debits) {
            keep_evidence(context, &seen, document, &shown)?;
            return Err(IntakeError::LedgerRolledBack { known: known.debits, shown: shown.ledger.debits }.into());
        }
        let batch = match kept {
            Some(kept) => Batch::new().expect(key.clone(), kept),
            None => Batch::new().expect_absent(key.clone()),
        };
        match context.store.apply(batch.put(key.clone(), durable::encode(document)?)) {
            // Another word of the same site was faster: this one is compared with that one.
            Err(StoreError::Conflict { .. }) => {}
            applied => return Ok(applied?),
        }
    }
}

/// The ledger of a word that was checked before. It may be signed by a key that the site has no more.
fn ledger_of(document: &SignedDocument) -> Result<LedgerHead, Error> {
    Ok(shared::canonical::decode::<LedgerShown>(document.body.as_bytes())?.ledger)
}

/// Keeps two words that contradict each other, once for each ledger that was known.
fn keep_evidence(
    context: &Context,
    seen: &SignedDocument,
    document: &SignedDocument,
    shown: &LedgerShown,
) -> Result<(), Error> {
    let (participant_id, known) = (&shown.participant_id, ledger_of(seen)?);
    let key = durable::rolled_back_ledger(participant_id, known.debits);
    if context.store.get(&key)?.is_some() {
        return Ok(());
    }
    let content = serde_json::json!({
        "event": "ledger-rolled-back", "participant_id": participant_id, "seen": known, "shown": shown.ledger,
    });
    let (entry, record) = context.journal.entry(AuditKind::Round, context.clock.now(), &content)?;
    let evidence = durable::encode(&[seen, document])?;
    context.store.apply(Batch::new().put(key, evidence).put(entry, record))?;
    context.journal.drain_or_defer();
    metrics::counter!("ringfence_ledgers_rolled_back_total").increment(1);
    let (known, shown) = (known.debits, shown.ledger.debits);
    tracing::warn!(%participant_id, known, shown, "a site shows a privacy ledger that is not its newest");
    Ok(())
}

#[cfg(test)]
mod tests {
    use shared::{Digest, Explain};

    use super::*;
    use crate::testing::{World, key, participant, site, task};

    fn ledger(debits: u64, head: u8) -> LedgerHead {
        LedgerHead { debits, head: Some(Digest([head; 32])) }
    }

    /// A word of `a` that shows this ledger, and what the coordinator says to it.
    fn show(world: &World, ledger: LedgerHead) -> (SignedDocument, Result<(), Error>) {
        let driver = world.driver();
        let word = LedgerShown { participant_id: site("a"), ledger, at: driver.context().clock.now() };
        let document = key("a").sign(&word).unwrap();
        let answer = check_ledger(driver.context(), &document, &participant("a"));
        (document, answer)
    }

    #[test]
    fn p1_a_ledger_that_goes_back_or_another_way_is_refused_and_both_words_are_kept() {
        let world = World::with(task());
        for grown in [LedgerHead::default(), ledger(3, 3), ledger(3, 3), ledger(9, 9)] {
            show(&world, grown).1.unwrap();
        }
        let (newest, _) = show(&world, ledger(9, 9));
        let mut kept = None;
        for old in [ledger(3, 3), ledger(9, 8), LedgerHead::default(), ledger(8, 9)] {
            let (shown, refused) = show(&world, old);
            assert_eq!(refused.unwrap_err().code(), "ledger-rolled-back");
            let first = kept.get_or_insert(shown);
            let evidence = durable::read(&*world.store, &durable::rolled_back_ledger(&site("a"), 9)).unwrap();
            assert_eq!(evidence, Some([newest.clone(), first.clone()]), "the first contradiction stays");
        }
        show(&world, ledger(9, 9)).1.unwrap();
        show(&world, ledger(10, 1)).1.unwrap();
        assert!(show(&world, ledger(9, 9)).1.is_err(), "what was refused has not moved the mark");
    }
}
