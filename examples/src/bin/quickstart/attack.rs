//! A site meets an attack that it never trained on: detection, reasons, decision, containment, rollback, receipt.

use std::io::Cursor;
use std::sync::Arc;

use anyhow::{Context, ensure};
use participant::collect::{Collector, Format};
use participant::config::Account;
use participant::online::{Raised, Taken};
use participant::respond::Response;
use policy_as_code::playbook::{RunEvent, RunState, StepPhase, StepState};
use shared::audit::AuditKind;
use shared_audit::verify_receipt;

use crate::federation::Member;
use crate::story::{chapter, line};
use crate::target::{Access, Target};

/// Lets the member meet its fresh events and answer the clearest detection.
pub(crate) async fn answer(member: &Member, postgres: Option<&str>) -> Result<(), anyhow::Error> {
    let input = Collector::new(Cursor::new(&member.source.fresh), Format::EventJson, member.site.latest());
    let taken = member.online.take(input, "fresh")?;
    chapter(&format!("{} meets an attack", member.source.name));
    stream(member, &taken);
    let Some((raised, account)) = clearest(&taken, member) else {
        line("detection", "none on a listed account: nothing to answer", "");
        return Ok(());
    };
    describe(member, &raised);
    let target = Target::prepare(&member.site, &account, postgres).await?;
    let policies = Arc::clone(member.site.policies()?.context("no policy repository")?.in_force());
    let response = Response::new(Arc::clone(&member.site), policies, target.actuator())?;
    contain(member, &raised, &response, &target).await?;
    target.leave().await
}

/// Runs the playbook, looks from outside what it did, and takes it back.
async fn contain(member: &Member, raised: &Raised, response: &Response, target: &Target) -> Result<(), anyhow::Error> {
    let before = target.access().await?;
    let scorer = member.online.scorer().context("no release serves")?;
    let run = response.answer(raised, &scorer.installed().release).await?.context("the account is not listed")?;
    decisions(response, &run)?;
    let contained = target.access().await?;
    line("effect", &change(before, contained), "probed from outside, not taken from a return code");
    if run.in_force().next().is_some() {
        let undone = response.executor().rollback(&run.plan.run_id, "responder ada").await?;
        let restored = target.access().await?;
        ensure!(restored.login == before.login, "the rollback did not restore the account");
        let steps = undone.steps.iter().filter(|step| matches!(step.phase, StepPhase::RolledBack { .. })).count();
        let what = format!("{steps} steps undone on request: {}", change(contained, restored));
        line("rollback", &what, "every action is reversible");
    }
    receipt(member, response, &run)
}

/// The highest-scoring detection on an account that may be contained; an attack that the site never trained on goes
/// before one that it did, since that is what federating is for.
fn clearest(taken: &Taken, member: &Member) -> Option<(Raised, Account)> {
    let account = |raised: &Raised| {
        let mut accounts = member.site.config.response.accounts.iter();
        accounts.find(|account| account.principal == raised.event.principal()).cloned()
    };
    let is_new = |raised: &Raised| {
        let kind = member.source.truth.get(raised.event.event_id());
        kind.is_some_and(|kind| !kind.is_empty() && !member.source.learnt.contains(kind))
    };
    let listed = taken.raised().into_iter().filter_map(|raised| account(&raised).map(|account| (raised, account)));
    listed.max_by_key(|(raised, _)| (is_new(raised), raised.detection.score_bp))
}

/// How many of the fresh events were found.
fn stream(member: &Member, taken: &Taken) {
    let is_attack = |event_id: &str| member.source.truth.get(event_id).is_some_and(|attack| !attack.is_empty());
    let fresh = taken.scored.len();
    let attacks = taken.scored.iter().filter(|(event, _)| is_attack(event.event_id())).count();
    let all = taken.raised();
    let found = all.iter().filter(|raised| is_attack(raised.event.event_id())).count();
    let (flagged, ordinary) = (all.len() - found, fresh - attacks);
    let found = format!("{found} of {attacks} attack events found, {flagged} of {ordinary} others flagged");
    line("stream", &format!("{fresh} fresh events: {found}"), "");
}

