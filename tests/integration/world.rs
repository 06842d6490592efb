//! A federation of real processes on loopback: one coordinator, and sites with generated telemetry that were filled and
//! enrolled through the command line.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use participant::feature;
use participant::range::{LabelledEvent, Range, Scenario, SiteProfile};
use serde_json::{Value, json};
use shared::privacy::Guarantee;
use shared_audit::Receipt;
use shared_crypto::digest_of;
use shared_privacy::accountant::calibrate;
use tempfile::TempDir;

use crate::bundle;
use crate::process::{Said, Serving, binary, say, until};

/// The one task of a world.
pub(crate) const TASK: &str = "guard";
const SAMPLING_RATE: f64 = 0.3;
/// Days of telemetry that a site learns from.
const DAYS: u32 = 6;
/// Attacks that a site learns from.
const LESSONS: [Scenario; 2] = [Scenario::DumpExfiltration, Scenario::InsiderBulkExport];

/// A coordinator and its folder.
pub(crate) struct World {
    serving: Option<Serving>,
    /// Where participants connect, and where operators do.
    pub(crate) federation: String,
    pub(crate) admin: Http,
    folder: TempDir,
}

/// An HTTP interface behind a bearer token.
#[derive(Clone)]
pub(crate) struct Http {
    base: String,
    token: String,
    client: reqwest::Client,
}

/// A site: a folder, a configuration, and perhaps a process.
pub(crate) struct Site {
    pub(crate) name: String,
    folder: PathBuf,
    range: Range,
    serving: Option<Serving>,
}

impl World {
    /// Starts a coordinator in a fresh folder.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with settings by their environment variables.
    pub(crate) fn start_with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = coordinator(folder.path(), "127.0.0.1:0", "127.0.0.1:0");
        let serving = Serving::start(command.envs(settings.iter().copied()), &log(folder.path()));
        let address = |of: &str| serving.addresses[of].as_str().unwrap().to_owned();
        let token = std::fs::read_to_string(folder.path().join("coordinator/admin.token")).unwrap();
        Self {
            federation: address("federation"),
            admin: Http::new(&address("admin"), token.trim()),
            serving: Some(serving),
            folder,
        }
    }

    /// Kills the coordinator with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.serving = None;
    }

    /// Starts the killed coordinator again, on the same folder and ports.
    pub(crate) fn restart(&mut self) {
        let admin = self.admin.base.trim_start_matches("http://");
        let mut command = coordinator(self.folder.path(), &self.federation, admin);
        self.serving = Some(Serving::start(&mut command, &log(self.folder.path())));
    }

    /// What the coordinator has logged, in all its lives.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(log(self.folder.path())).unwrap()
    }

    /// The address that goes into a participant's configuration.
    pub(crate) fn address(&self) -> String {
        let (_, port) = self.federation.rsplit_once(':').unwrap();
        format!("https://localhost:{port}")
    }

    /// The coordinator's command line, as an operator runs it beside the serving process.
    pub(crate) fn operator(&self, arguments: &[&str]) -> Said {
        say(coordinator(self.folder.path(), "127.0.0.1:0", "127.0.0.1:0").args(arguments), &[])
    }

    /// A fresh token for `name`, and the certificate authority to trust.
    pub(crate) async fn token(&self, name: &str) -> (String, String) {
        let answer = self.admin.post("/api/v1/enrolment/tokens", &json!({"participant_id": name})).await;
        let text = |of: &str| answer.1[of].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
        (text("token"), text("ca_certificate_pem"))
    }

    /// Site `number` of the range: ingested and enrolled, not serving.
    pub(crate) async fn site(&self, number: u8) -> Site {
        let mut site = Site::new(self.folder.path(), number, &self.address());
        site.learn_history();
        let (token, ca_pem) = self.token(&site.name).await;
        let enrolled = site.enrol(&token, &ca_pem);
        assert_eq!(enrolled.status, Some(0), "{enrolled:?}");
        site
    }

    /// Has the operator sign the task.
    pub(crate) async fn create_task(&self, task: &Value) {
        let (status, answer) = self.admin.post("/api/v1/tasks", &json!({"task": task})).await;
        assert_eq!(status, 201, "{answer}");
    }

    /// The task as the operator sees it.
    pub(crate) async fn task(&self) -> Value {
        self.admin.get(&format!("/api/v1/tasks/{TASK}")).await.1
    }

    /// A round as the operator sees it.
    pub(crate) async fn round(&self, number: u32) -> Value {
        self.admin.get(&format!("/api/v1/tasks/{TASK}/rounds/{number}")).await.1
    }

    /// Waits until round `number` is as `holds` says.
    pub(crate) async fn round_until(&self, number: u32, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(&format!("round {number} to be {what}"), async || Some(self.round(number).await).filter(&holds)).await
    }

    /// The file to which the operator downloads a committed round's transcript.
    pub(crate) fn transcript(&self, number: u32) -> PathBuf {
        let file = self.folder.path().join(format!("round-{number}"));
        let number = number.to_string();
        let said = self.operator(&["round", "transcript", TASK, &number, "--out", file.to_str().unwrap()]);
        assert_eq!(said.status, Some(0), "{said:?}");
        file
    }

    /// Waits until the task has ended, and gives its release's id.
    pub(crate) async fn released(&self) -> String {
        let ended = async || Some(self.task().await).filter(|task| task["state"] != "running");
        let task = until("the task's end", ended).await;
        assert_eq!(task["state"], "released", "{task}");
        task["release_id"].as_str().unwrap().to_owned()
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("coordinator.log")
}

