//! The vectors of parameters that are at hand in a round: fetched once, whole, and checked against their digests.
//!
//! A fetch that broke off goes on where it stopped. What no view names any more is dropped; a candidate stays until the
//! next round, whose checkpoint it usually is.

use std::sync::Arc;

use shared::{Digest, ParamVector};
use shared_crypto::bulk_digest;
use shared_wire::client::Client;
use shared_wire::{RoundView, WireError};

use crate::error::SiteError;
use crate::site::blocking;

/// Parameters at hand, and how far the next ones are.
#[derive(Default)]
pub(super) struct Hand {
    vectors: Vec<(Digest, Arc<ParamVector>)>,
    partial: Option<(Digest, Vec<u8>)>,
}

impl Hand {
    /// Drops what `view` does not name.
    pub(super) fn keep_for(&mut self, view: &RoundView) {
        let named = [Some(view.checkpoint), view.control, view.candidate];
        self.vectors.retain(|(digest, _)| named.contains(&Some(*digest)));
    }

    /// The digests of what is at hand.
    pub(super) fn digests(&self) -> Vec<Digest> {
        self.vectors.iter().map(|(digest, _)| *digest).collect()
    }

    /// The vector with this digest, if it is at hand.
    pub(super) fn get(&self, wanted: Digest) -> Option<Arc<ParamVector>> {
        self.vectors.iter().find(|(digest, _)| *digest == wanted).map(|(_, vector)| Arc::clone(vector))
    }

    /// Fetches `count` parameters and checks that they are the ones that `expected` names.
    pub(super) async fn fetch(&mut self, client: &Client, expected: Digest, count: usize) -> Result<(), SiteError> {
        let partial = self.partial.take().filter(|(of, _)| *of == expected);
        let (_, bytes) = self.partial.insert(partial.unwrap_or_else(|| (expected, Vec::new())));
        client.fetch(expected, count.saturating_mul(4), bytes).await?;
        let bytes = self.partial.take().map(|(_, bytes)| bytes).unwrap_or_default();
        let read = move || {
            check(&bytes, expected)?;
            Ok(ParamVector::from_le_bytes(&bytes, count)?)
        };
        let vector = blocking(read).await?;
        self.vectors.push((expected, Arc::new(vector)));
        Ok(())
    }
}

/// Refuses bytes that are not the ones that `expected` names.
fn check(bytes: &[u8], expected: Digest) -> Result<(), WireError> {
    let found = bulk_digest(bytes);
    if found == expected {
        return Ok(());
    }
    Err(WireError::Malformed { field: "params", reason: format!("they are {found}, not {expected} as was asked for") })
}
