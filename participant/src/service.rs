//! A participant at work: it scores what comes, answers detections, and learns with its federation in the background.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use policy_as_code::containment::KillSwitch;
use policy_as_code::playbook::{Responder, RunState};
use shared::release::Release;
use shared::{Digest, Explain, RunId};
use shared_crypto::document_digest;
use shared_ops::health::Health;
use shared_wire::TaskState;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::collect::{Collector, Format, Ingested};
use crate::error::{ReleaseFault, SiteError};
use crate::online::{Online, Raised};
use crate::progress::Observer;
use crate::records::Records;
use crate::respond::{RespondError, Response};
use crate::rpc::{self, Credentials, Latest, Membership, Outcome};
use crate::serve::{Releases, Scorer};
use crate::site::{Site, blocking};

/// The component of the process's health that says whether the federation can be reached.
pub const FEDERATION: &str = "federation";
/// How often leases, approvals and interrupted runs are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long to wait before asking the federation for tasks, or for the latest release, again.
const ASK: Duration = Duration::from_secs(10);

/// A participant at work.
pub struct Service {
    /// The site.
    pub site: Arc<Site>,
    /// Its online path.
    pub online: Online,
    records: Option<Arc<Records>>,
    response: Option<Response>,
    /// Held while a release is put to work.
    installing: Mutex<()>,
}

/// What became of a body of events.
#[derive(Debug)]
pub struct Answered {
    /// How many events were stored, known before, or rejected.
    pub ingested: Ingested,
    /// Detections.
    pub raised: Vec<Raised>,
    /// The runs that answer them.
    pub runs: Vec<RunId>,
}

impl Service {
    /// Reads the lake, and puts the kept release to work if there is one. Without labelled records the site scores with
    /// nothing and trains on nothing, but still takes events in.
    pub fn open(site: Arc<Site>, response: Option<Response>) -> Result<Self, SiteError> {
        let (records, engine) = Records::read(&site)?;
        let records = records.map(Arc::new);
        let online = Online::new(Arc::clone(&site), engine);
        let service = Self { online, site, records, response, installing: Mutex::default() };
        match service.serve_current() {
            Err(error @ SiteError::Release(_)) => {
                tracing::error!(%error, "the kept release does not verify any more: events are taken in unscored");
            }
            served => served?,
        }
        Ok(service)
    }

    /// Puts the release to work that is kept as the current one, if there is one: the last to call this serves what the
    /// store says, whoever changed it meanwhile.
    fn serve_current(&self) -> Result<(), SiteError> {
        let _turn = self.installing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(releases) = self.releases()? else { return Ok(()) };
        match (releases.current()?, &self.records) {
            (Some(installed), Some(records)) => self.online.serve(installed, records)?,
            (Some(_), None) => tracing::warn!("no labelled hold-out to calibrate with: the release does not serve"),
            (None, _) => {}
        }
        Ok(())
    }

    fn releases(&self) -> Result<Option<Releases>, SiteError> {
        let credentials = self.credentials()?;
        Ok(credentials.map(|credentials| credentials.releases(Arc::clone(&self.site.store))))
    }

    fn credentials(&self) -> Result<Option<Credentials>, SiteError> {
        Credentials::load(&self.site.folder().join("federation"))
    }

    /// Takes JSON events in, one a line, scores them and answers detections. A response that fails is logged and counted,
    /// and keeps none of the others back.
    pub async fn take(self: &Arc<Self>, body: Vec<u8>) -> Result<Answered, SiteError> {
        let service = Arc::clone(self);
        let work = move || {
            let input = Collector::new(Cursor::new(body), Format::EventJson, service.site.latest());
            service.online.take(input, "http")
        };
        let taken = blocking(work).await?;
        let raised = taken.raised();
        let runs = self.answer(&raised, taken.scorer.as_deref()).await;
        Ok(Answered { ingested: taken.ingested, raised, runs })
    }

    /// Answers detections of `scorer`; the runs that do.
    async fn answer(&self, raised: &[Raised], scorer: Option<&Scorer>) -> Vec<RunId> {
        let (Some(response), Some(scorer)) = (&self.response, scorer) else { return Vec::new() };
        let mut runs = Vec::new();
        for one in raised {
            match response.answer(one, &scorer.installed().release).await {
                Ok(run) => runs.extend(run.map(|run| run.plan.run_id)),
                Err(error) => {
                    metrics::counter!("ringfence_response_errors_total").increment(1);
                    tracing::error!(event_id = one.event.event_id(), %error, "a detection is not answered");
                }
            }
        }
        runs
    }

