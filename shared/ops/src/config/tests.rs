//! What the layers promise, on a configuration as a binary would have it.

use serde::Deserialize;

use super::*;
use crate::Secret;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    name: String,
    admin: Admin,
    rounds: Rounds,
    sources: Vec<Source>,
    target: Target,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Target {
    #[default]
    Nothing,
    Server {
        url: String,
    },
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Admin {
    token: Option<Secret>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Rounds {
    quorum: u32,
    deadline_secs: u32,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { quorum: 2, deadline_secs: 600 }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    path: String,
}

const FILE: &str = "name = 'site'\n\n[rounds]\nquorum = 3\n\n[[sources]]\npath = 'a'\n";

fn read(file: &str, environment: &[(&str, &str)], flags: &str) -> Result<Config, ConfigError> {
    let file = ConfigFile::parse("ringfence.toml".to_owned(), file.to_owned())?;
    let variables = environment.iter().filter_map(|(name, text)| Variable::new("RF", name, text)).collect();
    Layers::new(Some(file), variables, flags.parse().unwrap()).read()
}

#[test]
fn each_layer_overrides_the_one_before_it_field_by_field() {
    assert_eq!(read("", &[], "").unwrap(), Config::default());
    let config = read(FILE, &[("RF__ROUNDS__QUORUM", "4"), ("RF__NAME", "north")], "rounds.quorum = 5").unwrap();
    let rounds = Rounds { quorum: 5, deadline_secs: 600 };
    let expected = Config {
        name: "north".to_owned(),
        rounds,
        sources: vec![Source { path: "a".to_owned() }],
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn a_variable_is_read_as_its_field_wants_it() {
    let token = |text| read("", &[("RF__ADMIN__TOKEN", text)], "").unwrap().admin.token.unwrap();
    for text in ["12345678", "true", "2026-03-02", "[1]", "a=b", "plain"] {
        assert_eq!(token(text).expose(), text);
    }
    let list = read(FILE, &[("RF__SOURCES", "[{ path = 'b' }]")], "").unwrap();
    assert_eq!(list.sources, [Source { path: "b".to_owned() }]);
    assert_eq!(read("", &[("RF_CONFIG", "x"), ("PATH", "y"), ("RFX__NAME", "z")], "").unwrap(), Config::default());
}

/// File, environment, flags, and the error.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, String);

#[test]
fn an_error_says_where_what_and_what_would_be_right() {
    let known_rounds = "unknown field `qorum`, expected `quorum` or `deadline_secs`";
    let cases: [Case; 15] = [
        (
            "name = 'x'\n[rounds]\n  qorum = 3\n",
            &[],
            "",
            format!("`ringfence.toml` line 3, column 3: `rounds.qorum`: {known_rounds}"),
        ),
        (
            "rouns = 3",
            &[],
            "",
            "`ringfence.toml` line 1, column 1: `rouns`: unknown field `rouns`, \
             expected one of `name`, `admin`, `rounds`, `sources`, `target`"
                .to_owned(),
        ),
        (
            "[[sources]]\npath = 'a'\n[[sources]]\npath = 5\n",
            &[],
            "",
            "`ringfence.toml` line 4, column 1: `sources.[1].path`: invalid type: integer `5`, expected a string"
                .to_owned(),
        ),
        (
            "\nname = \n",
            &[],
            "",
            "`ringfence.toml` line 2, column 8: string values must be quoted, expected literal string".to_owned(),
        ),
        (
            FILE,
            &[("RF__ROUNDS__QORUM", "3")],
            "",
            format!("environment variable `RF__ROUNDS__QORUM`: `rounds.qorum`: {known_rounds}"),
        ),
        (
            FILE,
            &[("RF__ROUNDS__QUORUM", "-3")],
            "",
            "environment variable `RF__ROUNDS__QUORUM`: `rounds.quorum`: invalid value: integer `-3`, expected u32"
                .to_owned(),
        ),
        (
            FILE,
            &[("RF__ROUNDS__QUORUM", "many")],
            "",
            "environment variable `RF__ROUNDS__QUORUM`: `rounds.quorum`: invalid type: string \"many\", expected u32"
                .to_owned(),
        ),
        (
            FILE,
            &[("RF__ROUND__QUORUM", "3")],
            "",
            "environment variable `RF__ROUND__QUORUM`: `round`: unknown field `round`, \
             expected one of `name`, `admin`, `rounds`, `sources`, `target`"
                .to_owned(),
        ),
        (
            FILE,
            &[("RF__NAME__FIRST", "x")],
            "",
            "environment variable `RF__NAME__FIRST`: `name.first`: `name` is no section".to_owned(),
        ),
        (FILE, &[], "rounds.qorum = 3", format!("command line: `rounds.qorum`: {known_rounds}")),
        (
            FILE,
            &[("RF__ADMIN__TOKEN__FILE", "/nowhere")],
            "",
            "environment variable `RF__ADMIN__TOKEN__FILE`: `admin.token`: the secret's file `/nowhere` cannot be \
             read: No such file or directory (os error 2)"
                .to_owned(),
        ),
        (
            "\ntarget = 'moon'",
            &[],
            "",
            "`ringfence.toml` line 2, column 1: `target`: unknown variant `moon`, expected `nothing` or `server`"
                .to_owned(),
        ),
        (
            "[target.server]\nurl = 'x'\n  port = 1",
            &[],
            "",
            "`ringfence.toml` line 3, column 3: `target.server.port`: unknown field `port`, expected `url`".to_owned(),
        ),
        (
            "[target.server]",
            &[],
            "",
            "`ringfence.toml` line 1, column 9: `target.server`: missing field `url`".to_owned(),
        ),
        (
            FILE,
            &[("RF__ROUNDS__DEADLINE__SECS", "1")],
            "",
            "environment variable `RF__ROUNDS__DEADLINE__SECS`: `rounds.deadline`: unknown field `deadline`, \
             expected `quorum` or `deadline_secs`"
                .to_owned(),
        ),
    ];
    for (file, environment, flags, expected) in cases {
        assert_eq!(read(file, environment, flags).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_file_that_is_not_there_is_an_error_by_its_name() {
    let error = load::<Config>(Some(Path::new("/nowhere/ringfence.toml")), "RF", toml::Table::new()).unwrap_err();
    assert_eq!(error.code(), "config-unreadable");
    assert!(error.to_string().contains("`/nowhere/ringfence.toml`"), "{error}");
}

#[test]
fn a_dump_without_secrets_reads_back_as_the_same_configuration() {
    let config = read(FILE, &[], "").unwrap();
    assert_eq!(read(&dump(&config).unwrap(), &[], "").unwrap(), config);
    let with_secret = read(FILE, &[("RF__ADMIN__TOKEN", "hunter2")], "").unwrap();
    let dumped = dump(&with_secret).unwrap();
    assert!(dumped.contains("token = \"[redacted]\"") && !dumped.contains("hunter2"), "{dumped}");
}
