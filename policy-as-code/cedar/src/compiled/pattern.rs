//! The patterns of `like`: literal text with wildcards in between. It knows no other special characters; Cedar has
//! resolved escapes.

use cedar_policy::pst::PatternElem;

/// A pattern, cut at its wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    first: Box<str>,
    /// What follows each wildcard.
    rest: Vec<Box<str>>,
}

impl From<&[PatternElem]> for Pattern {
    fn from(elements: &[PatternElem]) -> Self {
        let literal = |piece: &[PatternElem]| piece.iter().filter_map(character).collect::<String>().into_boxed_str();
        let mut pieces = elements.split(|element| matches!(element, PatternElem::Wildcard)).map(literal);
        Self { first: pieces.next().unwrap_or_default(), rest: pieces.collect() }
    }
}

fn character(element: &PatternElem) -> Option<char> {
    match element {
        PatternElem::Char(character) => Some(*character),
        PatternElem::Wildcard => None,
    }
}

impl Pattern {
    /// Whether the whole of `text` matches. Each piece is taken where it first occurs; only the last has to end the text.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some((last, middle)) = self.rest.split_last() else {
            return *self.first == *text;
        };
        let Some(mut left) = text.strip_prefix(&*self.first) else {
            return false;
        };
        for piece in middle {
            match left.split_once(&**piece) {
                Some((_, after)) => left = after,
                None => return false,
            }
        }
        left.ends_with(&**last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        let element = |c| if c == '*' { PatternElem::Wildcard } else { PatternElem::Char(c) };
        Pattern::from(&*text.chars().map(element).collect::<Vec<_>>())
    }

    #[test]
    fn a_text_matches_when_the_pieces_stand_in_it_in_order_and_do_not_overlap() {
        let matching = [("", ""), ("*", ""), ("*", "é"), ("a*b", "ab"), ("a*b", "a*b"), ("a*b*b", "abxb"), ("**", "x")];
        let others = [("", "a"), ("a", "ab"), ("ab*b", "ab"), ("a*b*b", "ab"), ("*é", "éa"), ("a*a", "a")];
        for (cases, expected) in [(&matching[..], true), (&others[..], false)] {
            for (text, subject) in cases {
                assert_eq!(pattern(text).matches(subject), expected, "{subject} like {text}");
            }
        }
    }
}
