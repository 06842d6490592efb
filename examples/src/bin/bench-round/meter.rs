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
    coordinator: Usage,
    counted: Counted,
    /// This process, in which all participants are, and how many they are.
    participants: (Usage, u32),
    heard: mpsc::UnboundedReceiver<News>,
    before: Reading,
}

/// What was used and counted up to a moment.
struct Reading {
    at: Instant,
    coordinator_cpu_s: f64,
    aggregation_cpu_s: f64,
    participants_cpu_s: f64,
}

impl Meter {
    /// Begins to measure `participants` in this process and the coordinator in its own, `process`, which tells at the URL
    /// `metrics` what it has counted.
    pub(crate) fn start(
        process: u32,
        metrics: &str,
        participants: u32,
        heard: mpsc::UnboundedReceiver<News>,
    ) -> anyhow::Result<Self> {
        let (coordinator, sites) = (Usage::of(process), Usage::of(std::process::id()));
        let before = Reading {
            at: now(),
            coordinator_cpu_s: coordinator.cpu_seconds()?,
            aggregation_cpu_s: 0.0,
            participants_cpu_s: sites.cpu_seconds()?,
        };
        coordinator.forget_peak()?;
        let counted = Counted { http: reqwest::Client::new(), url: metrics.to_owned() };
        Ok(Self { coordinator, counted, participants: (sites, participants), heard, before })
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
        let now = self.reading().await?;
        let coordinator_peak_bytes = self.coordinator.peak_bytes()?;
        self.coordinator.forget_peak()?;
        let before = std::mem::replace(&mut self.before, now);
        let (now, (_, participants)) = (&self.before, &self.participants);
        let round = Round {
            round_s: now.at.duration_since(before.at).as_secs_f64(),
            coordinator_cpu_s: now.coordinator_cpu_s - before.coordinator_cpu_s,
            aggregation_cpu_s: now.aggregation_cpu_s - before.aggregation_cpu_s,
            coordinator_peak_bytes,
            participant_cpu_s: (now.participants_cpu_s - before.participants_cpu_s) / f64::from(*participants),
        };
        if round.round_s <= 0.0 {
            bail!("two rounds were heard of at once");
        }
        Ok(round)
    }

    async fn reading(&self) -> anyhow::Result<Reading> {
        Ok(Reading {
            at: now(),
            coordinator_cpu_s: self.coordinator.cpu_seconds()?,
            participants_cpu_s: self.participants.0.cpu_seconds()?,
            aggregation_cpu_s: self.counted.aggregation_seconds().await?,
        })
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