    fn response(&self) -> Result<&Response, RespondError> {
        self.response.as_ref().ok_or(RespondError::Off)
    }

    /// The runs that still hold something.
    pub fn open_runs(&self) -> Result<Vec<RunId>, SiteError> {
        Ok(self.response()?.executor().open_runs().map_err(RespondError::from)?)
    }

    /// One run.
    pub fn run(&self, run_id: &RunId) -> Result<RunState, SiteError> {
        Ok(self.response()?.executor().run(run_id).map_err(RespondError::from)?)
    }

    /// Approves a step in a person's name.
    pub async fn approve(&self, run_id: &RunId, step: u32, responder: Responder) -> Result<RunState, SiteError> {
        let approved = self.response()?.executor().approve(run_id, step, responder).await;
        Ok(approved.map_err(RespondError::from)?)
    }

    /// Undoes a run in a person's name.
    pub async fn roll_back_run(&self, run_id: &RunId, responder: &str) -> Result<RunState, SiteError> {
        let undone = self.response()?.executor().rollback(run_id, responder).await;
        Ok(undone.map_err(RespondError::from)?)
    }

    /// Who stopped all automation; `None` while it may go on.
    pub fn kill_switch(&self) -> Result<Option<KillSwitch>, SiteError> {
        Ok(self.response()?.kill_switch()?)
    }

    /// Stops all automation in a person's name, or lets it go on.
    pub fn set_kill_switch(&self, on: bool, responder: &str) -> Result<Option<KillSwitch>, SiteError> {
        self.response()?.set_kill_switch(on, responder)
    }

    /// Makes the release before the serving one serve again, until the operator's next word.
    pub async fn roll_back_release(self: &Arc<Self>) -> Result<Release, SiteError> {
        let service = Arc::clone(self);
        let work = move || {
            let releases = service.releases()?.ok_or(ReleaseFault::NothingBefore)?;
            let installed = releases.roll_back(|installed| service.site.record_release(installed, None))?;
            service.serve_current()?;
            Ok(installed.release)
        };
        blocking(work).await
    }

