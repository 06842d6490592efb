//! The attributes of a decision request under their names in the schema: the one table for Cedar's requests and for
//! compiled policies. It says how a value is read, not what policies do with it.

use std::collections::BTreeSet;

use shared::asset::Criticality;
use shared::decision::{DecisionRequest, Requester};

/// An attribute of the context, of a requester or of an asset.
pub(crate) struct Attribute {
    /// Its name in the schema.
    pub(crate) name: &'static str,
    /// Where its value is found.
    pub(crate) read: Read,
}

/// How an attribute is read from a request; `None` where the request has no such attribute.
#[derive(Clone, Copy)]
pub(crate) enum Read {
    /// An integer.
    Long(fn(&DecisionRequest) -> Option<i64>),
    /// A Boolean.
    Bool(fn(&DecisionRequest) -> Option<bool>),
    /// A string.
    Text(fn(&DecisionRequest) -> Option<&str>),
    /// A set of strings.
    Texts(fn(&DecisionRequest) -> Option<&BTreeSet<String>>),
    /// An entity of type `Criticality`, by its id.
    Criticality(fn(&DecisionRequest) -> Option<&str>),
    /// The tier that is asked about, an entity of type `Tier`.
    Tier,
}

/// Of the circumstances.
pub(crate) const CONTEXT: &[Attribute] = &[
    Attribute { name: "tier", read: Read::Tier },
    Attribute { name: "score_bp", read: Read::Long(|request| Some(request.context.score_bp)) },
    Attribute {
        name: "false_positive_rate_bp",
        read: Read::Long(|request| Some(request.context.false_positive_rate_bp)),
    },
    Attribute {
        name: "false_positive_rate_high_bp",
        read: Read::Long(|request| Some(request.context.false_positive_rate_high_bp)),
    },
    Attribute { name: "reasons", read: Read::Texts(|request| Some(&request.context.reasons)) },
    Attribute { name: "blast_radius", read: Read::Long(|request| Some(request.context.blast_radius)) },
    Attribute { name: "service_blast_radius", read: Read::Long(|request| Some(request.context.service_blast_radius)) },
    Attribute { name: "site_blast_radius", read: Read::Long(|request| Some(request.context.site_blast_radius)) },
    Attribute { name: "healthy_peers", read: Read::Long(|request| Some(request.context.healthy_peers)) },
    Attribute { name: "active_containments", read: Read::Long(|request| Some(request.context.active_containments)) },
    Attribute { name: "class_containments", read: Read::Long(|request| Some(request.context.class_containments)) },
    Attribute { name: "recent_actions", read: Read::Long(|request| Some(request.context.recent_actions)) },
    Attribute { name: "playbook_step", read: Read::Long(|request| Some(request.context.playbook_step)) },
    Attribute { name: "monitored_s", read: Read::Long(|request| Some(request.context.monitored_s)) },
    Attribute { name: "reversible", read: Read::Bool(|request| Some(request.context.reversible)) },
    Attribute { name: "maintenance_window", read: Read::Bool(|request| Some(request.context.maintenance_window)) },
    Attribute { name: "kill_switch", read: Read::Bool(|request| Some(request.context.kill_switch)) },
    Attribute { name: "approvals", read: Read::Long(|request| Some(request.context.approvals)) },
];

/// Of the asset. Its tags are no attributes.
pub(crate) const ASSET: &[Attribute] = &[
    Attribute { name: "criticality", read: Read::Criticality(|request| Some(criticality(request.asset.criticality))) },
    Attribute { name: "environment", read: Read::Text(|request| Some(request.asset.environment.as_str())) },
    Attribute { name: "owner", read: Read::Text(|request| Some(request.asset.owner.as_str())) },
];

const RELEASE: &[Attribute] = &[
    Attribute {
        name: "signed",
        read: Read::Bool(|request| match request.requester {
            Requester::Release { signed, .. } => Some(signed),
            Requester::Responder { .. } => None,
        }),
    },
    Attribute {
        name: "validated",
        read: Read::Bool(|request| match request.requester {
            Requester::Release { validated, .. } => Some(validated),
            Requester::Responder { .. } => None,
        }),
    },
    Attribute {
        name: "age_days",
        read: Read::Long(|request| match request.requester {
            Requester::Release { age_days, .. } => Some(age_days),
            Requester::Responder { .. } => None,
        }),
    },
];

const RESPONDER: &[Attribute] = &[Attribute {
    name: "on_call",
    read: Read::Bool(|request| match request.requester {
        Requester::Release { .. } => None,
        Requester::Responder { on_call, .. } => Some(on_call),
    }),
}];

/// What kind of requester asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequesterKind {
    Release,
    Responder,
}

impl RequesterKind {
    pub(crate) const ALL: [Self; 2] = [Self::Release, Self::Responder];

    pub(crate) fn of(requester: &Requester) -> Self {
        match requester {
            Requester::Release { .. } => Self::Release,
            Requester::Responder { .. } => Self::Responder,
        }
    }

    /// The name of its entity type, without the namespace.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Release => "Release",
            Self::Responder => "Responder",
        }
    }

    pub(crate) fn attributes(self) -> &'static [Attribute] {
        match self {
            Self::Release => RELEASE,
            Self::Responder => RESPONDER,
        }
    }
}

/// The id of whoever asks, as an entity.
pub(crate) fn requester_id(request: &DecisionRequest) -> &str {
    match &request.requester {
        Requester::Release { release_id, .. } => release_id.as_str(),
        Requester::Responder { name, .. } => name,
    }
}

/// The id of the asset, as an entity.
pub(crate) fn asset_id(request: &DecisionRequest) -> &str {
    request.asset.asset_id.as_str()
}

fn criticality(criticality: Criticality) -> &'static str {
    match criticality {
        Criticality::Standard => "standard",
        Criticality::Important => "important",
        Criticality::BusinessCritical => "business_critical",
    }
}