fn describe(member: &Member, raised: &Raised) {
    let detection = &raised.detection;
    let score = f64::from(detection.score_bp) / 10_000.0;
    let rate = f64::from(detection.false_positive_rate_bp) / 100.0;
    let (operation, at) = (raised.event.operation(), detection.event_time);
    let what = format!("{operation} at {at}: score {score:.4}; {rate:.2} % of ordinary events score as high");
    line("detection", &what, "");
    truth(member, raised.event.event_id());
    for (index, reason) in detection.reasons.iter().enumerate() {
        let what = format!("{:+6.2}  {} = {:.2}", reason.contribution, reason.feature, reason.value);
        match index {
            0 => line("reasons", &what, "what sets it apart from an ordinary event here"),
            _ => line("", &what, ""),
        }
    }
}

/// What the event really was, and whether this site could have known such an attack from its own data.
fn truth(member: &Member, event_id: &str) {
    match member.source.truth.get(event_id).map_or("", String::as_str) {
        "" => line("truth", "an ordinary event: a false alarm", ""),
        kind if member.source.learnt.contains(kind) => line("truth", &format!("{kind}, seen in training here"), ""),
        kind => {
            let what = format!("{kind}, never seen in training here");
            line("truth", &what, "what only another site had seen, this one finds");
        }
    }
}

fn decisions(response: &Response, run: &RunState) -> Result<(), anyhow::Error> {
    for event in response.executor().events(&run.plan.run_id)? {
        let RunEvent::Decided { step, verdict, .. } = &event else { continue };
        let policies = verdict.decision.answers.last().map(|answer| answer.policies.join(", ")).unwrap_or_default();
        let state = run.steps.iter().find(|state| state.number == *step).context("a decision about no step")?;
        let what = format!(
            "{:<18} {} by `{policies}` {}",
            verdict.request.action.as_str(),
            verdict.decision.tier,
            outcome(state)
        );
        line(&format!("step {step}"), &what, if *step == 1 { "policy asked anew for every step" } else { "" });
    }
    Ok(())
}

fn outcome(step: &StepState) -> String {
    match &step.phase {
        StepPhase::Verified { .. } => {
            format!("→ in force, lease {} min", step.action.extension.lease_ms / 60_000)
        }
        StepPhase::AwaitingApproval { .. } => "→ waits for a person".to_owned(),
        StepPhase::Refused => "→ not allowed".to_owned(),
        StepPhase::Failed { reason, .. } => format!("→ failed: {reason}"),
        _ => String::new(),
    }
}

fn change(before: Access, after: Access) -> String {
    let login = |access: Access| if access.login { "accepted" } else { "refused" };
    let session = |access: Access| if access.session { "alive" } else { "ended" };
    format!("login {} → {}, live session {} → {}", login(before), login(after), session(before), session(after))
}

/// Writes the receipt of the run's first decision and checks it as an outsider would: with the log's public key alone.
fn receipt(member: &Member, response: &Response, run: &RunState) -> Result<(), anyhow::Error> {
    let log = member.site.journal.log();
    let mut events = response.executor().events(&run.plan.run_id)?.into_iter();
    let index = events.find_map(|event| match event {
        RunEvent::Decided { record, .. } => Some(record),
        _ => None,
    });
    let receipt = log.receipt(index.context("the run decided nothing")?)?;
    verify_receipt(&receipt, &log.public(), log.origin())?;
    let path = member.site.folder().join("receipt.json");
    std::fs::write(&path, serde_json::to_string_pretty(&receipt)?)?;
    let what = format!(
        "{:?} record {} of {} → {}",
        AuditKind::Decision,
        receipt.index,
        log.size(),
        path.file_name().unwrap_or_default().display()
    );
    line("receipt", &what, "verifies offline with the log's public key alone");
    Ok(())
}
