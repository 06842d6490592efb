//! The documents tell the truth: what they name exists, and what they promise is listed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use shared::invariant::Invariant;

use crate::process::{binary, say};
use crate::tidy::root;

const DOCUMENTS: &[&str] = &["README.md", "ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md"];

fn read(document: &str) -> String {
    std::fs::read_to_string(root().join(document)).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// Texts between backticks that look like paths within the repository.
fn named_paths(document: &str) -> Vec<PathBuf> {
    let text = read(document);
    let quoted = text.split('`').skip(1).step_by(2);
    let is_path = |text: &&str| {
        let folders = ["shared/", "participant/", "coordinator/", "policy-as-code/", "tests/", "examples/"];
        folders.iter().any(|folder| text.starts_with(folder)) && !text.contains([' ', '*', '{', '\n', '<'])
    };
    let without_item = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
    quoted.filter(is_path).map(without_item).map(PathBuf::from).collect()
}

#[test]
fn every_path_that_a_document_names_exists() {
    for document in DOCUMENTS {
        for path in named_paths(document) {
            assert!(root().join(&path).exists(), "{document} names `{}`", path.display());
        }
    }
}

#[test]
fn every_promise_that_code_counts_is_explained_in_the_architecture() {
    let architecture = read("ARCHITECTURE.md");
    for invariant in Invariant::ALL {
        assert!(architecture.contains(invariant.as_str()), "ARCHITECTURE.md lacks `{}`", invariant.as_str());
    }
}

#[test]
fn the_readme_gives_the_two_commands() {
    let readme = read("README.md");
    for command in ["cargo run --release -p examples --bin quickstart", "tests/run"] {
        assert!(readme.contains(command), "README.md lacks `{command}`");
    }
}

/// Every target of the workspace of that kind (`bin`, `example`), with its package.
fn targets(kind: &str) -> BTreeSet<(String, String)> {
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of_package = |package: &Value| {
        let targets = package["targets"].as_array().unwrap().clone().into_iter();
        let of_kind = targets.filter(|target| target["kind"][0] == kind);
        let name = text(&package["name"]);
        of_kind.map(|target| (name.clone(), text(&target["name"]))).collect::<Vec<_>>()
    };
    metadata["packages"].as_array().unwrap().iter().flat_map(of_package).collect()
}

/// Every file of the repository whose name is that of a binary of ours, with the ending `.toml`.
fn sample_configs() -> Vec<PathBuf> {
    let arguments = ["ls-files", "-co", "--exclude-standard", "ringfence-*.toml", "*/ringfence-*.toml"];
    let output = Command::new("git").args(arguments).current_dir(root()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(|line| root().join(line)).collect()
}

#[test]
fn every_binary_explains_itself_and_its_exit_statuses() {
    let binaries = targets("bin");
    let ours: Vec<&String> =
        binaries.iter().map(|(_, name)| name).filter(|name| name.starts_with("ringfence-")).collect();
    assert_eq!(ours.len(), 3, "{ours:?}");
    for name in ours {
        let said = say(Command::new(binary(name)).arg("--help"), &[]);
        assert_eq!(said.status, Some(0), "{name}: {said:?}");
        for part in ["Usage:", "Exit status:", "config", "serve"] {
            assert!(said.text.contains(part), "`{name} --help` lacks `{part}`");
        }
        assert_eq!(say(Command::new(binary(name)).arg("--nonsense"), &[]).status, Some(2), "{name}");
    }
}

#[test]
fn every_sample_configuration_is_valid() {
    let samples = sample_configs();
    assert!(!samples.is_empty());
    for sample in samples {
        let name = sample.file_stem().unwrap().to_str().unwrap();
        let said = say(Command::new(binary(name)).arg("--config").arg(&sample).args(["config", "validate"]), &[]);
        assert_eq!(said.status, Some(0), "{}: {}", sample.display(), said.text);
    }
}

/// How many targets `cargo run` with these words could mean: it runs only if that is one.
fn meant_by(words: &[&str]) -> usize {
    let after = |flag: &str| words.windows(2).find(|pair| pair[0] == flag).map(|pair| pair[1]);
    let (kind, name) = match after("--example") {
        Some(example) => ("example", Some(example)),
        None => ("bin", after("--bin")),
    };
    let fits = |package: &str, target: &str| Some(package) == after("-p") && name.is_none_or(|name| name == target);
    targets(kind).iter().filter(|(package, target)| fits(package, target)).count()
}

#[test]
fn every_cargo_command_that_a_document_gives_names_something_to_run() {
    for document in DOCUMENTS {
        let text = read(document);
        for command in text.split("cargo run").skip(1) {
            let words: Vec<&str> = command.lines().next().unwrap().split([' ', '`']).collect();
            assert_eq!(meant_by(&words), 1, "{document}: `cargo run{}`", words.join(" "));
        }
    }
}
