//! What proofs cost: the shipped policies and a set of 241, anew and remembered, beside Cedar's symbolic compiler asked
//! plainly, check by check, as its own command line does.
//!
//! `cargo bench -p policy-as-code-cedar --bench prove`; needs cvc5.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be taken ends with the reason")]

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cedar_policy::{PolicyId, RequestEnv, Schema};
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicy, CompiledPolicySet};
use policy_as_code_cedar::{Bound, Holder, Outcome, PolicySet, Proof, Solver, SolverConfig, Source};
use shared::time::ManualClock;
use shared::{Digest, Timestamp};

const REPETITIONS: usize = 5;
const LARGE: usize = 241;

fn main() {
    let shipped = sources("policies");
    let count = parse(&shipped).places().len();
    report("shipped", &shipped);
    let large: Vec<Source> = shipped.into_iter().chain([generated(LARGE - count)]).collect();
    report("generated", &large);
}

fn report(name: &str, policies: &[Source]) {
    let set = parse(policies);
    println!("{name}: {} policies, {} environments", set.places().len(), set.environments().len());
    let anew = fastest(|| prove(&set, solver()));
    println!("  anew        {:>8.1} ms, {} queries asked", anew.0, anew.1.queries.asked);
    let known = anew.1.queries.proven;
    let again = fastest(|| prove(&set, solver().knowing(known.clone())));
    println!("  remembered  {:>8.1} ms, {} queries asked", again.0, again.1.queries.asked);
    let plain = fastest(|| plainly(policies));
    println!("  symcc       {:>8.1} ms, {} checks", plain.0, plain.1);
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
fn fastest<T>(work: impl Fn() -> T) -> (f64, T) {
    let timed = |_| {
        let started = Instant::now();
        let result = work();
        (started.elapsed().as_secs_f64() * 1e3, result)
    };
    (0..REPETITIONS).map(timed).min_by(|one, other| one.0.total_cmp(&other.0)).unwrap()
}

fn prove(set: &PolicySet, solver: Solver) -> Proof {
    let proof =
        set.prove(&parse(&sources("invariants/never")), &parse(&sources("invariants/always")), &bounds(), &solver);
    let proof = proof.unwrap();
    let proven = |verdict: &policy_as_code_cedar::Verdict| {
        verdict.findings.iter().all(|finding| finding.outcome == Outcome::Proven)
    };
    assert!(proof.verdicts.iter().all(proven));
    proof
}

fn solver() -> Solver {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let program = PathBuf::from("cvc5");
    Solver::find(SolverConfig { program, time_limit: Duration::from_secs(60), processes: 2, clock, digest }).unwrap()
}

fn digest(text: &[u8]) -> Digest {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&hasher.finish().to_le_bytes());
    Digest(bytes)
}

/// The ranges of `schema/domain.toml`.
fn bounds() -> Vec<Bound> {
    let text = fs::read_to_string(root().join("schema/domain.toml")).unwrap();
    let mut numbers = text.split('[').skip(1).map(|part| {
        let (name, range) = part.split_once(']').unwrap();
        let bound = |key: &str| range.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok()).unwrap();
        let (owner, name) = name.split_once('.').unwrap();
        let holder = if owner == "release" { Holder::Release } else { Holder::Context };
        Bound { holder, name: String::leak(name.to_owned()), min: bound("min ="), max: bound("max =") }
    });
    numbers.by_ref().collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(folder: &str) -> Vec<Source> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "cedar")).collect();
    paths.sort();
    let read = |path: &PathBuf| Source { path: path.display().to_string(), text: fs::read_to_string(path).unwrap() };
    paths.iter().map(read).collect()
}

fn schema() -> Source {
    let path = root().join("schema/ringfence.cedarschema");
    Source { text: fs::read_to_string(&path).unwrap(), path: path.display().to_string() }
}

fn parse(policies: &[Source]) -> PolicySet {
    PolicySet::parse(&schema(), policies).unwrap()
}

/// Policies as teams would add them: exceptions by owner, by environment, by tag.
fn generated(count: usize) -> Source {
    let policy = |number: usize| {
        let score = 9_000 + number;
        match number % 3 {
            0 => format!(
                "@id(\"team.{number}\") forbid (principal is Ringfence::Release, action in \
                 Ringfence::Action::\"contain\", resource) when {{ context.tier == Ringfence::Tier::\"automated\" && \
                 resource.owner == \"team-{number}\" && context.score_bp < {score} }};\n"
            ),
            1 => format!(
                "@id(\"zone.{number}\") forbid (principal, action in Ringfence::Action::\"contain\", resource) when {{ \
                 context.tier == Ringfence::Tier::\"automated\" && resource.hasTag(\"zone\") && \
                 resource.getTag(\"zone\") like \"dmz-{number}-*\" && \
                 context.active_containments > {number} }};\n"
            ),
            _ => format!(
                "@id(\"environment.{number}\") permit (principal is Ringfence::Release, action == \
                 Ringfence::Action::\"throttle\", resource) when {{ context.tier == Ringfence::Tier::\"automated\" && \
                 resource.environment == \"lab-{number}\" && context.score_bp >= {score} && \
                 context.false_positive_rate_bp <= 50 }};\n"
            ),
        }
    };
    Source { path: "generated.cedar".to_owned(), text: (0..count).map(policy).collect() }
}

/// Every check by itself, in one process of the solver, without a domain; how many there were.
fn plainly(policies: &[Source]) -> usize {
    let (schema, _) = Schema::from_cedarschema_str(&schema().text).unwrap();
    let set = cedar(policies);
    let (never, always) = (cedar(&sources("invariants/never")), cedar(&sources("invariants/always")));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut compiler = CedarSymCompiler::new(LocalSolver::cvc5().unwrap()).unwrap();
        let mut checks = 0;
        for env in schema.request_envs() {
            let compiled = CompiledPolicySet::compile(&set, &env, &schema).unwrap();
            for policy in set.policies() {
                let policy = CompiledPolicy::compile(policy, &env, &schema).unwrap();
                assert!(compiler.check_never_errors_opt(&policy).await.unwrap());
                checks += 1;
            }
            for policy in never.policies() {
                let asked = alone(policy, &env, &schema);
                assert!(compiler.check_disjoint_opt(&compiled, &asked).await.unwrap());
                checks += 1;
            }
            for policy in always.policies() {
                let asked = alone(policy, &env, &schema);
                assert!(compiler.check_implies_opt(&asked, &compiled).await.unwrap());
                checks += 1;
            }
        }
        checks
    })
}

fn alone(policy: &cedar_policy::Policy, env: &RequestEnv, schema: &Schema) -> CompiledPolicySet {
    CompiledPolicy::compile(policy, env, schema).unwrap().into_compiled_policyset()
}

fn cedar(sources: &[Source]) -> cedar_policy::PolicySet {
    let mut set = cedar_policy::PolicySet::new();
    for source in sources {
        for policy in source.text.parse::<cedar_policy::PolicySet>().unwrap().policies() {
            set.add(policy.new_id(PolicyId::new(policy.annotation("id").unwrap()))).unwrap();
        }
    }
    set
}
