//! Carries out what [`crate::follow`] says is due, round after round, until the task is over.
//!
//! Two things go on side by side: the coordinator's views are watched, anew whenever the stream breaks, and one action
//! at a time is carried out. A broken stream disturbs no action; an action that failed for a passing reason is found due
//! again.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shared::privacy::{LedgerHead, LedgerShown};
use shared::update::Join;
use shared::{Digest, Explain, RoundId, RoundNumber};
use shared_privacy::PrivacyError;
use shared_wire::{Activity, Bytes, Code, JoinRequest, Phase, RoundView, TaskState, WireError};
use tokio::sync::watch;
use tokio::time::timeout;

use super::hand::Hand;
use super::masked::Masked;
use super::membership::{Admitted, Membership};
use super::{Patience, may_pass};
use crate::admit::Refusal;
use crate::error::SiteError;
use crate::evaluate::Evaluations;
use crate::follow::{Action, Held, due, is_wasted};
use crate::ledger::LedgerFault;
use crate::progress::Progress;
use crate::site::blocking;
use crate::update::Assignment;

/// A difference between the clocks of site and coordinator that is worth a word.
const SKEW: Duration = Duration::from_secs(1);
/// How long a step may still take when the task is over.
const LAST_STEP: Duration = Duration::from_secs(2);
/// Codes of refusals after which the round goes on without this site; the next phase tells how.
const SITS_OUT: [&str; 4] = ["round-wrong-phase", "round-not-taking-part", "round-delivered", "round-other-candidate"];
/// Codes of refusals of what is about a round that is over; the next view tells what is due.
const MOVED_ON: [&str; 2] = ["round-stale", "update-stale"];
/// Code of the refusal of a ledger that is not the newest.
const ROLLED_BACK: &str = "ledger-rolled-back";
/// Codes of refusals after which no round will ever count the update.
const IN_VAIN: [&str; 3] = ["round-equivocation", "round-stale", "update-stale"];

type Shown = watch::Receiver<Option<RoundView>>;

/// Follows the task's rounds until it is over.
pub(super) async fn follow(member: &Membership, admitted: &Admitted) -> Result<TaskState, SiteError> {
    let (show, shown) = watch::channel(None);
    let mut acting = pin!(Follower::new(member, admitted).act(shown));
    let ended = tokio::select! {
        ended = watch_to_the_end(member, admitted, &show) => ended,
        Err(error) = &mut acting => Err(error),
    };
    drop(show);
    // What the coordinator just took is still noted here: the task may end before its answer to this site is read.
    if ended.is_ok()
        && let Ok(Err(error)) = timeout(LAST_STEP, acting).await
    {
        tracing::debug!(%error, "the last step of the task was in vain");
    }
    member.presence.set(Activity::Idle, 0);
    ended
}

/// Shows every view of the task, watching again whenever the stream breaks; how the task ended.
async fn watch_to_the_end(
    member: &Membership,
    admitted: &Admitted,
    show: &watch::Sender<Option<RoundView>>,
) -> Result<TaskState, SiteError> {
    let mut patience = Patience::default();
    loop {
        match watch_once(member, admitted, show, &mut patience).await {
            Err(error) if may_pass(&error) => patience.pause("watch", &error).await,
            ended => return ended,
        }
    }
}

async fn watch_once(
    member: &Membership,
    admitted: &Admitted,
    show: &watch::Sender<Option<RoundView>>,
    patience: &mut Patience,
) -> Result<TaskState, SiteError> {
    let task_id = &admitted.task.task_id;
    let mut views = member.client().watch(task_id, &member.presence).await?;
    let mut is_skew_told = false;
    while let Some(view) = views.next().await? {
        patience.reset();
        if view.task_state.is_over() {
            return Ok(view.task_state);
        }
        if view.round_id.task_id != *task_id {
            let reason = format!("a round of `{}` among those of `{task_id}`", view.round_id.task_id);
            return Err(WireError::Malformed { field: "round_id", reason }.into());
        }
        is_skew_told = tell_skew(member, &view, is_skew_told);
        show.send_replace(Some(view));
    }
    Err(WireError::Unreachable { reason: "the stream of rounds ended".to_owned() }.into())
}

