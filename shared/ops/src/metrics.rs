//! Metrics: the `metrics` facade, rendered as Prometheus text. Nobody is pushed to and no port is opened here; see
//! [`crate::health::probes`].
//!
//! Histograms whose names end in `_seconds` and `_bytes` have fixed buckets; others are summaries.

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use ::metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use shared::Clock;
use shared::invariant::Invariant;

use crate::clock::SystemClock;

const VIOLATIONS: &str = "ringfence_invariant_violations_total";
const BUILD: &str = "ringfence_build_info";
const START: &str = "process_start_time_seconds";

/// From scoring one event to a whole round.
const SECONDS: [f64; 14] = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 10.0, 100.0, 1000.0];
const BYTES: [f64; 10] =
    [64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 16_777_216.0, 268_435_456.0];

/// How often samples are folded into their buckets when nobody reads them, so that they do not pile up.
const UPKEEP: Duration = Duration::from_secs(10);

/// Renders what this process has counted.
#[derive(Clone)]
pub struct MetricsHandle(PrometheusHandle);

impl MetricsHandle {
    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

/// Collects metrics from now on. A process has one set of metrics: later calls give the same handle.
pub fn install() -> MetricsHandle {
    static HANDLE: OnceLock<MetricsHandle> = OnceLock::new();
    HANDLE.get_or_init(install_once).clone()
}

/// Counts a broken promise of Ringfence, and logs it.
pub fn violation(invariant: Invariant) {
    tracing::error!(invariant = invariant.as_str(), "an invariant was violated");
    counter!(VIOLATIONS, "invariant" => invariant.as_str()).increment(1);
}

fn install_once() -> MetricsHandle {
    let recorder = recorder();
    let handle = recorder.handle();
    if ::metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another recorder collects the metrics of this process; `/metrics` stays empty");
    }
    register();
    let upkeep = handle.clone();
    let spawned = thread::Builder::new().name("metrics-upkeep".to_owned()).spawn(move || {
        loop {
            thread::sleep(UPKEEP);
            upkeep.run_upkeep();
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "metrics are folded only when they are read");
    }
    MetricsHandle(handle)
}

fn recorder() -> PrometheusRecorder {
    let suffix = |text: &str| Matcher::Suffix(text.to_owned());
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(suffix("_seconds"), &SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(suffix("_bytes"), &BYTES));
    // Only an empty list of buckets is refused.
    builder.unwrap_or_default().build_recorder()
}

/// What stands in `/metrics` from the start, so that its absence is never mistaken for 0.
fn register() {
    describe_counter!(VIOLATIONS, "Broken promises, by invariant; anything but 0 is a defect");
    for invariant in Invariant::ALL {
        counter!(VIOLATIONS, "invariant" => invariant.as_str()).absolute(0);
    }
    describe_gauge!(BUILD, "Always 1; the version is in the label");
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    describe_gauge!(START, "When the process started, in seconds since 1970");
    gauge!(START).set(Duration::from_micros(SystemClock.now().as_micros().unsigned_abs()).as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_invariant_is_there_at_0_from_the_start_and_counts_when_broken() {
        let handle = install();
        let line = |invariant: Invariant, count: u32| {
            format!("{VIOLATIONS}{{invariant=\"{}\"}} {count}\n", invariant.as_str())
        };
        for invariant in Invariant::ALL {
            assert!(handle.render().contains(&line(invariant, 0)), "{}", handle.render());
        }
        violation(Invariant::LeaseLapses);
        assert!(install().render().contains(&line(Invariant::LeaseLapses, 1)));
    }

    #[test]
    fn durations_have_buckets() {
        let handle = install();
        ::metrics::histogram!("ringfence_test_seconds").record(0.002);
        let text = handle.render();
        for line in ["_bucket{le=\"0.001\"} 0\n", "_bucket{le=\"0.003\"} 1\n", "_count 1\n"] {
            assert!(text.contains(&format!("ringfence_test_seconds{line}")), "{text}");
        }
        assert!(text.contains("ringfence_build_info{version=") && text.contains("process_start_time_seconds "));
    }
}
