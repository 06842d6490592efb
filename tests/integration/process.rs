//! The binaries as processes: started, asked, killed. What is waited for is named, and never waited for longer than a
//! minute.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

const POLL: Duration = Duration::from_millis(50);
/// Polls within a minute.
const POLLS: u32 = 1200;

/// The binary called `name`, as the workspace's build left it beside this test.
pub(crate) fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.exists(), "`{}` is missing: run `cargo build --release --workspace` first", path.display());
    path
}

/// Asks `probe` until it answers; fails after a minute, saying `what` was waited for.
pub(crate) async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..POLLS {
        if let Some(found) = probe().await {
            return found;
        }
        tokio::time::sleep(POLL).await;
    }
    panic!("waited a minute in vain for {what}");
}

/// What a command said, and its exit status.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: Option<i32>,
    /// Standard output as JSON; null where it is none.
    pub(crate) result: Value,
    /// `error` of the JSON on standard error; null where there is none.
    pub(crate) error: Value,
    /// Standard output and standard error as they came.
    pub(crate) text: String,
}

/// Runs a command to its end with `input` on standard input.
pub(crate) fn say(command: &mut Command, input: &[u8]) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that needs no input may end before it has read any.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let error: Value = serde_json::from_slice(&output.stderr).unwrap_or_default();
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    Said {
        status: output.status.code(),
        result: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        error: error["error"].clone(),
        text: text.concat(),
    }
}

/// A process that serves, killed when dropped.
pub(crate) struct Serving {
    child: Child,
    /// The line of JSON in which it said where it listens.
    pub(crate) addresses: Value,
}

impl Serving {
    /// Has `command` serve, its log going to the file `log`, and waits until it listens.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let mut child = command.arg("serve").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut serving = Self { child, addresses: Value::Null };
        let silent = |_| panic!("it does not serve: {}", std::fs::read_to_string(log).unwrap());
        serving.addresses = serde_json::from_str(&line).unwrap_or_else(silent);
        serving
    }

    /// Asks it to end with SIGTERM, and waits until it has; whether it ended in order.
    pub(crate) fn terminate(mut self) -> bool {
        let signalled = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        signalled.success() && self.child.wait().unwrap().success()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // One that has ended already cannot be killed. On Unix this is SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
