//! The processes of a measurement as their parent sees them: this very program in another role, told and heard line by
//! line. Each is killed when it is dropped.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::Role;

/// A running process.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts this program in `role`, with what the parent was asked and the coordinator's `folder`.
    pub(crate) fn start(role: Role, folder: &Path) -> anyhow::Result<Self> {
        let name = clap::ValueEnum::to_possible_value(&role).context("a role has a name")?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .args(["--role", name.get_name(), "--data-dir"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take().context("its input is a pipe")?;
        let lines = BufReader::new(child.stdout.take().context("its output is a pipe")?).lines();
        Ok(Self { child, input, lines })
    }

    pub(crate) fn id(&self) -> anyhow::Result<u32> {
        self.child.id().context("the process has ended")
    }

    /// Writes one line to it.
    pub(crate) async fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(self.input.flush().await?)
    }

    /// The next line that it writes, as JSON.
    pub(crate) async fn answer<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = self.lines.next_line().await?.context("a process of the measurement ended early")?;
        serde_json::from_str(&line).with_context(|| format!("not an answer: {line}"))
    }

    /// Waits until it writes `word`.
    pub(crate) async fn says(&mut self, word: &str) -> anyhow::Result<()> {
        let said: String = self.answer().await?;
        ensure!(said == word, "heard `{said}` instead of `{word}`");
        Ok(())
    }

    /// Kills it with SIGKILL.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Stops it with SIGSTOP: nothing of it goes on, and nothing is closed.
    pub(crate) fn freeze(&self) -> anyhow::Result<()> {
        let process = Pid::from_raw(i32::try_from(self.id()?)?).context("no process has the number 0")?;
        Ok(kill_process(process, Signal::STOP)?)
    }
}
