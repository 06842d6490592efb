//! Real branches of a real git repository, reviewed: three that must not be merged, and one that changes nothing.

use std::path::Path;

use policy_as_code_cedar::Solver;

use super::*;
use crate::testing::{commit, git, solver};

/// A git repository that holds the shipped policies on `main`.
fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "--quiet", "--initial-branch", "main"]);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
    for part in ["governance", "invariants", "playbooks", "policies", "schema", "tests"] {
        let copied = std::process::Command::new("cp").arg("-r").arg(shipped.join(part)).arg(folder.path()).status();
        assert!(copied.unwrap().success());
    }
    git(folder.path(), &["add", "."]);
    git(folder.path(), &["commit", "--quiet", "--message", "As shipped"]);
    folder
}

/// A branch of its own on which `path` has `from` replaced by `to`.
fn branch(root: &Path, name: &str, path: &str, from: &str, to: &str) {
    git(root, &["checkout", "--quiet", "-b", name, "main"]);
    let text = std::fs::read_to_string(root.join(path)).unwrap();
    assert!(text.contains(from), "`{path}` has no `{from}`");
    commit(root, path, &text.replacen(from, to, 1));
}

fn reviewed(root: &Path, head: &str, solver: &Solver) -> Review {
    let at = |version| Repository::at(root, version).unwrap();
    let change = Change { base_name: "main", head_name: head, base: &at("main"), head: &at(head) };
    Review::of(&change, solver, None, NonZeroUsize::new(2).unwrap())
}

const GUARDS: &str = "policies/30-guardrails.cedar";
const HOT_FIX: &str = r#"// Ransomware is spreading, see the incident channel.
@id("hotfix.ransomware")
permit (
  principal is Ringfence::Release,
  action in Ringfence::Action::"contain",
  resource
)
when { context.tier == Ringfence::Tier::"automated" && context.score_bp >= 9900 };
"#;
const BY_TAG: &str = r#"||
   (resource.hasTag("business_critical") &&
    resource.getTag("business_critical") == "true"))"#;

#[test]
fn what_must_not_be_merged_is_caught_with_a_request_that_shows_it_and_the_line_to_blame() {
    let Some(solver) = solver() else { return };
    let folder = repository();
    let root = folder.path();
    git(root, &["checkout", "--quiet", "-b", "hot-fix", "main"]);
    commit(root, "policies/90-hotfix.cedar", HOT_FIX);
    branch(root, "weaker-guard", GUARDS, BY_TAG, ")");
    branch(root, "wider-radius", GUARDS, "context.blast_radius > 20", "context.blast_radius > 200");
    for (head, broken, blamed) in [
        ("hot-fix", "never.unsure", "`hotfix.ransomware`, `policies/90-hotfix.cedar` line 2"),
        (
            "weaker-guard",
            "never.isolate-business-critical",
            "`guard.business-critical`, `policies/30-guardrails.cedar` line ",
        ),
        ("wider-radius", "never.blast-radius", "`guard.blast-radius`, `policies/30-guardrails.cedar` line "),
    ] {
        let review = reviewed(root, head, &solver);
        let comment = review.to_string();
        assert!(comment.starts_with("## ❌ Do not merge"), "{comment}");
        assert_eq!(review.objections().iter().filter(|said| said.contains(broken)).count(), 1, "{comment}");
        let shown = comment.split(&format!("<code>{broken}</code>")).nth(1).unwrap();
        let example = shown.split("</details>").next().unwrap();
        assert!(example.contains(blamed), "{comment}");
    }
}

#[test]
fn a_change_of_form_is_proven_equivalent_and_nothing_speaks_against_it() {
    let Some(solver) = solver() else { return };
    let folder = repository();
    let root = folder.path();
    let (from, to) = ("!context.reversible", "!(context.reversible && context.score_bp >= 0)");
    branch(root, "refactor", GUARDS, from, to);
    let review = reviewed(root, "refactor", &solver);
    let comment = review.to_string();
    assert_eq!((review.objections(), review.approvers.len()), (Vec::new(), 0), "{comment}");
    assert!(comment.starts_with("## ✅") && comment.contains("**Proven equivalent**"), "{comment}");
    assert_eq!(review.changed, [GUARDS]);
}

#[test]
fn what_is_not_compared_and_invariants_that_change_are_named_first() {
    let Some(solver) = solver() else { return };
    let folder = repository();
    let root = folder.path();
    branch(root, "lax", "playbooks/contain-account.json", "Contains a database account", "Contains an account");
    let idle = "@id(\"idle\")\nforbid (principal, action in Ringfence::Action::\"contain\", \
                resource)\n  when { context.tier == \
                Ringfence::Tier::\"automated\" && context.blast_radius > 30 && context.kill_switch };\n";
    commit(root, "policies/40-idle.cedar", idle);
    git(root, &["rm", "--quiet", "invariants/never/irreversible.cedar"]);
    git(root, &["commit", "--quiet", "--message", "Drop an invariant"]);
    let review = reviewed(root, "lax", &solver);
    let comment = review.to_string();
    let before = comment.split("**Proven equivalent**").next().unwrap();
    assert!(before.contains("⚠️ `playbooks/contain-account.json` is compared by nothing here"), "{comment}");
    assert!(
        before.contains("⚠️ `invariants/never/irreversible.cedar`: what has to hold is itself changed"),
        "{comment}"
    );
    assert_eq!(review.approvers, BTreeSet::from(["incident-response".to_owned()]));
    let form = "### Form\n\n- ⚠️ `idle`, `policies/40-idle.cedar` line 1: every request is answered the same without it\n\
                - ⚠️ `policies/40-idle.cedar` is not laid out";
    assert!(comment.contains(form), "{comment}");
}

#[test]
fn a_version_that_does_not_load_is_reviewed_as_such() {
    let Some(solver) = solver() else { return };
    let folder = repository();
    let root = folder.path();
    branch(root, "typo", GUARDS, "context.kill_switch", "context.kill_swich");
    let comment = reviewed(root, "typo", &solver).to_string();
    assert!(comment.starts_with("## ❌ Do not merge"), "{comment}");
    assert!(comment.contains("`policy-invalid`") && comment.contains("kill_swich"), "{comment}");
}

#[test]
fn the_owners_of_a_touched_invariant_have_to_approve() {
    let (base, head) =
        (crate::testing::shipped(), crate::testing::changed(&[("invariants/never/irreversible.cedar", "")]));
    assert_eq!(approvers(&base, &head), BTreeSet::from(["incident-response".to_owned()]));
    assert_eq!(approvers(&base, &base), BTreeSet::new());
}

#[test]
fn text_of_a_change_cannot_write_the_comment() {
    assert_eq!(markdown::line("a | [x](y) <b> @all\nz"), "a \\| \\[x\\](y) &lt;b> &#64;all z");
    assert_eq!(markdown::code("a` | <b>"), "a  b");
}
