//! Random requests and random policies, of few different values, so that they often meet and often stand at a limit.

use proptest::prelude::*;
use proptest::sample::select;
use shared::asset::{Asset, Criticality};
use shared::decision::{ContainmentAction, DecisionContext, DecisionRequest, Requester};
use shared::{AssetId, ReleaseId};

const NAMES: [&str; 5] = ["a", "b", "db-1", "fraud-7", "x.y"];
const TEXTS: [&str; 7] = ["", "a", "b", "production", "true", "Ada \\\"the\\\" \u{e9}", "a*b"];
const PATTERNS: [&str; 7] = ["*", "a", "*a*", "prod*", "*n", "\\*", "a*b*"];
const TAGS: [&str; 4] = ["business_critical", "site", "a", "\u{e9} x"];
const NUMBERS: [i64; 14] = [i64::MIN, -1, 0, 1, 2, 3, 5, 30, 300, 9_000, 10_000, i64::MAX / 2, i64::MAX - 1, i64::MAX];
const LONGS: [&str; 13] = [
    "score_bp",
    "false_positive_rate_bp",
    "false_positive_rate_high_bp",
    "blast_radius",
    "service_blast_radius",
    "site_blast_radius",
    "healthy_peers",
    "active_containments",
    "class_containments",
    "recent_actions",
    "playbook_step",
    "monitored_s",
    "approvals",
];

type Text = BoxedStrategy<String>;

fn one_of(texts: &'static [&'static str]) -> Text {
    select(texts).prop_map(str::to_owned).boxed()
}

/// A text as a request holds it: without the escapes of a policy.
fn plain() -> Text {
    one_of(&TEXTS).prop_map(|text| text.replace('\\', "")).boxed()
}

/// Numbers at the limits, or of the size that policies ask for.
fn number() -> BoxedStrategy<i64> {
    prop_oneof![3 => select(&NUMBERS[..]), 2 => 0..12_000_i64, 1 => any::<i64>()].boxed()
}

fn requester() -> impl Strategy<Value = Requester> {
    let release =
        (select(&NAMES[..]), any::<bool>(), any::<bool>(), number()).prop_map(|(name, signed, validated, age_days)| {
            let release_id = ReleaseId::new(name).unwrap();
            Requester::Release { release_id, signed, validated, age_days }
        });
    let responder = (plain(), any::<bool>()).prop_map(|(name, on_call)| Requester::Responder { name, on_call });
    prop_oneof![release, responder]
}

fn asset() -> impl Strategy<Value = Asset> {
    let criticality = select(&[Criticality::Standard, Criticality::Important, Criticality::BusinessCritical][..]);
    let tags = prop::collection::btree_map(one_of(&TAGS), plain(), 0..4);
    (select(&NAMES[..]), criticality, plain(), plain(), tags).prop_map(
        |(name, criticality, environment, owner, tags)| {
            let asset_id = AssetId::new(name).unwrap();
            Asset { asset_id, criticality, environment, owner, tags }
        },
    )
}

fn context() -> impl Strategy<Value = DecisionContext> {
    let reasons = prop::collection::btree_set(plain(), 0..4);
    let flags = prop::array::uniform3(any::<bool>());
    (prop::array::uniform13(number()), flags, reasons).prop_map(|(numbers, flags, reasons)| {
        let [score_bp, false_positive_rate_bp, false_positive_rate_high_bp, blast_radius, rest @ ..] = numbers;
        let [service_blast_radius, site_blast_radius, healthy_peers, active_containments, rest @ ..] = rest;
        let [class_containments, recent_actions, playbook_step, monitored_s, approvals] = rest;
        let [reversible, maintenance_window, kill_switch] = flags;
        DecisionContext {
            score_bp,
            false_positive_rate_bp,
            false_positive_rate_high_bp,
            reasons,
            blast_radius,
            service_blast_radius,
            site_blast_radius,
            healthy_peers,
            active_containments,
            class_containments,
            recent_actions,
            playbook_step,
            monitored_s,
            reversible,
            maintenance_window,
            kill_switch,
            approvals,
        }
    })
}

pub(super) fn request() -> impl Strategy<Value = DecisionRequest> {
    let action = select(&ContainmentAction::ALL[..]);
    (requester(), action, asset(), context()).prop_map(|(requester, action, asset, context)| DecisionRequest {
        requester,
        action,
        asset,
        context,
    })
}

/// The policies of a set, with ids in another order than they stand in.
pub(super) fn policies() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(policy(), 1..7).prop_map(|policies| {
        let name = |(number, policy)| format!("@id(\"p{}\") {policy}", (number * 5) % 7);
        policies.into_iter().enumerate().map(name).collect()
    })
}

