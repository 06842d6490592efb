//! A reduced set errs on the side that it says, and on no other.

use super::*;

fn set(text: &str) -> PolicySet {
    text.parse().unwrap()
}

/// The policies of the reduced set, as text, each in one line.
fn texts(policies: &str, stakes: &[&str], side: Side) -> Vec<String> {
    let stakes = stakes.iter().map(|stake| (*stake).to_owned()).collect();
    let reduced = reduced(&set(policies), &stakes, side).unwrap();
    let mut texts: Vec<String> = reduced.policies().map(ToString::to_string).collect();
    texts.iter_mut().for_each(|text| *text = text.split_whitespace().collect::<Vec<_>>().join(" "));
    texts.sort();
    texts
}

const POLICIES: &str = r#"
    @id("a") permit (principal, action, resource) when { context.tier == "x" && context.score > 7 && context.rate < 3 };
    @id("b") permit (principal, action, resource) when { context.tier == "x" && context.score > 9 && context.rate < 3 };
    @id("c") forbid (principal, action, resource) when { context.rate > 1 };
    @id("d") forbid (principal, action, resource) when { context.rate > 1 && context.score < 2 };
"#;

#[test]
fn what_allows_is_widened_and_what_refuses_is_kept_whole_or_not_at_all() {
    let more = texts(POLICIES, &["rate"], Side::More);
    assert_eq!(more.len(), 2, "{more:#?}");
    assert!(more[0].starts_with("forbid") && more[0].contains("rate > 1"), "{more:#?}");
    assert!(more[1].contains("rate < 3") && more[1].contains("tier") && !more[1].contains("score"), "{more:#?}");
    let less = texts(POLICIES, &["rate"], Side::Less);
    assert_eq!(less.len(), 1, "the two forbids demand the same of the rate, and both permits look at the score");
    assert!(less[0].starts_with("forbid"), "{less:#?}");
    assert_eq!(texts(POLICIES, &["rate", "score"], Side::Less).len(), 4);
}

#[test]
fn a_condition_that_must_not_hold_is_left_out_whole() {
    let policies = "permit (principal, action, resource) unless { context.rate > 1 && context.score < 2 };";
    let left_out = texts(policies, &["rate"], Side::More);
    assert!(!left_out[0].contains("score") && !left_out[0].contains("rate"), "{left_out:#?}");
    assert!(left_out[0].contains("false"), "`unless false` always holds: {left_out:#?}");
    assert!(texts(policies, &["rate", "score"], Side::More)[0].contains("rate > 1"));
}

#[test]
fn alternatives_are_one_demand() {
    let policies = "permit (principal, action, resource) when { context.rate > 1 || context.score < 2 };";
    assert!(texts(policies, &["rate"], Side::More)[0].contains("true"));
}

#[test]
fn only_arithmetic_and_extensions_can_fail() {
    let infallible = |condition: &str| {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        is_infallible(&Policy::parse(None, text).unwrap())
    };
    for plain in [
        "context.a > 1 && !(context.b == \"+\") || [1, 2].contains(context.a)",
        "resource.hasTag(\"zone\") && resource.getTag(\"zone\") like \"ip-*\"",
        "if principal is A::B then principal in A::B::\"x\" else context has a",
        "context.set.isEmpty() && context.set.containsAll([1]) && context.set.containsAny([2])",
    ] {
        assert!(infallible(plain), "{plain}");
    }
    for failing in [
        "context.a + 1 > 2",
        "context.a - 1 > 2",
        "context.a * 2 > 2",
        "-context.a > 2",
        "decimal(context.text).lessThan(decimal(\"1.0\"))",
        "ip(context.text).isLoopback()",
        "[context.a + 1].contains(2)",
        "if context.b then context.a + 1 > 2 else true",
    ] {
        assert!(!infallible(failing), "{failing}");
    }
}
