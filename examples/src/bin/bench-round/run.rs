//! One measurement: a coordinator's process, its participants, and what each round took.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use examples::usage::Usage;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::ParamVector;
use shared_wire::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::Args;
use crate::coordinator::Process;
use crate::participant::Participant;
use crate::report::{Report, Round};

/// How many different updates there are; participants share them, so that the measuring process stays small.
const UPDATES: u32 = 4;
/// How many participants enrol at a time.
const ENROLLING: usize = 32;

/// Runs the rounds and measures each.
pub(crate) fn measure(args: &Args) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match &args.data_dir {
        Some(folder) => runtime.block_on(rounds(args, folder)),
        None => {
            let folder = tempfile::tempdir()?;
            runtime.block_on(rounds(args, folder.path()))
        }
    }
}

async fn rounds(args: &Args, folder: &Path) -> anyhow::Result<Report> {
    let mut process = Process::start(args, folder)?;
    let participants = enrol_all(args, &mut process).await?;
    let usage = Usage::of(process.id());
    let (done, heard) = mpsc::unbounded_channel();
    let mut meter = Meter::start(usage, heard)?;
    process.begin()?;
    let mut at_work = JoinSet::new();
    for participant in participants {
        at_work.spawn(participant.take_part(done.clone()));
    }
    drop(done);
    let measured = meter.rounds(args.rounds);
    let rounds = tokio::select! {
        rounds = measured => rounds?,
        error = first_error(&mut at_work) => return Err(error),
    };
    while let Some(ended) = at_work.join_next().await {
        ended??;
    }
    Ok(Report { participants: args.participants, dim: args.dim, rounds })
}

/// The first participant that fails; pending while none does.
async fn first_error(at_work: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Error {
    while let Some(ended) = at_work.join_next().await {
        if let Err(error) = ended.map_err(anyhow::Error::from).flatten() {
            return error;
        }
    }
    std::future::pending().await
}

async fn enrol_all(args: &Args, process: &mut Process) -> anyhow::Result<Vec<Participant>> {
    let payloads = payloads(args)?;
    let tokens = std::mem::take(&mut process.door.tokens);
    let (address, ca) = (process.door.address.clone(), process.door.ca_certificate_pem.clone());
    let mut waiting = tokens.into_iter().zip(payloads.iter().cycle().cloned());
    let mut enrolling = JoinSet::new();
    let mut enrolled = Vec::new();
    loop {
        while enrolling.len() < ENROLLING {
            let Some((token, payload)) = waiting.next() else { break };
            let (address, ca) = (address.clone(), ca.clone());
            enrolling.spawn(async move { Participant::enrol(&address, &ca, token, payload).await });
        }
        match enrolling.join_next().await {
            Some(participant) => enrolled.push(participant??),
            None => return Ok(enrolled),
        }
    }
}

/// Encoded random updates.
fn payloads(args: &Args) -> anyhow::Result<Vec<Bytes>> {
    let encoding = args.encoding.encoding()?;
    let payload = |seed: u32| {
        let mut rng = ChaCha12Rng::seed_from_u64(u64::from(seed));
        let values = (0..args.dim).map(|_| uniform(rng.next_u32())).collect();
        let update = ParamVector::new(values)?;
        Ok(Bytes::from(encoding.encode(&update, &mut |bytes| rng.fill_bytes(bytes))))
    };
    (0..UPDATES.min(args.participants)).map(payload).collect()
}

/// A number in [-1/8, 1/8).
#[expect(clippy::as_conversions, reason = "any rounding will do for a made-up update")]
fn uniform(bits: u32) -> f32 {
    (bits.cast_signed() as f32) * 2f32.powi(-34)
}

/// Times the rounds and reads the coordinator's usage between them.
struct Meter {
    usage: Usage,
    heard: mpsc::UnboundedReceiver<u32>,
    since: Instant,
    cpu_seconds: f64,
}

impl Meter {
    fn start(usage: Usage, heard: mpsc::UnboundedReceiver<u32>) -> anyhow::Result<Self> {
        let cpu_seconds = usage.cpu_seconds()?;
        usage.forget_peak()?;
        Ok(Self { usage, heard, since: now(), cpu_seconds })
    }

    async fn rounds(&mut self, count: u32) -> anyhow::Result<Vec<Round>> {
        let mut rounds = Vec::new();
        for number in 1..=count {
            rounds.push(self.round(number).await?);
        }
        Ok(rounds)
    }

    /// Waits until the first participant has heard that round `number` is committed.
    async fn round(&mut self, number: u32) -> anyhow::Result<Round> {
        while self.heard.recv().await.context("every participant left before the task ended")? < number {}
        let (at, cpu_seconds) = (now(), self.usage.cpu_seconds()?);
        let round = Round {
            round_s: at.duration_since(self.since).as_secs_f64(),
            coordinator_cpu_s: cpu_seconds - self.cpu_seconds,
            coordinator_peak_bytes: self.usage.peak_bytes()?,
        };
        if round.round_s <= 0.0 {
            bail!("two rounds were heard of at once");
        }
        self.usage.forget_peak()?;
        (self.since, self.cpu_seconds) = (at, cpu_seconds);
        Ok(round)
    }
}

#[expect(clippy::disallowed_methods, reason = "this program measures time")]
fn now() -> Instant {
    Instant::now()
}
