//! The primitives of secure aggregation (Bonawitz et al. 2017, "Practical Secure Aggregation"): keys that agree on
//! masks, masks, shared secrets, commitments to vectors, proofs of their length, and who shares with whom. No protocol:
//! nothing here knows of rounds, messages or stores.
//!
//! All group arithmetic is Ristretto (RFC 9496): the curve of X25519 in prime-order form. A key has no small-order part
//! that a peer could probe, and a secret is a scalar modulo a prime, so that it can be shared and put together again;
//! a clamped X25519 secret is neither.
//!
//! Which seed may come from which keys: masks from two [`RoundKey`]s, whose secrets the dropped reveal; sealed shares
//! from a dealer's fresh [`AgreementKey`] and the receiver's long-term one. A share sealed under a round key would be
//! readable to all once that key is put together, and a proof of a long-term pair would open every seal of that pair.

mod agreement;
mod circle;
mod commitment;
mod committed;
mod convert;
mod dealing;
mod element;
mod lots;
mod multiscalar;
mod norm_proof;
mod packing;
mod projection;
mod scalar;
mod seal_share;
mod seed;
mod shamir;

pub use agreement::{AgreementKey, AgreementPublic, PairSecret, RoundKey};
pub use circle::Circle;
pub use commitment::{Commitment, CommitmentKey, blinding_from_sums, blinding_words};
pub use committed::CommittedVector;
pub use dealing::SealedDealing;
pub use lots::Lots;
pub use norm_proof::{Measured, NormChallenge, NormProof, largest_squares};
pub use scalar::SecretScalar;
pub use seal_share::{SEALED_SHARE_LEN, open_share, seal_share};
pub use seed::{MASK_BLOCK_WORDS, Seed, add_masks};
pub use shamir::{Dealing, Interpolation, MAX_SHARES, ShareCommitments, share};
