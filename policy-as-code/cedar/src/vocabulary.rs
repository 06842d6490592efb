//! Requests in the words of the schema: principal, action, resource and context as Cedar sees them.
//!
//! Everything that is the same for all requests is built once, at load.

use std::collections::HashSet;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
};
use shared::asset::{Asset, Criticality};
use shared::decision::{ContainmentAction, DecisionContext, DecisionRequest, Requester};
use shared::detection::Tier;
use shared::{AssetId, ReleaseId};

use crate::CedarError;

/// The schema's names, and its actions as entities.
pub(crate) struct Vocabulary {
    release: EntityTypeName,
    responder: EntityTypeName,
    asset: EntityTypeName,
    tier: EntityTypeName,
    criticality: EntityTypeName,
    action: EntityTypeName,
    actions: Entities,
}

fn unfit(reason: impl std::fmt::Display) -> CedarError {
    CedarError::SchemaUnfit { reason: reason.to_string() }
}

fn type_name(name: &str) -> Result<EntityTypeName, CedarError> {
    format!("Ringfence::{name}").parse().map_err(unfit)
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn criticality_name(criticality: Criticality) -> &'static str {
    match criticality {
        Criticality::Standard => "standard",
        Criticality::Important => "important",
        Criticality::BusinessCritical => "business_critical",
    }
}

impl Vocabulary {
    /// The names of `schema`, after checking that it describes every kind of request that Ringfence makes.
    pub(crate) fn new(schema: &Schema) -> Result<Self, CedarError> {
        let vocabulary = Self {
            release: type_name("Release")?,
            responder: type_name("Responder")?,
            asset: type_name("Asset")?,
            tier: type_name("Tier")?,
            criticality: type_name("Criticality")?,
            action: type_name("Action")?,
            actions: schema.action_entities().map_err(unfit)?,
        };
        for request in specimens()? {
            vocabulary.conforms(&request, schema)?;
        }
        Ok(vocabulary)
    }

    fn conforms(&self, request: &DecisionRequest, schema: &Schema) -> Result<(), CedarError> {
        for tier in Tier::WIDEST_FIRST {
            self.request(request, tier, Some(schema)).map_err(unfit)?;
        }
        let entities = self.own_entities(request).map_err(unfit)?;
        Entities::from_entities(entities, Some(schema)).map_err(unfit)?;
        Ok(())
    }

    /// The request at `tier`, and the entities it speaks of.
    pub(crate) fn translate(&self, request: &DecisionRequest, tier: Tier) -> Result<(Request, Entities), String> {
        let entities = self.actions.clone().add_entities(self.own_entities(request)?, None).map_err(text)?;
        Ok((self.request(request, tier, None)?, entities))
    }

    fn request(&self, request: &DecisionRequest, tier: Tier, schema: Option<&Schema>) -> Result<Request, String> {
        let action = uid(&self.action, request.action.as_str());
        let resource = uid(&self.asset, request.asset.asset_id.as_str());
        let context = self.context(&request.context, tier)?;
        Request::new(self.principal(&request.requester), action, resource, context, schema).map_err(text)
    }

    fn principal(&self, requester: &Requester) -> EntityUid {
        match requester {
            Requester::Release { release_id, .. } => uid(&self.release, release_id.as_str()),
            Requester::Responder { name, .. } => uid(&self.responder, name),
        }
    }

