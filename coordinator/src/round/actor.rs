//! One tokio task per running federated task: it waits for commands and deadlines, lets the driver work on a thread that
//! may block, publishes what is durable, and only then answers. Commands that wait together share one batch.

use std::sync::Arc;
use std::time::Duration;

use shared::TaskId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, Proposal};
use super::snapshot::Snapshot;
use crate::Error;
use crate::aggregate::RunningSum;
use crate::context::Context;

/// How many commands may wait.
pub(crate) const QUEUE: usize = 1024;
/// How long the actor sleeps at most: the clock that it is given need not be the machine's.
const TICK: Duration = Duration::from_millis(100);
/// How long it waits before it tries a failed store again.
const RETRY: Duration = Duration::from_millis(500);

/// What an actor is asked to do, and where the answer goes.
pub(crate) enum Command {
    /// Offers an event to the round.
    Offer(Box<Proposal>, oneshot::Sender<Result<(), Error>>),
    /// Does what the operator says.
    Order(Order, oneshot::Sender<Result<(), Error>>),
}

/// What the operator may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Ends the task.
    Cancel,
    /// Lets no round begin after the present one.
    Pause,
    /// Lets rounds begin again.
    Resume,
}

impl Order {
    pub(crate) fn carry_out(self, driver: &mut Driver) -> Result<(), Error> {
        match self {
            Self::Cancel => driver.cancel(),
            Self::Pause => driver.set_paused(true),
            Self::Resume => driver.set_paused(false),
        }
    }
}

impl Command {
    fn refuse(self, error: Error) {
        let (Self::Offer(_, answer) | Self::Order(_, answer)) = self;
        // Whoever asked may be gone; then nobody needs the answer.
        let _ = answer.send(Err(error));
    }
}

/// A task as the rest of the coordinator reaches it.
#[derive(Clone)]
pub(crate) struct Handle {
    task_id: TaskId,
    commands: mpsc::Sender<Command>,
    /// Always the newest; a change is announced only where a phase, a round or the task ends, or it is paused.
    pub(crate) snapshots: watch::Receiver<Snapshot>,
    /// Into which updates are folded as they come.
    pub(crate) sum: Arc<RunningSum>,
}

impl Handle {
    /// The task as it stands in the store.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.snapshots.borrow().clone()
    }

    /// Offers an event; `Ok` means durable.
    pub(crate) async fn offer(&self, proposal: Proposal) -> Result<(), Error> {
        self.ask(|answer| Command::Offer(Box::new(proposal), answer)).await
    }

    /// Carries out an order; `Ok` means durable.
    pub(crate) async fn order(&self, order: Order) -> Result<(), Error> {
        self.ask(|answer| Command::Order(order, answer)).await
    }

    /// Ends the task.
    pub(crate) async fn cancel(&self) -> Result<(), Error> {
        self.order(Order::Cancel).await
    }

    /// Lets no round begin after the present one.
    pub(crate) async fn pause(&self) -> Result<(), Error> {
        self.order(Order::Pause).await
    }

    /// Lets rounds begin again.
    pub(crate) async fn resume(&self) -> Result<(), Error> {
        self.order(Order::Resume).await
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<Result<(), Error>>) -> Command) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(command(answer)).await;
        sent.map_err(|_| self.gone())?;
        answered.await.map_err(|_| self.gone())?
    }

    fn gone(&self) -> Error {
        match self.snapshots.borrow().outcome {
            Some(_) => Error::TaskEnded(self.task_id.clone()),
            None => Error::Unavailable,
        }
    }
}

/// The actor of a task, ready to be spawned, and how it is reached.
pub(crate) fn prepare(driver: Driver, stop: CancellationToken) -> (Handle, impl Future<Output = ()> + Send) {
    let (commands, inbox) = mpsc::channel(QUEUE);
    let (views, snapshots) = watch::channel(driver.snapshot());
    let task_id = driver.task().task.task_id.clone();
    let sum = driver.sum();
    let context = Arc::clone(driver.context());
    let actor = Actor { context, task_id: task_id.clone(), sum: Arc::clone(&sum), inbox, views, stop };
    (Handle { task_id, commands, snapshots, sum }, actor.run(driver))
}

