//! A review as one Markdown comment for a pull request.
//!
//! Text from the change itself goes into code, or is escaped: a comment must not be written by what it is about.

use std::fmt;

use policy_as_code_cedar::Violation;
use shared::detection::Tier;

use super::{Finding, Review};
use crate::coverage::Coverage;
use crate::diff::{Direction, EnvironmentDiff, PolicyDiff, TierDiff};
use crate::lint::{Lint, Shadowed};
use crate::mutate::{Mutated, Survivor, told};
use crate::prove::{ClaimReport, Standing};
use crate::replay::{Assets, Replay};

/// How many examples, survivors or assets a part shows.
const SHOWN: usize = 10;

impl fmt::Display for Review {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objections = self.objections();
        let verdict = if objections.is_empty() { "✅ Nothing speaks against merging" } else { "❌ Do not merge" };
        writeln!(f, "## {verdict}: `{}` → `{}`\n", code(&self.base), code(&self.head))?;
        objections.iter().try_for_each(|objection| writeln!(f, "- ❌ {}", line(objection)))?;
        for path in self.invariants() {
            writeln!(f, "- ⚠️ `{}`: what has to hold is itself changed", code(path))?;
        }
        for path in self.unread() {
            writeln!(f, "- ⚠️ `{}` is compared by nothing here: read it", code(path))?;
        }
        writeln!(f, "- {}", self.summary())?;
        self.claims(f)?;
        self.difference(f)?;
        self.replay(f)?;
        self.lint(f)?;
        self.tests(f)?;
        self.approval(f)
    }
}

impl Review {
    /// The change in one sentence.
    fn summary(&self) -> String {
        let known = self.difference.found().filter(|diff| diff.incomparable.is_empty());
        let Some(diff) = known else { return "What changes is **not known**.".to_owned() };
        if diff.equivalent() {
            return "**Proven equivalent**: the policies allow the same requests.".to_owned();
        }
        let count = |direction| diff.environments.iter().filter(|diff| diff.direction == direction).count();
        let (both, widened, narrowed) = (count(Direction::Both), count(Direction::Widened), count(Direction::Narrowed));
        let automated = newly_automated(diff);
        let automated =
            if automated.is_empty() { "nothing".to_owned() } else { format!("`{}`", automated.join("`, `")) };
        format!(
            "Of {} kinds of request {} are widened, {} narrowed, {} not known; newly automated: {automated}.",
            diff.environments.len(),
            widened + both,
            narrowed + both,
            count(Direction::Unknown),
        )
    }

    fn claims(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n### Invariants\n")?;
        let Some(proof) = shown(f, &self.proof)? else { return Ok(()) };
        writeln!(f, "| | invariant | owner | environments |\n|---|---|---|---|")?;
        let mut claims: Vec<&ClaimReport> = proof.claims.iter().collect();
        claims.sort_by_key(|claim| claim.standing == Standing::Proven);
        for ClaimReport { id, standing, owner, findings, .. } in &claims {
            let owner = owner.as_deref().map(line).unwrap_or_default();
            writeln!(f, "| {} | `{}` | {owner} | {} |", mark(*standing), code(id), findings.len())?;
        }
        for claim in &claims {
            violated(f, claim)?;
        }
        writeln!(f, "\n{}", proof.effort)
    }

    fn difference(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n### What changes\n")?;
        let Some(diff) = shown(f, &self.difference)? else { return Ok(()) };
        if diff.schema_changed {
            writeln!(f, "The schema changed: requests changed with it, and nothing is called equivalent.\n")?;
        }
        for reason in &diff.incomparable {
            writeln!(f, "The old policies do not fit the new schema: {}\n", line(reason))?;
        }
        let (same, mut changed): (Vec<_>, Vec<_>) =
            diff.environments.iter().partition(|diff| diff.direction == Direction::Equivalent);
        changed.sort_by_key(|diff| diff.direction);
        if !changed.is_empty() {
            writeln!(f, "| kind of request | | at |\n|---|---|---|")?;
        }
        for diff in &changed {
            writeln!(f, "| {} | {} | {} |", diff.name(), diff.direction, diff.tiers())?;
        }
        changed.iter().take(SHOWN).try_for_each(|diff| examples(f, diff))?;
        writeln!(f, "\n{} kinds of request are proven to be answered as before.", same.len())
    }

