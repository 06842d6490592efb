//! Which playbooks are runnable, and that ours is one by the CACAO schema too.

use std::path::{Path, PathBuf};

use jsonschema::{Draft, Retrieve, Uri};
use serde_json::json;
use shared::Explain;

use super::*;

const SHIPPED: &str = include_str!("../../../playbooks/contain-account.json");
const THROTTLE: &str = "action--2b8d7c61-0d55-4e21-9a3b-5f3e7a9c4d02";
const DISABLE: &str = "action--4d7fa083-2f77-4a43-9c5d-7b5a9c1e6f24";
const END: &str = "end--5e80b194-3a88-4b54-ad6e-8c6bad2f7a35";

fn shipped() -> Value {
    serde_json::from_str(SHIPPED).unwrap()
}

fn step<'a>(playbook: &'a mut Value, id: &str) -> &'a mut Value {
    &mut playbook["workflow"][id]
}

fn extension_of(playbook: &mut Value) -> &mut Value {
    &mut playbook["workflow"][THROTTLE]["step_extensions"][EXTENSION_ID]
}

#[test]
fn the_shipped_playbook_throttles_then_ends_sessions_then_disables() {
    let playbook = Playbook::parse(SHIPPED).unwrap();
    let actions: Vec<&str> = playbook.on_success().iter().map(|step| step.extension.policy_action.as_str()).collect();
    assert_eq!(actions, ["throttle", "terminate_sessions", "disable_credential"]);
}

#[test]
fn what_is_not_carried_out_is_refused_by_name() {
    type Change = fn(&mut Value);
    let changes: [(&str, &str, Change); 18] = [
        ("playbook-unsupported", "workflow_exception", |book| book["workflow_exception"] = json!(END)),
        ("playbook-unsupported", "playbook_variables", |book| book["playbook_variables"] = json!({})),
        ("playbook-unsupported", "cacao-1.1", |book| book["spec_version"] = json!("cacao-1.1")),
        ("playbook-revoked", "revoked", |book| book["revoked"] = json!(true)),
        ("playbook-syntax", "three decimals", |book| book["modified"] = json!("2026-03-02T08:00:00Z")),
        ("playbook-syntax", "before", |book| book["modified"] = json!("2026-03-02T07:59:59.999Z")),
        ("playbook-missing", "start--", |book| {
            book["workflow_start"] = json!("start--00000000-0000-4000-8000-000000000000");
            book["workflow"].as_object_mut().unwrap().retain(|id, _| !id.starts_with("start"));
        }),
        ("playbook-missing", "extension-definition", |book| book["extension_definitions"] = json!({})),
        ("playbook-missing", "agent definition", |book| book["agent_definitions"] = json!({})),
        ("playbook-missing", "target definition", |book| book["target_definitions"] = json!({})),
        ("playbook-missing", "end--", |book| drop(book["workflow"].as_object_mut().unwrap().remove(END))),
        ("playbook-loop", THROTTLE, |book| step(book, DISABLE)["on_success"] = json!(THROTTLE)),
        ("playbook-unreached", "action--", |book| step(book, THROTTLE)["on_success"] = json!(END)),
        ("playbook-successors", THROTTLE, |book| step(book, THROTTLE)["on_completion"] = json!(END)),
        ("playbook-unsupported", "`delay`", |book| step(book, THROTTLE)["delay"] = json!(5)),
        ("playbook-extension", "does not carry", |book| step(book, THROTTLE)["step_extensions"] = json!({})),
        ("playbook-extension", "unknown field `until`", |book| extension_of(book)["until"] = json!("friday")),
        ("playbook-syntax", "`action--1`", |book| step(book, THROTTLE)["on_success"] = json!("action--1")),
    ];
    for (code, mention, change) in changes {
        let mut book = shipped();
        change(&mut book);
        let error = Playbook::parse(&book.to_string()).unwrap_err();
        assert_eq!(error.code(), code, "{mention}: {error}");
        assert!(error.to_string().contains(mention), "{mention}: {error}");
    }
}

#[test]
fn every_other_step_type_of_cacao_is_refused_with_its_name() {
    for kind in ["playbook-action", "parallel", "if-condition", "while-condition", "switch-condition"] {
        let mut book = shipped();
        let id = format!("{kind}--6f91c2a5-4b99-4c65-be7f-9d7cbe308b46");
        book["workflow"][&id] = json!({ "type": kind, "on_completion": END });
        let error = Playbook::parse(&book.to_string()).unwrap_err();
        assert_eq!(error, PlaybookError::Unsupported { what: format!("step type `{kind}`") });
    }
}

#[test]
fn an_extension_that_cannot_be_carried_out_is_refused() {
    for (field, value) in [
        ("postcondition", json!("login_refused")),
        ("policy_action", json!("rollback")),
        ("lease_ms", json!(10)),
        ("lease_ms", json!(u64::MAX)),
        ("retry", json!({ "attempts": 0, "backoff_ms": 0 })),
        ("retry", json!({ "attempts": 2, "backoff_ms": 100_000 })),
    ] {
        let mut book = shipped();
        extension_of(&mut book)[field] = value.clone();
        assert_eq!(Playbook::parse(&book.to_string()).unwrap_err().code(), "playbook-extension", "{field} {value}");
    }
}

/// Finds schemas under `root`: each is registered by its path, and names others relative to itself.
struct Folder(PathBuf);

impl Retrieve for Folder {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        schema(&self.0.join(uri.path().as_str().trim_start_matches('/')))
    }
}

/// The schema at `path`. Their `$id`s name folders, which is not how they refer to each other.
fn schema(path: &Path) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    let mut schema: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    schema.as_object_mut().ok_or("a schema is an object")?.remove("$id");
    Ok(schema)
}

fn data() -> Option<PathBuf> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let root = std::env::var_os("RINGFENCE_DATA").map_or(default, PathBuf::from).join("cacao");
    if root.is_dir() {
        return Some(root);
    }
    eprintln!("skipped: no CACAO schemas at {}; set RINGFENCE_DATA", root.display());
    None
}

#[test]
fn the_shipped_playbook_is_valid_by_the_schemas_of_cacao() {
    let Some(data) = data() else { return };
    let schemas = data.join("schemas");
    let validator = jsonschema::options()
        .with_draft(Draft::Draft7)
        .with_base_uri("json-schema:///playbook.json")
        .with_retriever(Folder(schemas.clone()))
        .build(&schema(&schemas.join("playbook.json")).unwrap())
        .unwrap();
    let example = data.join("oasis-examples/Examples_CACAO-2.0_basic-example-1.json");
    let example: Value = serde_json::from_str(&std::fs::read_to_string(example).unwrap()).unwrap();
    assert!(validator.is_valid(&example), "the schemas accept the example of OASIS");
    let problems: Vec<String> = validator.iter_errors(&shipped()).map(|error| error.to_string()).collect();
    assert_eq!(problems, Vec::<String>::new());
    let mut broken = shipped();
    step(&mut broken, THROTTLE)["agent"] = json!("nobody");
    assert!(!validator.is_valid(&broken), "the schemas refuse a broken step");
}

#[test]
fn playbooks_of_others_are_refused_for_what_they_lack() {
    let Some(data) = data() else { return };
    for file in ["Examples_CACAO-2.0_basic-example-1.json", "Examples_CACAO-2.0_spec-3.1-example.json"] {
        let text = std::fs::read_to_string(data.join("oasis-examples").join(file)).unwrap();
        let code = Playbook::parse(&text).unwrap_err().code();
        assert!(["playbook-missing", "playbook-unsupported"].contains(&code), "{file}: {code}");
    }
}