fn coordinator(folder: &Path, federation: &str, admin: &str) -> Command {
    let mut command = Command::new(binary("ringfence-coordinator"));
    command.args(["--format", "json", "--data-dir"]).arg(folder.join("coordinator"));
    command.env("RINGFENCE_COORDINATOR__FEDERATION__LISTEN", federation);
    command.env("RINGFENCE_COORDINATOR__ADMIN__LISTEN", admin);
    command.env("RINGFENCE_COORDINATOR__LOG__FORMAT", "json").env_remove("RUST_LOG");
    command
}

impl Http {
    pub(crate) fn new(address: &str, token: &str) -> Self {
        Self { base: format!("http://{address}"), token: token.to_owned(), client: reqwest::Client::new() }
    }

    /// The same interface, asked with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.answer(self.client.get(format!("{}{path}", self.base))).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.answer(self.client.post(format!("{}{path}", self.base)).json(body)).await
    }

    /// Posts text as it is.
    pub(crate) async fn post_text(&self, path: &str, body: Vec<u8>) -> (u16, Value) {
        self.answer(self.client.post(format!("{}{path}", self.base)).body(body)).await
    }

    /// The answer to a GET, headers and all.
    pub(crate) async fn raw(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("{}{path}", self.base)).bearer_auth(&self.token).send().await.unwrap()
    }

    /// The text that answers a GET.
    pub(crate) async fn text(&self, path: &str) -> String {
        self.raw(path).await.text().await.unwrap()
    }

    /// The status and the JSON of an answer; null where there is no answer, or none in JSON.
    async fn answer(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let Ok(response) = request.bearer_auth(&self.token).send().await else { return (0, Value::Null) };
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }
}

impl Site {
    /// An empty site in a folder of its own below `folder`.
    pub(crate) fn new(folder: &Path, number: u8, coordinator: &str) -> Self {
        let mut profile = SiteProfile::example(number);
        profile.web_statements = 120;
        let name = profile.name.clone();
        let site = Self { folder: folder.join(&name), name, range: Range::new(profile, 7), serving: None };
        std::fs::create_dir_all(&site.folder).unwrap();
        bundle::put(&site.policies(), 1, &[]);
        site.configure(coordinator, "");
        site
    }

    /// Writes the configuration; `more` are further sections in TOML.
    pub(crate) fn configure(&self, coordinator: &str, more: &str) {
        let (name, data) = (&self.name, self.data());
        let text = format!(
            "participant_id = '{name}'\ndata_dir = '{}'\n[federation]\ncoordinator = '{coordinator}'\n[http]\n\
             listen = '127.0.0.1:0'\n[privacy.budget]\nepsilon = 8.0\ndelta = 1e-5\n[admission]\n\
             max_epsilon = 1e6\n[policy]\ndir = '{policies}'\npublic_key = '{key}'\n[log]\nformat = 'json'\n{more}",
            data.display(),
            policies = self.policies().display(),
            key = bundle::key().public(),
        );
        std::fs::write(self.config(), text).unwrap();
    }

    /// The policy repository of the site.
    pub(crate) fn policies(&self) -> PathBuf {
        self.folder.join("policies")
    }

    fn config(&self) -> PathBuf {
        self.folder.join("ringfence-participant.toml")
    }

