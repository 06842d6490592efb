//! Typed expressions over a decision request: what is left of a policy where requester, action and tier are known.
//!
//! A value of `None` means that only Cedar can tell: an overflow, or a form that is not compiled. It never passes for
//! `false`. Nothing here allocates while a request is answered.

use std::collections::BTreeSet;

use shared::decision::DecisionRequest;

use super::pattern::Pattern;

/// A Boolean.
#[derive(Clone, PartialEq)]
pub(super) enum Bool {
    Known(bool),
    /// Only Cedar can tell.
    Unknown,
    Attribute(Attribute<fn(&DecisionRequest) -> Option<bool>>),
    Not(Box<Bool>),
    /// Evaluated in turn up to the first that is false.
    All(Vec<Bool>),
    /// Evaluated in turn up to the first that is true.
    Any(Vec<Bool>),
    If(Box<Choice<Bool>>),
    Alike(Box<[Bool; 2]>),
    Compare(Comparison, Long, Long),
    Same(Text, Text),
    Is(Text, Box<str>),
    /// The text is one of these, which are sorted.
    OneOf(Text, Vec<Box<str>>),
    Like(Text, Box<Pattern>),
    HasTag(Text),
    /// The set holds the text.
    Holds(Texts, Text),
    /// The set holds nothing but these, which are sorted.
    Within(Texts, Vec<Box<str>>),
    IsEmpty(Texts),
}

/// A set of strings.
pub(super) type Texts = Attribute<fn(&DecisionRequest) -> Option<&BTreeSet<String>>>;

/// How integers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Less,
    AtMost,
}

/// An integer.
#[derive(Clone, PartialEq)]
pub(super) enum Long {
    Known(i64),
    Attribute(Attribute<fn(&DecisionRequest) -> Option<i64>>),
    Arithmetic(Operation, Box<[Long; 2]>),
    If(Box<Choice<Long>>),
}

/// Arithmetic, without a value on overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
}

/// A string, or the id of an entity.
#[derive(Clone, PartialEq)]
pub(super) enum Text {
    Known(Box<str>),
    Attribute(Attribute<fn(&DecisionRequest) -> Option<&str>>),
    /// The value of this tag of the asset.
    Tag(Box<Text>),
    If(Box<Choice<Text>>),
}

/// One of two values.
#[derive(Clone, PartialEq)]
pub(super) struct Choice<T> {
    pub(super) condition: Bool,
    pub(super) then: T,
    pub(super) otherwise: T,
}

/// What is read from the request. Its name says all: those of one name are the same.
#[derive(Clone, Copy)]
pub(super) struct Attribute<F> {
    pub(super) name: Name,
    pub(super) read: F,
}

/// Whose attribute, and its place in that table; `None` for the id.
pub(super) type Name = (Owner, Option<u8>);

/// Who has attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Release,
    Responder,
    Asset,
    Context,
}

impl<T> Choice<T> {
    fn made(&self, request: &DecisionRequest) -> Option<&T> {
        Some(if self.condition.value(request)? { &self.then } else { &self.otherwise })
    }

    fn may_fail(&self, value: fn(&T) -> bool) -> bool {
        self.condition.may_fail() || value(&self.then) || value(&self.otherwise)
    }
}

