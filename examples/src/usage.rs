//! What a process has used, from Linux's `/proc`. Says plainly where there is none.

use anyhow::Context;

/// Clock ticks a second in `/proc/PID/stat`: a constant of Linux's interface to programs.
const TICKS: f64 = 100.0;

/// Watches one process.
pub struct Usage {
    process: u32,
}

impl Usage {
    /// Watches the process with this number.
    pub fn of(process: u32) -> Self {
        Self { process }
    }

    /// Seconds of CPU time so far, in user code and in the kernel.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = self.read("stat")?;
        // Fields 14 and 15; the second one may hold blanks, but ends with the last parenthesis.
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
        let ticks = |field: usize| -> anyhow::Result<f64> {
            Ok(fields.split_whitespace().nth(field).context("/proc/PID/stat is too short")?.parse()?)
        };
        Ok((ticks(11)? + ticks(12)?) / TICKS)
    }

    /// The most memory that was resident since [`Usage::forget_peak`], in bytes.
    pub fn peak_bytes(&self) -> anyhow::Result<u64> {
        let status = self.read("status")?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("/proc/PID/status has no VmHWM")?;
        let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kibibytes * 1024)
    }

    /// Begins to watch the peak anew.
    pub fn forget_peak(&self) -> anyhow::Result<()> {
        Ok(std::fs::write(self.path("clear_refs"), "5")?)
    }

    fn read(&self, file: &str) -> anyhow::Result<String> {
        let path = self.path(file);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`; usage is measured on Linux only"))
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.process)
    }
}
