//! What is done about a detection: the site's policy set is asked, and a playbook carries out what it allows.
//!
//! Only accounts that the configuration lists are ever touched, and text from an event reaches no actuator: the event's
//! principal selects a listed account or none.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy_as_code::actuator::{Actuator, ActuatorError};
use policy_as_code::containment::{ContainmentError, ContainmentLedger, KillSwitch, PeerGroup};
use policy_as_code::decide::{Engine, InForce};
use policy_as_code::playbook::{self, Executor, Playbook, RunError, RunState, Subject};
use serde_json::json;
use shared::audit::AuditKind;
use shared::decision::Requester;
use shared::release::Release;
use shared::{AssetId, Explain, RunId, Timestamp};
use shared_crypto::digest;

use crate::config::Account;
use crate::error::SiteError;
use crate::online::Raised;
use crate::site::Site;

/// Why there was no response.
#[derive(Debug, thiserror::Error)]
pub enum RespondError {
    /// The site answers no detections.
    #[error("this site answers no detections")]
    Off,
    /// The policy repository has no such playbook.
    #[error("the policy repository has no playbook `{0}`")]
    NoPlaybook(String),
    /// The run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The actuator cannot be used.
    #[error(transparent)]
    Actuator(#[from] ActuatorError),
    /// The containment ledger did not answer.
    #[error(transparent)]
    Containment(#[from] ContainmentError),
}

impl Explain for RespondError {
    fn code(&self) -> &'static str {
        match self {
            Self::Off => "response-off",
            Self::NoPlaybook(_) => "respond-no-playbook",
            Self::Run(error) => error.code(),
            Self::Actuator(error) => error.code(),
            Self::Containment(error) => error.code(),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Off => "set `policy.dir` to the policy repository, and `policy.public_key` to the key that signs it",
            Self::NoPlaybook(_) => "set `response.playbook` to the name of a file in `playbooks/`, without `.json`",
            Self::Run(error) => error.hint(),
            Self::Actuator(error) => error.hint(),
            Self::Containment(error) => error.hint(),
        }
    }
}

/// A site's response.
pub struct Response {
    site: Arc<Site>,
    policies: Arc<InForce>,
    accounts: BTreeMap<String, Account>,
    executor: Executor,
    ledger: ContainmentLedger,
}

impl Response {
    /// A response by the policies and playbooks in force, acting through `actuator`.
    pub fn new(site: Arc<Site>, policies: Arc<InForce>, actuator: Arc<dyn Actuator>) -> Result<Self, SiteError> {
        let settings = &site.config.response;
        playbook(&policies.engine(), &settings.playbook)?;
        let accounts = settings.accounts.iter().map(|account| (account.principal.clone(), account.clone())).collect();
        let executor = Executor::new(playbook::Site {
            store: Arc::clone(&site.store),
            clock: Arc::clone(&site.clock),
            policies: Arc::clone(&policies),
            actuator,
            journal: Arc::new(site.journal.clone()),
        });
        let ledger = ContainmentLedger::new(Arc::clone(&site.store), Arc::clone(&site.clock));
        Ok(Self { site, policies, accounts, executor, ledger })
    }

    /// Who stopped all automation; `None` while it may go on.
    pub fn kill_switch(&self) -> Result<Option<KillSwitch>, RespondError> {
        Ok(self.ledger.kill_switch()?)
    }

    /// Stops all automation in a person's name, or lets it go on. What is in force stays until its lease lapses.
    pub fn set_kill_switch(&self, on: bool, responder: &str) -> Result<Option<KillSwitch>, SiteError> {
        let content = json!({ "kill_switch": on, "responder": responder });
        self.site.journal.write(AuditKind::Admin, &content)?;
        self.ledger.set_kill_switch(on.then_some(responder)).map_err(RespondError::from)?;
        tracing::warn!(on, responder, "the kill switch was turned");
        Ok(self.kill_switch()?)
    }

    /// Answers a detection with a run of the playbook; `None` where its principal is no listed account. The same
    /// detection never starts two runs, and further detections on an account are answered by the run that holds it.
    pub async fn answer(&self, raised: &Raised, release: &Release) -> Result<Option<RunState>, SiteError> {
        let Some(account) = self.accounts.get(raised.event.principal()) else {
            tracing::info!(event_id = raised.event.event_id(), "no listed account, so nothing to contain");
            return Ok(None);
        };
        if let Some(state) = self.holding(&account.asset.asset_id)? {
            return Ok(Some(state));
        }
        let run_id = run_id(raised)?;
        let subject = self.subject(raised, account, release);
        let playbook = playbook(&self.policies.engine(), &self.site.config.response.playbook)?;
        let state = match self.executor.start(run_id.clone(), &playbook, subject).await {
            Err(RunError::Exists { .. }) => self.executor.run(&run_id),
            started => started,
        };
        Ok(Some(state.map_err(RespondError::from)?))
    }

    /// The run that holds an asset.
    fn holding(&self, asset_id: &AssetId) -> Result<Option<RunState>, RespondError> {
        for run_id in self.executor.open_runs()? {
            let state = self.executor.run(&run_id)?;
            if state.plan.subject.asset.asset_id == *asset_id && !state.is_closed() {
                return Ok(Some(state));
            }
        }
        Ok(None)
    }

    fn subject(&self, raised: &Raised, account: &Account, release: &Release) -> Subject {
        Subject {
            detection: raised.detection.clone(),
            requester: Requester::Release {
                release_id: release.release_id.clone(),
                // A release that does not verify, or that its gates refused, is never installed.
                signed: true,
                validated: true,
                age_days: age_days(self.site.clock.now(), release.released_at),
            },
            asset: account.asset.clone(),
            peers: PeerGroup { name: account.peer_group.clone(), size: account.peers },
            blast_radius: 1,
            maintenance_window: account.maintenance,
        }
    }

    /// The executor, for approvals, rollbacks and ticks.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }
}

fn playbook(engine: &Engine, name: &str) -> Result<Playbook, RespondError> {
    engine.playbook(name).cloned().ok_or_else(|| RespondError::NoPlaybook(name.to_owned()))
}

/// One run per event: sources may use an event's id again on another day.
fn run_id(raised: &Raised) -> Result<RunId, SiteError> {
    let Raised { event, .. } = raised;
    let name = digest(format!("{} {}", event.timestamp(), event.event_id()).as_bytes()).to_string();
    Ok(RunId::new(format!("run-{}", name.get(..16).unwrap_or_default()))?)
}

fn age_days(now: Timestamp, released_at: Timestamp) -> i64 {
    i64::try_from(now.since(released_at).as_secs() / 86_400).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