impl<F> PartialEq for Attribute<F> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Bool {
    /// Its value for `request`.
    pub(super) fn value(&self, request: &DecisionRequest) -> Option<bool> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Unknown => None,
            Self::Attribute(attribute) => (attribute.read)(request),
            Self::Not(inner) => Some(!inner.value(request)?),
            Self::All(parts) => meets(parts, false, request).map(|met| !met),
            Self::Any(parts) => meets(parts, true, request),
            Self::If(choice) => choice.made(request)?.value(request),
            Self::Alike(sides) => {
                let [left, right] = &**sides;
                Some(left.value(request)? == right.value(request)?)
            }
            Self::Compare(comparison, left, right) => {
                Some(comparison.holds(left.value(request)?, right.value(request)?))
            }
            Self::Same(left, right) => Some(left.value(request)? == right.value(request)?),
            Self::Is(text, value) => Some(text.value(request)? == &**value),
            Self::OneOf(text, values) => Some(is_among(text.value(request)?, values)),
            Self::Like(text, pattern) => Some(pattern.matches(text.value(request)?)),
            Self::HasTag(text) => Some(request.asset.tags.contains_key(text.value(request)?)),
            Self::Holds(set, text) => Some((set.read)(request)?.contains(text.value(request)?)),
            Self::Within(set, values) => Some((set.read)(request)?.iter().all(|text| is_among(text, values))),
            Self::IsEmpty(set) => Some((set.read)(request)?.is_empty()),
        }
    }

    /// Whether evaluating it may end without a value. Reading an attribute or a tag never does in a policy that is
    /// strictly valid: Cedar's validator has proven that it is there.
    pub(super) fn may_fail(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Known(_) | Self::Attribute(_) | Self::Within(..) | Self::IsEmpty(_) => false,
            Self::Not(inner) => inner.may_fail(),
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::may_fail),
            Self::If(choice) => choice.may_fail(Self::may_fail),
            Self::Alike(sides) => sides.iter().any(Self::may_fail),
            Self::Compare(_, left, right) => left.may_fail() || right.may_fail(),
            Self::Same(left, right) => left.may_fail() || right.may_fail(),
            Self::Is(text, _) | Self::OneOf(text, _) | Self::Like(text, _) => text.may_fail(),
            Self::HasTag(text) | Self::Holds(_, text) => text.may_fail(),
        }
    }

    /// The conjuncts, in the order in which they are evaluated.
    pub(super) fn into_conjuncts(self) -> Vec<Self> {
        match self {
            Self::All(parts) => parts,
            Self::Known(true) => Vec::new(),
            other => vec![other],
        }
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::Known(value) => Self::Known(!value),
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// All of `parts`, as `&&` in a row.
    pub(super) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let flat = parts.into_iter().flat_map(Self::into_conjuncts);
        until(false, flat, Self::All)
    }

    /// Any of `parts`, as `||` in a row.
    pub(super) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let flat = parts.into_iter().flat_map(|part| match part {
            Self::Any(parts) => parts,
            other => vec![other],
        });
        until(true, flat, Self::Any)
    }

    pub(super) fn choose(condition: Self, then: Self, otherwise: Self) -> Self {
        match condition {
            Self::Known(true) => then,
            Self::Known(false) => otherwise,
            condition => Self::If(Box::new(Choice { condition, then, otherwise })),
        }
    }

    pub(super) fn alike(left: Self, right: Self) -> Self {
        match (left, right) {
            (Self::Known(true), other) | (other, Self::Known(true)) => other,
            (Self::Known(false), other) | (other, Self::Known(false)) => other.not(),
            (left, right) => Self::Alike(Box::new([left, right])),
        }
    }

    pub(super) fn compare(comparison: Comparison, left: Long, right: Long) -> Self {
        match (left, right) {
            (Long::Known(left), Long::Known(right)) => Self::Known(comparison.holds(left, right)),
            (left, right) => Self::Compare(comparison, left, right),
        }
    }

    pub(super) fn same(left: Text, right: Text) -> Self {
        match (left, right) {
            (Text::Known(left), Text::Known(right)) => Self::Known(left == right),
            (Text::Known(known), other) | (other, Text::Known(known)) => Self::Is(other, known),
            (left, right) => Self::Same(left, right),
        }
    }

    pub(super) fn like(text: Text, pattern: Pattern) -> Self {
        match text {
            Text::Known(text) => Self::Known(pattern.matches(&text)),
            text => Self::Like(text, Box::new(pattern)),
        }
    }

    /// Whether evaluating it costs next to nothing, and needs nothing that was tested before, as a tag does.
    pub(super) fn is_cheap(&self) -> bool {
        match self {
            Self::Attribute(_) => true,
            Self::Not(inner) => inner.is_cheap(),
            Self::Compare(_, left, right) => left.is_plain() && right.is_plain(),
            _ => false,
        }
    }

    /// The text that it compares, and with what, where that is all that it does.
    pub(super) fn demand(&self) -> Option<(&Text, &[Box<str>])> {
        match self {
            Self::Is(text, value) => Some((text, std::slice::from_ref(value))),
            Self::OneOf(text, values) => Some((text, values)),
            _ => None,
        }
    }

    /// This or `other` in one, where both compare the same text: `a == "x" || a == "y"`.
    fn merged(&self, other: &Self) -> Option<Self> {
        let ((text, values), (same, more)) = (self.demand()?, other.demand()?);
        (text == same).then(|| Self::OneOf(text.clone(), sorted(values.iter().chain(more).cloned())))
    }
}