/// Says once a connection that the clocks differ. Nothing depends on it: deadlines are the coordinator's.
fn tell_skew(member: &Membership, view: &RoundView, is_told: bool) -> bool {
    let now = member.site.clock.now();
    let skew = now.since(view.sent_at).max(view.sent_at.since(now));
    metrics::gauge!("ringfence_coordinator_clock_skew_seconds").set(skew.as_secs_f64());
    let is_skewed = skew > SKEW;
    if is_skewed && !is_told {
        let skew_ms = skew.as_millis();
        tracing::warn!(skew_ms, "this site's clock and the coordinator's differ: check both against a time server");
    }
    is_told || is_skewed
}

/// A site in a task.
struct Follower<'a> {
    member: &'a Membership,
    admitted: &'a Admitted,
    hand: Hand,
    joined: Option<RoundNumber>,
    delivered: Option<RoundNumber>,
    sits_out: Option<(RoundNumber, Phase)>,
    /// The ledger that the coordinator has looked at in this life, and knows no later one than.
    shown: Option<LedgerHead>,
}

impl<'a> Follower<'a> {
    fn new(member: &'a Membership, admitted: &'a Admitted) -> Self {
        Self { member, admitted, hand: Hand::default(), joined: None, delivered: None, sits_out: None, shown: None }
    }

    /// Carries out what is due, view after view, until there are no more.
    async fn act(mut self, mut shown: Shown) -> Result<(), SiteError> {
        let mut patience = Patience::default();
        loop {
            let view = shown.borrow_and_update().clone();
            let done = match &view {
                Some(view) => self.step(view, &mut shown).await,
                None => Ok(false),
            };
            self.member.presence.set(Activity::Idle, 0);
            match done {
                Ok(true) => patience.reset(),
                Ok(false) if shown.changed().await.is_err() => return Ok(()),
                Ok(false) => {}
                Err(error) if may_pass(&error) => patience.pause("round", &error).await,
                Err(error) => self.sits_out = Some(sat_out(view.as_ref(), error)?),
            }
        }
    }

    /// Carries out the one action that is due; whether there was one.
    async fn step(&mut self, view: &RoundView, shown: &mut Shown) -> Result<bool, SiteError> {
        self.hand.keep_for(view);
        match due(view, self.admitted.task.participation.late, &self.held(view)?) {
            Action::Wait => return Ok(false),
            Action::Join => self.join(view).await?,
            Action::Fetch(params) => self.fetch(params).await?,
            Action::Train => {
                self.show_ledger().await?;
                self.train(view, shown).await?;
            }
            Action::Deliver(trained_in) => self.deliver(view, trained_in).await?,
            Action::Drop(trained_in) => self.forget(trained_in, "its round went on without it").await?,
            Action::Open => self.masked().open(view).await?,
            Action::Prove => self.masked().prove(view).await?,
            Action::Agree => self.masked().agree(view).await?,
            Action::Reveal => self.masked().reveal(&view.round_id).await?,
            Action::Verify(candidate) => self.verify(view, candidate).await?,
            Action::Evaluate(candidate) => {
                self.show_ledger().await?;
                self.evaluate(view, candidate).await?;
            }
        }
        Ok(true)
    }

    fn held(&self, view: &RoundView) -> Result<Held, SiteError> {
        let number = view.round_id.number;
        let evaluated = Evaluations::new(Arc::clone(&self.member.site)).is_delivered(&view.round_id)?;
        let verified = self.is_masked() && self.member.site.masked.is_verified(&view.round_id)?;
        Ok(Held {
            joined: self.joined,
            prepared: self.member.updates().prepared(&self.admitted.task.task_id)?,
            delivered: self.delivered,
            evaluated: evaluated.then_some(number),
            masked: self.is_masked(),
            verified: verified.then_some(number),
            params: self.hand.digests(),
            sits_out: self.sits_out,
        })
    }

    /// Joins a round, if the ledger can bear what it will cost: whoever joins is waited for.
    async fn join(&mut self, view: &RoundView) -> Result<(), SiteError> {
        let (site, task) = (Arc::clone(&self.member.site), Arc::clone(&self.admitted.task));
        let cost = task.recipe.cost_per_round().ok_or(Refusal::NoNoise)?;
        blocking(move || site.afford(&task, cost)).await?;
        self.show_ledger().await?;
        let request = if self.is_masked() { self.masked().join(&view.round_id).await? } else { self.plain_join(view)? };
        self.member.client().join(request).await?;
        self.joined = Some(view.round_id.number);
        self.member.observer.on(&Progress::Joined { round: view.round_id.number });
        Ok(())
    }

