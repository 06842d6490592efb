//! Decisions per second and how long one takes, beside plain Cedar: on the policies as they ship, and on 2,100 of a large
//! site. A decision is the whole ladder of tiers, with the ids of the policies that decided. Beside the shipped policies
//! stands what regorus makes of the same in Rego (`shipped.rego`), asked as a veto is. Every request is first decided each
//! way; the run fails where the decisions differ.

use std::path::Path;
use std::time::{Duration, Instant};

use policy_as_code::decide::Engine;
use policy_as_code::decide::comparison::{Peer, compare};
use policy_as_code::repository::Repository;
use policy_as_code_rego::Veto;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use shared::asset::{Asset, Criticality};
use shared::decision::{ContainmentAction, DecisionContext, DecisionRequest, Requester};
use shared::detection::Tier;
use shared::{AssetId, ReleaseId};

const POLICIES: usize = 2_100;
const ASSETS: usize = 1_000;
const OWNERS: usize = 60;
const SITES: [&str; 3] = ["berlin", "lyon", "porto"];
const ENVIRONMENTS: [&str; 4] = ["production", "staging", "analytics", "archive"];
const EACH: Duration = Duration::from_secs(4);

fn pick(names: &[&'static str], number: usize) -> &'static str {
    names.get(number % names.len()).copied().unwrap_or_default()
}

/// A policy of a large site, by its number: exceptions for single assets, limits by owner, by environment and by site.
fn policy(number: usize) -> String {
    let (asset, owner) = (number % ASSETS, number / 10 % OWNERS);
    let (environment, site) = (pick(&ENVIRONMENTS, owner), pick(&SITES, owner));
    let (score, limit) = (9_000 + number % 900, 1 + number % 20);
    let automated = r#"context.tier == Ringfence::Tier::"automated""#;
    let owned = format!(r#"resource.owner == "team-{owner}""#);
    let rule = match number % 10 {
        0..3 => format!(
            r#"permit(principal is Ringfence::Release, action == Ringfence::Action::"disable_credential",
                   resource == Ringfence::Asset::"asset-{asset}")
               when {{ {automated} && context.score_bp >= {score} && context.blast_radius <= {limit} }};"#
        ),
        3..5 => format!(
            r#"forbid(principal, action in Ringfence::Action::"contain", resource)
               when {{ {automated} && resource == Ringfence::Asset::"asset-{asset}" && context.healthy_peers < {limit} }};"#
        ),
        5..8 => format!(
            r#"forbid(principal, action in Ringfence::Action::"contain", resource)
               when {{ {automated} && {owned} && resource.environment == "{environment}"
                       && context.blast_radius > {limit} }};"#
        ),
        8 => format!(
            r#"permit(principal is Ringfence::Responder, action in Ringfence::Action::"contain", resource)
               when {{ context.tier == Ringfence::Tier::"assisted" && {owned} && principal.on_call
                       && context.approvals >= {limit} }};"#
        ),
        _ => format!(
            r#"forbid(principal is Ringfence::Release, action == Ringfence::Action::"isolate", resource)
               when {{ {automated} && resource.hasTag("site") && resource.getTag("site") == "{site}"
                       && resource.environment == "{environment}" && context.score_bp < {score} }};"#
        ),
    };
    format!("@id(\"site.{number:04}\")\n{rule}\n")
}

/// The repository that ships, with so many policies in all.
fn repository(policies: usize) -> Result<Repository, Box<dyn std::error::Error>> {
    let shipped = Repository::read(Path::new(env!("CARGO_MANIFEST_DIR")))?;
    let own = Engine::new(&shipped, None)?.policies().places().len();
    let folders = ["invariants", "playbooks", "policies", "schema"].map(|folder| shipped.folder(folder));
    let files = folders.into_iter().flatten().map(|file| (file.path, file.text));
    let site = (0..policies.saturating_sub(own)).map(policy).collect();
    Ok(Repository::from_files(files.chain([("policies/90-site.cedar".to_owned(), site)])))
}

fn requester() -> impl Strategy<Value = Requester> {
    let release_id = "fraud-7".prop_filter_map("no id", |id| ReleaseId::new(id).ok());
    let release = (release_id, prop::bool::weighted(0.97), 0..40_i64).prop_map(|(release_id, validated, age_days)| {
        Requester::Release { release_id, signed: true, validated, age_days }
    });
    let responder =
        prop::bool::weighted(0.8).prop_map(|on_call| Requester::Responder { name: "ada".to_owned(), on_call });
    prop_oneof![3 => release, 1 => responder]
}

fn asset() -> impl Strategy<Value = Asset> {
    let criticalities = [Criticality::Standard, Criticality::Important, Criticality::BusinessCritical];
    let asset_id = |number: usize| Some((number, AssetId::new(format!("asset-{number}")).ok()?));
    let asset_id = (0..ASSETS).prop_filter_map("no id", asset_id);
    let tagged = prop::bool::weighted(0.1);
    (asset_id, select(criticalities.to_vec()), tagged).prop_map(|((number, asset_id), criticality, critical)| {
        let tags = [("site", pick(&SITES, number)), ("pci", "true")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let critical = critical.then(|| ("business_critical".to_owned(), "true".to_owned()));
        Asset {
            asset_id,
            criticality,
            environment: pick(&ENVIRONMENTS, number).to_owned(),
            owner: format!("team-{}", number % OWNERS),
            tags: tags.into_iter().chain(critical).collect(),
        }
    })
}

fn context() -> impl Strategy<Value = DecisionContext> {
    let reasons = prop::collection::btree_set(select(&["rows_read", "new_client", "off_hours", "failures"][..]), 1..4);
    let certainty = (4_000..10_000_i64, 0..120_i64, reasons);
    let reach = (0..25_i64, 0..12_i64, 0..12_i64, 1..5_i64, 0..900_i64, 0..3_i64);
    let flags = (prop::bool::weighted(0.95), prop::bool::weighted(0.05), prop::bool::weighted(0.02));
    (certainty, reach, flags).prop_map(|((score_bp, false_positive_rate_bp, reasons), reach, flags)| {
        let (blast_radius, healthy_peers, active_containments, playbook_step, monitored_s, approvals) = reach;
        let (reversible, maintenance_window, kill_switch) = flags;
        DecisionContext {
            score_bp,
            false_positive_rate_bp,
            false_positive_rate_high_bp: false_positive_rate_bp + 3,
            reasons: reasons.into_iter().map(str::to_owned).collect(),
            blast_radius,
            service_blast_radius: blast_radius,
            site_blast_radius: blast_radius + 5,
            healthy_peers,
            active_containments,
            class_containments: active_containments / 2,
            recent_actions: active_containments / 3,
            playbook_step,
            monitored_s,
            reversible,
            maintenance_window,
            kill_switch,
            approvals,
        }
    })
}

/// The same requests every time.
fn requests(count: usize) -> Result<Vec<DecisionRequest>, Box<dyn std::error::Error>> {
    let any = (requester(), select(&ContainmentAction::ALL[..]), asset(), context())
        .prop_map(|(requester, action, asset, context)| DecisionRequest { requester, action, asset, context });
    let mut runner = TestRunner::deterministic();
    let request = |_| Ok(any.new_tree(&mut runner).map_err(|reason| reason.message().to_owned())?.current());
    (0..count).map(request).collect()
}

/// The widest tier that no rule denies. An error denies.
fn tier_by_rego(rules: &Veto, request: &DecisionRequest) -> Tier {
    let allowed = |tier: &Tier| rules.vetoes(request, *tier).is_ok_and(|said| said.is_empty());
    Tier::WIDEST_FIRST.into_iter().find(allowed).unwrap_or(Tier::AlertOnly)
}

#[expect(clippy::disallowed_methods, reason = "this measures time")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rules = Veto::parse([("shipped.rego", include_str!("shipped.rego"))])?;
    let regorus = Peer { engine: "regorus", tier: &|request| tier_by_rego(&rules, request) };
    for (policies, peers, count) in [(0, &[regorus][..], 10_000), (POLICIES, &[], 1_000)] {
        let repository = repository(policies)?;
        let before = Instant::now();
        let engine = Engine::new(&repository, None)?;
        println!("loaded in {:.1?}", before.elapsed());
        println!("{}\n", compare(&engine, peers, &requests(count)?, EACH, Instant::now)?);
    }
    Ok(())
}
