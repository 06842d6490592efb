//! A process that may be killed at any instruction, and is started again at once.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::role::Role;

/// A running process of the federation; killed when dropped.
pub(crate) struct Process {
    role: Role,
    folder: std::path::PathBuf,
    child: Child,
}

impl Process {
    /// Starts this very program in `role`, its log going to a file in `folder`.
    pub(crate) fn start(role: Role, folder: &Path) -> anyhow::Result<Self> {
        Ok(Self { role, folder: folder.to_owned(), child: spawn(role, folder)? })
    }

    /// Kills it with SIGKILL and starts it again; false where it had ended by itself.
    pub(crate) fn kill_and_restart(&mut self) -> anyhow::Result<bool> {
        let was_running = self.child.try_wait()?.is_none();
        // On Unix this is SIGKILL.
        self.child.kill()?;
        self.child.wait()?;
        self.child = spawn(self.role, &self.folder)?;
        Ok(was_running)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(role: Role, folder: &Path) -> anyhow::Result<Child> {
    let log = File::options().create(true).append(true).open(folder.join(format!("{role}.log")))?;
    Ok(Command::new(std::env::current_exe()?)
        .args(["--role", &role.to_string(), "--folder"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?)
}