    /// What joins a round whose updates are not masked.
    fn plain_join(&self, view: &RoundView) -> Result<JoinRequest, SiteError> {
        let join = Join {
            round_id: view.round_id.clone(),
            participant_id: self.member.site.participant_id.clone(),
            task_digest: self.admitted.digest,
            masking: None,
        };
        Ok(JoinRequest { join: self.member.site.identity.sign(&join)?, dealing: Bytes::new() })
    }

    fn is_masked(&self) -> bool {
        self.admitted.task.secure_aggregation.is_some()
    }

    fn masked(&self) -> Masked<'a> {
        Masked::new(self.member, self.admitted)
    }

    /// Checks a masked round's sum.
    async fn verify(&self, view: &RoundView, candidate: Digest) -> Result<(), SiteError> {
        let Some(checkpoint) = self.hand.get(view.checkpoint) else { return Ok(()) };
        self.masked().verify(view, checkpoint, candidate).await
    }

    /// Has the coordinator look at the ledger, if it has not seen it as it is now. Before anything is spent, so that a site
    /// that was restored from a backup finds out; and before anything leaves, so that what the coordinator has of a site is
    /// never more than what it knows to be spent. Once the coordinator knows better, nothing is spent any more.
    async fn show_ledger(&mut self) -> Result<(), SiteError> {
        let (site, seen) = (Arc::clone(&self.member.site), self.shown);
        let sign = move || {
            let (participant_id, ledger, at) = (site.participant_id.clone(), site.ledger.head(), site.clock.now());
            let word = (seen != Some(ledger)).then(|| site.identity.sign(&LedgerShown { participant_id, ledger, at }));
            Ok((ledger, word.transpose()?))
        };
        let (ledger, word) = blocking(sign).await?;
        let Some(word) = word else { return Ok(()) };
        match self.member.client().show_ledger(word).await {
            Err(error) if error.remote_code() == Some(ROLLED_BACK) => {
                self.member.site.ledger.disown(error.to_string());
                Err(LedgerFault::Disowned(error.to_string()).into())
            }
            answered => {
                answered?;
                self.shown = Some(ledger);
                Ok(())
            }
        }
    }

    async fn fetch(&mut self, params: Digest) -> Result<(), SiteError> {
        self.member.presence.set(Activity::Fetching, 0);
        self.hand.fetch(&self.member.client(), params, self.admitted.task.model.param_count()).await
    }

    /// Trains and prepares the update. The training ends early when the round has moved on so far that no round would
    /// count its update.
    async fn train(&self, view: &RoundView, shown: &mut Shown) -> Result<(), SiteError> {
        let Some(checkpoint) = self.hand.get(view.checkpoint) else { return Ok(()) };
        let assignment = Assignment {
            round_id: view.round_id.clone(),
            task: Arc::clone(&self.admitted.task),
            task_digest: self.admitted.digest,
            checkpoint_digest: view.checkpoint,
            checkpoint,
            control: view.control.and_then(|control| self.hand.get(control)),
            masking: if self.is_masked() { Some(self.masked().masking(view).await?) } else { None },
        };
        let (records, updates) = (Arc::clone(&self.member.records), self.member.updates());
        let (presence, steps) = (self.member.presence.clone(), self.admitted.task.recipe.local_steps);
        let is_vain = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_vain);
        let mut going_on = move |done: u32| {
            presence.set(Activity::Training, percent(done.into(), steps.into()));
            !told.load(Ordering::Relaxed)
        };
        let training = blocking(move || updates.prepare(&assignment, &records, &mut going_on));
        let (late, round) = (self.admitted.task.participation.late, view.round_id.number);
        let vain = async {
            let is_wasted = |view: &Option<RoundView>| view.as_ref().is_some_and(|view| is_wasted(view, late, round));
            shown.wait_for(is_wasted).await.is_ok()
        };
        tokio::pin!(training);
        tokio::select! {
            trained = &mut training => return trained,
            _ = vain => {}
        }
        is_vain.store(true, Ordering::Relaxed);
        tracing::warn!(round_id = %view.round_id, "the round went on without this site's update; its debit stays spent");
        training.await
    }

    /// Sends the prepared update and keeps the receipt.
    async fn deliver(&mut self, view: &RoundView, trained_in: RoundNumber) -> Result<(), SiteError> {
        let (updates, round_id) = (self.member.updates(), self.round_id(trained_in));
        let (loading, wanted) = (updates.clone(), round_id.clone());
        let (open, payload) = match blocking(move || loading.load(&wanted)).await {
            Ok(Some(prepared)) => prepared,
            Ok(None) => return Ok(()),
            Err(SiteError::DamagedUpdate(_)) => return self.forget(trained_in, "its file is damaged").await,
            Err(error) => return Err(error),
        };
        self.show_ledger().await?;
        let on_progress = |sent: u64, total: u64| {
            self.member.presence.set(Activity::Sending, percent(sent, total));
            self.member.observer.on(&Progress::Sending { round: trained_in, sent, total });
        };
        let receipt = match self.member.client().submit_update(open, payload, on_progress).await {
            Ok(receipt) => receipt,
            Err(error) if is_in_vain(&error) => {
                tracing::error!(%round_id, %error, "the coordinator will never count this update");
                self.delivered = Some(view.round_id.number);
                return self.forget(trained_in, "the coordinator refused it").await;
            }
            Err(error) => return Err(error.into()),
        };
        let coordinator = self.member.credentials().coordinator_key;
        let receipt = blocking(move || updates.keep_receipt(&round_id, &receipt, &coordinator)).await?;
        self.delivered = Some(view.round_id.number.max(receipt.round_id.number));
        let spent = self.member.spent().await?;
        self.member.observer.on(&Progress::Delivered { round: trained_in, spent });
        Ok(())
    }

    async fn forget(&self, trained_in: RoundNumber, reason: &'static str) -> Result<(), SiteError> {
        let (updates, round_id) = (self.member.updates(), self.round_id(trained_in));
        tracing::warn!(%round_id, reason, "drops an update that was not delivered; its debit stays spent");
        metrics::counter!("ringfence_updates_dropped_total").increment(1);
        blocking(move || updates.forget(&round_id)).await
    }

    /// Evaluates the candidate on the temporal hold-out, once, and reports noised counts.
    async fn evaluate(&mut self, view: &RoundView, candidate: Digest) -> Result<(), SiteError> {
        let Some(params) = self.hand.get(candidate) else { return Ok(()) };
        self.member.presence.set(Activity::Evaluating, 0);
        let evaluations = Evaluations::new(Arc::clone(&self.member.site));
        let (task, records) = (Arc::clone(&self.admitted.task), Arc::clone(&self.member.records));
        let (preparing, round_id) = (evaluations.clone(), view.round_id.clone());
        let prepare = move || preparing.prepare(&round_id, &task, candidate, &params, &records);
        let (evaluation, quality) = blocking(prepare).await?;
        self.show_ledger().await?;
        self.member.client().submit_evaluation(evaluation).await?;
        let round_id = view.round_id.clone();
        blocking(move || evaluations.mark_delivered(&round_id)).await?;
        let spent = self.member.spent().await?;
        self.member.observer.on(&Progress::Evaluated { round: view.round_id.number, quality, spent });
        Ok(())
    }

    fn round_id(&self, number: RoundNumber) -> RoundId {
        RoundId { task_id: self.admitted.task.task_id.clone(), number }
    }
}

