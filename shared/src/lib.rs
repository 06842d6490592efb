//! The vocabulary of Ringfence: plain types and pure state machines.
//!
//! Nothing here reads a clock, a file, a socket or a random number, and nothing here is async. Whatever two packages
//! have to agree on stands here; whatever only one package needs stands there.

pub mod aggregate;
pub mod asset;
pub mod audit;
pub mod canonical;
pub mod decision;
pub mod detection;
pub mod digest;
pub mod document;
pub mod encoding;
pub mod enrolment;
pub mod explain;
pub mod feature;
pub mod id;
pub mod invariant;
pub mod local;
pub mod masking;
pub mod params;
pub mod participation;
pub mod privacy;
pub mod release;
pub mod round;
pub mod store;
pub mod task;
pub mod time;
pub mod update;

pub use digest::Digest;
pub use explain::Explain;
pub use id::{AssetId, ParticipantId, ReleaseId, RoundId, RoundNumber, RunId, TaskId};
pub use params::ParamVector;
pub use time::{Clock, Timestamp};
