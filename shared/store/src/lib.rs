//! The engines behind [`shared::store::Store`], and the one suite that each of them must pass.
//!
//! Nothing above this package names an engine; nothing in it knows what the bytes mean.

pub mod conformance;
mod limits;
mod memory;
mod sled;

pub use memory::MemoryStore;
pub use sled::SledStore;
