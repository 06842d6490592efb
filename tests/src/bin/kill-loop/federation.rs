//! The federation of both runs: prepared once, with keys, telemetry, certificates and the task, then copied, so that the
//! two differ in nothing but the kills.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use participant::collect::{Collector, Format, ingest};
use participant::config::Config as SiteConfig;
use participant::feature;
use participant::range::{Range, Scenario, SiteProfile};
use participant::records::keep_labels;
use participant::rpc;
use participant::site::{Randomness, Site};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::release::RoundRecord;
use shared::task::Task;
use shared::{ParamVector, ParticipantId, RoundId, RoundNumber, TaskId};
use shared_crypto::digest_of;
use shared_ops::clock::SystemClock;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::Args;
use crate::outcome::{Committed, Outcome};
use crate::process::Process;
use crate::role::Role;

const TASK: &str = "guard";
const DAYS: u32 = 4;
/// The longest that a run may take.
const PATIENCE: Duration = Duration::from_secs(1800);
/// How long after one kill the next one comes at most.
const LONGEST_CALM_MS: u32 = 900;
/// How often the task is looked at.
const LOOK: Duration = Duration::from_millis(50);

fn name(number: u8) -> anyhow::Result<ParticipantId> {
    Ok(ParticipantId::new(format!("site-{number}"))?)
}

/// The coordinator in `folder`. Its ports stay the same in all its lives.
pub(crate) fn coordinator_config(folder: &Path) -> anyhow::Result<coordinator::Config> {
    let mut config = coordinator::Config { data_dir: folder.join("coordinator"), ..coordinator::Config::default() };
    let ports = fs::read_to_string(folder.join("ports"))?;
    let (federation, admin) = ports.trim().split_once(' ').context("`ports` holds two numbers")?;
    config.federation.listen.set_port(federation.parse()?);
    config.admin.listen.set_port(admin.parse()?);
    Ok(config)
}

/// Site `number` in `folder`.
pub(crate) fn site_config(folder: &Path, number: u8) -> anyhow::Result<SiteConfig> {
    let data_dir = folder.join(name(number)?.as_str());
    let mut config = SiteConfig { participant_id: Some(name(number)?), data_dir, ..SiteConfig::default() };
    let port = coordinator_config(folder)?.federation.listen.port();
    config.federation.coordinator = format!("https://localhost:{port}");
    config.http.listen.set_port(0);
    // Every kill may cost a debit; the noise is large, so that all of them together stay cheap.
    config.privacy.budget.epsilon = 8.0;
    config.admission.max_epsilon = 8.0;
    Ok(config)
}

/// Makes everything up to the first round.
pub(crate) fn prepare(folder: &Path, sites: u8, rounds: u32) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    choose_ports(folder)?;
    let runtime = Runtime::new()?;
    let stop = CancellationToken::new();
    let config = coordinator_config(folder)?;
    let running = runtime.block_on(coordinator::start(config, Arc::new(SystemClock), stop.clone()))?;
    for number in 0..sites {
        let site = open_and_fill(folder, number)?;
        let token = running.coordinator.issue_token(&site.participant_id)?;
        let ca_pem = running.coordinator.ca_certificate_pem().to_owned();
        runtime.block_on(rpc::enrol(&site, &ca_pem, token.token.expose()))?;
    }
    let (task, coordinator) = (task(sites, rounds)?, Arc::clone(&running.coordinator));
    let initial = ParamVector::zeros(task.model.param_count());
    runtime.block_on(runtime.spawn_blocking(move || coordinator.create_task(task, &initial)))??;
    stop.cancel();
    Ok(runtime.block_on(running.ended())?)
}

/// Two ports that are free just now.
fn choose_ports(folder: &Path) -> anyhow::Result<()> {
    let one = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let other = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let ports = format!("{} {}", one.local_addr()?.port(), other.local_addr()?.port());
    Ok(fs::write(folder.join("ports"), ports)?)
}

fn open_and_fill(folder: &Path, number: u8) -> anyhow::Result<Site> {
    let site = Site::open(site_config(folder, number)?, Arc::new(SystemClock), Randomness::Demonstration(1))?;
    let mut range = Range::new(SiteProfile { web_statements: 100, ..SiteProfile::example(number) }, 7);
    let history = range.generate(DAYS, &Scenario::ALL)?;
    let mut lines = Vec::new();
    for labelled in &history {
        labelled.event.write_json(&mut lines)?;
        lines.push(b'\n');
    }
    let input = Collector::new(Cursor::new(lines), Format::EventJson, site.latest());
    let mut letters = site.dead_letters("history")?;
    ingest(input, &site.lake, site.clock.now(), &mut letters, |_| ())?;
    // No scenario means an ordinary event.
    let attack = |scenario: Option<Scenario>| scenario.map_or(String::new(), |scenario| scenario.name().to_owned());
    keep_labels(&site, history.iter().map(|labelled| (labelled.event.event_id(), attack(labelled.scenario))))?;
    Ok(site)
}

fn task(sites: u8, rounds: u32) -> anyhow::Result<Task> {
    let view = feature::view();
    let cohort: Vec<ParticipantId> = (0..sites).map(name).collect::<Result<_, _>>()?;
    Ok(serde_json::from_value(serde_json::json!({
        "task_id": TASK, "title": "attacks on data stores", "cohort": cohort, "quorum": sites, "rounds": rounds,
        "seed": 1, "created_at": "2026-01-01T00:00:00Z",
        "feature_view": {"name": view.name, "version": view.version, "digest": digest_of(&view)?},
        "model": {"inputs": feature::WIDTH, "hidden": []},
        "recipe": {"local_steps": 5, "sampling_rate": 0.2, "learning_rate": 0.5, "momentum": 0.5, "clip_norm": 1.0,
                   "noise_multiplier": 20.0},
        "privacy": {"unit": "record", "ceiling": {"epsilon": 20.0, "delta": 1e-5}, "evaluation_rho": 1e-4},
        "deadlines": {"join_ms": 600_000, "collect_ms": 600_000, "evaluate_ms": 600_000},
        "gates": {"min_true_positive_rate": 0.0, "max_false_positive_rate": 1.0}
    }))?)
}

