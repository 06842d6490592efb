//! Careless edits of a condition, in Cedar's JSON policy format.
//!
//! Rewriting only: whether the result still validates is found out elsewhere.

use serde_json::{Value, json};

use super::{Slip, with};

/// How the requests that satisfy something change with an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Satisfied {
    More,
    Fewer,
    Others,
}

/// An edit within an expression or a condition.
pub(super) struct Variation {
    pub(super) slip: Slip,
    pub(super) satisfied: Satisfied,
    /// What was edited.
    pub(super) before: Value,
    /// What stands in its place; `None` where it was dropped.
    pub(super) after: Option<Value>,
    /// The whole, edited; `None` where nothing of it is left.
    pub(super) whole: Option<Value>,
}

/// Comparisons, what a slip makes of each, and how that changes what satisfies it.
const SWAPS: [(&str, &str, Satisfied); 6] = [
    ("<", "<=", Satisfied::More),
    ("<=", "<", Satisfied::Fewer),
    (">", ">=", Satisfied::More),
    (">=", ">", Satisfied::Fewer),
    ("==", "!=", Satisfied::Others),
    ("!=", "==", Satisfied::Others),
];

impl Satisfied {
    fn inverse(self) -> Self {
        match self {
            Self::More => Self::Fewer,
            Self::Fewer => Self::More,
            Self::Others => Self::Others,
        }
    }
}

impl Variation {
    /// The same edit, seen from the expression around it.
    fn within(self, around: impl FnOnce(Value) -> Value) -> Self {
        Self { whole: self.whole.map(around), ..self }
    }

    fn inverted(self) -> Self {
        Self { satisfied: self.satisfied.inverse(), ..self }
    }

    fn undirected(self) -> Self {
        Self { satisfied: Satisfied::Others, ..self }
    }
}

/// The edits of a `when` or `unless` condition; `whole` is the condition.
pub(super) fn edits(condition: &Value) -> Vec<Variation> {
    let Some(body) = condition.get("body") else { return Vec::new() };
    let unless = condition.get("kind").is_some_and(|kind| kind == "unless");
    let mut edits = Vec::new();
    if unless || operands("&&", body).len() == 1 {
        let (slip, satisfied) = (Slip::ConjunctDropped, Satisfied::More);
        edits.push(Variation { slip, satisfied, before: body.clone(), after: None, whole: None });
    }
    let inside = variations(body).into_iter().map(|variation| variation.within(|body| with(condition, "body", body)));
    edits.extend(inside.map(|variation| if unless { variation.inverted() } else { variation }));
    edits
}

/// The edits of a Boolean expression; `whole` is the expression.
fn variations(expression: &Value) -> Vec<Variation> {
    let Some((operator, content)) = expression.as_object().and_then(|fields| fields.iter().next()) else {
        return Vec::new();
    };
    match operator.as_str() {
        "&&" => chain("&&", expression, Slip::ConjunctDropped, Satisfied::More),
        "||" => chain("||", expression, Slip::DisjunctDropped, Satisfied::Fewer),
        "!" => negation(expression, content.get("arg").unwrap_or(&Value::Null)),
        "if-then-else" => choice(content),
        _ => atom(expression, operator, content),
    }
}

/// `a && b && c` or `a || b || c`, taken as one list.
fn chain(operator: &str, expression: &Value, slip: Slip, satisfied: Satisfied) -> Vec<Variation> {
    let operands = operands(operator, expression);
    let mut all = Vec::new();
    for (index, operand) in operands.iter().enumerate() {
        let replaced = |by: Option<Value>| {
            let mut operands: Vec<Value> = operands.iter().map(|operand| (*operand).clone()).collect();
            operands.splice(index..=index, by);
            operands.into_iter().reduce(|left, right| json!({ operator: { "left": left, "right": right } }))
        };
        all.push(Variation { slip, satisfied, before: (*operand).clone(), after: None, whole: replaced(None) });
        let inside = variations(operand).into_iter();
        all.extend(inside.map(|variation| Variation { whole: replaced(variation.whole), ..variation }));
    }
    all
}

/// What stands between the operators of a chain; the expression itself where it is none.
fn operands<'a>(operator: &str, expression: &'a Value) -> Vec<&'a Value> {
    let sides = expression.get(operator).and_then(|sides| Some((sides.get("left")?, sides.get("right")?)));
    match sides {
        Some((left, right)) => [operands(operator, left), operands(operator, right)].concat(),
        None => vec![expression],
    }
}

