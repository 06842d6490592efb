//! Makes the participants of a measurement: their updates, and their enrolment, some at a time.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::ParamVector;
use shared_wire::Bytes;
use tokio::task::JoinSet;

use crate::Args;
use crate::coordinator::Door;
use crate::participant::Participant;

/// How many different updates there are; participants share them, so that the measuring process stays small.
const UPDATES: u32 = 4;
/// How many participants enrol at a time.
const ENROLLING: usize = 32;

/// Enrols everybody who has a token.
pub(crate) async fn enrol_all(args: &Args, door: &Door) -> anyhow::Result<Vec<Participant>> {
    let payloads = (0..UPDATES.min(args.participants)).map(|seed| payload(args, seed));
    let payloads: Vec<Bytes> = payloads.collect::<Result<_, _>>()?;
    let mut waiting = door.tokens.iter().cloned().zip(payloads.iter().cycle().cloned());
    let mut enrolling = JoinSet::new();
    let mut enrolled = Vec::new();
    loop {
        while enrolling.len() < ENROLLING {
            let Some((token, payload)) = waiting.next() else { break };
            let (address, ca) = (door.address.clone(), door.ca_certificate_pem.clone());
            enrolling.spawn(async move { Participant::enrol(&address, &ca, token, payload).await });
        }
        match enrolling.join_next().await {
            Some(participant) => enrolled.push(participant??),
            None => return Ok(enrolled),
        }
    }
}

/// An encoded random update.
pub(crate) fn payload(args: &Args, seed: u32) -> anyhow::Result<Bytes> {
    let mut rng = ChaCha12Rng::seed_from_u64(u64::from(seed));
    let values = (0..args.dim).map(|_| uniform(rng.next_u32())).collect();
    let update = ParamVector::new(values)?;
    let encoding = args.encoding.encoding()?;
    Ok(Bytes::from(encoding.encode(&update, &mut |bytes| rng.fill_bytes(bytes))))
}

/// A number in [-1/8, 1/8).
#[expect(clippy::as_conversions, reason = "any rounding will do for a made-up update")]
fn uniform(bits: u32) -> f32 {
    (bits.cast_signed() as f32) * 2f32.powi(-34)
}