    fn context(&self, context: &DecisionContext, tier: Tier) -> Result<Context, String> {
        let long = RestrictedExpression::new_long;
        let bool = RestrictedExpression::new_bool;
        let pairs = [
            ("tier", RestrictedExpression::new_entity_uid(uid(&self.tier, tier.as_str()))),
            ("score_bp", long(context.score_bp)),
            ("false_positive_rate_bp", long(context.false_positive_rate_bp)),
            ("false_positive_rate_high_bp", long(context.false_positive_rate_high_bp)),
            (
                "reasons",
                RestrictedExpression::new_set(context.reasons.iter().cloned().map(RestrictedExpression::new_string)),
            ),
            ("blast_radius", long(context.blast_radius)),
            ("service_blast_radius", long(context.service_blast_radius)),
            ("site_blast_radius", long(context.site_blast_radius)),
            ("healthy_peers", long(context.healthy_peers)),
            ("active_containments", long(context.active_containments)),
            ("class_containments", long(context.class_containments)),
            ("recent_actions", long(context.recent_actions)),
            ("playbook_step", long(context.playbook_step)),
            ("monitored_s", long(context.monitored_s)),
            ("reversible", bool(context.reversible)),
            ("maintenance_window", bool(context.maintenance_window)),
            ("kill_switch", bool(context.kill_switch)),
            ("approvals", long(context.approvals)),
        ];
        Context::from_pairs(pairs.map(|(name, value)| (name.to_owned(), value))).map_err(text)
    }

    fn own_entities(&self, request: &DecisionRequest) -> Result<[Entity; 2], String> {
        Ok([self.requester_entity(&request.requester)?, self.asset_entity(&request.asset)?])
    }

    fn requester_entity(&self, requester: &Requester) -> Result<Entity, String> {
        let attributes = match requester {
            Requester::Release { signed, validated, age_days, .. } => vec![
                ("signed".to_owned(), RestrictedExpression::new_bool(*signed)),
                ("validated".to_owned(), RestrictedExpression::new_bool(*validated)),
                ("age_days".to_owned(), RestrictedExpression::new_long(*age_days)),
            ],
            Requester::Responder { on_call, .. } => {
                vec![("on_call".to_owned(), RestrictedExpression::new_bool(*on_call))]
            }
        };
        Entity::new(self.principal(requester), attributes.into_iter().collect(), HashSet::new()).map_err(text)
    }

    fn asset_entity(&self, asset: &Asset) -> Result<Entity, String> {
        let string = |value: &String| RestrictedExpression::new_string(value.clone());
        let criticality = uid(&self.criticality, criticality_name(asset.criticality));
        let attributes = [
            ("criticality".to_owned(), RestrictedExpression::new_entity_uid(criticality)),
            ("environment".to_owned(), string(&asset.environment)),
            ("owner".to_owned(), string(&asset.owner)),
        ];
        let tags = asset.tags.iter().map(|(name, value)| (name.clone(), string(value)));
        Entity::new_with_tags(uid(&self.asset, asset.asset_id.as_str()), attributes, [], tags).map_err(text)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// One request of each kind: every action, asked by a release and by a responder.
fn specimens() -> Result<Vec<DecisionRequest>, CedarError> {
    let release_id = ReleaseId::new("specimen").map_err(unfit)?;
    let requesters = [
        Requester::Release { release_id, signed: true, validated: true, age_days: 0 },
        Requester::Responder { name: "specimen".to_owned(), on_call: true },
    ];
    let asset = Asset {
        asset_id: AssetId::new("specimen").map_err(unfit)?,
        criticality: Criticality::Standard,
        environment: "production".to_owned(),
        owner: "specimen".to_owned(),
        tags: [("specimen".to_owned(), "true".to_owned())].into(),
    };
    let ask = |requester: &Requester, action| DecisionRequest {
        requester: requester.clone(),
        action,
        asset: asset.clone(),
        context: DecisionContext {
            score_bp: 0,
            false_positive_rate_bp: 0,
            false_positive_rate_high_bp: 0,
            reasons: ["specimen".to_owned()].into(),
            blast_radius: 0,
            service_blast_radius: 0,
            site_blast_radius: 0,
            healthy_peers: 0,
            active_containments: 0,
            class_containments: 0,
            recent_actions: 0,
            playbook_step: 1,
            monitored_s: 0,
            reversible: true,
            maintenance_window: false,
            kill_switch: false,
            approvals: 0,
        },
    };
    let pairs = requesters.iter().flat_map(|who| ContainmentAction::ALL.map(|action| ask(who, action)));
    Ok(pairs.collect())
}