/// The phase that goes on without this site: it came too late, or its ledger bears no more; and one that is over. Any other
/// error stays one.
fn sat_out(view: Option<&RoundView>, error: SiteError) -> Result<(RoundNumber, Phase), SiteError> {
    let goes_on = match &error {
        SiteError::Wire(error) => {
            error.remote_code().is_some_and(|code| SITS_OUT.contains(&code) || MOVED_ON.contains(&code))
        }
        SiteError::Admission(_) | SiteError::Masking(_) | SiteError::Privacy(PrivacyError::BudgetExceeded { .. }) => {
            true
        }
        _ => false,
    };
    match view.filter(|_| goes_on) {
        Some(view) => {
            tracing::warn!(round_id = %view.round_id, code = error.code(), %error, "sits this phase out");
            Ok((view.round_id.number, view.phase))
        }
        None => Err(error),
    }
}

/// Whether no round will ever take the update that was refused so: as it is, or any more.
fn is_in_vain(error: &WireError) -> bool {
    match error {
        WireError::Refused { status, code, .. } => *status == Code::InvalidArgument || IN_VAIN.contains(&code.as_str()),
        _ => false,
    }
}

/// How much `done` is of `all`, 0 to 100.
fn percent(done: u64, all: u64) -> u8 {
    let percent = done.saturating_mul(100).checked_div(all).unwrap_or(100);
    u8::try_from(percent.min(100)).unwrap_or(100)
}
