//! One measurement of whole rounds: a coordinator's process, its participants, and what each round took.

use std::path::Path;

use examples::rounds::Rounds;
use shared_ops::files;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::coordinator::Door;
use crate::enrolment::enrol_all;
use crate::meter::Meter;
use crate::process::Process;
use crate::{Args, DROP_ROUND, Role};

/// Runs the rounds and measures each.
pub(crate) fn measure(args: &Args) -> anyhow::Result<Rounds> {
    in_folder(args, async |folder| rounds(args, folder).await)
}

/// Runs `work` with the folder that was asked for, or a temporary one.
pub(crate) fn in_folder<T>(args: &Args, work: impl AsyncFnOnce(&Path) -> anyhow::Result<T>) -> anyhow::Result<T> {
    files::allow_many();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match &args.data_dir {
        Some(folder) => runtime.block_on(work(folder)),
        None => {
            let folder = tempfile::tempdir()?;
            runtime.block_on(work(folder.path()))
        }
    }
}

async fn rounds(args: &Args, folder: &Path) -> anyhow::Result<Rounds> {
    let mut coordinator = Process::start(Role::Coordinator, folder)?;
    let door: Door = coordinator.answer().await?;
    let participants = enrol_all(args, &door).await?;
    let (news, heard) = mpsc::unbounded_channel();
    let mut meter = Meter::start(coordinator.id()?, &door.metrics, args.participants, heard)?;
    coordinator.tell("begin").await?;
    coordinator.says("begun").await?;
    let mut at_work = JoinSet::new();
    let leaving = usize::try_from(args.drop)?;
    for (index, participant) in participants.into_iter().enumerate() {
        let participant = if index < leaving { participant.leaving(DROP_ROUND) } else { participant };
        at_work.spawn(participant.take_part(news.clone()));
    }
    drop(news);
    let rounds = tokio::select! {
        rounds = meter.rounds(args.rounds()) => rounds?,
        error = first_error(&mut at_work) => return Err(error),
    };
    while let Some(ended) = at_work.join_next().await {
        ended??;
    }
    coordinator.kill().await?;
    Ok(Rounds { participants: args.participants, dim: args.dim, rounds })
}

/// The first participant that fails; pending while none does.
pub(crate) async fn first_error(at_work: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Error {
    while let Some(ended) = at_work.join_next().await {
        if let Err(error) = ended.map_err(anyhow::Error::from).flatten() {
            return error;
        }
    }
    std::future::pending().await
}
