//! What a policy engine is asked and what it answers. All numbers are integers: policies have no floats.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::asset::Asset;
use crate::detection::Tier;
use crate::{Digest, ReleaseId, RunId, Timestamp};

/// What can be done to contain an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainmentAction {
    /// Fewer connections or requests for the account.
    Throttle,
    /// End the account's live sessions.
    TerminateSessions,
    /// Refuse the account's credential.
    DisableCredential,
    /// Cut the asset off from the network.
    Isolate,
    /// Undo what an earlier action did.
    Rollback,
}

impl ContainmentAction {
    /// All actions.
    pub const ALL: [Self; 5] =
        [Self::Throttle, Self::TerminateSessions, Self::DisableCredential, Self::Isolate, Self::Rollback];

    /// The name used in policies, playbooks and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::TerminateSessions => "terminate_sessions",
            Self::DisableCredential => "disable_credential",
            Self::Isolate => "isolate",
            Self::Rollback => "rollback",
        }
    }
}

impl std::fmt::Display for ContainmentAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Requester {
    /// A served release.
    Release {
        /// Which one.
        release_id: ReleaseId,
        /// Its signature was checked before it served.
        signed: bool,
        /// It passed the release gates.
        validated: bool,
        /// Days since it was published.
        age_days: i64,
    },
    /// A person.
    Responder {
        /// The person's name at the site.
        name: String,
        /// Whether the person is on call.
        on_call: bool,
    },
}

/// The circumstances of a request. Every field has a range in `policy-as-code/schema/domain.toml`; a value outside it is
/// refused before any policy is asked. The default is such a one (there is no step 0): whoever leaves out a number that
/// nobody fills in gets no more than an alert.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionContext {
    /// Probability of an attack, basis points.
    pub score_bp: i64,
    /// False-positive rate at that score, basis points.
    pub false_positive_rate_bp: i64,
    /// Upper end of that rate's 95 % confidence interval, basis points.
    pub false_positive_rate_high_bp: i64,
    /// Names of the features that raised the score most.
    pub reasons: BTreeSet<String>,
    /// How many accounts or hosts the action cuts off.
    pub blast_radius: i64,
    /// How many accounts or hosts of the asset's service are cut off once the action is in force.
    pub service_blast_radius: i64,
    /// How many accounts or hosts of this site are cut off once the action is in force.
    pub site_blast_radius: i64,
    /// How many healthy peers of the asset are left after the action.
    pub healthy_peers: i64,
    /// Other assets under containment at this site.
    pub active_containments: i64,
    /// Those among them that are as critical as the asset.
    pub class_containments: i64,
    /// Other actions granted at this site within the past hour.
    pub recent_actions: i64,
    /// Position of the step in its playbook, from 1.
    pub playbook_step: i64,
    /// Seconds that the asset has been under throttle and watch.
    pub monitored_s: i64,
    /// Whether the action can be undone.
    pub reversible: bool,
    /// Whether the asset is in a maintenance window.
    pub maintenance_window: bool,
    /// Whether people have stopped all automation at this site.
    pub kill_switch: bool,
    /// Approvals by people so far.
    pub approvals: i64,
}

/// What a policy engine is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionRequest {
    /// Who asks.
    pub requester: Requester,
    /// For what.
    pub action: ContainmentAction,
    /// On what.
    pub asset: Asset,
    /// Under which circumstances.
    pub context: DecisionContext,
}

/// One question to the engine: the action at one tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierAnswer {
    /// The tier asked about.
    pub tier: Tier,
    /// Whether it was allowed.
    pub allowed: bool,
    /// Ids of the policies that determined the answer.
    pub policies: Vec<String>,
    /// Evaluation errors; any makes the answer a refusal.
    pub errors: Vec<String>,
}

/// What a policy engine answers: the widest tier that every policy leaves open, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The widest allowed tier.
    pub tier: Tier,
    /// The answers in the order they were asked, widest tier first; the last one decided.
    pub answers: Vec<TierAnswer>,
    /// Digest of the policy bundle that answered.
    pub bundle: Digest,
}

/// Permission to keep an automated action in force until it lapses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// The run that holds it.
    pub run_id: RunId,
    /// When it was granted.
    pub granted_at: Timestamp,
    /// When the action is rolled back unless the lease was renewed.
    pub expires_at: Timestamp,
}