    fn replay(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n### Recorded decisions\n")?;
        let Some(replay) = &self.replay else { return writeln!(f, "None were given (`--decisions FILE`).") };
        let Some(replay) = shown(f, replay)? else { return Ok(()) };
        writeln!(f, "{} decisions, before (rows) and after (columns):\n", replay.decisions)?;
        matrix(f, replay)?;
        assets(f, "gain automation", &replay.gain)?;
        assets(f, "lose automation", &replay.lose)?;
        let leases = &replay.leases;
        writeln!(
            f,
            "- {} leases in force, {} of which would not be granted now",
            leases.in_force, leases.refused_by_head
        )?;
        let minutes = replay.host_minutes;
        writeln!(f, "- host-minutes of automated containment: {} lost, about {} gained", minutes.lost, minutes.gained)?;
        match replay.unreproduced.decisions {
            0 => Ok(()),
            unlike => writeln!(f, "- ⚠️ {unlike} decisions are not taken by the version before as they were recorded"),
        }
    }

    /// Nothing where nothing is amiss.
    fn lint(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nothing = |lint: &Lint| lint.unformatted.is_empty() && lint.shadowed.is_empty();
        if self.lint.found().is_some_and(nothing) {
            return Ok(());
        }
        writeln!(f, "\n### Form\n")?;
        let Some(lint) = shown(f, &self.lint)? else { return Ok(()) };
        for Shadowed { id, place } in &lint.shadowed {
            writeln!(
                f,
                "- ⚠️ `{}`, {}: every request is answered the same without it",
                code(id),
                line(&place.to_string())
            )?;
        }
        let told = |path: &String| writeln!(f, "- ⚠️ `{}` is not laid out: `ringfence-policy format`", code(path));
        lint.unformatted.iter().try_for_each(told)
    }

    fn tests(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n### Tests\n")?;
        if let Some(coverage) = shown(f, &self.coverage)? {
            uncovered(f, coverage)?;
        }
        if let Some(mutants) = shown(f, &self.mutants)? {
            survivors(f, mutants)?;
        }
        Ok(())
    }

    fn approval(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n### Who has to approve\n")?;
        if self.approvers.is_empty() {
            writeln!(f, "No invariant is touched: whoever may approve changes to these files.\n")?;
        } else {
            let owners: Vec<String> = self.approvers.iter().map(|owner| format!("`{}`", code(owner))).collect();
            writeln!(f, "The owners of the invariants that change: {}.\n", owners.join(", "))?;
        }
        self.changed.iter().try_for_each(|path| writeln!(f, "- `{}`", code(path)))
    }
}

/// What was found; where nothing was, the reason is written instead.
fn shown<'a, T>(f: &mut fmt::Formatter<'_>, finding: &'a Finding<T>) -> Result<Option<&'a T>, fmt::Error> {
    match finding {
        Finding::Found(found) => Ok(Some(found)),
        Finding::Missing { code: name, error, hint } => {
            writeln!(f, "❌ `{name}`: {}\n\nHint: {hint}", line(error))?;
            Ok(None)
        }
    }
}

fn mark(standing: Standing) -> &'static str {
    match standing {
        Standing::Proven => "✅ proven",
        Standing::Violated => "❌ **violated**",
        Standing::Unknown => "❔ **unknown**",
    }
}

