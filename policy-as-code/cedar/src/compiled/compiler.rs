//! From the syntax tree of a policy to what is left of it in one environment, where requester, action and tier are known.
//!
//! What it does not know becomes [`Bool::Unknown`], which sends the request to Cedar: extension functions, records,
//! equality of sets, attributes of entities other than the request's own.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::Entities;
use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, EntityOrSlot, Expr, PrincipalConstraint, ResourceConstraint, Template, Var,
};

use super::Environment;
use super::expression::{Attribute, Bool, Comparison, Long, Name, Operation, Owner, Text};
use super::pattern::Pattern;
use super::value::{
    Entity, Role, Value, arithmetic, choose, compare, constant, contains, entity, equal, known, tag, unary,
};
use crate::attributes::{self, ASSET, CONTEXT, Read, RequesterKind, asset_id, requester_id};
use crate::vocabulary::qualified;

/// How deep an expression may be nested; a deeper one is left to Cedar.
const MAX_DEPTH: usize = 256;

/// Entities by type and id.
type Uid = (String, String);

/// The actions of the schema, each with all groups that it is in.
pub(super) struct ActionGroups(BTreeMap<Uid, BTreeSet<Uid>>);

impl From<&Entities> for ActionGroups {
    fn from(actions: &Entities) -> Self {
        let with_groups = |action: &cedar_policy::Entity| {
            let groups = actions.ancestors(&action.uid()).into_iter().flatten().map(uid).collect();
            (uid(&action.uid()), groups)
        };
        Self(actions.iter().map(with_groups).collect())
    }
}

fn uid(uid: &cedar_policy::EntityUid) -> Uid {
    (uid.type_name().to_string(), uid.id().unescaped().to_owned())
}

/// Compiles for one environment.
pub(super) struct Compiler<'a> {
    pub(super) environment: Environment,
    pub(super) groups: &'a ActionGroups,
}

