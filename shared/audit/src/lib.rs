//! The transparency log: an RFC 6962 Merkle log with signed checkpoints.
