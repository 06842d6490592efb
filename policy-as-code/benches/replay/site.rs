//! A site whose runs are recorded as an executor records them, drawn from a seed: accounts of which few are attacked
//! often, scores that lie mostly high, steps that people approve or not, leases that lapse or are given back.

use std::time::Duration;

use policy_as_code::containment::Verdict;
use policy_as_code::decide::Engine;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use shared::asset::{Asset, Criticality};
use shared::audit::{AuditKind, AuditRecord};
use shared::decision::{ContainmentAction, DecisionContext, DecisionRequest, Lease, Requester};
use shared::detection::{Detection, Reason, Tier};
use shared::{AssetId, Digest, ReleaseId, RunId, Timestamp, canonical};

const ASSETS: u32 = 2_000;
const STEPS: [ContainmentAction; 3] =
    [ContainmentAction::Throttle, ContainmentAction::TerminateSessions, ContainmentAction::DisableCredential];
const FEATURES: [&str; 5] =
    ["rows_read_z", "minutes_since_last_seen", "new_relation", "bytes_returned_log", "statements_per_minute"];
const HOUR: Duration = Duration::from_secs(3_600);

/// A site and its clock.
pub(crate) struct Site<'a> {
    engine: &'a Engine,
    rng: ChaCha8Rng,
    now: Timestamp,
    runs: u32,
}

/// What stays the same over a run.
struct Incident {
    run_id: RunId,
    asset: Asset,
    detection: Detection,
    requester: Requester,
}

impl<'a> Site<'a> {
    pub(crate) fn new(engine: &'a Engine, seed: u64) -> Result<Self, anyhow::Error> {
        Ok(Self { engine, rng: ChaCha8Rng::seed_from_u64(seed), now: "2026-03-01T00:00:00Z".parse()?, runs: 0 })
    }

    /// The records of the next run, in canonical JSON.
    pub(crate) fn run(&mut self) -> Result<Vec<String>, anyhow::Error> {
        self.now = self.now.plus(Duration::from_millis(self.rng.random_range(100..10_000)));
        let incident = self.incident()?;
        let mut lines = Vec::new();
        for (step, action) in (1..).zip(STEPS) {
            let mut verdict = self.decide(&incident, step, action, incident.requester.clone());
            lines.push(self.decision(&incident, step, &verdict)?);
            if verdict.decision.tier == Tier::Assisted && self.rng.random_bool(0.4) {
                let person = Requester::Responder { name: format!("responder-{}", step % 3), on_call: true };
                verdict = self.decide(&incident, step, action, person);
                lines.push(self.decision(&incident, step, &verdict)?);
            }
            if verdict.lease.is_none() {
                break;
            }
            if self.rng.random_bool(0.1) {
                lines.push(self.rollback(&incident, step, action)?);
            }
        }
        Ok(lines)
    }

    fn incident(&mut self) -> Result<Incident, anyhow::Error> {
        self.runs += 1;
        // The square of a uniform draw: a quarter of the assets sees half of the runs.
        let asset = (f64::from(ASSETS) * self.rng.random::<f64>().powi(2)).floor();
        let score_bp = 10_000 - u16::try_from(self.rng.random_range(0..71_u32).pow(2))?;
        let release_id = ReleaseId::new(format!("fraud-{}", 7 + self.runs / 100_000))?;
        let reason = |(index, feature): (u8, &&str)| Reason {
            feature: (*feature).to_owned(),
            value: self.rng.random_range(-4.0..9.0),
            contribution: self.rng.random_range(0.0..3.0) / (1.0 + f32::from(index)),
        };
        let reasons = (0..).zip(&FEATURES).map(reason).collect();
        let token: [u8; 16] = self.rng.random();
        Ok(Incident {
            run_id: RunId::new(format!("run-{:08}", self.runs))?,
            asset: self.asset(&format!("{asset:04}"))?,
            requester: Requester::Release {
                release_id: release_id.clone(),
                signed: true,
                validated: !self.rng.random_bool(0.01),
                age_days: self.rng.random_range(0..35),
            },
            detection: Detection {
                event_id: format!("event-{:016x}", self.rng.random::<u64>()),
                event_time: self.now,
                principal_token: token.iter().map(|byte| format!("{byte:02x}")).collect(),
                release_id,
                release_digest: Digest([7; 32]),
                score_bp,
                false_positive_rate_bp: (10_000 - score_bp) / 40,
                false_positive_rate_high_bp: (10_000 - score_bp) / 30 + 4,
                reasons,
            },
        })
    }

