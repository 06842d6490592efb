//! What the binaries say on a terminal: results on standard output, all else on standard error, for people or as JSON.
//!
//! Every error that leaves a binary has a code, a hint and an exit status. A [`Failure`] carries them; `?` makes one of
//! any [`Explain`], and [`finish`] finds it again below whatever context was laid upon it.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;
use shared::Explain;

use crate::problem::Problem;

/// How results and errors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// As JSON, one object a line.
    Json,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Done,
    /// It failed.
    Failed,
    /// It was asked wrongly: command line or configuration.
    Usage,
    /// A policy, a signature or a proof refused what was asked.
    Refused,
    /// It was interrupted.
    Interrupted,
}

impl Exit {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Done, Self::Failed, Self::Usage, Self::Refused, Self::Interrupted];

    /// The exit status.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Interrupted => 130,
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "wrong command line or configuration",
            Self::Refused => "refused by a policy, a signature or a proof",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The exit statuses as `--help` shows them: `#[command(after_help = cli::exit_help())]`.
pub fn exit_help() -> String {
    let lines = Exit::ALL.map(|exit| format!("  {:>3}  {}", exit.code(), exit.meaning()));
    format!("Exit status:\n{}", lines.join("\n"))
}

/// An error with all that its reader needs.
#[derive(Debug)]
pub struct Failure {
    code: String,
    hint: String,
    exit: Exit,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// A failure of an error that cannot explain itself, such as one of the system.
    pub fn new(code: &str, hint: &str, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let exit = if code.starts_with("config-") { Exit::Usage } else { Exit::Failed };
        Self { code: code.to_owned(), hint: hint.to_owned(), exit, error: error.into() }
    }

    /// The failure, ending the process as `exit` says.
    #[must_use]
    pub fn exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }
}

/// Errors whose code begins with `config-` end the process with [`Exit::Usage`], all others with [`Exit::Failed`].
impl<E: Explain + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let (code, hint) = (error.code(), error.hint());
        Self::new(code, hint, error)
    }
}

/// What a server answered, told as our own failure.
impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::new(&problem.code, &problem.hint, problem.detail)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Ends `main`: writes the error, if there is one, to standard error and gives the exit status.
pub fn finish(result: Result<(), impl Into<anyhow::Error>>, format: Format) -> ExitCode {
    let exit = match result.map_err(Report::new) {
        Ok(()) => Exit::Done,
        Err(report) => {
            // Nobody is left to be told when standard error is closed.
            let _ = writeln!(io::stderr(), "{}", report.text(format));
            report.exit
        }
    };
    ExitCode::from(exit.code())
}

/// Writes a result to standard output, for people or as a line of JSON. A reader that has gone away is no error.
pub fn print<T: Serialize + fmt::Display>(value: &T, format: Format) -> io::Result<()> {
    let text = match format {
        Format::Human => value.to_string(),
        Format::Json => serde_json::to_string(value)?,
    };
    match writeln!(io::stdout(), "{}", text.trim_end_matches('\n')) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// An error as it is told.
#[derive(Debug, Serialize)]
struct Report {
    code: String,
    message: String,
    causes: Vec<String>,
    hint: String,
    #[serde(skip)]
    exit: Exit,
}

impl Report {
    fn new(error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        let (code, hint, exit) = match error.downcast_ref::<Failure>() {
            Some(failure) => (failure.code.as_str(), failure.hint.as_str(), failure.exit),
            None => ("unexpected", "run again with the environment variable `RUST_LOG=debug`", Exit::Failed),
        };
        let (code, hint) = (code.to_owned(), hint.to_owned());
        Self { code, message: error.to_string(), causes: causes(&error), hint, exit }
    }

    fn text(&self, format: Format) -> String {
        match format {
            Format::Human => self.to_string(),
            Format::Json => serde_json::json!({ "error": self }).to_string(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, "\n  caused by: {cause}"))?;
        write!(f, "\n  hint: {}", self.hint)
    }
}

/// The causes below an error, without those that the message above them tells already.
fn causes(error: &anyhow::Error) -> Vec<String> {
    let messages: Vec<String> = error.chain().map(ToString::to_string).collect();
    let pairs = messages.iter().zip(messages.iter().skip(1));
    pairs.filter(|(above, cause)| !above.contains(*cause)).map(|(_, cause)| cause.clone()).collect()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use axum::http::StatusCode;

    use super::*;
    use crate::config::ConfigError;
    use crate::problem::RequestError;

    #[derive(Debug, thiserror::Error)]
    #[error("the ledger is spent")]
    struct Spent {
        #[source]
        cause: io::Error,
    }

    impl Explain for Spent {
        fn code(&self) -> &'static str {
            "ledger-spent"
        }

        fn hint(&self) -> &'static str {
            "raise the budget"
        }
    }

    fn spend() -> Result<(), Failure> {
        Err(Spent { cause: io::Error::other("no more") })?;
        Ok(())
    }

    fn told(error: impl Into<anyhow::Error>, format: Format) -> (String, u8) {
        let report = Report::new(error);
        (report.text(format), report.exit.code())
    }

    #[test]
    fn an_error_is_told_with_code_causes_and_hint() {
        let human = "error[ledger-spent]: the ledger is spent\n  caused by: no more\n  hint: raise the budget";
        assert_eq!(told(spend().unwrap_err(), Format::Human), (human.to_owned(), 1));
        let json = r#"{"error":{"code":"ledger-spent","message":"the ledger is spent","causes":["no more"],"#
            .to_owned()
            + r#""hint":"raise the budget"}}"#;
        let (text, _) = told(spend().unwrap_err(), Format::Json);
        assert_eq!(text.parse::<serde_json::Value>().unwrap(), json.parse::<serde_json::Value>().unwrap());
        assert!(!text.contains('\n'));
    }

    #[test]
    fn context_upon_a_failure_hides_neither_code_nor_hint() {
        let error = spend().context("task `t-1` was not joined").context("round 3").unwrap_err();
        let human = "error[ledger-spent]: round 3\n  caused by: task `t-1` was not joined\n  \
                     caused by: the ledger is spent\n  caused by: no more\n  hint: raise the budget";
        assert_eq!(told(error, Format::Human).0, human);
    }

    #[test]
    fn an_error_that_nobody_explained_still_has_a_hint() {
        let error = anyhow::Error::from(io::Error::other("no more"));
        let human = "error[unexpected]: no more\n  hint: run again with the environment variable `RUST_LOG=debug`";
        assert_eq!(told(error, Format::Human), (human.to_owned(), 1));
    }

    #[test]
    fn the_exit_status_tells_usage_from_refusal_from_failure() {
        let config = ConfigError::Undumpable("x".to_owned());
        assert_eq!(told(Failure::from(config), Format::Human).1, 2);
        assert_eq!(told(spend().unwrap_err().exit(Exit::Refused), Format::Human).1, 3);
        let expected = "Exit status:\n    0  done\n    1  failed\n    2  wrong command line or configuration\n    \
                        3  refused by a policy, a signature or a proof\n  130  interrupted";
        assert_eq!(exit_help(), expected);
    }

    #[test]
    fn the_problem_of_a_server_is_told_like_an_error_of_our_own() {
        let problem = Problem::new(StatusCode::UNAUTHORIZED, &RequestError::TokenMissing);
        let human = "error[token-missing]: the request bears no token\n  \
                     hint: send the header `authorization: Bearer TOKEN`";
        assert_eq!(told(Failure::from(problem), Format::Human).0, human);
    }
}
