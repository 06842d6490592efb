//! How far the ledger goes, in a file of its own: a store that was rolled back does not take it along where it lies
//! elsewhere. Durable before noise is drawn, never counted down.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::canonical;
use shared::document::{Document, SignedDocument};
use shared::privacy::LedgerHead;
use shared_crypto::SigningKey;
use shared_ops::files;

use super::LedgerFault;
use crate::error::SiteError;

/// What the file holds, signed by the site.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    ledger: LedgerHead,
}

impl Document for Count {
    const DOMAIN: &'static str = "privacy-counter";
}

/// The file.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    path: PathBuf,
    identity: Arc<SigningKey>,
}

impl Counter {
    pub(super) fn new(path: PathBuf, identity: Arc<SigningKey>) -> Self {
        Self { path, identity }
    }

    /// What was written last; `None` where there is no file.
    pub(super) fn read(&self) -> Result<Option<LedgerHead>, SiteError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SiteError::io("read", &self.path, error)),
        };
        let damaged = |reason: String| LedgerFault::CounterDamaged { path: self.path.clone(), reason };
        let signed: SignedDocument = canonical::decode(&bytes).map_err(|error| damaged(error.to_string()))?;
        let count: Count = self.identity.public().open(&signed).map_err(|error| damaged(error.to_string()))?;
        Ok(Some(count.ledger))
    }

    /// Writes how far the ledger goes, over what was there before; the file never holds half of it.
    pub(super) fn write(&self, ledger: LedgerHead) -> Result<(), SiteError> {
        let bytes = canonical::encode(&self.identity.sign(&Count { ledger })?)?;
        files::replace(&self.path, &bytes).map_err(|source| SiteError::io("write", &self.path, source))
    }
}
