//! The coordinator's keys and certificates. A fresh folder gets its own; nothing here ever leaves the process.

use std::path::Path;
use std::time::Duration;

use shared::Timestamp;
use shared_crypto::SigningKey;
use shared_crypto::pki::{CertificateAuthority, TlsIdentity};

use crate::Error;

/// The server's certificate is made anew at each start.
const SERVER_VALIDITY: Duration = Duration::from_hours(365 * 24);

/// Everything secret that the coordinator holds, beside the admin token.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Signs tasks.
    pub(crate) operator: SigningKey,
    /// Signs receipts, round records, releases and audit records.
    pub(crate) coordinator: SigningKey,
    /// Signs the audit log's checkpoints.
    pub(crate) log: SigningKey,
    /// Signs certificates.
    pub(crate) authority: CertificateAuthority,
    /// The gRPC server's own certificate.
    pub(crate) server: TlsIdentity,
}

impl Keys {
    /// Reads the keys in `folder`; makes those that are missing.
    pub(crate) fn load_or_create(folder: &Path, names: &[String], now: Timestamp) -> Result<Self, Error> {
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::System { what: format!("cannot make `{}`", folder.display()), source })?;
        let authority = CertificateAuthority::load_or_create(folder, "ringfence federation", now)?;
        Ok(Self {
            operator: SigningKey::load_or_create(&folder.join("operator.key"))?,
            coordinator: SigningKey::load_or_create(&folder.join("coordinator.key"))?,
            log: SigningKey::load_or_create(&folder.join("log.key"))?,
            server: authority.issue_server(names, now, SERVER_VALIDITY)?,
            authority,
        })
    }
}
