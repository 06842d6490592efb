//! Decisions beside plain Cedar's and other engines': whether they agree, and how long each takes.
//!
//! All are measured in one thread, in turn for a short time each, so that whatever else the machine does meets all of
//! them. It reads no clock of its own.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use policy_as_code_cedar::CedarRequest;
use serde::Serialize;
use shared::Explain;
use shared::decision::{Decision, DecisionRequest};
use shared::detection::Tier;

use super::Engine;

/// How long one is measured before it is the next one's turn.
const TURN: Duration = Duration::from_millis(20);
/// How many decisions of one are kept to rank their durations.
const MAX_SAMPLES: usize = 4_000_000;

/// What was compared, and how it went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// How many policies decided.
    pub policies: usize,
    /// How many requests were decided; all decisions agree.
    pub requests: usize,
    /// The figures of each way to decide, ours first.
    pub figures: Vec<Figures>,
}

/// How fast one decides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// What decides.
    pub engine: &'static str,
    /// How many decisions were measured.
    pub decisions: u32,
    /// Decisions in a second.
    pub per_second: f64,
    /// Nanoseconds that half of them take at most.
    pub p50_ns: u64,
    /// Nanoseconds that 99 in 100 of them take at most.
    pub p99_ns: u64,
}

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub enum ComparisonError {
    /// There is no request.
    #[error("there is no request to decide")]
    NoRequest,
    /// A decision is not Cedar's.
    #[error("request {number} is decided as {ours:?}, by plain Cedar as {cedar:?}")]
    Differs {
        /// Which request, from 1.
        number: usize,
        /// Our decision.
        ours: Box<Decision>,
        /// Cedar's.
        cedar: Box<Decision>,
    },
    /// A peer decides otherwise.
    #[error("request {number} is decided as {ours}, by {engine} as {theirs}")]
    PeerDiffers {
        /// Which request, from 1.
        number: usize,
        /// Our tier.
        ours: Tier,
        /// What decides otherwise.
        engine: &'static str,
        /// Its tier.
        theirs: Tier,
    },
}

impl Explain for ComparisonError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoRequest => "decide-no-request",
            Self::Differs { .. } => "decide-differs",
            Self::PeerDiffers { .. } => "decide-peer-differs",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::NoRequest => "give a file with at least one decision request",
            Self::Differs { .. } => {
                "do not serve these policies; report them with the request, this is a fault of Ringfence"
            }
            Self::PeerDiffers { .. } => "give the peer policies that say the same",
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} policies, {} requests, all decided alike", self.policies, self.requests)?;
        write!(f, "{:<32}{:>14}{:>12}{:>12}", "", "decisions/s", "p50", "p99")?;
        self.figures.iter().try_for_each(|figures| write!(f, "\n{figures}"))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engine, per_second, .. } = self;
        let [p50, p99] = [self.p50_ns, self.p99_ns].map(Duration::from_nanos);
        write!(f, "{engine:<32}{per_second:>14.0}{p50:>12.1?}{p99:>12.1?}")
    }
}

/// Another engine, with policies that say the same.
#[derive(Clone, Copy)]
pub struct Peer<'a> {
    /// What it is called.
    pub engine: &'static str,
    /// The widest tier at which it allows a request.
    pub tier: &'a dyn Fn(&DecisionRequest) -> Tier,
}