fn negation(expression: &Value, argument: &Value) -> Vec<Variation> {
    let removed = Variation {
        slip: Slip::NegationRemoved,
        satisfied: Satisfied::Others,
        before: expression.clone(),
        after: Some(argument.clone()),
        whole: Some(argument.clone()),
    };
    let inside = variations(argument).into_iter();
    // A second `!` is the removal of the first.
    let inside = inside.filter(|variation| variation.whole.as_ref() != Some(expression));
    std::iter::once(removed).chain(inside.map(|variation| variation.inverted().within(not))).collect()
}

fn choice(content: &Value) -> Vec<Variation> {
    let branch = |key: &'static str| {
        let around = move |edited| json!({ "if-then-else": with(content, key, edited) });
        let inside = variations(content.get(key).unwrap_or(&Value::Null)).into_iter();
        inside.map(move |variation| variation.within(around)).collect::<Vec<_>>()
    };
    let condition = branch("if").into_iter().map(Variation::undirected);
    condition.chain(branch("then")).chain(branch("else")).collect()
}

/// An expression that is no combination of others: a comparison or a test.
fn atom(expression: &Value, operator: &str, content: &Value) -> Vec<Variation> {
    let edit = |slip, satisfied, after: Value| {
        let (before, whole) = (expression.clone(), Some(after.clone()));
        Variation { slip, satisfied, before, after: Some(after), whole }
    };
    let swap = SWAPS.iter().find(|(comparison, ..)| *comparison == operator);
    let first = match swap {
        Some((_, other, satisfied)) => edit(Slip::ComparisonSwapped, *satisfied, json!({ *other: content })),
        None => edit(Slip::NegationAdded, Satisfied::Others, not(expression.clone())),
    };
    let numbers = changed_numbers(expression, operator).into_iter();
    let numbers = numbers.map(|(satisfied, after)| edit(Slip::NumberChanged, satisfied, after));
    std::iter::once(first).chain(numbers).collect()
}

fn not(expression: Value) -> Value {
    json!({ "!": { "arg": expression } })
}

/// The expression with each of its integers one more, one less and ten times as much. Where one more or one less is what
/// the swap of the comparison does already (`a < 2` and `a <= 1`), it is left out.
fn changed_numbers(expression: &Value, operator: &str) -> Vec<(Satisfied, Value)> {
    let mut integers = Vec::new();
    find_integers(expression, String::new(), &mut integers);
    let mut changed = Vec::new();
    for (pointer, number) in integers {
        let neighbours =
            [number.checked_add(1), number.checked_sub(1)].into_iter().flatten().map(|other| (other, true));
        let tenfold = number.checked_mul(10).filter(|tenfold| *tenfold != number).map(|other| (other, false));
        for (other, neighbour) in neighbours.chain(tenfold) {
            let satisfied = moved_threshold(operator, &pointer, other > number);
            if !(neighbour && satisfied != Satisfied::Others && satisfied == swapped(operator)) {
                changed.push((satisfied, replaced(expression, &pointer, other)));
            }
        }
    }
    changed
}

/// Pointers (RFC 6901) to the integers in an expression.
fn find_integers(expression: &Value, pointer: String, found: &mut Vec<(String, i64)>) {
    match expression {
        Value::Object(fields) => {
            let literal = fields.get("Value").and_then(Value::as_i64);
            found.extend(literal.map(|number| (format!("{pointer}/Value"), number)));
            for (key, inner) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                find_integers(inner, format!("{pointer}/{key}"), found);
            }
        }
        Value::Array(elements) => {
            for (index, inner) in elements.iter().enumerate() {
                find_integers(inner, format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
}

fn replaced(expression: &Value, pointer: &str, number: i64) -> Value {
    let mut edited = expression.clone();
    if let Some(literal) = edited.pointer_mut(pointer) {
        *literal = json!(number);
    }
    edited
}

fn swapped(operator: &str) -> Satisfied {
    let swap = SWAPS.iter().find(|(comparison, ..)| *comparison == operator);
    swap.map_or(Satisfied::Others, |(.., satisfied)| *satisfied)
}

/// What a comparison with a number is satisfied by when that number goes up or down.
fn moved_threshold(operator: &str, pointer: &str, up: bool) -> Satisfied {
    let upper_bound = match operator {
        "<" | "<=" => true,
        ">" | ">=" => false,
        _ => return Satisfied::Others,
    };
    let on_the_right = match pointer.strip_prefix('/').and_then(|pointer| pointer.strip_prefix(operator)) {
        Some("/right/Value") => true,
        Some("/left/Value") => false,
        _ => return Satisfied::Others,
    };
    let wider = upper_bound == on_the_right;
    if wider == up { Satisfied::More } else { Satisfied::Fewer }
}