    /// Where the participant keeps everything.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary("ringfence-participant"));
        command.args(["--format", "json", "--config"]).arg(self.config());
        command.env_remove("RUST_LOG");
        command
    }

    /// Runs a command of the participant's command line.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, &[])
    }

    /// The same, with `input` on standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &[u8]) -> Said {
        say(self.command().env("RINGFENCE_PARTICIPANT__LOG__FILTER", "off").args(arguments), input)
    }

    /// Generates the history and takes it in, labels and all, as an operator would.
    fn learn_history(&mut self) {
        let history = self.range.generate(DAYS, &LESSONS).unwrap();
        let (events, labels) = (self.folder.join("events.jsonl"), self.folder.join("labels.csv"));
        std::fs::write(&events, lines(&history)).unwrap();
        std::fs::write(&labels, truth(&history)).unwrap();
        let said = self.run(&["ingest", "--labels", labels.to_str().unwrap(), events.to_str().unwrap()]);
        assert_eq!(said.status, Some(0), "{said:?}");
        let counts = [&said.result["stored"], &said.result["rejected"], &said.result["labels"]];
        assert_eq!(counts, [&json!(history.len()), &json!(0), &json!(history.len())]);
    }

    /// Trades a token for a certificate.
    pub(crate) fn enrol(&self, token: &str, ca_pem: &str) -> Said {
        let ca = self.folder.join("ca.pem");
        std::fs::write(&ca, ca_pem).unwrap();
        self.run(&["enrol", "--ca", ca.to_str().unwrap(), "--token", token])
    }

    /// The day after the history, with an attack of a kind that the site has learnt, as JSON lines cut in two in the
    /// middle of the attack; and whose account the attack uses.
    pub(crate) fn attack(&mut self) -> ([Vec<u8>; 2], BTreeSet<String>) {
        let today = self.range.generate(1, &[Scenario::DumpExfiltration]).unwrap();
        let is_attack = |labelled: &LabelledEvent| labelled.scenario.is_some();
        let places: Vec<usize> = (0..today.len()).filter(|place| is_attack(&today[*place])).collect();
        let attackers = places.iter().map(|place| today[*place].event.principal().to_owned()).collect();
        let (before, after) = today.split_at(places[places.len() / 2]);
        ([lines(before), lines(after)], attackers)
    }

    /// Starts the participant.
    pub(crate) fn serve(&mut self) {
        self.serving = Some(Serving::start(&mut self.command(), &self.log_file()));
    }

    /// Kills the participant with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.serving = None;
    }

    /// Ends the participant with SIGTERM; whether it ended in order.
    pub(crate) fn terminate(&mut self) -> bool {
        self.serving.take().unwrap().terminate()
    }

    /// The running participant's HTTP interface.
    pub(crate) fn http(&self) -> Http {
        let address = self.serving.as_ref().unwrap().addresses["http"].as_str().unwrap();
        let token = std::fs::read_to_string(self.data().join("keys/http.token")).unwrap();
        Http::new(address, token.trim())
    }

    /// The running participant's audit log: every entry's receipt.
    pub(crate) async fn audit(&self) -> Vec<Receipt> {
        let http = self.http();
        let mut receipts = Vec::new();
        loop {
            let (status, receipt) = http.get(&format!("/api/v1/audit/receipts/{}", receipts.len())).await;
            if status == 404 {
                return receipts;
            }
            receipts.push(serde_json::from_value(receipt).unwrap());
        }
    }

    /// What the participant has logged, in all its lives.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("participant.log")
    }
}

/// Events as JSON, one a line.
pub(crate) fn lines(events: &[LabelledEvent]) -> Vec<u8> {
    let mut text = Vec::new();
    for labelled in events {
        labelled.event.write_json(&mut text).unwrap();
        text.push(b'\n');
    }
    text
}

fn truth(events: &[LabelledEvent]) -> String {
    let mut text = "event_id,label,scenario,technique,split\n".to_owned();
    for LabelledEvent { event, scenario } in events {
        let (label, name) = scenario.map_or((0, "benign"), |scenario| (1, scenario.name()));
        let technique = scenario.map_or("", Scenario::technique);
        writeln!(text, "{},{label},{name},{technique},train", event.event_id()).unwrap();
    }
    text
}

/// A task for `cohort`, all of whom are needed: a linear model that begins at zero, gates wide open, and noise that leaves
/// room in a site's budget for a second debit of every round.
pub(crate) fn task(cohort: &[&str], rounds: u32, steps: u32) -> Value {
    let view = feature::view();
    let half = Guarantee { epsilon: 4.0, delta: 1e-5 };
    let noise_multiplier = calibrate(half, SAMPLING_RATE, rounds * steps).unwrap();
    json!({
        "task_id": TASK, "title": "attacks on data stores", "cohort": cohort, "quorum": cohort.len(), "rounds": rounds,
        "seed": 1,
        "feature_view": {"name": view.name, "version": view.version, "digest": digest_of(&view).unwrap()},
        "model": {"inputs": feature::WIDTH, "hidden": []},
        "recipe": {"local_steps": steps, "sampling_rate": SAMPLING_RATE, "learning_rate": 1.0, "momentum": 0.5, "clip_norm": 1.0,
                   "noise_multiplier": noise_multiplier},
        "privacy": {"unit": "record", "ceiling": {"epsilon": 1e6, "delta": 1e-5}, "evaluation_rho": 0.01},
        "deadlines": {"join_ms": 600_000, "collect_ms": 600_000, "evaluate_ms": 600_000},
        "gates": {"min_true_positive_rate": 0.0, "max_false_positive_rate": 1.0}
    })
}
