//! Cuts a statement into words, literals, symbols and comments. It is total: every text has tokens, hostile ones too.
//!
//! It follows PostgreSQL's lexical rules (string escapes, dollar quotes, nested comments) as far as they decide where a
//! literal ends, and refuses to parse: whether the statement is valid does not matter here.

/// One piece of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A keyword or a name, dots included: `select`, `public.customers`.
    Word(&'a str),
    /// A name in double quotes, without them.
    Quoted(&'a str),
    /// A number.
    Number(&'a str),
    /// A string literal, without its quotes.
    Text(&'a str),
    /// A comment.
    Comment,
    /// Any other character.
    Symbol(u8),
    /// A literal, quoted name or comment that never ends.
    Unterminated,
}

/// The tokens of a statement, in order.
pub(crate) struct Lexer<'a> {
    rest: &'a str,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(sql: &'a str) -> Self {
        Self { rest: sql }
    }

    /// Takes the next `len` bytes away, which must end at a character's edge; everything where they do not.
    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, holds: impl Fn(u8) -> bool) -> &'a str {
        let len = self.rest.bytes().position(|byte| !holds(byte)).unwrap_or(self.rest.len());
        self.take(len)
    }

    /// A name, with dots where another name follows them.
    fn word(&mut self) -> &'a str {
        let whole = self.rest;
        let mut len = self.take_while(is_name).len();
        while let [b'.', next, ..] = self.rest.as_bytes()
            && is_name(*next)
        {
            len = len.saturating_add(1);
            self.take(1);
            len = len.saturating_add(self.take_while(is_name).len());
        }
        whole.get(..len).unwrap_or(whole)
    }

    /// What stands between here and the closing `quote`; a doubled quote does not close, nor, in an escape string, one
    /// after a backslash.
    fn quoted(&mut self, quote: u8, escapes: bool) -> Option<&'a str> {
        self.take(1);
        let whole = self.rest;
        let mut bytes = whole.bytes().enumerate().peekable();
        while let Some((at, byte)) = bytes.next() {
            if escapes && byte == b'\\' {
                bytes.next();
            } else if byte == quote && bytes.next_if(|(_, next)| *next == quote).is_none() {
                self.take(at.saturating_add(1));
                return whole.get(..at);
            }
        }
        self.rest = "";
        None
    }

    /// A dollar-quoted string, or the dollar alone where none begins.
    fn dollar(&mut self) -> Token<'a> {
        let tag_len = self.rest.bytes().skip(1).position(|byte| !is_name(byte) || byte == b'$');
        let tag = tag_len.and_then(|len| self.rest.get(..len.saturating_add(2))).filter(|tag| tag.ends_with('$'));
        let Some(tag) = tag else {
            self.take(1);
            return Token::Symbol(b'$');
        };
        self.take(tag.len());
        let body = self.rest;
        match body.find(tag) {
            Some(at) => {
                self.take(at.saturating_add(tag.len()));
                Token::Text(body.get(..at).unwrap_or(body))
            }
            None => self.unterminated(),
        }
    }

    /// A comment in `/* */`, which nests.
    fn block_comment(&mut self) -> Token<'a> {
        let mut depth = 0_u32;
        while !self.rest.is_empty() {
            let step = match self.rest.as_bytes() {
                [b'/', b'*', ..] => {
                    depth = depth.saturating_add(1);
                    2
                }
                [b'*', b'/', ..] => {
                    depth = depth.saturating_sub(1);
                    2
                }
                _ => self
                    .rest
                    .bytes()
                    .skip(1)
                    .position(|byte| byte == b'*' || byte == b'/')
                    .map_or(usize::MAX, |at| at + 1),
            };
            self.take(step);
            if depth == 0 {
                return Token::Comment;
            }
        }
        Token::Unterminated
    }

    fn unterminated(&mut self) -> Token<'a> {
        self.rest = "";
        Token::Unterminated
    }

    fn text(&mut self, escapes: bool) -> Token<'a> {
        self.quoted(b'\'', escapes).map_or(Token::Unterminated, Token::Text)
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.take_while(|byte| byte.is_ascii_whitespace());
        let token = match self.rest.as_bytes() {
            [] => return None,
            [b'-', b'-', ..] => {
                self.take_while(|byte| byte != b'\n');
                Token::Comment
            }
            [b'/', b'*', ..] => self.block_comment(),
            [b'e' | b'E', b'\'', ..] => {
                self.take(1);
                self.text(true)
            }
            [b'\'', ..] => self.text(false),
            [b'"', ..] => self.quoted(b'"', false).map_or(Token::Unterminated, Token::Quoted),
            [b'$', ..] => self.dollar(),
            [first, ..] if first.is_ascii_digit() => {
                Token::Number(self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'.'))
            }
            [first, ..] if is_name(*first) => Token::Word(self.word()),
            [first, ..] => {
                self.take(1);
                Token::Symbol(*first)
            }
        };
        Some(token)
    }
}

/// Bytes of names. All bytes of multi-byte characters count, so that a cut never splits a character.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::Token::*;
    use super::*;
    use proptest::prelude::*;

    fn tokens(sql: &str) -> Vec<Token<'_>> {
        Lexer::new(sql).collect()
    }

    #[test]
    fn literals_end_where_postgres_ends_them() {
        let cases: [(&str, &[Token<'_>]); 9] = [
            ("'it''s' x", &[Text("it''s"), Word("x")]),
            (r"E'it\'s' x", &[Text(r"it\'s"), Word("x")]),
            (r"'a\' x", &[Text(r"a\"), Word("x")]),
            ("$$a'b$$ $f$x$$y$f$", &[Text("a'b"), Text("x$$y")]),
            ("/* a /* b */ c */ d", &[Comment, Word("d")]),
            ("1.5e3-- tail", &[Number("1.5e3"), Comment]),
            ("public.\"Tab\" a.b.c", &[Word("public"), Symbol(b'.'), Quoted("Tab"), Word("a.b.c")]),
            ("'open", &[Unterminated]),
            ("/* open", &[Unterminated]),
        ];
        for (sql, expected) in cases {
            assert_eq!(tokens(sql), expected, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn every_text_has_an_end(sql in any::<String>()) {
            prop_assert!(tokens(&sql).len() <= sql.len());
        }

        #[test]
        fn texts_of_quotes_and_dollars_have_an_end(sql in "[$'\"/*\\\\eEä a-]{0,64}") {
            prop_assert!(tokens(&sql).len() <= sql.len());
        }
    }
}
