//! Answers decision requests from a file, or measures how fast they are answered beside plain Cedar.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use shared::Digest;
use shared::decision::{Decision, DecisionRequest};
use shared::detection::Tier;
use shared_ops::cli::{Exit, Failure, Format, print};

use crate::PolicyError;
use crate::decide::Engine;
use crate::decide::comparison::compare;
use crate::repository::Repository;

/// How many requests `--bench` reads.
const MAX_REQUESTS: usize = 1_000_000;

/// What to ask.
#[derive(Debug, Args)]
pub(super) struct Requests {
    /// Decision requests as JSON, one after the other; `-` for standard input
    #[arg(long, value_name = "FILE")]
    requests: PathBuf,
    /// Decide all of them, see that plain Cedar decides alike, and measure both
    #[arg(long)]
    bench: bool,
    /// How long each is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 3, requires = "bench")]
    seconds: u64,
}

/// A decision in one line.
#[derive(Serialize)]
struct Answer {
    tier: Tier,
    policies: Vec<String>,
    errors: Vec<String>,
    bundle: Digest,
}

impl From<Decision> for Answer {
    fn from(decision: Decision) -> Self {
        let errors = decision.answers.iter().flat_map(|answer| answer.errors.clone()).collect();
        let policies = decision.answers.last().map(|answer| answer.policies.clone()).unwrap_or_default();
        Self { tier: decision.tier, policies, errors, bundle: decision.bundle }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.tier, self.policies.join(", "))?;
        self.errors.iter().try_for_each(|error| write!(f, "\n  narrowed: {error}"))
    }
}

pub(super) fn decide(
    repo: &Path,
    site: Option<&str>,
    requests: &Requests,
    format: Format,
) -> Result<(), anyhow::Error> {
    let engine = Repository::read(repo).and_then(|repository| Engine::new(&repository, site)).map_err(Failure::from)?;
    let asked = read(&requests.requests)?;
    if requests.bench {
        return bench(&engine, asked, Duration::from_secs(requests.seconds), format);
    }
    for request in asked {
        print(&Answer::from(engine.decide(&request?)), format)?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this measures time")]
fn bench(
    engine: &Engine,
    requests: impl Iterator<Item = Result<DecisionRequest, Failure>>,
    each: Duration,
    format: Format,
) -> Result<(), anyhow::Error> {
    let requests = requests.take(MAX_REQUESTS).collect::<Result<Vec<_>, _>>()?;
    let comparison = compare(engine, &[], &requests, each, Instant::now).map_err(Failure::from)?;
    Ok(print(&comparison, format)?)
}

/// The requests in the file at `path`.
fn read(path: &Path) -> Result<impl Iterator<Item = Result<DecisionRequest, Failure>>, Failure> {
    let refused = |error| {
        let hint = "write each request as the example in `/openapi.json`";
        Failure::new("decide-request", hint, error).exit(Exit::Usage)
    };
    let input = BufReader::new(open(path)?);
    Ok(serde_json::Deserializer::from_reader(input).into_iter().map(move |request| request.map_err(refused)))
}

fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let unreadable =
        |error: io::Error| PolicyError::Read { path: path.display().to_string(), reason: error.to_string() };
    Ok(Box::new(std::fs::File::open(path).map_err(unreadable)?))
}