/// Copies the prepared federation and runs its task to the end with `kills` kills on the way.
pub(crate) fn run(origin: &Path, folder: &Path, args: &Args, kills: u32) -> anyhow::Result<Outcome> {
    copy(origin, folder)?;
    choose_ports(folder)?;
    let roles = std::iter::once(Role::Coordinator).chain((0..args.sites).map(Role::Site));
    let mut processes = roles.map(|role| Process::start(role, folder)).collect::<anyhow::Result<Vec<_>>>()?;
    let begun = now();
    let mut killer = Killer { rng: ChaCha12Rng::seed_from_u64(args.seed), kills, rounds: args.rounds, done: (0, 0) };
    let runtime = Runtime::new()?;
    let task = Admin::of(folder)?;
    let mut next = killer.pause();
    while !(killer.is_done() && runtime.block_on(task.state())?.is_some_and(|(state, _)| state != "running")) {
        if now().duration_since(begun) > PATIENCE {
            bail!("the task did not end within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(LOOK.min(next));
        next = next.saturating_sub(LOOK);
        if next.is_zero() {
            let rounds_done = runtime.block_on(task.state())?.map(|(_, rounds_done)| rounds_done);
            killer.strike(&mut processes, rounds_done)?;
            next = killer.pause();
        }
    }
    drop(processes);
    let seconds = now().duration_since(begun).as_secs_f64();
    Ok(Outcome { rounds: runtime.block_on(committed(folder, args.rounds))?, kills: killer.done, seconds })
}

/// Decides who is killed when.
struct Killer {
    rng: ChaCha12Rng,
    kills: u32,
    rounds: u32,
    /// Kills of the coordinator, and of sites.
    done: (u32, u32),
}

impl Killer {
    fn is_done(&self) -> bool {
        self.done.0 + self.done.1 >= self.kills
    }

    fn pause(&mut self) -> Duration {
        Duration::from_millis(u64::from(self.rng.next_u32() % LONGEST_CALM_MS))
    }

    /// Kills somebody, unless the kills are ahead of the rounds: they are to be spread over the whole task.
    fn strike(&mut self, processes: &mut [Process], rounds_done: Option<u32>) -> anyhow::Result<()> {
        let due = u64::from(self.kills) * u64::from(rounds_done.unwrap_or(0) + 1) / u64::from(self.rounds);
        if u64::from(self.done.0 + self.done.1) >= due || self.is_done() {
            return Ok(());
        }
        let victim = usize::try_from(self.rng.next_u32())? % processes.len().max(1);
        let process = processes.get_mut(victim).context("there is somebody to kill")?;
        if process.kill_and_restart()? {
            let count = if victim == 0 { &mut self.done.0 } else { &mut self.done.1 };
            *count += 1;
        }
        Ok(())
    }
}

/// The admin API of the coordinator in a folder.
struct Admin {
    url: String,
    token: PathBuf,
    client: reqwest::Client,
}

impl Admin {
    fn of(folder: &Path) -> anyhow::Result<Self> {
        let config = coordinator_config(folder)?;
        let url = format!("http://{}/api/v1/tasks/{TASK}", config.admin.listen);
        Ok(Self { url, token: config.data_dir.join("admin.token"), client: reqwest::Client::new() })
    }

    /// The task's state and its committed rounds; `None` while the coordinator does not answer.
    async fn state(&self) -> anyhow::Result<Option<(String, u32)>> {
        let Ok(token) = fs::read_to_string(&self.token) else { return Ok(None) };
        let Ok(answer) = self.client.get(&self.url).bearer_auth(token.trim()).send().await else { return Ok(None) };
        let Ok(task) = answer.json::<serde_json::Value>().await else { return Ok(None) };
        let state = task.get("state").and_then(|state| state.as_str());
        let rounds_done = task.get("rounds_done").and_then(serde_json::Value::as_u64);
        let (Some(state), Some(rounds_done)) = (state, rounds_done) else { bail!("not a task: {task}") };
        Ok(Some((state.to_owned(), u32::try_from(rounds_done)?)))
    }
}

/// The committed rounds as the coordinator's store holds them after the run.
async fn committed(folder: &Path, rounds: u32) -> anyhow::Result<Vec<Committed>> {
    let stop = CancellationToken::new();
    let running = coordinator::start(coordinator_config(folder)?, Arc::new(SystemClock), stop.clone()).await?;
    let mut committed = Vec::new();
    for number in 1..=rounds {
        let round_id = RoundId { task_id: TaskId::new(TASK)?, number: RoundNumber(number) };
        let record = running.coordinator.round_record(&round_id)?;
        let record: RoundRecord = running.coordinator.coordinator_key().open(&record)?;
        let accepted = record.accepted.into_iter().map(|(participant_id, update)| (participant_id, update.payload));
        committed.push(Committed { accepted: accepted.collect(), candidate: record.candidate });
    }
    stop.cancel();
    running.ended().await?;
    Ok(committed)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, target) = (entry?, to.to_owned());
        let target = target.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => fs::copy(entry.path(), target).map(|_| ())?,
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this program watches how long real processes take")]
fn now() -> Instant {
    Instant::now()
}
