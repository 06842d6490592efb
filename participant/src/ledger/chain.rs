//! The debits as the store keeps them: one signed document each, numbered, and chained by their digests. Refuses whatever
//! breaks the chain; whether it is the newest, it cannot know.

use shared::document::SignedDocument;
use shared::privacy::LedgerHead;
use shared::store::{Batch, Key, Store};
use shared::{Digest, canonical};
use shared_crypto::{PublicKey, SigningKey, document_digest};
use shared_privacy::ledger::Debit;

use super::LedgerFault;
use crate::error::SiteError;

pub(super) const TREE: &str = "privacy-ledger";
/// The most debits that are read back at once; far above what any budget allows.
const MAX_DEBITS: usize = 1_000_000;

/// All debits, oldest first, and the last one's digest.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    pub(super) debits: Vec<Debit>,
    pub(super) head: LedgerHead,
}

impl Chain {
    /// Reads the chain back, checking every signature and link. Numbers are the arithmetic's to check.
    pub(super) fn read(store: &dyn Store, key: &PublicKey) -> Result<Self, SiteError> {
        let mut chain = Self::default();
        for (_, bytes) in store.scan(TREE, &[], MAX_DEBITS)? {
            let signed: SignedDocument = canonical::decode(&bytes)?;
            let debit: Debit = key.open(&signed)?;
            if debit.previous != chain.head.head {
                return Err(LedgerFault::Broken(debit.sequence).into());
            }
            chain.push(debit, &signed);
        }
        Ok(chain)
    }

    /// Signs `debit` and writes it, durably, unless there is one of its number.
    pub(super) fn append(&mut self, debit: Debit, store: &dyn Store, key: &SigningKey) -> Result<(), SiteError> {
        let signed = key.sign(&debit)?;
        let place = Key::new(TREE, debit.sequence.to_be_bytes());
        store.apply(Batch::new().expect_absent(place.clone()).put(place, canonical::encode(&signed)?))?;
        self.push(debit, &signed);
        Ok(())
    }

    fn push(&mut self, debit: Debit, signed: &SignedDocument) {
        self.head = LedgerHead { debits: debit.sequence, head: Some(document_digest(signed)) };
        self.debits.push(debit);
    }

    /// Whether this debit stands here, or one of unknown cost stands for it.
    pub(super) fn holds(&self, debit: &Debit) -> bool {
        let found = self.from(debit.sequence).next();
        found.is_some_and(|found| found == debit || (found.sequence > debit.sequence && found.mechanism.is_none()))
    }

    /// The debits with this number and later ones.
    fn from(&self, sequence: u64) -> impl Iterator<Item = &Debit> {
        self.debits.iter().skip(self.debits.partition_point(|debit| debit.sequence < sequence))
    }

    /// Compares the chain with what `witness` knows: the number of a debit, and its digest.
    pub(super) fn check(&self, known: LedgerHead, witness: &'static str) -> Result<(), LedgerFault> {
        let (debits, sequence) = (self.head.debits, known.debits);
        if sequence > debits {
            return Err(LedgerFault::RolledBack { debits, known: sequence, witness });
        }
        let is_lost = self.from(sequence).next().is_some_and(|debit| debit.mechanism.is_none());
        if is_lost || self.digest_of(sequence) == known.head {
            return Ok(());
        }
        Err(LedgerFault::Forked { sequence, witness })
    }

    /// The digest of the debit with this number, as the next one carries it; `None` where it is not kept.
    fn digest_of(&self, sequence: u64) -> Option<Digest> {
        if sequence == self.head.debits {
            return self.head.head;
        }
        let mut from = self.from(sequence);
        from.next().filter(|debit| debit.sequence == sequence).and(from.next()?.previous)
    }
}
