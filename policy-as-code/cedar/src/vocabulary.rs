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
use crate::attributes::{ASSET, Attribute, CONTEXT, Read, RequesterKind, asset_id, requester_id};

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

/// A name of the schema with its namespace.
pub(crate) fn qualified(name: &str) -> String {
    format!("Ringfence::{name}")
}

pub(crate) fn type_name(name: &str) -> Result<EntityTypeName, CedarError> {
    qualified(name).parse().map_err(unfit)
}

pub(crate) fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
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

    /// The actions of the schema.
    pub(crate) fn actions(&self) -> &Entities {
        &self.actions
    }

    fn request(&self, request: &DecisionRequest, tier: Tier, schema: Option<&Schema>) -> Result<Request, String> {
        let action = uid(&self.action, request.action.as_str());
        let context = Context::from_pairs(self.values(CONTEXT, request, Some(tier))).map_err(text)?;
        Request::new(self.principal(request), action, self.resource(request), context, schema).map_err(text)
    }

    fn principal(&self, request: &DecisionRequest) -> EntityUid {
        let kind = match RequesterKind::of(&request.requester) {
            RequesterKind::Release => &self.release,
            RequesterKind::Responder => &self.responder,
        };
        uid(kind, requester_id(request))
    }

    fn resource(&self, request: &DecisionRequest) -> EntityUid {
        uid(&self.asset, asset_id(request))
    }

    fn own_entities(&self, request: &DecisionRequest) -> Result<[Entity; 2], String> {
        Ok([self.requester_entity(request)?, self.asset_entity(request)?])
    }

    fn requester_entity(&self, request: &DecisionRequest) -> Result<Entity, String> {
        let table = RequesterKind::of(&request.requester).attributes();
        let attributes = self.values(table, request, None).collect();
        Entity::new(self.principal(request), attributes, HashSet::new()).map_err(text)
    }

    fn asset_entity(&self, request: &DecisionRequest) -> Result<Entity, String> {
        let string = |value: &String| RestrictedExpression::new_string(value.clone());
        let attributes = self.values(ASSET, request, None);
        let tags = request.asset.tags.iter().map(|(name, value)| (name.clone(), string(value)));
        Entity::new_with_tags(self.resource(request), attributes, [], tags).map_err(text)
    }

    /// What the request, at `tier` if it is the context's, has of the attributes in `table`.
    fn values(
        &self,
        table: &[Attribute],
        request: &DecisionRequest,
        tier: Option<Tier>,
    ) -> impl Iterator<Item = (String, RestrictedExpression)> {
        let value = move |read| self.value(read, request, tier);
        table.iter().filter_map(move |attribute| Some((attribute.name.to_owned(), value(attribute.read)?)))
    }

    fn value(&self, read: Read, request: &DecisionRequest, tier: Option<Tier>) -> Option<RestrictedExpression> {
        let entity = |kind, id: &str| RestrictedExpression::new_entity_uid(uid(kind, id));
        Some(match read {
            Read::Long(read) => RestrictedExpression::new_long(read(request)?),
            Read::Bool(read) => RestrictedExpression::new_bool(read(request)?),
            Read::Text(read) => RestrictedExpression::new_string(read(request)?.to_owned()),
            Read::Texts(read) => {
                RestrictedExpression::new_set(read(request)?.iter().cloned().map(RestrictedExpression::new_string))
            }
            Read::Criticality(read) => entity(&self.criticality, read(request)?),
            Read::Tier => entity(&self.tier, tier?.as_str()),
        })
    }
}

/// What an error says, and what each of its causes adds to that.
pub(crate) fn text(error: impl std::error::Error) -> String {
    let (mut said, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        let more = error.to_string();
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        cause = error.source();
    }
    said
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
        context: DecisionContext { reasons: ["specimen".to_owned()].into(), ..DecisionContext::default() },
    };
    let pairs = requesters.iter().flat_map(|who| ContainmentAction::ALL.map(|action| ask(who, action)));
    Ok(pairs.collect())
}
