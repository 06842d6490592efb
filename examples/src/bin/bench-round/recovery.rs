//! One measurement of a round that is disturbed: somebody is cut off in its middle, and the others go on.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use examples::rounds::{Recovery, Victim};
use shared_ops::cli::Failure;
use shared_wire::Phase;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::coordinator::Door;
use crate::enrolment::enrol_all;
use crate::meter::now;
use crate::participant::News;
use crate::process::Process;
use crate::run::{first_error, in_folder};
use crate::{Args, Role};

/// The round that is disturbed.
const ROUND: u32 = 2;
/// With fewer parameters an upload is too short to have a middle.
const LEAST_DIM: u32 = 100_000;

/// Disturbs a round and measures how long it takes to go on.
pub(crate) fn measure(args: &Args, victim: Victim) -> anyhow::Result<Recovery> {
    if args.participants < 2 || args.rounds < ROUND || args.dim < LEAST_DIM {
        let hint = "give `--participants` and `--rounds` of at least 2, and `--dim` of at least 100000";
        let reason = "somebody must be left, in a second round, with updates long enough to be cut in two";
        return Err(Failure::new("config-kill", hint, reason).into());
    }
    in_folder(args, async |folder| disturb(args, victim, folder).await)
}

async fn disturb(args: &Args, victim: Victim, folder: &Path) -> anyhow::Result<Recovery> {
    let mut coordinator = Process::start(Role::Coordinator, folder)?;
    let mut door: Door = coordinator.answer().await?;
    let mut cut_off = match victim {
        Victim::Coordinator => None,
        Victim::Participant | Victim::FrozenParticipant => Some(enrol_victim(&mut door, folder).await?),
    };
    let participants = enrol_all(args, &door).await?;
    coordinator.tell("begin").await?;
    coordinator.says("begun").await?;
    let (news, heard) = mpsc::unbounded_channel();
    let mut at_work = JoinSet::new();
    for participant in participants {
        at_work.spawn(participant.take_part(news.clone()));
    }
    drop(news);
    let heard = Heard(heard);
    let measured = async {
        match &mut cut_off {
            Some(process) => without(process, victim, heard).await,
            None => again(&mut coordinator, folder, args.participants / 2, heard).await,
        }
    };
    let (goes_on_s, committed_s) = tokio::select! {
        measured = measured => measured?,
        error = first_error(&mut at_work) => return Err(error),
    };
    let Args { participants, dim, .. } = *args;
    Ok(Recovery { participants, dim, victim, goes_on_s, committed_s })
}

/// Takes a token out of the door for the one that will be cut off, and lets it enrol.
async fn enrol_victim(door: &mut Door, folder: &Path) -> anyhow::Result<Process> {
    let mut process = Process::start(Role::Victim, folder)?;
    let token = door.tokens.pop().context("there is a token for each participant")?;
    let of_victim = Door { tokens: vec![token], ..door.clone() };
    process.tell(&serde_json::to_string(&of_victim)?).await?;
    process.says("enrolled").await?;
    Ok(process)
}

/// Cuts a participant off in the middle of its upload. Seconds until collection ended and until the round was committed.
async fn without(process: &mut Process, victim: Victim, mut heard: Heard) -> anyhow::Result<(f64, f64)> {
    process.tell("begin").await?;
    process.says("holding").await?;
    let since = now();
    match victim {
        Victim::FrozenParticipant => process.freeze()?,
        Victim::Participant | Victim::Coordinator => process.kill().await?,
    }
    let goes_on_s = heard.until(since, has_collected).await?;
    Ok((goes_on_s, heard.until(since, is_committed).await?))
}

/// Kills the coordinator after `receipts` receipts, and starts it again. Seconds from that start until the next receipt
/// and until the round was committed.
async fn again(
    coordinator: &mut Process,
    folder: &Path,
    receipts: u32,
    mut heard: Heard,
) -> anyhow::Result<(f64, f64)> {
    for _ in 0..receipts.max(1) {
        heard.until(now(), is_receipt).await?;
    }
    coordinator.kill().await?;
    let since = now();
    *coordinator = Process::start(Role::CoordinatorAgain, folder)?;
    let _: Door = coordinator.answer().await?;
    heard.forget();
    let goes_on_s = heard.until(since, is_receipt).await?;
    Ok((goes_on_s, heard.until(since, is_committed).await?))
}

fn is_receipt(news: &News) -> bool {
    matches!(news, News::Delivered { round } if *round == ROUND)
}

fn has_collected(news: &News) -> bool {
    matches!(news, News::Shown { round, phase: Phase::Aggregated, .. } if *round == ROUND) || is_committed(news)
}

fn is_committed(news: &News) -> bool {
    matches!(news, News::Shown { rounds_done, .. } if *rounds_done >= ROUND)
}

/// What the participants tell.
struct Heard(mpsc::UnboundedReceiver<News>);

impl Heard {
    /// Waits for such news; the seconds that have passed since then.
    async fn until(&mut self, since: Instant, is_it: impl Fn(&News) -> bool) -> anyhow::Result<f64> {
        loop {
            let news = self.0.recv().await.context("every participant left before the round ended")?;
            if is_it(&news) {
                return Ok(now().duration_since(since).as_secs_f64());
            }
        }
    }

    /// Forgets what was told so far: it may be about the coordinator's life before the last.
    fn forget(&mut self) {
        while self.0.try_recv().is_ok() {}
    }
}
