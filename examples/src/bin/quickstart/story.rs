//! What the quickstart tells on the terminal. Data goes to standard output, progress bars to standard error.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use participant::progress::{Observer, Progress};
use participant::quality::Quality;
use participant::start::Running;
use shared::privacy::Guarantee;
use shared::task::Task;
use shared::{ParticipantId, RoundNumber};

use crate::federation::{CEILING, Federation, Member, locked};
use crate::source::Source;

const RULE: &str = "────────────────────────────────────────────────────────────────────────────────────────────";

/// Begins a chapter.
pub(crate) fn chapter(title: &str) {
    println!("\n── {title} {}", RULE.chars().skip(title.chars().count() + 4).collect::<String>());
}

/// A line: what it is about, what happened, and what that proves.
pub(crate) fn line(about: &str, what: &str, proves: &str) {
    let proves = if proves.is_empty() { String::new() } else { format!("   ‹{proves}›") };
    println!("  {about:<11} {what}{proves}");
}

pub(crate) fn opening(seed: u64, sources: &[Source]) {
    let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    println!("Ringfence quickstart, seed {seed}: one coordinator and {} sites ({})", names.len(), names.join(", "));
    println!("Everything runs on this machine, over gRPC with mutual TLS on loopback; ‹…› says what a line proves.");
}

pub(crate) fn gathered(members: &[Member]) {
    chapter("The sites");
    for member in members {
        let (train, holdout) = (member.records.train.len(), member.records.holdout.len());
        let learnt: Vec<&str> = member.source.learnt.iter().map(String::as_str).collect();
        let what = format!("{} events in its lake; learns from {train}, holds out {holdout}", train + holdout);
        line(member.source.name.as_str(), &what, "encrypted at rest; never leaves");
        line("", &format!("has seen {}", learnt.join(", ")), "");
    }
    line("all", "enrolled with one-time tokens", "keys made on site, certificates by the federation's CA");
}

/// A site's hold-out quality after a round, and what its ledger has spent.
type Row = (Option<Quality>, Guarantee);

/// Quality and cost by round and site.
pub(crate) struct Chart {
    sites: Vec<ParticipantId>,
    rounds: u32,
    bars: BTreeMap<ParticipantId, ProgressBar>,
    rows: Mutex<BTreeMap<(RoundNumber, ParticipantId), Row>>,
}

impl Chart {
    pub(crate) fn new(sites: Vec<ParticipantId>, task: &Task) -> Self {
        chapter("Learning together");
        let recipe = &task.recipe;
        let sigma = recipe.noise_multiplier.unwrap_or_default();
        let (rounds, steps, params) = (task.rounds, recipe.local_steps, task.model.param_count());
        let what = format!("{rounds} rounds of {steps} DP-SGD steps on {params} parameters");
        line("task", &what, "signed by the operator, admitted by each site");
        line(
            "",
            &format!("σ = {sigma:.3}, sampling rate {}, clipping norm {}", recipe.sampling_rate, recipe.clip_norm),
            "",
        );
        let all = MultiProgress::new();
        let style = ProgressStyle::with_template("  {prefix:<11} {bar:40} round {pos} of {len}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = |site: &ParticipantId| {
            let bar = all.add(ProgressBar::new(u64::from(task.rounds))).with_style(style.clone());
            (site.clone(), bar.with_prefix(site.to_string()))
        };
        Self { bars: sites.iter().map(bar).collect(), sites, rounds: task.rounds, rows: Mutex::default() }
    }

    pub(crate) fn observer(self: &Arc<Self>, site: ParticipantId) -> Arc<dyn Observer> {
        Arc::new(SiteObserver { chart: Arc::clone(self), site })
    }

    fn note(&self, site: &ParticipantId, round: RoundNumber, quality: Option<Quality>, spent: Guarantee) {
        locked(&self.rows).insert((round, site.clone()), (quality, spent));
        if let Some(bar) = self.bars.get(site) {
            bar.inc(1);
        }
    }

