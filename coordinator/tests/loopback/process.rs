//! The binary as an operator runs it: served, killed, asked, and stopped by a signal.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use coordinator::Addresses;
use serde_json::{Value, json};
use shared_ops::cli::Exit;

use crate::site::task_json;

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence-coordinator"));
    command.args(["--format", "json", "--data-dir"]).arg(folder);
    command.env("RINGFENCE_COORDINATOR__FEDERATION__LISTEN", "127.0.0.1:0");
    command.env("RINGFENCE_COORDINATOR__ADMIN__LISTEN", "127.0.0.1:0");
    command.env("RINGFENCE_COORDINATOR__LOG__FILTER", "off");
    command
}

/// A serving process, killed when dropped.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A serving process, and the addresses that it printed.
fn serve(folder: &Path) -> (Serving, Addresses) {
    let mut child = command(folder).arg("serve").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Serving(child), serde_json::from_str(&line).unwrap())
}

/// What a command printed, and its exit status.
fn ask(folder: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = command(folder).args(arguments).output().unwrap();
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.code(), serde_json::from_slice(&text).unwrap_or(Value::Null))
}

#[test]
fn a_killed_coordinator_goes_on_and_a_terminated_one_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = folder.path().join("task.json");
    std::fs::write(&file, task_json(&["a", "b"]).to_string()).unwrap();

    let (killed, addresses) = serve(&data);
    let published = std::fs::read(data.join("addresses.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Addresses>(&published).unwrap(), addresses);
    assert_eq!(ask(&data, &["task", "create", file.to_str().unwrap()]).1["state"], "running");
    assert_eq!(ask(&data, &["participant", "token", "create", "a"]).1["participant_id"], "a");
    drop(killed);

    let (mut serving, _) = serve(&data);
    assert_eq!(ask(&data, &["task", "list"]).1["items"][0]["phase"], "announced");
    assert_eq!(ask(&data, &["round", "show", "t", "1"]).1["round"], 1);
    assert_eq!(ask(&data, &["participant", "list"]).1["items"], json!([]));
    assert_eq!(ask(&data, &["release", "list"]).1["items"], json!([]));
    let (status, error) = ask(&data, &["release", "show", "none"]);
    assert_eq!((status, &error["error"]["code"]), (Some(1), &json!("release-unknown")));
    assert_eq!(ask(&data, &["task", "cancel", "t"]).1["state"], "cancelled");
    let signal = Command::new("kill").args(["-TERM", &serving.0.id().to_string()]).status().unwrap();
    assert!(signal.success());
    assert!(serving.0.wait().unwrap().success());
    assert_eq!(ask(&data, &["task", "list"]).1["error"]["code"], "admin-unreachable");
}

#[test]
fn a_configuration_with_an_unknown_field_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("coordinator.toml");
    std::fs::write(&file, "[limits]\nuplods = 3\n").unwrap();
    let (status, error) = ask(folder.path(), &["--config", file.to_str().unwrap(), "config", "validate"]);
    assert_eq!(status, Some(Exit::Usage.code().into()));
    assert_eq!(error["error"]["code"], "config-field", "{error}");
    assert_eq!(ask(folder.path(), &["config", "validate"]).0, Some(0));
}
