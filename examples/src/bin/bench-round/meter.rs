//! Times the rounds, and reads between them what the coordinator's process has used and counted.

use std::time::Instant;

use anyhow::{Context, bail};
use examples::rounds::Round;
use examples::usage::Usage;
use tokio::sync::mpsc;

use crate::participant::News;

/// The coordinator's CPU time for folding and finishing, as its metrics name it.
const AGGREGATION: &str = "ringfence_aggregation_cpu_seconds_sum ";

/// Measures round after round.
pub(crate) struct Meter {
    usage: Usage,
    counted: Counted,
    heard: mpsc::UnboundedReceiver<News>,
    since: Instant,
    cpu_seconds: f64,
    aggregation_seconds: f64,
}

impl Meter {
    /// Begins to measure the coordinator's `process`, which tells at the URL `metrics` what it has counted.
    pub(crate) fn start(process: u32, metrics: &str, heard: mpsc::UnboundedReceiver<News>) -> anyhow::Result<Self> {
        let usage = Usage::of(process);
        let cpu_seconds = usage.cpu_seconds()?;
        usage.forget_peak()?;
        let counted = Counted { http: reqwest::Client::new(), url: metrics.to_owned() };
        Ok(Self { usage, counted, heard, since: now(), cpu_seconds, aggregation_seconds: 0.0 })
    }

    /// Measures `count` rounds.
    pub(crate) async fn rounds(&mut self, count: u32) -> anyhow::Result<Vec<Round>> {
        let mut rounds = Vec::new();
        for number in 1..=count {
            rounds.push(self.round(number).await?);
        }
        Ok(rounds)
    }

    /// Waits until the first participant has heard that round `number` is committed.
    async fn round(&mut self, number: u32) -> anyhow::Result<Round> {
        self.until_done(number).await?;
        let (at, cpu_seconds) = (now(), self.usage.cpu_seconds()?);
        let coordinator_peak_bytes = self.usage.peak_bytes()?;
        self.usage.forget_peak()?;
        let aggregation_seconds = self.counted.aggregation_seconds().await?;
        let round = Round {
            round_s: at.duration_since(self.since).as_secs_f64(),
            coordinator_cpu_s: cpu_seconds - self.cpu_seconds,
            aggregation_cpu_s: aggregation_seconds - self.aggregation_seconds,
            coordinator_peak_bytes,
        };
        if round.round_s <= 0.0 {
            bail!("two rounds were heard of at once");
        }
        (self.since, self.cpu_seconds, self.aggregation_seconds) = (at, cpu_seconds, aggregation_seconds);
        Ok(round)
    }

    async fn until_done(&mut self, number: u32) -> anyhow::Result<()> {
        loop {
            let news = self.heard.recv().await.context("every participant left before the task ended")?;
            if matches!(news, News::Shown { rounds_done, .. } if rounds_done >= number) {
                return Ok(());
            }
        }
    }
}

/// What the coordinator has counted.
struct Counted {
    http: reqwest::Client,
    url: String,
}

impl Counted {
    async fn aggregation_seconds(&self) -> anyhow::Result<f64> {
        let text = self.http.get(&self.url).send().await?.error_for_status()?.text().await?;
        let seconds = text.lines().find_map(|line| line.strip_prefix(AGGREGATION));
        Ok(seconds.context("the coordinator does not tell its CPU time of aggregation")?.parse()?)
    }
}

#[expect(clippy::disallowed_methods, reason = "this program measures time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
