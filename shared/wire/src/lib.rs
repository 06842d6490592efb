//! The federation protocol: messages, service, TLS, and how a refusal travels. The only package that names `tonic`.
//!
//! It checks form (lengths, digests, ids), never meaning: who may do what in which phase is the coordinator's and the
//! participant's work, and so is every signature. No message here can carry an event.

pub mod client;
mod codec;
mod convert;
pub mod decode;
mod error;
mod http2;
mod proto;
pub mod server;
mod socket;
mod tls;
mod view;

pub use error::{WireError, refuse};
pub use prost::bytes::Bytes;
pub use shared::update::CHUNK_BYTES;
pub use tls::PemIdentity;
pub use tonic::{Code, Status, async_trait};
pub use view::{
    Activity, EnrolAnswer, Enrolled, Heartbeat, JoinRequest, MaskingStage, Phase, Piece, ProofRequest, ReleaseBundle,
    RoundView, SealedShare, TaskState, TaskView, UpdateOpen, UpdatePart, UploadProgress,
};

use std::time::Duration;

use shared::masking::{MAX_NEIGHBOURS, SEALED_SHARE_BYTES};
use shared::params::MAX_PARAMS;

/// The most chunks an update may have: no encoding takes more than four bytes a parameter.
pub const MAX_CHUNKS: usize = (MAX_PARAMS * size_of::<f32>()).div_ceil(CHUNK_BYTES);
/// The most shares that are sealed for one participant in a round: one of each neighbour, and its own.
pub const MAX_SHARES: usize = MAX_NEIGHBOURS + 1;
/// The longest dealing of a secret: its key, and for each holder a ciphertext and at most one commitment.
pub const MAX_DEALING_BYTES: usize = MAX_SHARES * SEALED_SHARE_BYTES + 32;
/// The largest message either side takes.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// How often each side of a watched round, and the coordinator within an upload, says that it is alive.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long the coordinator hears no heartbeat before it takes a participant for dead.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// How long a watching participant hears nothing before it takes the coordinator for gone.
pub const SILENCE: Duration = Duration::from_secs(5);

/// A digest's or key id's bytes on the wire.
const DIGEST_BYTES: usize = 32;