/// `values` in order, each once.
pub(super) fn sorted(values: impl Iterator<Item = Box<str>>) -> Vec<Box<str>> {
    values.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whether one of `parts`, evaluated in turn, has the value `end`.
fn meets(parts: &[Bool], end: bool, request: &DecisionRequest) -> Option<bool> {
    for part in parts {
        if part.value(request)? == end {
            return Some(true);
        }
    }
    Some(false)
}

/// `parts`, evaluated in turn up to the first that is `end`, without what changes nothing.
fn until(end: bool, parts: impl Iterator<Item = Bool>, wrap: fn(Vec<Bool>) -> Bool) -> Bool {
    let mut kept: Vec<Bool> = Vec::new();
    for part in parts {
        match part {
            Bool::Known(value) if value == end => {
                // What comes before may still fail; what comes after is never reached.
                if !kept.iter().any(Bool::may_fail) {
                    return Bool::Known(end);
                }
                kept.push(part);
                break;
            }
            Bool::Known(_) => {}
            part => match kept.last_mut().filter(|_| end).and_then(|last| Some((last.merged(&part)?, last))) {
                Some((merged, last)) => *last = merged,
                None => kept.push(part),
            },
        }
    }
    match (kept.pop(), kept.is_empty()) {
        (None, _) => Bool::Known(!end),
        (Some(only), true) => only,
        (Some(last), false) => {
            kept.push(last);
            wrap(kept)
        }
    }
}

/// Whether `text` is one of `values`, which are sorted.
fn is_among(text: &str, values: &[Box<str>]) -> bool {
    values.binary_search_by(|value| (**value).cmp(text)).is_ok()
}

impl Comparison {
    fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::AtMost => left <= right,
        }
    }
}

impl Operation {
    pub(super) fn result(self, left: i64, right: i64) -> Option<i64> {
        match self {
            Self::Add => left.checked_add(right),
            Self::Subtract => left.checked_sub(right),
            Self::Multiply => left.checked_mul(right),
        }
    }
}

impl Long {
    fn value(&self, request: &DecisionRequest) -> Option<i64> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Attribute(attribute) => (attribute.read)(request),
            Self::Arithmetic(operation, operands) => {
                let [left, right] = &**operands;
                operation.result(left.value(request)?, right.value(request)?)
            }
            Self::If(choice) => choice.made(request)?.value(request),
        }
    }

    pub(super) fn may_fail(&self) -> bool {
        match self {
            Self::Known(_) | Self::Attribute(_) => false,
            Self::Arithmetic(..) => true,
            Self::If(choice) => choice.may_fail(Self::may_fail),
        }
    }

    fn is_plain(&self) -> bool {
        matches!(self, Self::Known(_) | Self::Attribute(_))
    }
}

impl Text {
    /// Its value for `request`.
    pub(super) fn value<'a>(&'a self, request: &'a DecisionRequest) -> Option<&'a str> {
        match self {
            Self::Known(text) => Some(text),
            Self::Attribute(attribute) => (attribute.read)(request),
            Self::Tag(tag) => request.asset.tags.get(tag.value(request)?).map(String::as_str),
            Self::If(choice) => choice.made(request)?.value(request),
        }
    }

    pub(super) fn may_fail(&self) -> bool {
        match self {
            Self::Known(_) | Self::Attribute(_) => false,
            Self::Tag(tag) => tag.may_fail(),
            Self::If(choice) => choice.may_fail(Self::may_fail),
        }
    }

    /// What of a request it is, where it is an attribute or one certain tag.
    pub(super) fn subject(&self) -> Option<Subject<'_>> {
        match self {
            Self::Attribute(attribute) => Some(Subject::Attribute(attribute.name)),
            Self::Tag(tag) => match &**tag {
                Self::Known(name) => Some(Subject::Tag(name)),
                _ => None,
            },
            Self::Known(_) | Self::If(_) => None,
        }
    }
}

/// What of a request a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject<'a> {
    Attribute(Name),
    Tag(&'a str),
}