impl Compiler<'_> {
    /// When the policy is satisfied.
    pub(super) fn condition(&self, policy: &Template) -> Bool {
        let scope = [
            self.principal_scope(&policy.principal),
            self.action_scope(&policy.action),
            self.resource_scope(&policy.resource),
        ];
        match Bool::all(scope) {
            Bool::Known(false) => Bool::Known(false),
            scope => Bool::all([scope].into_iter().chain(policy.clauses().iter().map(|clause| self.clause(clause)))),
        }
    }

    fn principal_scope(&self, scope: &PrincipalConstraint) -> Bool {
        let who = self.principal();
        match scope {
            PrincipalConstraint::Any => Bool::Known(true),
            PrincipalConstraint::Eq(EntityOrSlot::Entity(uid)) => who.same_as(entity(uid)),
            PrincipalConstraint::In(EntityOrSlot::Entity(uid)) => self.within(who, entity(uid)),
            PrincipalConstraint::Is(kind) => Bool::Known(who.kind == kind.0.to_string()),
            PrincipalConstraint::IsIn(kind, EntityOrSlot::Entity(uid)) => {
                Bool::all([Bool::Known(who.kind == kind.0.to_string()), self.within(who, entity(uid))])
            }
            _ => Bool::Unknown,
        }
    }

    fn action_scope(&self, scope: &ActionConstraint) -> Bool {
        match scope {
            ActionConstraint::Any => Bool::Known(true),
            ActionConstraint::Eq(uid) => self.action().same_as(entity(uid)),
            ActionConstraint::In(uids) => Bool::any(uids.iter().map(|uid| self.within(self.action(), entity(uid)))),
        }
    }

    fn resource_scope(&self, scope: &ResourceConstraint) -> Bool {
        let what = resource();
        match scope {
            ResourceConstraint::Any => Bool::Known(true),
            ResourceConstraint::Eq(EntityOrSlot::Entity(uid)) => what.same_as(entity(uid)),
            ResourceConstraint::In(EntityOrSlot::Entity(uid)) => self.within(what, entity(uid)),
            ResourceConstraint::Is(kind) => Bool::Known(what.kind == kind.0.to_string()),
            ResourceConstraint::IsIn(kind, EntityOrSlot::Entity(uid)) => {
                Bool::all([Bool::Known(what.kind == kind.0.to_string()), self.within(what, entity(uid))])
            }
            _ => Bool::Unknown,
        }
    }

    fn clause(&self, clause: &Clause) -> Bool {
        match clause {
            Clause::When(condition) => self.value(condition, MAX_DEPTH).bool(),
            Clause::Unless(condition) => self.value(condition, MAX_DEPTH).bool().not(),
        }
    }

    fn principal(&self) -> Entity {
        let name = (self.requester(), None);
        let id = Text::Attribute(Attribute { name, read: |request| Some(requester_id(request)) });
        Entity { kind: qualified(self.environment.requester.type_name()), id, role: Role::Principal }
    }

    fn requester(&self) -> Owner {
        match self.environment.requester {
            RequesterKind::Release => Owner::Release,
            RequesterKind::Responder => Owner::Responder,
        }
    }

    fn action(&self) -> Entity {
        known("Action", self.environment.action.as_str())
    }

    fn value(&self, expression: &Expr, depth: usize) -> Value {
        let Some(depth) = depth.checked_sub(1) else {
            return Value::Unknown;
        };
        let value = |inner: &Expr| self.value(inner, depth);
        match expression {
            Expr::Literal(literal) => constant(literal),
            Expr::Var(variable) => self.variable(variable),
            Expr::UnaryOp { op, expr } => unary(*op, value(expr)),
            Expr::BinaryOp { op: BinaryOp::And, left, right } => {
                Bool::all([left, right].map(|side| value(side).bool())).into()
            }
            Expr::BinaryOp { op: BinaryOp::Or, left, right } => {
                Bool::any([left, right].map(|side| value(side).bool())).into()
            }
            Expr::BinaryOp { op, left, right } => self.binary(*op, value(left), value(right)),
            Expr::GetAttr { expr, attr } => self.attribute(&value(expr), attr),
            Expr::HasAttr { expr, attrs } => self.has_attributes(&value(expr), attrs.first(), attrs.len()).into(),
            Expr::Like { expr, pattern } => match value(expr) {
                Value::Text(text) => Bool::like(text, Pattern::from(&**pattern)).into(),
                _ => Value::Unknown,
            },
            Expr::Is { expr, entity_type, in_expr } => {
                let groups = in_expr.as_ref().map(|groups| value(groups));
                self.is(value(expr), &entity_type.0.to_string(), groups).into()
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                choose(value(cond).bool(), value(then_expr), value(else_expr))
            }
            Expr::Set(items) => Value::Set(items.iter().map(|item| value(item)).collect()),
            _ => Value::Unknown,
        }
    }

    fn is(&self, entity: Value, kind: &str, groups: Option<Value>) -> Bool {
        match entity {
            Value::Entity(entity) if !entity.id.may_fail() => {
                let is = Bool::Known(entity.kind == kind);
                let within = groups.map(|groups| self.within_any(Value::Entity(entity), groups));
                Bool::all([is].into_iter().chain(within))
            }
            _ => Bool::Unknown,
        }
    }

    fn variable(&self, variable: &Var) -> Value {
        match variable {
            Var::Principal => Value::Entity(self.principal()),
            Var::Action => Value::Entity(self.action()),
            Var::Resource => Value::Entity(resource()),
            Var::Context => Value::Context,
        }
    }

    fn binary(&self, op: BinaryOp, left: Value, right: Value) -> Value {
        match op {
            BinaryOp::Eq => equal(left, right).into(),
            BinaryOp::NotEq => equal(left, right).not().into(),
            BinaryOp::Less => compare(Comparison::Less, left, right),
            BinaryOp::LessEq => compare(Comparison::AtMost, left, right),
            BinaryOp::Greater => compare(Comparison::Less, right, left),
            BinaryOp::GreaterEq => compare(Comparison::AtMost, right, left),
            BinaryOp::Add => arithmetic(Operation::Add, left, right),
            BinaryOp::Sub => arithmetic(Operation::Subtract, left, right),
            BinaryOp::Mul => arithmetic(Operation::Multiply, left, right),
            BinaryOp::In => self.within_any(left, right).into(),
            BinaryOp::Contains | BinaryOp::ContainsAll | BinaryOp::ContainsAny => contains(op, left, right).into(),
            BinaryOp::HasTag | BinaryOp::GetTag => tag(op, left, right),
            _ => Value::Unknown,
        }
    }

    /// The attributes that `value` has, and as whose, where they are known.
    fn table(&self, value: &Value) -> Option<(Owner, &'static [attributes::Attribute])> {
        match value {
            Value::Context => Some((Owner::Context, CONTEXT)),
            Value::Entity(Entity { role: Role::Principal, .. }) => {
                Some((self.requester(), self.environment.requester.attributes()))
            }
            Value::Entity(Entity { role: Role::Resource, .. }) => Some((Owner::Asset, ASSET)),
            _ => None,
        }
    }

    fn attribute(&self, of: &Value, name: &str) -> Value {
        let found = self.table(of).and_then(|(owner, table)| {
            let mut numbered = table.iter().zip(0_u8..);
            let (attribute, place) = numbered.find(|(attribute, _)| attribute.name == name)?;
            Some(self.read((owner, Some(place)), attribute.read))
        });
        found.unwrap_or(Value::Unknown)
    }

    fn read(&self, name: Name, read: Read) -> Value {
        match read {
            Read::Long(read) => Value::Long(Long::Attribute(Attribute { name, read })),
            Read::Bool(read) => Value::Bool(Bool::Attribute(Attribute { name, read })),
            Read::Text(read) => Value::Text(Text::Attribute(Attribute { name, read })),
            Read::Texts(read) => Value::Texts(Attribute { name, read }),
            Read::Criticality(read) => {
                let id = Text::Attribute(Attribute { name, read });
                Value::Entity(Entity { kind: qualified("Criticality"), id, role: Role::Other })
            }
            Read::Tier => Value::Entity(known("Tier", self.environment.tier.as_str())),
        }
    }

    /// Whether `of` has the attribute `first`, and that has others up to `depth` in all.
    fn has_attributes(&self, of: &Value, first: &str, depth: usize) -> Bool {
        let has = self.table(of).map(|(_, table)| table.iter().any(|attribute| attribute.name == first));
        match (has, depth) {
            (Some(false), _) => Bool::Known(false),
            (Some(true), 1) => Bool::Known(true),
            _ => Bool::Unknown,
        }
    }

    /// `in`: no entity but an action has parents.
    fn within(&self, entity: Entity, group: Entity) -> Bool {
        if entity.kind != qualified("Action") {
            return entity.same_as(group);
        }
        match (entity.id, group.id) {
            (Text::Known(id), Text::Known(of)) => {
                let (action, group) = ((entity.kind, id.into()), (group.kind, of.into()));
                let groups = self.groups.0.get(&action);
                Bool::Known(action == group || groups.is_some_and(|groups| groups.contains(&group)))
            }
            _ => Bool::Unknown,
        }
    }

    fn within_any(&self, entity: Value, groups: Value) -> Bool {
        let groups = match groups {
            Value::Set(groups) => groups,
            group => vec![group],
        };
        if entity.may_fail() || groups.iter().any(Value::may_fail) {
            return Bool::Unknown;
        }
        Bool::any(groups.into_iter().map(|group| match (entity.clone(), group) {
            (Value::Entity(entity), Value::Entity(group)) => self.within(entity, group),
            _ => Bool::Unknown,
        }))
    }
}

fn resource() -> Entity {
    let name = (Owner::Asset, None);
    let id = Text::Attribute(Attribute { name, read: |request| Some(asset_id(request)) });
    Entity { kind: qualified("Asset"), id, role: Role::Resource }
}
