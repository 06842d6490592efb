//! Masked rounds: what the coordinator signs, keeps and hands out so that survivors can unmask their sum, and that sum.
//!
//! It never holds what unmasks a single update: survivors reveal of each site one secret or the other, and only after
//! more than two thirds of the cohort have signed the same set of survivors.

mod cosign;
mod error;
mod intake;
mod misconduct;
mod opening;
mod proving;
mod reconstruct;
mod roster;
mod sum;
mod words;

pub(crate) use cosign::cosign;
pub use error::MaskingError;
pub(crate) use intake::{agreement, check_join, check_update, reveal};
pub(crate) use opening::opened;
pub(crate) use proving::{asked_direction, proven};
pub(crate) use roster::enlist;
pub(crate) use sum::{Unmasked, unmask};
pub(crate) use words::{Closing, close, documents, sealed_shares};
