//! The workflow that ships with the policies, run as a runner runs it: its own command, the real program, and branches of
//! a real git repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{binary, say};

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy-as-code")
}

/// The command of the workflow's step `Review`.
fn command() -> String {
    let workflow = std::fs::read_to_string(shipped().join(".github/workflows/policy-review.yml")).unwrap();
    let mut commands = workflow.lines().filter_map(|line| line.trim().strip_prefix("run: "));
    commands.find(|run| run.starts_with("ringfence-policy review ")).unwrap().to_owned()
}

/// A pull request's work tree, and what the workflow makes of it.
struct Checkout(tempfile::TempDir);

impl Checkout {
    /// The shipped repository, all of it on `main`.
    fn new() -> Self {
        let checkout = Self(tempfile::tempdir().unwrap());
        checkout.git(&["init", "--quiet", "--initial-branch", "main"]);
        for part in ["governance", "invariants", "playbooks", "policies", "replay", "schema", "tests"] {
            let copied = Command::new("cp").arg("-r").arg(shipped().join(part)).arg(checkout.0.path()).status();
            assert!(copied.unwrap().success());
        }
        checkout.commit("As shipped");
        checkout
    }

    fn git(&self, arguments: &[&str]) {
        let identity = ["-c", "user.name=Reviewer", "-c", "user.email=reviewer@example.org"];
        let said = say(Command::new("git").arg("-C").arg(self.0.path()).args(identity).args(arguments), b"");
        assert_eq!(said.status, Some(0), "{arguments:?}: {}", said.text);
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    /// Whether the step succeeds on `branch`, which changes the file at `path`, and the comment that it leaves.
    fn reviewed(&self, branch: &str, path: &str, change: impl FnOnce(String) -> String) -> (bool, String) {
        self.git(&["checkout", "--quiet", "-b", branch, "main"]);
        let file = self.0.path().join(path);
        std::fs::write(&file, change(std::fs::read_to_string(&file).unwrap())).unwrap();
        self.commit(branch);
        let programs = binary("ringfence-policy").parent().unwrap().display().to_string();
        let programs = format!("{programs}:{}", std::env::var("PATH").unwrap());
        let mut step = Command::new("bash");
        step.args(["-e", "-o", "pipefail", "-c", &command()]).current_dir(self.0.path());
        step.envs([("PATH", programs.as_str()), ("BASE", "main"), ("HEAD", branch)]);
        step.env("RINGFENCE_POLICY_PROOFS", self.0.path().join(".git/proofs.json"));
        let said = say(&mut step, b"");
        let comment = std::fs::read_to_string(self.0.path().join("review.md")).unwrap();
        std::fs::remove_file(self.0.path().join("review.md")).unwrap();
        assert!(!comment.is_empty(), "{}", said.text);
        (said.status == Some(0), comment)
    }
}

#[test]
fn the_workflow_stops_a_bad_pull_request_and_lets_a_harmless_one_pass() {
    if Command::new("cvc5").arg("--version").output().is_err() {
        return println!("skipped: there is no cvc5 (apt-get install cvc5)");
    }
    let checkout = Checkout::new();
    let guards = "policies/30-guardrails.cedar";
    let wide = |text: String| text.replace("context.blast_radius > 20", "context.blast_radius > 200");
    let (passes, comment) = checkout.reviewed("wider", guards, wide);
    assert!(!passes && comment.starts_with("## ❌ Do not merge: `main` → `wider`"), "{comment}");
    assert!(comment.contains("- ❌ `never.blast-radius` is not proven"), "{comment}");
    assert!(comment.contains("let pass by `guard.blast-radius`, `policies/30-guardrails.cedar` line "), "{comment}");

    let form = |text: String| text.replace("context.healthy_peers < 2", "!(context.healthy_peers >= 2)");
    let (passes, comment) = checkout.reviewed("refactor", guards, form);
    assert!(passes && comment.contains("**Proven equivalent**"), "{comment}");

    let strict = |text: String| text.replace("context.active_containments >= 10", "context.active_containments >= 2");
    let (passes, comment) = checkout.reviewed("stricter", guards, strict);
    assert!(!passes, "a test of the policies fails: {comment}");
    assert!(!comment.contains("- 0 assets lose automation"), "{comment}");
    assert!(comment.contains(" assets lose automation, in "), "recorded decisions are asked again: {comment}");
}
