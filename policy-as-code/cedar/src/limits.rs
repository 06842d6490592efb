//! How large a policy set may be. A source is looked over before it is parsed: Cedar's parser takes whatever depth it is
//! given, and a stack that overflows ends the process.
//!
//! It counts brackets and operators; it does not judge whether they make sense.

use crate::{CedarError, Source};

/// How many policies a set may have.
pub(crate) const MAX_POLICIES: usize = 10_000;
/// How long a source may be, in bytes: it is parsed whole before its policies can be counted.
const MAX_SOURCE: usize = 1024 * 1024;
/// How deep brackets may be nested.
const MAX_BRACKETS: usize = 64;
/// How many operators one policy may have. Each may be an operand of the next, so that this bounds the depth as well.
const MAX_OPERATORS: usize = 500;

/// Refuses a source that is too large, or holds a policy that is.
pub(crate) fn check(source: &Source) -> Result<(), CedarError> {
    let too_large = |what, limit| Err(CedarError::TooLarge { path: source.path.clone(), what, limit });
    if source.text.len() > MAX_SOURCE {
        return too_large("bytes in a file", MAX_SOURCE);
    }
    let (mut brackets, mut operators) = (0_usize, 0_usize);
    for token in tokens(&source.text) {
        match token {
            Token::Opening => brackets = brackets.saturating_add(1),
            Token::Closing => brackets = brackets.saturating_sub(1),
            Token::Operator => operators = operators.saturating_add(1),
            Token::End => (brackets, operators) = (0, 0),
        }
        if brackets > MAX_BRACKETS {
            return too_large("brackets in one another", MAX_BRACKETS);
        }
        if operators > MAX_OPERATORS {
            return too_large("operators in a policy", MAX_OPERATORS);
        }
    }
    Ok(())
}

/// What may nest an expression, and what ends a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Opening,
    Closing,
    Operator,
    End,
}

/// The tokens of `text` outside of strings and comments. An operator of two characters counts once, a conditional by its
/// `else`.
fn tokens(text: &str) -> impl Iterator<Item = Token> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let at = rest.find(|c: char| c.is_ascii_punctuation() || c == 'e')?;
            let (before, found) = rest.split_at(at);
            let mut characters = found.chars();
            let character = characters.next()?;
            rest = characters.as_str();
            match character {
                '"' => rest = after_string(rest),
                '/' if rest.starts_with('/') => rest = rest.split_once('\n').map_or("", |(_, after)| after),
                '(' | '[' | '{' => return Some(Token::Opening),
                ')' | ']' | '}' => return Some(Token::Closing),
                ';' => return Some(Token::End),
                '&' | '|' => {
                    rest = rest.strip_prefix(character).unwrap_or(rest);
                    return Some(Token::Operator);
                }
                '+' | '-' | '*' | '.' | '!' => return Some(Token::Operator),
                'e' if rest.starts_with("lse") && !before.ends_with(char::is_alphanumeric) => {
                    return Some(Token::Operator);
                }
                _ => {}
            }
        }
    })
}

/// What follows the string that has begun.
fn after_string(text: &str) -> &str {
    let mut escaped = false;
    let end = text.find(|character: char| {
        let ends = character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    });
    end.and_then(|end| text.get(end..)?.strip_prefix('"')).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> Option<&'static str> {
        let text = format!("@id(\"a\") permit(principal, action, resource) when {{ {body} }};");
        match check(&Source { path: "a.cedar".to_owned(), text: text.repeat(3) }) {
            Err(CedarError::TooLarge { what, .. }) => Some(what),
            _ => None,
        }
    }

    #[test]
    fn what_would_overflow_the_parsers_stack_is_refused() {
        let (brackets, operators) = (Some("brackets in one another"), Some("operators in a policy"));
        let cases = [
            (format!("{}true{}", "(".repeat(60), ")".repeat(60)), None),
            (format!("{}true{}", "(".repeat(65), ")".repeat(65)), brackets),
            (format!("{}1{}", "[{a:".repeat(40), "}]".repeat(40)), brackets),
            (vec!["true"; 400].join(" && "), None),
            (vec!["true"; 600].join("||"), operators),
            (vec!["1"; 600].join("+"), operators),
            (format!("context{}", ".a".repeat(600)), operators),
            ("if true then true else ".repeat(600), operators),
            (format!("{}true", "!".repeat(600)), operators),
            (format!("[{}].contains(1)", vec!["1"; 60_000].join(",")), None),
            (format!("\"{}\" == \"\\\"{}\"", "(".repeat(100), "&&".repeat(600)), None),
            (format!("true // {}\n", "(.".repeat(600)), None),
            (format!("\"\\\\\" == {}", "(".repeat(65)), brackets),
        ];
        for (body, expected) in cases {
            assert_eq!(refused(&body), expected, "{}", body.chars().take(60).collect::<String>());
        }
    }
}
