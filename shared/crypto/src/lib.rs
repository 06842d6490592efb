//! Sign, verify, digest, seal, tokenise, mask, and the federation's certificates.
//!
//! This is the only package that names a cryptography crate, and it invents none: each type here is a standard primitive
//! under the one use that Ringfence has for it. It reads no clock; randomness is always the operating system's.

mod bulk;
mod chunks;
mod digest;
mod error;
pub mod key_file;
pub mod masking;
pub mod pki;
mod random;
mod seal;
mod secret;
mod signing;
mod token;

pub use bulk::{BulkWriter, bulk_digest};
pub use chunks::{ChunkDigests, ChunkError, PayloadWriter};
pub use digest::{DigestWriter, digest, digest_of, document_digest};
pub use error::CryptoError;
pub use random::random_bytes;
pub use seal::SealKey;
pub use secret::SecretText;
pub use signing::{PublicKey, SigningKey};
pub use token::TokenKey;
