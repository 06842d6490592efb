//! What replaying recorded decisions costs: reading them, and asking two versions of the shipped policies. Run with
//! `cargo bench -p policy-as-code --bench replay -- [DECISIONS] [FILE]`; a file that is named is kept. Nothing is
//! asserted.

mod site;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use policy_as_code::decide::Engine;
use policy_as_code::replay::{Replay, Settings, Versions, replay};
use policy_as_code::repository::Repository;
use shared::Timestamp;

use self::site::Site;

const DECISIONS: u64 = 20_000;
const SEED: u64 = 1;

fn main() -> Result<(), anyhow::Error> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let decisions = arguments.first().map_or(Ok(DECISIONS), |number| number.parse())?;
    let folder = tempfile::tempdir()?;
    let file = arguments.get(1).map_or_else(|| folder.path().join("decisions.jsonl"), PathBuf::from);
    let base = Engine::new(&Repository::read(Path::new(env!("CARGO_MANIFEST_DIR")))?, None)?;
    let head = Engine::new(&stricter()?, None)?;
    let took = timed(|| write(&file, &base, decisions))?.1;
    let megabytes = std::fs::metadata(&file)?.len() / 1_000_000;
    println!("{decisions} decisions in {megabytes} MB, written in {took:.1?}");
    for threads in [1, 2] {
        // As of then no decision counts: they are read, and nobody is asked.
        report("read", threads, || run(&base, &head, &file, Timestamp::EPOCH, threads))?;
        report("read and asked twice", threads, || run(&base, &head, &file, Timestamp::MAX, threads))?;
    }
    Ok(())
}

fn stricter() -> Result<Repository, anyhow::Error> {
    let shipped = Repository::read(Path::new(env!("CARGO_MANIFEST_DIR")))?;
    let folders = ["policies", "schema", "invariants", "playbooks"].into_iter();
    let files = folders.flat_map(|folder| shipped.folder(folder));
    let changed = files.map(|file| (file.path, file.text.replace("score_bp >= 8500", "score_bp >= 9000")));
    Ok(Repository::from_files(changed))
}

fn write(file: &Path, engine: &Engine, decisions: u64) -> Result<(), anyhow::Error> {
    let mut output = BufWriter::new(File::create(file)?);
    let mut site = Site::new(engine, SEED)?;
    let mut written = 0;
    while written < decisions {
        for line in site.run()? {
            written += u64::from(line.contains("\"kind\":\"decision\"}"));
            writeln!(output, "{line}")?;
        }
    }
    Ok(output.flush()?)
}

fn run(base: &Engine, head: &Engine, file: &Path, as_of: Timestamp, threads: usize) -> Result<Replay, anyhow::Error> {
    let threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
    let settings = Settings { as_of, days: None, skip_damaged: false, threads };
    Ok(replay(Versions { base, head }, &[file.to_owned()], settings, &|_| {})?)
}

fn report(
    what: &str,
    threads: usize,
    work: impl FnOnce() -> Result<Replay, anyhow::Error>,
) -> Result<(), anyhow::Error> {
    let (found, took) = timed(work)?;
    let decisions = found.decisions + found.outside;
    let rate = u128::from(decisions) * 1_000_000 / took.as_micros().max(1);
    println!("{what}, {threads} threads: {took:.2?}, {rate} decisions/s");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this measures time")]
fn timed<T>(work: impl FnOnce() -> Result<T, anyhow::Error>) -> Result<(T, Duration), anyhow::Error> {
    let before = Instant::now();
    Ok((work()?, before.elapsed()))
}
