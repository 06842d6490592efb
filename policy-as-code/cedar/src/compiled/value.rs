//! What expressions evaluate to while a policy is compiled, and the operators on that.
//!
//! What cannot be told is [`Value::Unknown`] or [`Bool::Unknown`], never a guess; an operand that may fail is not dropped.

use cedar_policy::pst::{BinaryOp, EntityUID, Literal, UnaryOp};

use super::expression::{Bool, Choice, Comparison, Long, Operation, Text, Texts, sorted};
use crate::vocabulary::qualified;

/// What an expression evaluates to.
#[derive(Clone)]
pub(super) enum Value {
    Bool(Bool),
    Long(Long),
    Text(Text),
    Entity(Entity),
    Set(Vec<Value>),
    Texts(Texts),
    Context,
    Unknown,
}

/// An entity: its type is known, its id may depend on the request.
#[derive(Clone)]
pub(super) struct Entity {
    pub(super) kind: String,
    pub(super) id: Text,
    pub(super) role: Role,
}

/// Whose attributes can be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Principal,
    Resource,
    Other,
}

impl Entity {
    pub(super) fn same_as(self, other: Self) -> Bool {
        match self.kind == other.kind {
            true => Bool::same(self.id, other.id),
            false if self.id.may_fail() || other.id.may_fail() => Bool::Unknown,
            false => Bool::Known(false),
        }
    }
}

impl From<Bool> for Value {
    fn from(value: Bool) -> Self {
        Self::Bool(value)
    }
}

impl Value {
    pub(super) fn bool(self) -> Bool {
        match self {
            Self::Bool(value) => value,
            _ => Bool::Unknown,
        }
    }

    pub(super) fn may_fail(&self) -> bool {
        match self {
            Self::Bool(value) => value.may_fail(),
            Self::Long(value) => value.may_fail(),
            Self::Text(text) => text.may_fail(),
            Self::Entity(entity) => entity.id.may_fail(),
            Self::Set(items) => items.iter().any(Self::may_fail),
            Self::Texts(_) | Self::Context => false,
            Self::Unknown => true,
        }
    }
}

/// The entity of that type and id.
pub(super) fn known(kind: &str, id: &str) -> Entity {
    Entity { kind: qualified(kind), id: Text::Known(id.into()), role: Role::Other }
}

pub(super) fn entity(uid: &EntityUID) -> Entity {
    Entity { kind: uid.ty.0.to_string(), id: Text::Known(uid.eid.as_str().into()), role: Role::Other }
}

pub(super) fn constant(literal: &Literal) -> Value {
    match literal {
        Literal::Bool(value) => Bool::Known(*value).into(),
        Literal::Long(value) => Value::Long(Long::Known(*value)),
        Literal::String(text) => Value::Text(Text::Known(text.as_str().into())),
        Literal::EntityUID(uid) => Value::Entity(entity(uid)),
        _ => Value::Unknown,
    }
}

pub(super) fn unary(op: UnaryOp, operand: Value) -> Value {
    match (op, operand) {
        (UnaryOp::Not, operand) => operand.bool().not().into(),
        (UnaryOp::Neg, operand) => arithmetic(Operation::Subtract, Value::Long(Long::Known(0)), operand),
        (UnaryOp::IsEmpty, Value::Texts(set)) => Bool::IsEmpty(set).into(),
        (UnaryOp::IsEmpty, Value::Set(items)) if !items.iter().any(Value::may_fail) => {
            Bool::Known(items.is_empty()).into()
        }
        _ => Value::Unknown,
    }
}

pub(super) fn equal(left: Value, right: Value) -> Bool {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Bool::alike(left, right),
        (Value::Long(left), Value::Long(right)) => Bool::compare(Comparison::Equal, left, right),
        (Value::Text(left), Value::Text(right)) => Bool::same(left, right),
        (Value::Entity(left), Value::Entity(right)) => left.same_as(right),
        _ => Bool::Unknown,
    }
}