struct Actor {
    context: Arc<Context>,
    task_id: TaskId,
    sum: Arc<RunningSum>,
    inbox: mpsc::Receiver<Command>,
    views: watch::Sender<Snapshot>,
    stop: CancellationToken,
}

impl Actor {
    async fn run(mut self, mut driver: Driver) {
        let mut commands = Vec::with_capacity(QUEUE);
        loop {
            let (returned, result) = work(driver, std::mem::take(&mut commands), self.views.clone()).await;
            driver = match (returned, result) {
                (Some(driver), Ok(())) => driver,
                (_, result) => match self.recover(result).await {
                    Some(driver) => driver,
                    None => return,
                },
            };
            if driver.has_ended() {
                return;
            }
            if let Some(folding) = driver.folding() {
                tokio::task::spawn_blocking(|| fold(folding));
            }
            let sleep = driver
                .snapshot()
                .state
                .deadline()
                .map_or(TICK, |deadline| deadline.since(self.context.clock.now()).min(TICK));
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = self.inbox.recv_many(&mut commands, QUEUE) => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Takes the task up again from the store, once that works; `None` when the process stops.
    async fn recover(&mut self, mut result: Result<(), Error>) -> Option<Driver> {
        let stop = self.stop.clone();
        loop {
            if let Err(error) = &result {
                tracing::error!(task_id = %self.task_id, %error, "the round waits until the store works again");
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                _ = tokio::time::timeout(RETRY, self.refuse_all()) => {}
            }
            let (context, task_id) = (Arc::clone(&self.context), self.task_id.clone());
            result = match tokio::task::spawn_blocking(move || Driver::open(context, &task_id)).await {
                Ok(Ok(driver)) => return Some(driver.with_sum(Arc::clone(&self.sum))),
                Ok(Err(error)) => Err(error),
                Err(_) => Err(Error::Unavailable),
            };
        }
    }

    async fn refuse_all(&mut self) {
        while let Some(command) = self.inbox.recv().await {
            command.refuse(Error::Unavailable);
        }
        std::future::pending().await
    }
}

/// Lets the driver work where blocking is allowed. Without a driver in the answer, its thread panicked.
async fn work(
    mut driver: Driver,
    commands: Vec<Command>,
    views: watch::Sender<Snapshot>,
) -> (Option<Driver>, Result<(), Error>) {
    let worked = tokio::task::spawn_blocking(move || {
        let result = obey(&mut driver, commands, &views);
        (Some(driver), result)
    });
    worked.await.unwrap_or((None, Err(Error::Unavailable)))
}

/// Folds what was accepted before, while the driver goes on.
fn fold(folding: impl FnOnce() -> Result<(), Error>) {
    if let Err(error) = folding() {
        tracing::warn!(%error, "updates are folded when the round has collected them");
    }
}

/// Carries out commands, and whatever is due after them.
fn obey(driver: &mut Driver, commands: Vec<Command>, views: &watch::Sender<Snapshot>) -> Result<(), Error> {
    let (mut proposals, mut answers) = (Vec::new(), Vec::new());
    for command in commands {
        match command {
            Command::Offer(proposal, answer) => {
                proposals.push(*proposal);
                answers.push(answer);
            }
            Command::Order(order, answer) => {
                let result = order.carry_out(driver);
                publish(driver, views);
                let _ = answer.send(result);
            }
        }
    }
    settle(driver, proposals, answers, views)?;
    driver.advance()?;
    publish(driver, views);
    Ok(())
}

/// Offers the proposals; publishes, then answers.
fn settle(
    driver: &mut Driver,
    proposals: Vec<Proposal>,
    answers: Vec<oneshot::Sender<Result<(), Error>>>,
    views: &watch::Sender<Snapshot>,
) -> Result<(), Error> {
    match driver.offer(proposals) {
        Ok(results) => {
            publish(driver, views);
            for (answer, result) in answers.into_iter().zip(results) {
                let _ = answer.send(result);
            }
            Ok(())
        }
        Err(error) => {
            for answer in answers {
                let _ = answer.send(Err(error.shared()));
            }
            Err(error)
        }
    }
}

fn publish(driver: &Driver, views: &watch::Sender<Snapshot>) {
    let snapshot = driver.snapshot();
    views.send_if_modified(|published| {
        let news = snapshot.is_news_after(published);
        *published = snapshot;
        news
    });
}
