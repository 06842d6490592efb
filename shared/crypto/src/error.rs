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
    /// The text is not an element of the Ristretto group, or the identity.
    #[error("`{0}` is not a Ristretto element of 64 lower-case hexadecimal digits, or is the identity")]
    GroupElement(String),
    /// The bytes are not a scalar.
    #[error("the bytes are not a number below the group's order")]
    Scalar,
    /// A secret cannot be shared so.
    #[error("a secret cannot be shared among {count} so that {threshold} give it back")]
    Threshold {
        /// How many shares were to give it back.
        threshold: usize,
        /// How many shares there were to be.
        count: usize,
    },
    /// Commitments to a sharing have a wrong length.
    #[error("{bytes} bytes are not the commitments of a sharing")]
    ShareCommitments {
        /// How many bytes came.
        bytes: usize,
    },
    /// Bytes are no dealing for so many holders and this threshold.
    #[error("a dealing of {found} bytes where it must have {expected}")]
    Dealing {
        /// How many bytes it must have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// A share does not fit the sharing's commitments.
    #[error("the share {index} does not fit the commitments of its sharing")]
    WrongShare {
        /// Whose share.
        index: u32,
    },
    /// A share's index is 0, or stands there twice.
    #[error("the share index {index} is 0 or stands there twice")]
    ShareIndex {
        /// Which.
        index: u32,
    },
    /// There are not as many shares as are needed.
    #[error("{found} shares came where {needed} are needed")]
    TooFewShares {
        /// How many came.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A sealed share was changed, or sealed under another seed.
    #[error("the sealed share does not open")]
    SealedShare,
    /// A published sum is not the sum of what the sites committed to.
    #[error("the sum is not that of the {commitments} vectors committed to")]
    WrongSum {
        /// How many commitments there are.
        commitments: usize,
    },
    /// A vector does not fit the commitment key.
    #[error("the vector has {found} coordinates, the commitment key is for {expected}")]
    Dimensions {
        /// What the key is for.
        expected: usize,
        /// What the vector has.
        found: usize,
    },
    /// There are not as many rows as the commitment key has.
    #[error("{found} rows came where the commitment key has {expected}")]
    Rows {
        /// How many the key has.
        expected: usize,
        /// How many came.
        found: usize,
    },
    /// Nothing can be proven of vectors that are committed to so.
    #[error("nothing can be proven of {dimensions} coordinates in this layout")]
    NotProvable {
        /// How many coordinates there are.
        dimensions: usize,
    },
    /// A coordinate is too large to commit to, or to prove something of.
    #[error("the coordinate {value} is not between -{largest} and {largest}")]
    Coordinate {
        /// Which value it has.
        value: i32,
        /// The largest absolute value.
        largest: u32,
    },
    /// A norm proof has the wrong length.
    #[error("a norm proof of {found} bytes where it must have {expected}")]
    NormProofLength {
        /// How many bytes it must have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// A norm proof does not prove what it should.
    #[error("the norm proof is refused for its {part}")]
    NormProof {
        /// What is wrong with it.
        part: &'static str,
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
            Self::GroupElement(_) => "crypto-group-element",
            Self::Scalar => "crypto-scalar",
            Self::Threshold { .. } => "crypto-threshold",
            Self::ShareCommitments { .. } => "crypto-share-commitments",
            Self::Dealing { .. } => "crypto-dealing",
            Self::WrongShare { .. } => "crypto-wrong-share",
            Self::ShareIndex { .. } => "crypto-share-index",
            Self::TooFewShares { .. } => "crypto-too-few-shares",
            Self::SealedShare => "crypto-sealed-share",
            Self::WrongSum { .. } => "crypto-wrong-sum",
            Self::Dimensions { .. } => "crypto-dimensions",
            Self::Rows { .. } => "crypto-rows",
            Self::NotProvable { .. } => "crypto-not-provable",
            Self::Coordinate { .. } => "crypto-coordinate",
            Self::NormProofLength { .. } => "crypto-norm-proof-length",
            Self::NormProof { .. } => "crypto-norm-proof",
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
            Self::GroupElement(_) => "copy the key or the commitment again as the other side prints it",
            Self::Scalar | Self::ShareCommitments { .. } | Self::Dealing { .. } => {
                "treat the message as forged or damaged"
            }
            Self::Threshold { .. } => "share among 1 to 1024 sites, with a threshold of 1 to their number",
            Self::WrongShare { .. } => {
                "keep the share with its signature: it is evidence against its dealer or its holder"
            }
            Self::ShareIndex { .. } => "give each share once, with the index it was dealt for",
            Self::TooFewShares { .. } => "wait for more shares; without them the round is void",
            Self::SealedShare => "name the dealer in the reveal; once its secret is known it shows who is right",
            Self::WrongSum { .. } => "do not use the release: its coordinator changed the sum or left sites out",
            Self::Dimensions { .. } | Self::Rows { .. } => "check that site and coordinator train the same model",
            Self::NotProvable { .. } => "commit in the provable layout, to at most 2^24 coordinates",
            Self::Coordinate { .. } => {
                "clip updates to as many bits as the task names, where it asks for norm proofs to 16"
            }
            Self::NormProofLength { .. } | Self::NormProof { .. } => {
                "leave the site out of the sum, and keep what it signed: it is evidence against it"
            }
            Self::Certificate(_) => "check names and files; certificates of another authority are not accepted",
            Self::CertificateRequest(_) => {
                "make the request with this version of the participant and send it unchanged"
            }
        }
    }
}