/// Decides every request in each way, then measures each way for `each` or a little longer, by the clock `now`.
pub fn compare(
    engine: &Engine,
    peers: &[Peer<'_>],
    requests: &[DecisionRequest],
    each: Duration,
    now: fn() -> Instant,
) -> Result<Comparison, ComparisonError> {
    agree(engine, peers, requests)?;
    let ways = [
        Contender::new("ringfence", |request| time(now, || engine.decide(request))),
        Contender::new("cedar", |request| time(now, || engine.decide_by_cedar(request))),
        Contender::new("cedar, its requests prepared", |request| {
            let prepared = Prepared::new(engine, request);
            time(now, || engine.decide_by(request, |tier| engine.policies.answer_by_cedar(prepared.at(tier))))
        }),
    ];
    let peers = peers.iter().map(|peer| Contender::new(peer.engine, |request| time(now, || (peer.tier)(request))));
    let mut contenders: Vec<_> = ways.into_iter().chain(peers).collect();
    loop {
        contenders.iter_mut().for_each(|contender| contender.take_turn(requests));
        if contenders.iter().all(|contender| contender.took >= each) {
            let figures = contenders.into_iter().map(Contender::figures).collect();
            return Ok(Comparison { policies: engine.policies().places().len(), requests: requests.len(), figures });
        }
    }
}

fn agree(engine: &Engine, peers: &[Peer<'_>], requests: &[DecisionRequest]) -> Result<(), ComparisonError> {
    for (request, number) in requests.iter().zip(1..) {
        let (ours, cedar) = (engine.decide(request), engine.decide_by_cedar(request));
        if ours != cedar {
            return Err(ComparisonError::Differs { number, ours: Box::new(ours), cedar: Box::new(cedar) });
        }
        for Peer { engine, tier } in peers {
            let (ours, theirs) = (ours.tier, tier(request));
            if ours != theirs {
                return Err(ComparisonError::PeerDiffers { number, ours, engine, theirs });
            }
        }
    }
    if requests.is_empty() { Err(ComparisonError::NoRequest) } else { Ok(()) }
}

impl Engine {
    /// What [`Engine::decide`] decides, by Cedar's own evaluation of every policy. It is slow, and not counted.
    pub fn decide_by_cedar(&self, request: &DecisionRequest) -> Decision {
        self.decide_by(request, |tier| self.policies.answer_by_cedar(&self.policies.prepare(request, tier)))
    }
}

/// A request in Cedar's form, at every tier.
struct Prepared {
    automated: CedarRequest,
    assisted: CedarRequest,
    alert_only: CedarRequest,
}

impl Prepared {
    fn new(engine: &Engine, request: &DecisionRequest) -> Self {
        let at = |tier| engine.policies.prepare(request, tier);
        Self { automated: at(Tier::Automated), assisted: at(Tier::Assisted), alert_only: at(Tier::AlertOnly) }
    }

    fn at(&self, tier: Tier) -> &CedarRequest {
        match tier {
            Tier::Automated => &self.automated,
            Tier::Assisted => &self.assisted,
            Tier::AlertOnly => &self.alert_only,
        }
    }
}

/// How long `decide` takes, and what it yields to be taken down.
fn time<T>(now: fn() -> Instant, decide: impl FnOnce() -> T) -> Duration {
    let before = now();
    drop(black_box(decide()));
    now().duration_since(before)
}

/// One way to decide, and how long it took so far.
struct Contender<'a> {
    engine: &'static str,
    /// Decides; how long that took.
    decide: Box<dyn Fn(&DecisionRequest) -> Duration + 'a>,
    /// The request whose turn is next.
    next: usize,
    took: Duration,
    decisions: u32,
    samples: Vec<Duration>,
}

impl<'a> Contender<'a> {
    fn new(engine: &'static str, decide: impl Fn(&DecisionRequest) -> Duration + 'a) -> Self {
        Self { engine, decide: Box::new(decide), next: 0, took: Duration::ZERO, decisions: 0, samples: Vec::new() }
    }

    /// Decides one request after the other, from where it stopped, for [`TURN`].
    fn take_turn(&mut self, requests: &[DecisionRequest]) {
        let until = self.took + TURN;
        for request in requests.iter().cycle().skip(self.next) {
            let took = (self.decide)(request);
            self.took += took;
            self.decisions = self.decisions.saturating_add(1);
            self.next = (self.next + 1) % requests.len();
            if self.samples.len() < MAX_SAMPLES {
                self.samples.push(took);
            }
            if self.took >= until {
                return;
            }
        }
    }

    fn figures(mut self) -> Figures {
        self.samples.sort_unstable();
        let last = self.samples.len().saturating_sub(1);
        let at = |percent: usize| self.samples.get(last * percent / 100).map_or(0, Duration::as_nanos);
        let [p50_ns, p99_ns] = [50, 99].map(|percent| u64::try_from(at(percent)).unwrap_or(u64::MAX));
        let per_second = f64::from(self.decisions) / self.took.as_secs_f64();
        Figures { engine: self.engine, decisions: self.decisions, per_second, p50_ns, p99_ns }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "this measures time")]

    use shared::decision::ContainmentAction;

    use super::*;
    use crate::testing::{engine, request};

    #[test]
    fn every_way_to_decide_is_measured_on_requests_that_are_decided_alike() {
        let requests = ContainmentAction::ALL.map(request);
        let peer = Peer { engine: "another", tier: &|request| engine().decide(request).tier };
        let comparison = compare(&engine(), &[peer], &requests, Duration::ZERO, Instant::now).unwrap();
        assert_eq!((comparison.requests, comparison.figures.len()), (5, 4));
        for figures in &comparison.figures {
            assert!(figures.decisions > 0 && figures.per_second > 0.0, "{figures:?}");
            assert!(figures.p50_ns > 0 && figures.p50_ns <= figures.p99_ns, "{figures:?}");
            assert!(comparison.to_string().contains(figures.engine));
        }
    }

    #[test]
    fn a_peer_that_decides_otherwise_is_not_measured() {
        let peer = Peer { engine: "another", tier: &|_| Tier::AlertOnly };
        let differs =
            compare(&engine(), &[peer], &[request(ContainmentAction::Throttle)], Duration::ZERO, Instant::now);
        let error = differs.unwrap_err();
        assert_eq!(error.to_string(), "request 1 is decided as automated, by another as alert_only");
    }

    #[test]
    fn without_requests_there_is_nothing_to_measure() {
        let nothing = compare(&engine(), &[], &[], Duration::ZERO, Instant::now);
        assert!(matches!(nothing, Err(ComparisonError::NoRequest)));
    }
}