fn policy() -> Text {
    let who = select(&[Who::Anybody, Who::Release, Who::Responder][..]);
    let scope = who.prop_flat_map(|who| {
        let clause =
            (one_of(&["when", "unless"]), truth(3, who)).prop_map(|(word, truth)| format!("{word} {{ {truth} }}"));
        let clauses = prop::collection::vec(clause, 0..3).prop_map(|clauses| clauses.join(" "));
        (principal_scope(who), action_scope(), resource_scope(), clauses)
    });
    (one_of(&["permit", "forbid"]), scope)
        .prop_map(|(effect, (principal, action, resource, clauses))| {
            format!("{effect}({principal}, {action}, {resource}) {clauses};")
        })
        .boxed()
}

/// Of whom a policy speaks: that decides which attributes it may read.
#[derive(Debug, Clone, Copy)]
enum Who {
    Anybody,
    Release,
    Responder,
}

fn principal_scope(who: Who) -> Text {
    match who {
        Who::Anybody => Just("principal".to_owned()).boxed(),
        Who::Release => prop_oneof![
            4 => Just("principal is Ringfence::Release".to_owned()),
            1 => select(&NAMES[..]).prop_map(|name| format!("principal == Ringfence::Release::\"{name}\"")),
        ]
        .boxed(),
        Who::Responder => prop_oneof![
            4 => Just("principal is Ringfence::Responder".to_owned()),
            1 => one_of(&TEXTS).prop_map(|name| format!("principal in Ringfence::Responder::\"{name}\"")),
        ]
        .boxed(),
    }
}

fn action() -> Text {
    let names = select(&ContainmentAction::ALL[..]).prop_map(|action| action.as_str());
    prop_oneof![4 => names, 1 => Just("contain")].prop_map(|name| format!("Ringfence::Action::\"{name}\"")).boxed()
}

fn action_scope() -> Text {
    prop_oneof![
        3 => Just("action".to_owned()),
        1 => action().prop_map(|action| format!("action in {action}")),
        1 => (action(), action()).prop_map(|(one, other)| format!("action in [{one}, {other}]")),
    ]
    .boxed()
}

fn resource_scope() -> Text {
    prop_oneof![
        4 => Just("resource".to_owned()),
        1 => Just("resource is Ringfence::Asset".to_owned()),
        1 => asset_uid().prop_map(|uid| format!("resource == {uid}")),
        1 => asset_uid().prop_map(|uid| format!("resource is Ringfence::Asset in {uid}")),
    ]
    .boxed()
}

fn asset_uid() -> Text {
    select(&NAMES[..]).prop_map(|name| format!("Ringfence::Asset::\"{name}\"")).boxed()
}

fn tier() -> Text {
    one_of(&["automated", "assisted", "alert_only"]).prop_map(|tier| format!("Ringfence::Tier::\"{tier}\"")).boxed()
}

fn criticality() -> Text {
    let names = one_of(&["standard", "important", "business_critical"]);
    names.prop_map(|name| format!("Ringfence::Criticality::\"{name}\"")).boxed()
}

/// An expression of type Long.
fn long(depth: u32, who: Who) -> Text {
    let mut leaves = vec![
        number().prop_map(|number| format!("({number})")).boxed(),
        one_of(&LONGS).prop_map(|name| format!("context.{name}")).boxed(),
    ];
    if matches!(who, Who::Release) {
        leaves.push(Just("principal.age_days".to_owned()).boxed());
    }
    let leaf = proptest::strategy::Union::new(leaves).boxed();
    let Some(depth) = depth.checked_sub(1) else {
        return leaf;
    };
    let inner = move || long(depth, who);
    prop_oneof![
        6 => leaf,
        1 => (inner(), one_of(&["+", "-", "*"]), inner()).prop_map(|(one, op, other)| format!("({one} {op} {other})")),
        1 => inner().prop_map(|one| format!("(-{one})")),
        1 => (truth(depth, who), inner(), inner()).prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")),
    ]
    .boxed()
}

/// An expression of type String.
fn text(depth: u32, who: Who) -> Text {
    let leaf = prop_oneof![
        2 => one_of(&TEXTS).prop_map(|text| format!("\"{text}\"")),
        3 => one_of(&["resource.owner", "resource.environment"]),
    ];
    let Some(depth) = depth.checked_sub(1) else {
        return leaf.boxed();
    };
    let inner = move || text(depth, who);
    prop_oneof![
        6 => leaf,
        1 => (truth(depth, who), inner(), inner()).prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")),
        1 => (one_of(&TAGS), inner()).prop_map(|(tag, other)| {
            format!("(if resource.hasTag(\"{tag}\") then resource.getTag(\"{tag}\") else {other})")
        }),
    ]
    .boxed()
}