    fn print(&self) {
        self.bars.values().for_each(ProgressBar::finish_and_clear);
        let heads: Vec<String> = self.sites.iter().map(|site| format!("{:>10}", site.as_str())).collect();
        println!("\n  hold-out AUPRC by round (each site's last 30 % in time)      ε spent per site");
        println!("  {:<11} {}", "round", heads.join(" "));
        let rows = locked(&self.rows);
        for round in (1..=self.rounds).map(RoundNumber) {
            let cells: Vec<_> = self.sites.iter().map(|site| rows.get(&(round, site.clone()))).collect();
            let auprc = |quality: Option<&Quality>| quality.map_or("—".to_owned(), |q| format!("{:.3}", q.auprc));
            let quality = |cell: &Option<&Row>| auprc(cell.and_then(|(quality, _)| quality.as_ref()));
            let shown: Vec<String> = cells.iter().map(|cell| format!("{:>10}", quality(cell))).collect();
            let spent = cells.iter().flatten().map(|(_, spent)| spent.epsilon).fold(0.0, f64::max);
            println!("  {:<11} {}        ε = {spent:.2}", round.0, shown.join(" "));
        }
        println!();
    }
}

struct SiteObserver {
    chart: Arc<Chart>,
    site: ParticipantId,
}

impl Observer for SiteObserver {
    fn on(&self, progress: &Progress) {
        if let Progress::Evaluated { round, quality, spent } = progress {
            self.chart.note(&self.site, *round, quality.clone(), *spent);
        }
    }
}

pub(crate) fn learnt(chart: &Chart, members: &[Member]) -> Result<(), anyhow::Error> {
    chart.print();
    let Some(scorer) = members.first().and_then(|member| member.online.scorer()) else { return Ok(()) };
    let release = &scorer.installed().release;
    line("updates", "signed, clipped and noised on site", "each update alone is (ε, δ)-DP");
    let budget = format!("ceiling ε = {} at δ = {:e}; every debit signed", CEILING.epsilon, CEILING.delta);
    line("ledger", &budget, "durable before noise was drawn");
    let what = format!("the model of round {} verified by every site", release.round_id);
    line("release", &what, "signature → round record → own update → parameters");
    Ok(())
}

pub(crate) fn closing(federation: &Federation, members: &[Member], folder: &Path) -> Result<(), anyhow::Error> {
    chapter("The evidence");
    for member in members {
        let verified = member.site.journal.log().verify()?;
        let what = format!("{} audit records recomputed, checkpoint signed", verified.entries);
        line(member.source.name.as_str(), &what, "nothing was changed or left out");
    }
    let verified = federation.running.coordinator.verify_log()?;
    line("coordinator", &format!("{} audit records recomputed", verified.entries), "rounds and release are on record");
    println!("\n  Lakes, ledgers, logs and receipts lie under {}", folder.display());
    println!("\nNext:");
    println!("  cargo run --release -p examples --bin quickstart -- --keep            look around while it runs");
    println!(
        "  cargo run --release -p examples --bin federate -- --help              measure the learning on labelled data"
    );
    println!("  cargo run --release -p policy-as-code -- --repo policy-as-code check  read and check the policies");
    Ok(())
}

pub(crate) fn keeping(federation: &Federation, members: &[Member], sites: &[Running]) {
    let addresses = &federation.running.addresses;
    println!("\nStill up, until Ctrl-C; each token file holds the bearer token:");
    println!("  coordinator http://{}/openapi.json  token coordinator/admin.token", addresses.admin);
    for (member, running) in members.iter().zip(sites) {
        let name = member.source.name.as_str();
        println!("  {name:<11} http://{}/openapi.json  token {name}/keys/http.token", running.addresses.http);
    }
    println!("  for instance: curl -H \"authorization: Bearer $(cat TOKEN_FILE)\" http://ADDRESS/api/v1/detections");
}
