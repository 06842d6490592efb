//! How policies are laid out: as the public Cedar command line lays them out, so that a change shows what it changes.

use cedar_policy_formatter::{Config, policies_str_to_pretty};

use crate::{CedarError, Place, Source};

/// The policies of a file as `cedar format` writes them.
pub fn formatted(source: &Source) -> Result<String, CedarError> {
    policies_str_to_pretty(&source.text, &Config::default()).map_err(|error| CedarError::Syntax {
        place: Place { path: source.path.clone(), line: None },
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(text: &str) -> Result<String, CedarError> {
        formatted(&Source { path: "a.cedar".to_owned(), text: text.to_owned() })
    }

    #[test]
    fn comments_stay_and_what_is_laid_out_stays_as_it_is() {
        let text = "// Why.\n@id(\"a\") permit (principal,action,resource) when{context.a>1};\n";
        let once = laid_out(text).unwrap();
        assert!(once.starts_with("// Why.\n@id(\"a\")\npermit (principal, action, resource)\nwhen"), "{once}");
        assert_eq!(laid_out(&once).unwrap(), once);
        assert!(laid_out("permit (").unwrap_err().to_string().contains("a.cedar"));
    }
}
