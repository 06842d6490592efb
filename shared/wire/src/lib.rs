//! The federation protocol: messages, service, TLS, and how a refusal travels. The only package that names `tonic`.
//!
//! It checks form (lengths, digests, ids), never meaning: who may do what in which phase is the coordinator's and the
//! participant's work, and so is every signature. No message here can carry an event.

pub mod client;
mod convert;
mod error;
mod proto;
pub mod server;
mod tls;
mod view;

pub use convert::UpdatePart;
pub use error::{WireError, refuse};
pub use prost::bytes::Bytes;
pub use tls::PemIdentity;
pub use tonic::{Code, Status, async_trait};
pub use view::{Enrolled, Phase, ReleaseBundle, RoundView, TaskState, TaskView};

use std::time::Duration;

/// The largest piece of parameters in one message.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// The largest message either side takes.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// How often a watched round says that it is alive when nothing changes.
pub const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a watcher hears nothing before it takes the coordinator for gone.
pub const SILENCE: Duration = Duration::from_secs(8);

/// A digest's or key id's bytes on the wire.
const DIGEST_BYTES: usize = 32;
