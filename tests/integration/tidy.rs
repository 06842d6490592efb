//! The architecture as rules: who may import whom, who may name which heavy crate, and how files look.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Each package of ours with the packages it may depend on, dev-dependencies aside.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("shared", &[]),
    ("shared-crypto", &["shared"]),
    ("shared-privacy", &["shared"]),
    ("shared-model", &["shared"]),
    ("shared-store", &["shared"]),
    ("shared-wire", &["shared"]),
    // A transparency log is made of digests and signatures; a trait for SHA-256 would be ceremony.
    ("shared-audit", &["shared", "shared-crypto"]),
    ("shared-ops", &["shared"]),
    ("policy-as-code-cedar", &["shared"]),
    ("policy-as-code-rego", &["shared"]),
    (
        "policy-as-code",
        &[
            "shared",
            "shared-audit",
            "shared-crypto",
            "shared-ops",
            "shared-store",
            "policy-as-code-cedar",
            "policy-as-code-rego",
        ],
    ),
    (
        "coordinator",
        &[
            "shared",
            "shared-audit",
            "shared-crypto",
            "shared-ops",
            // Says what a task costs a participant; the participant's own ledger decides.
            "shared-privacy",
            "shared-store",
            "shared-wire",
            "policy-as-code",
        ],
    ),
    (
        "participant",
        &[
            "shared",
            "shared-audit",
            "shared-crypto",
            "shared-model",
            "shared-ops",
            "shared-privacy",
            "shared-store",
            "shared-wire",
            "policy-as-code",
        ],
    ),
];

/// Each heavy crate with the one package of ours that names it.
const NAMED_BY: &[(&str, &str)] = &[
    ("burn", "shared-model"),
    ("cedar-policy", "policy-as-code-cedar"),
    ("cedar-policy-symcc", "policy-as-code-cedar"),
    ("opendp", "shared-privacy"),
    ("prost", "shared-wire"),
    ("rcgen", "shared-crypto"),
    ("regorus", "policy-as-code-rego"),
    ("ring", "shared-crypto"),
    ("sled", "shared-store"),
    ("tonic", "shared-wire"),
];

const FOLDERS: &[&str] = &["coordinator", "participant", "shared", "policy-as-code", "tests", "examples", "target"];

/// Words that say nothing about what a file holds.
const VAGUE: &[&str] =
    &["util", "utils", "helper", "helpers", "common", "manager", "worker", "handler", "misc", "data"];

const MAX_LINES_BEFORE_TESTS: usize = 400;

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of_package = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let linked = dependencies.filter(|dependency| dependency["kind"] != "dev");
        let names = linked.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect();
        (package["name"].as_str().unwrap().to_owned(), names)
    };
    metadata["packages"].as_array().unwrap().iter().map(of_package).collect()
}

fn rust_files() -> Vec<PathBuf> {
    let output =
        Command::new("git").args(["ls-files", "-co", "--exclude-standard", "*.rs"]).current_dir(root()).output();
    let listed = String::from_utf8(output.unwrap().stdout).unwrap();
    let files: Vec<PathBuf> = listed.lines().map(|line| root().join(line)).filter(|path| path.exists()).collect();
    assert!(files.len() > 50, "git lists only {} files", files.len());
    files
}

#[test]
fn every_package_imports_only_what_the_design_allows() {
    let dependencies = dependencies();
    let ours: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    for (package, allowed) in MAY_IMPORT {
        let imported = dependencies.get(*package).unwrap_or_else(|| panic!("no package `{package}`"));
        let imported = imported.iter().map(String::as_str).filter(|name| ours.contains(name));
        let forbidden: Vec<&str> = imported.filter(|name| !allowed.contains(name)).collect();
        assert!(forbidden.is_empty(), "`{package}` must not import {forbidden:?}");
    }
    let ruled: BTreeSet<&str> = MAY_IMPORT.iter().map(|(package, _)| *package).chain(["tests", "examples"]).collect();
    assert_eq!(ours, ruled, "a package stands outside the rules");
}

#[test]
fn every_heavy_crate_is_named_by_one_package() {
    let dependencies = dependencies();
    for (heavy, owner) in NAMED_BY {
        let namers = dependencies.iter().filter(|(_, names)| names.contains(*heavy));
        let namers: Vec<&str> = namers.map(|(package, _)| package.as_str()).collect();
        assert_eq!(namers, [*owner], "`{heavy}`");
    }
}

#[test]
fn every_file_says_first_what_it_is_for() {
    for path in rust_files() {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} does not open with `//!`", path.display());
    }
}

#[test]
fn no_file_has_grown_because_nobody_split_it() {
    for path in rust_files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        assert!(lines <= MAX_LINES_BEFORE_TESTS, "{} has {lines} lines before its tests", path.display());
    }
}

#[test]
fn no_file_has_a_vague_name() {
    for path in rust_files() {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert!(!VAGUE.contains(&stem), "{}", path.display());
    }
}

#[test]
fn the_top_level_folders_are_the_agreed_ones() {
    for entry in std::fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let agreed = !entry.path().is_dir() || name.starts_with('.') || FOLDERS.contains(&name.as_str());
        assert!(agreed, "unexpected folder `{name}`");
    }
}

#[test]
fn every_package_takes_the_workspace_lints() {
    for package in MAY_IMPORT.iter().map(|(package, _)| *package).chain(["tests", "examples"]) {
        let nested = |parent: &str| Some(format!("{parent}/{}", package.strip_prefix(parent)?.strip_prefix('-')?));
        let folder = nested("shared").or_else(|| nested("policy-as-code")).unwrap_or_else(|| package.to_owned());
        let manifest = std::fs::read_to_string(root().join(&folder).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{folder}/Cargo.toml");
    }
}