/// The first violation of a claim, with the policies to blame.
fn violated(f: &mut fmt::Formatter<'_>, claim: &ClaimReport) -> fmt::Result {
    let violations: Vec<&Violation> = claim.violations().map(|(_, violation)| violation).collect();
    let Some(first) = violations.first() else { return Ok(()) };
    writeln!(f, "\n<details open><summary><code>{}</code> is broken by this request</summary>\n", code(&claim.id))?;
    if let Some(rationale) = &claim.rationale {
        writeln!(f, "Why it stands: {}\n", line(rationale))?;
    }
    fenced(f, &first.to_string())?;
    writeln!(f, "\n</details>")
}

fn newly_automated(diff: &PolicyDiff) -> Vec<String> {
    let automated = |tier: &TierDiff| tier.tier == Some(Tier::Automated) && tier.widened.is_some();
    let environments = diff.environments.iter().filter(|diff| diff.tiers.iter().any(automated));
    environments.map(EnvironmentDiff::name).collect()
}

fn examples(f: &mut fmt::Formatter<'_>, diff: &EnvironmentDiff) -> fmt::Result {
    writeln!(f, "\n<details><summary>{}: examples</summary>\n", diff.name())?;
    fenced(f, diff.to_string().trim_start())?;
    writeln!(f, "\n</details>")
}

fn matrix(f: &mut fmt::Formatter<'_>, replay: &Replay) -> fmt::Result {
    writeln!(f, "| | {} |\n|---|---|---|---|", Tier::WIDEST_FIRST.map(Tier::as_str).join(" | "))?;
    for base in Tier::WIDEST_FIRST {
        let cells = Tier::WIDEST_FIRST.map(|head| {
            let cell = replay.matrix.iter().find(|cell| cell.base == base && cell.head == head);
            let decisions = cell.map_or(0, |cell| cell.decisions);
            if head > base && decisions > 0 { format!("**{decisions}**") } else { decisions.to_string() }
        });
        writeln!(f, "| {base} | {} |", cells.join(" | "))?;
    }
    writeln!(f)
}

fn assets(f: &mut fmt::Formatter<'_>, what: &str, assets: &Assets) -> fmt::Result {
    let named: Vec<String> = assets.most.iter().take(SHOWN).map(|asset| format!("`{}`", asset.asset_id)).collect();
    let named = if named.is_empty() { String::new() } else { format!(": {}", named.join(", ")) };
    writeln!(f, "- {} assets {what}, in {} decisions{named}", assets.assets, assets.decisions)
}

fn uncovered(f: &mut fmt::Formatter<'_>, coverage: &Coverage) -> fmt::Result {
    writeln!(f, "{} % of the policies decided a test.\n", coverage.percent)?;
    let undecided = coverage.undecided().take(SHOWN);
    undecided.into_iter().try_for_each(|policy| writeln!(f, "- {} `{}` decided none", policy.place, code(&policy.id)))
}

fn survivors(f: &mut fmt::Formatter<'_>, mutants: &Mutated) -> fmt::Result {
    let Mutated { mutants, killed, survivors, .. } = mutants;
    writeln!(f, "{killed} of {mutants} careless edits would fail a test; {} would pass.\n", survivors.len())?;
    for Survivor { id, place, before, after, shift, .. } in survivors.iter().take(SHOWN) {
        writeln!(f, "- {place} `{}`, which {}: `{}` → `{}`", code(id), told(*shift), code(before), code(after))?;
    }
    Ok(())
}

/// A block of code that its text cannot end.
fn fenced(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.saturating_add(1).max(3));
    writeln!(f, "{fence}\n{}\n{fence}", text.trim_end())
}

/// Text for a span of code: on one line, and without what would end the span, the table cell or the tag around it.
pub(super) fn code(text: &str) -> String {
    let kept = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    kept.filter(|letter| !['`', '|', '<', '>'].contains(letter)).collect()
}

/// Text as it is, on one line: Markdown, HTML and mentions in it mean nothing.
pub(super) fn line(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '@' => escaped.push_str("&#64;"),
            '\\' | '|' | '[' | ']' => escaped.extend(['\\', letter]),
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}
