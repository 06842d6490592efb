//! What can go wrong with keys, signatures, seals and certificates. No message carries key material.

use std::path::PathBuf;

use shared::Explain;
use shared::canonical::CanonicalError;
use shared::document::KeyId;

/// Why a cryptographic operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random,
    /// The text is not a public key.
    #[error("`{0}` is not an Ed25519 public key of 64 lower-case hexadecimal digits")]
    PublicKey(String),
    /// The document names another signer than the one it was checked against.
    #[error("the document is signed with the key `{found}`, not with `{expected}`")]
    WrongSigner {
        /// The key it was checked against.
        expected: KeyId,
        /// The key that the document names.
        found: KeyId,
    },
    /// The signature does not belong to these bytes and this key.
    #[error("the signature does not fit the document and the key")]
    Signature,
    /// The document's body is not canonical, or not of the expected kind.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// Sealing failed: the text is longer than AES-GCM allows.
    #[error("the text is too long to seal")]
    Seal,
    /// Sealed bytes were changed, sealed for another context, or sealed with another key.
    #[error("the sealed bytes do not open for the context `{context}`")]
    Unseal {
        /// The context they were opened for.
        context: String,
    },
    /// A secret file could not be read or written.
    #[error("the secret file `{path}` failed: {source}", path = path.display())]
    KeyFile {
        /// Where.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A secret file can be read by other accounts of the machine.
    #[error("the secret file `{path}` has mode {mode:03o}, so that other accounts can reach it", path = path.display())]
    KeyFileExposed {
        /// Where.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A secret file does not hold what it should.
    #[error("the secret file `{path}` holds {reason}", path = path.display())]
    KeyFileContent {
        /// Where.
        path: PathBuf,
        /// What it holds instead.
        reason: String,
    },
    /// A certificate could not be made or read.
    #[error("certificate: {0}")]
    Certificate(String),
    /// A certificate request is refused.
    #[error("certificate request: {0}")]
    CertificateRequest(String),
}

impl Explain for CryptoError {
    fn code(&self) -> &'static str {
        match self {
            Self::Random => "crypto-random",
            Self::PublicKey(_) => "crypto-public-key",
            Self::WrongSigner { .. } => "crypto-wrong-signer",
            Self::Signature => "crypto-signature",
            Self::Canonical(error) => error.code(),
            Self::Seal => "crypto-seal",
            Self::Unseal { .. } => "crypto-unseal",
            Self::KeyFile { .. } => "key-file",
            Self::KeyFileExposed { .. } => "key-file-exposed",
            Self::KeyFileContent { .. } => "key-file-content",
            Self::Certificate(_) => "certificate",
            Self::CertificateRequest(_) => "certificate-request",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Random => "check that the process may call getrandom(2)",
            Self::PublicKey(_) => "copy the key again as the other side prints it",
            Self::WrongSigner { .. } => "check the enrolled key; the signer may have been rotated or replaced",
            Self::Signature => "treat the document as forged or damaged; ask its signer for it again",
            Self::Canonical(error) => error.hint(),
            Self::Seal => "seal the text in parts of less than 64 GiB",
            Self::Unseal { .. } => "check that the key file belongs to this store; otherwise restore from a backup",
            Self::KeyFile { .. } => "check that the folder exists, is writable by this account and has free space",
            Self::KeyFileExposed { .. } => "run `chmod 600` on the file, and replace the key if others had access",
            Self::KeyFileContent { .. } => "restore the file from a backup, or move it away to have a new key made",
            Self::Certificate(_) => "check names and files; certificates of another authority are not accepted",
            Self::CertificateRequest(_) => {
                "make the request with this version of the participant and send it unchanged"
            }
        }
    }
}