    /// Looks after leases, approvals and interrupted runs until `stop`.
    pub async fn look_after_runs(&self, stop: &CancellationToken) {
        let Ok(response) = self.response() else { return };
        let mut ticks = tokio::time::interval(TICK);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = response.executor().tick().await {
                tracing::error!(%error, "could not look after the open runs");
            }
        }
    }

    /// Goes over to each newer bundle of policies until `stop`.
    pub async fn follow_policies(&self, stop: &CancellationToken) {
        if let Ok(Some(served)) = self.site.policies() {
            Arc::clone(served).follow(stop.clone()).await;
        }
    }

    /// Learns with the federation until `stop`: takes part in every task that is offered and admitted. A coordinator that
    /// is away, now or later, is asked again.
    pub async fn learn(
        self: &Arc<Self>,
        observer: Arc<dyn Observer>,
        health: &Health,
        stop: &CancellationToken,
    ) -> Result<(), SiteError> {
        let credentials = stop.run_until_cancelled(self.membership_credentials()).await.transpose()?.flatten();
        let (Some(credentials), Some(records)) = (credentials, self.records.clone()) else {
            tracing::warn!("not enrolled, or no labelled records: this site only serves");
            health.set_ready(FEDERATION, true);
            return Ok(());
        };
        let learning = async {
            let membership = self.join_federation(&credentials, &records, &observer, health).await;
            let released = Notify::new();
            tokio::select! {
                never = self.learn_for_ever(&membership, &released, health, stop) => never,
                never = self.follow_latest(&membership, &released) => never,
                never = membership.keep_certificate() => never,
            }
        };
        let _stopped: Option<Infallible> = stop.run_until_cancelled(learning).await;
        Ok(())
    }

    /// The site's credentials; an enrolment that was pending when the site stopped is brought to its end first.
    async fn membership_credentials(&self) -> Result<Option<Credentials>, SiteError> {
        match self.credentials()? {
            Some(credentials) => Ok(Some(credentials)),
            None => rpc::resume_enrolment(&self.site).await,
        }
    }

    async fn join_federation(
        &self,
        credentials: &Credentials,
        records: &Arc<Records>,
        observer: &Arc<dyn Observer>,
        health: &Health,
    ) -> Membership {
        loop {
            let (site, records) = (Arc::clone(&self.site), Arc::clone(records));
            match Membership::connect(site, records, credentials.clone(), Arc::clone(observer)).await {
                Ok(membership) => return membership,
                Err(error) => pause(&error, health).await,
            }
        }
    }

    async fn learn_for_ever(
        self: &Arc<Self>,
        membership: &Membership,
        released: &Notify,
        health: &Health,
        stop: &CancellationToken,
    ) -> Infallible {
        let mut settled = BTreeSet::new();
        loop {
            match self.learn_once(membership, released, &mut settled, health, stop).await {
                Ok(()) => tokio::time::sleep(ASK).await,
                Err(error @ SiteError::Ledger(_)) => give_up(&error, health).await,
                Err(error) => pause(&error, health).await,
            }
        }
    }

    /// Serves the release that is the latest by the operator's word, whatever it was before. The word is asked for all the
    /// time, and at once when a task is `released`: what was refused before is looked at again then.
    async fn follow_latest(self: &Arc<Self>, membership: &Membership, released: &Notify) -> Infallible {
        let mut latest = Latest::new(membership);
        loop {
            if let Err(error) = self.follow_once(&mut latest).await {
                let (code, hint) = (error.code(), error.hint());
                tracing::error!(code, %error, hint, "the latest release is not followed");
            }
            if tokio::time::timeout(ASK, released.notified()).await.is_ok() {
                latest.look_again();
            }
        }
    }

    async fn follow_once(self: &Arc<Self>, latest: &mut Latest<'_>) -> Result<(), SiteError> {
        if latest.follow().await?.is_some() {
            let service = Arc::clone(self);
            blocking(move || service.serve_current()).await?;
        }
        Ok(())
    }

    /// Takes part in what is offered. A task that has its release, or whose terms are refused, is `settled`: it is not
    /// looked at again before a restart.
    async fn learn_once(
        self: &Arc<Self>,
        membership: &Membership,
        released: &Notify,
        settled: &mut BTreeSet<Digest>,
        health: &Health,
        stop: &CancellationToken,
    ) -> Result<(), SiteError> {
        let tasks = membership.tasks().await?;
        health.set_ready(FEDERATION, true);
        for task in tasks {
            let digest = document_digest(&task.document);
            let is_open = matches!(task.state, TaskState::Running | TaskState::Released(_));
            if !is_open || settled.contains(&digest) {
                continue;
            }
            match membership.take_part(&task.document, stop).await {
                Ok(Outcome::Released(release_id)) => {
                    tracing::info!(%release_id, "a task has its release");
                    settled.insert(digest);
                    released.notify_one();
                }
                Ok(Outcome::Ended(state)) => tracing::warn!(?state, "a task ended without a release"),
                Ok(Outcome::Stopped) => return Ok(()),
                Err(error @ (SiteError::Admission(_) | SiteError::Task(_))) => {
                    tracing::warn!(code = error.code(), %error, "stays away from a task");
                    settled.insert(digest);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Says that nothing can be learnt with this ledger, and does no more until a restart; the site goes on serving.
async fn give_up(error: &SiteError, health: &Health) {
    health.set_ready(FEDERATION, false);
    metrics::counter!("ringfence_learning_errors_total").increment(1);
    let (code, hint) = (error.code(), error.hint());
    tracing::error!(code, %error, hint, "this site learns no more until it is restarted with its newest ledger");
    std::future::pending().await
}

/// Says what went wrong, and waits before it is tried again.
async fn pause(error: &SiteError, health: &Health) {
    health.set_ready(FEDERATION, false);
    metrics::counter!("ringfence_learning_errors_total").increment(1);
    let (code, hint) = (error.remote_code().unwrap_or(error.code()), error.hint());
    match code {
        "participant-revoked" => {
            tracing::error!(code, %error, "the operator revoked this site: it takes no part until it enrols anew");
        }
        "participant-quarantined" => {
            tracing::error!(code, %error, "the operator quarantined this site: its updates do not count until it is reinstated");
        }
        _ => tracing::error!(code, %error, hint, "learning broke off, and is tried again"),
    }
    tokio::time::sleep(ASK).await;
}