    /// The asset of that number: the same whenever it is asked for.
    fn asset(&self, number: &str) -> Result<Asset, anyhow::Error> {
        let kind: u32 = number.parse()?;
        let criticality = match kind % 20 {
            0 => Criticality::BusinessCritical,
            1..=5 => Criticality::Important,
            _ => Criticality::Standard,
        };
        let tags = [("service", format!("service-{}", kind % 40)), ("region", format!("eu-{}", kind % 3))];
        Ok(Asset {
            asset_id: AssetId::new(format!("account-{number}"))?,
            criticality,
            environment: if kind.is_multiple_of(4) { "staging" } else { "production" }.to_owned(),
            owner: format!("team-{}", kind % 25),
            tags: tags.map(|(name, value)| (name.to_owned(), value)).into(),
        })
    }

    fn decide(&mut self, incident: &Incident, step: u32, action: ContainmentAction, requester: Requester) -> Verdict {
        self.now = self.now.plus(Duration::from_millis(self.rng.random_range(50..2_000)));
        let by_person = matches!(requester, Requester::Responder { .. });
        let active_containments: i64 = self.rng.random_range(0..12);
        let blast_radius: i64 = self.rng.random_range(1..4);
        let context = DecisionContext {
            score_bp: incident.detection.score_bp.into(),
            false_positive_rate_bp: incident.detection.false_positive_rate_bp.into(),
            false_positive_rate_high_bp: incident.detection.false_positive_rate_high_bp.into(),
            reasons: incident.detection.reasons.iter().map(|reason| reason.feature.clone()).collect(),
            blast_radius,
            service_blast_radius: blast_radius + self.rng.random_range(0..3),
            site_blast_radius: blast_radius + 2 * active_containments,
            healthy_peers: self.rng.random_range(1..12),
            active_containments,
            class_containments: active_containments / 4,
            recent_actions: active_containments + self.rng.random_range(0..10),
            playbook_step: step.into(),
            monitored_s: if step == 1 { 0 } else { self.rng.random_range(1..900) },
            reversible: true,
            maintenance_window: self.rng.random_bool(0.02),
            kill_switch: false,
            approvals: by_person.into(),
        };
        let request = DecisionRequest { requester, action, asset: incident.asset.clone(), context };
        let decision = self.engine.decide(&request);
        let required = if by_person { Tier::Assisted } else { Tier::Automated };
        let lease = Lease { run_id: incident.run_id.clone(), granted_at: self.now, expires_at: self.now.plus(HOUR) };
        let lease = (decision.tier >= required).then_some(lease);
        Verdict { request, decision, lease, held_by: None }
    }

    fn decision(&self, incident: &Incident, step: u32, verdict: &Verdict) -> Result<String, anyhow::Error> {
        let content = json!({ "verdict": verdict, "detection": incident.detection });
        self.record(AuditKind::Decision, incident, step, verdict.request.action, content)
    }

    fn rollback(&self, incident: &Incident, step: u32, action: ContainmentAction) -> Result<String, anyhow::Error> {
        let content = json!({ "cause": { "kind": "requested", "by": "responder-1" } });
        self.record(AuditKind::Rollback, incident, step, action, content)
    }

    fn record(
        &self,
        kind: AuditKind,
        incident: &Incident,
        step: u32,
        action: ContainmentAction,
        mut content: Value,
    ) -> Result<String, anyhow::Error> {
        if let Some(content) = content.as_object_mut() {
            content.insert("run_id".to_owned(), json!(incident.run_id));
            content.insert("step".to_owned(), json!(step));
            content.insert("action".to_owned(), json!(action));
            content.insert("asset_id".to_owned(), json!(incident.asset.asset_id));
        }
        let record = AuditRecord { kind, at: self.now, actor: "site-1".to_owned(), content };
        Ok(String::from_utf8(canonical::encode(&record)?)?)
    }
}