pub(super) fn compare(comparison: Comparison, left: Value, right: Value) -> Value {
    match (left, right) {
        (Value::Long(left), Value::Long(right)) => Bool::compare(comparison, left, right).into(),
        _ => Value::Unknown,
    }
}

pub(super) fn arithmetic(operation: Operation, left: Value, right: Value) -> Value {
    match (left, right) {
        (Value::Long(Long::Known(left)), Value::Long(Long::Known(right))) => {
            operation.result(left, right).map_or(Value::Unknown, |value| Value::Long(Long::Known(value)))
        }
        (Value::Long(left), Value::Long(right)) => Value::Long(Long::Arithmetic(operation, Box::new([left, right]))),
        _ => Value::Unknown,
    }
}

pub(super) fn contains(op: BinaryOp, set: Value, other: Value) -> Bool {
    match (op, set, other) {
        (_, set, other) if set.may_fail() || other.may_fail() => Bool::Unknown,
        (BinaryOp::Contains, set, item) => holds(&set, &item),
        (BinaryOp::ContainsAll, Value::Set(set), Value::Texts(items)) => within(items, &set),
        (BinaryOp::ContainsAll, set, Value::Set(items)) => Bool::all(items.iter().map(|item| holds(&set, item))),
        (BinaryOp::ContainsAny, set, Value::Set(items)) | (BinaryOp::ContainsAny, Value::Set(items), set) => {
            Bool::any(items.iter().map(|item| holds(&set, item)))
        }
        _ => Bool::Unknown,
    }
}

/// Whether `item`, which cannot fail, is in `set`, which cannot either.
fn holds(set: &Value, item: &Value) -> Bool {
    match (set, item) {
        (Value::Set(set), item) => Bool::any(set.iter().map(|own| equal(item.clone(), own.clone()))),
        (Value::Texts(set), Value::Text(text)) => Bool::Holds(*set, text.clone()),
        _ => Bool::Unknown,
    }
}

/// Whether all of `items` are in `set`, where that is of known texts.
fn within(items: Texts, set: &[Value]) -> Bool {
    let known = |value: &Value| match value {
        Value::Text(Text::Known(text)) => Some(text.clone()),
        _ => None,
    };
    let values: Option<Vec<_>> = set.iter().map(known).collect();
    values.map_or(Bool::Unknown, |values| Bool::Within(items, sorted(values.into_iter())))
}

pub(super) fn tag(op: BinaryOp, of: Value, name: Value) -> Value {
    match (op, of, name) {
        (BinaryOp::HasTag, Value::Entity(Entity { role: Role::Resource, .. }), Value::Text(name)) => {
            Bool::HasTag(name).into()
        }
        (BinaryOp::GetTag, Value::Entity(Entity { role: Role::Resource, .. }), Value::Text(name)) => {
            Value::Text(Text::Tag(Box::new(name)))
        }
        _ => Value::Unknown,
    }
}

pub(super) fn choose(condition: Bool, then: Value, otherwise: Value) -> Value {
    match (condition, then, otherwise) {
        (Bool::Known(true), then, _) => then,
        (Bool::Known(false), _, otherwise) => otherwise,
        (condition, Value::Bool(then), Value::Bool(otherwise)) => Bool::choose(condition, then, otherwise).into(),
        (condition, Value::Long(then), Value::Long(otherwise)) => {
            Value::Long(Long::If(Box::new(Choice { condition, then, otherwise })))
        }
        (condition, Value::Text(then), Value::Text(otherwise)) => {
            Value::Text(Text::If(Box::new(Choice { condition, then, otherwise })))
        }
        (condition, Value::Entity(then), Value::Entity(otherwise)) if then.kind == otherwise.kind => {
            let id = Text::If(Box::new(Choice { condition, then: then.id, otherwise: otherwise.id }));
            Value::Entity(Entity { kind: then.kind, id, role: Role::Other })
        }
        _ => Value::Unknown,
    }
}
