//! The site's audit log: everything decided or done here, signed by this site, in a Merkle log that outsiders can verify.

use std::sync::Arc;

use policy_as_code::journal::{Journal, JournalError};
use serde::Serialize;
use shared::Clock;
use shared::audit::{AuditKind, AuditRecord};
use shared::canonical::CanonicalError;
use shared::document::SignedDocument;
use shared_audit::{AuditLog, MAX_BATCH, Receipt};
use shared_crypto::SigningKey;

use crate::error::SiteError;

/// Writes to the site's audit log in the site's name.
#[derive(Clone)]
pub struct SiteJournal {
    log: Arc<AuditLog>,
    identity: Arc<SigningKey>,
    clock: Arc<dyn Clock>,
    actor: String,
}

impl SiteJournal {
    /// A journal that writes as `actor`, signing with `identity`.
    pub fn new(log: Arc<AuditLog>, identity: Arc<SigningKey>, clock: Arc<dyn Clock>, actor: String) -> Self {
        Self { log, identity, clock, actor }
    }

    /// Writes one record. When this returns, the record is durable and has the answered index.
    pub fn write<T: Serialize>(&self, kind: AuditKind, content: &T) -> Result<u64, SiteError> {
        Ok(self.log.append(&self.sign(kind, content)?)?)
    }

    /// Writes records of one kind, in order. When this returns, they are durable.
    pub fn write_all<T: Serialize>(&self, kind: AuditKind, contents: &[T]) -> Result<(), SiteError> {
        for contents in contents.chunks(MAX_BATCH) {
            let entries = contents.iter().map(|content| self.sign(kind, content));
            self.log.append_all(&entries.collect::<Result<Vec<_>, _>>()?)?;
        }
        Ok(())
    }

    fn sign<T: Serialize>(&self, kind: AuditKind, content: &T) -> Result<SignedDocument, SiteError> {
        let content = serde_json::to_value(content).map_err(CanonicalError::Encode)?;
        let record = AuditRecord { kind, at: self.clock.now(), actor: self.actor.clone(), content };
        Ok(self.identity.sign(&record)?)
    }

    /// The receipt of a record: proof, for anybody offline, that it stands in the log.
    pub fn receipt(&self, index: u64) -> Result<Receipt, SiteError> {
        Ok(self.log.receipt(index)?)
    }

    /// The log itself.
    pub fn log(&self) -> &AuditLog {
        &self.log
    }
}

impl Journal for SiteJournal {
    fn record(&self, kind: AuditKind, content: serde_json::Value) -> Result<u64, JournalError> {
        self.write(kind, &content).map_err(|error| JournalError { reason: error.to_string() })
    }
}