/// An expression of type Bool.
fn truth(depth: u32, who: Who) -> Text {
    let leaf = proptest::strategy::Union::new(leaves(who)).boxed();
    let Some(depth) = depth.checked_sub(1) else {
        return leaf;
    };
    let inner = move || truth(depth, who);
    let long = move || long(depth, who);
    let text = move || text(depth, who);
    let nested = vec![
        (long(), one_of(&["<", "<=", ">", ">=", "==", "!="]), long())
            .prop_map(|(one, op, other)| format!("({one} {op} {other})"))
            .boxed(),
        (text(), one_of(&["==", "!="]), text()).prop_map(|(one, op, other)| format!("({one} {op} {other})")).boxed(),
        (text(), one_of(&PATTERNS)).prop_map(|(text, pattern)| format!("({text} like \"{pattern}\")")).boxed(),
        (inner(), one_of(&["&&", "||", "=="]), inner()).prop_map(|(a, op, b)| format!("({a} {op} {b})")).boxed(),
        (inner(), one_of(&["&&", "||"]), inner()).prop_map(|(a, op, b)| format!("({a} {op} {b})")).boxed(),
        inner().prop_map(|inner| format!("(!{inner})")).boxed(),
        (inner(), inner(), inner()).prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")).boxed(),
        (text(), text(), text()).prop_map(|(a, b, c)| format!("[{a}, {b}].contains({c})")).boxed(),
        (long(), long(), long()).prop_map(|(a, b, c)| format!("[{a}, {b}].contains({c})")).boxed(),
        (text(), text(), text(), one_of(&["All", "Any"]))
            .prop_map(|(a, b, c, kind)| format!("[{a}, {b}].contains{kind}([{c}, \"a\"])"))
            .boxed(),
        text().prop_map(|text| format!("context.reasons.contains({text})")).boxed(),
        (one_of(&["All", "Any"]), text(), text())
            .prop_map(|(kind, one, other)| format!("context.reasons.contains{kind}([{one}, {other}])"))
            .boxed(),
        (one_of(&["All", "Any"]), one_of(&TEXTS), text())
            .prop_map(|(kind, one, other)| format!("[\"{one}\", \"a\", {other}].contains{kind}(context.reasons)"))
            .boxed(),
        text().prop_map(|tag| format!("(resource.hasTag({tag}) && resource.getTag({tag}) like \"*e\")")).boxed(),
    ];
    prop_oneof![1 => leaf, 3 => proptest::strategy::Union::new(nested)].boxed()
}

fn leaves(who: Who) -> Vec<Text> {
    let mut leaves = vec![
        one_of(&["context.reversible", "context.maintenance_window", "context.kill_switch", "true", "false"]),
        one_of(&["[\"a\", \"b\", \"true\"].containsAll(context.reasons)", "context.reasons.isEmpty()"]),
        one_of(&["[1, 2].isEmpty()", "(context has tier)", "(context has colour)", "(resource has owner)"]),
        one_of(&[
            "decimal(\"1.5\").lessThan(decimal(\"2.0\"))",
            "({ a: context.approvals }.a > 1)",
            "([\"a\"] == context.reasons)",
            "(principal is Ringfence::Release)",
            "(principal has age_days && principal.age_days > 3)",
            "(principal is Ringfence::Responder && principal.on_call)",
            "(principal has signed)",
            "(Ringfence::Asset::\"a\".owner == \"a\")",
        ]),
        (one_of(&["==", "!="]), tier()).prop_map(|(op, tier)| format!("(context.tier {op} {tier})")).boxed(),
        (tier(), tier()).prop_map(|(one, other)| format!("(context.tier in [{one}, {other}])")).boxed(),
        criticality().prop_map(|criticality| format!("(resource.criticality == {criticality})")).boxed(),
        (criticality(), criticality())
            .prop_map(|(one, other)| format!("[{one}, {other}].contains(resource.criticality)"))
            .boxed(),
        asset_uid().prop_map(|uid| format!("(resource == {uid})")).boxed(),
        (asset_uid(), asset_uid()).prop_map(|(one, other)| format!("(resource in [{one}, {other}])")).boxed(),
        (one_of(&["==", "in"]), action()).prop_map(|(op, action)| format!("(action {op} {action})")).boxed(),
        one_of(&TAGS).prop_map(|tag| format!("resource.hasTag(\"{tag}\")")).boxed(),
        (one_of(&TAGS), one_of(&TEXTS))
            .prop_map(|(tag, text)| format!("(resource.hasTag(\"{tag}\") && resource.getTag(\"{tag}\") == \"{text}\")"))
            .boxed(),
    ];
    match who {
        Who::Anybody => {}
        Who::Release => leaves.push(one_of(&["principal.signed", "principal.validated", "(principal.age_days > 30)"])),
        Who::Responder => leaves.push(one_of(&["principal.on_call", "(principal has on_call)"])),
    }
    leaves
}
