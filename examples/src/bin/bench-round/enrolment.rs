//! Makes the participants of a measurement: their updates, and their enrolment, some at a time.

use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::ParamVector;
use shared_wire::Bytes;
use tokio::task::JoinSet;

use crate::Args;
use crate::coordinator::Door;
use crate::participant::{Participant, Update};

/// How many different updates there are; participants share them, so that the measuring process stays small.
const UPDATES: u32 = 4;
/// How many participants enrol at a time.
const ENROLLING: usize = 32;

/// Enrols everybody who has a token.
pub(crate) async fn enrol_all(args: &Args, door: &Door) -> anyhow::Result<Vec<Participant>> {
    let updates = (0..UPDATES.min(args.participants)).map(|seed| update(args, seed));
    let updates: Vec<Update> = updates.collect::<Result<_, _>>()?;
    let mut waiting = door.tokens.iter().cloned().zip(updates.iter().cycle().cloned());
    let mut enrolling = JoinSet::new();
    let mut enrolled = Vec::new();
    loop {
        while enrolling.len() < ENROLLING {
            let Some((token, update)) = waiting.next() else { break };
            let (address, ca) = (door.address.clone(), door.ca_certificate_pem.clone());
            enrolling.spawn(async move { Participant::enrol(&address, &ca, token, update).await });
        }
        match enrolling.join_next().await {
            Some(participant) => enrolled.push(participant??),
            None => return Ok(enrolled),
        }
    }
}

/// A random update.
pub(crate) fn update(args: &Args, seed: u32) -> anyhow::Result<Update> {
    let mut rng = ChaCha12Rng::seed_from_u64(u64::from(seed));
    let values = (0..args.dim).map(|_| uniform(rng.next_u32())).collect();
    let params = ParamVector::new(values)?;
    let payload = Bytes::from(args.encoding.encoding()?.encode(&params, &mut |bytes| rng.fill_bytes(bytes)));
    Ok(Update { params: Arc::new(params), payload })
}

/// A number in [-1/8, 1/8).
#[expect(clippy::as_conversions, reason = "any rounding will do for a made-up update")]
fn uniform(bits: u32) -> f32 {
    (bits.cast_signed() as f32) * 2f32.powi(-34)
}
