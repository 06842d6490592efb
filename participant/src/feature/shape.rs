//! A statement's shape: a keyed hash of its words and symbols, by which equal statements with other literals are equal.
//!
//! It is no cryptographic hash: the key keeps strangers from aiming at a familiar shape, and no shape leaves the engine.

use crate::event::lexer::Token;

/// Hashes a statement's tokens without its literals. A list of literals counts as one, whatever its length.
#[derive(Default)]
pub(super) struct Shape {
    hash: u64,
    after_literal: bool,
    held_comma: bool,
}

impl Shape {
    pub(super) fn new(seed: u64) -> Self {
        Self { hash: seed, ..Self::default() }
    }

    pub(super) fn take(&mut self, token: Token<'_>) {
        let literal = matches!(token, Token::Number(_) | Token::Text(_));
        if token == Token::Symbol(b',') && self.after_literal {
            self.held_comma = true;
            self.after_literal = false;
            return;
        }
        let listed = std::mem::take(&mut self.held_comma);
        if listed && !literal {
            self.mix(u64::from(b','));
        }
        if !(listed && literal) {
            self.token(token);
        }
        self.after_literal = literal;
    }

    fn token(&mut self, token: Token<'_>) {
        match token {
            Token::Word(word) | Token::Quoted(word) => self.word(word),
            Token::Number(_) | Token::Text(_) => self.mix(0x100),
            Token::Comment => self.mix(0x101),
            Token::Unterminated => self.mix(0x102),
            Token::Symbol(symbol) => self.mix(u64::from(symbol)),
        }
    }

    /// Digits in names are left out: `tmp_17` and `tmp_18` are one shape.
    fn word(&mut self, word: &str) {
        for byte in word.bytes().filter(|byte| !byte.is_ascii_digit()) {
            self.mix(u64::from(byte.to_ascii_lowercase()));
        }
        self.mix(0x103);
    }

    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    pub(super) fn finish(&self) -> u64 {
        let hash = (self.hash ^ (self.hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^ (hash >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::lexer::Lexer;

    fn keyed(sql: &str, seed: u64) -> u64 {
        let mut shape = Shape::new(seed);
        Lexer::new(sql).for_each(|token| shape.take(token));
        shape.finish()
    }

    fn shape(sql: &str) -> u64 {
        keyed(sql, 7)
    }

    #[test]
    fn a_shape_forgets_literals_and_nothing_else() {
        let base = shape("SELECT id FROM t1 WHERE id IN (1, 2) AND name = 'a'");
        assert_eq!(base, shape("select ID from t2 where id in (3,4,5,6) and name = 'b''c'"));
        assert_ne!(base, shape("SELECT id FROM t1 WHERE id IN (1, 2) OR name = 'a'"));
        assert_ne!(base, shape("SELECT id FROM t1 WHERE id IN (1, 2) AND name = 'a'--"));
        assert_ne!(base, keyed("SELECT id FROM t1 WHERE id IN (1, 2) AND name = 'a'", 8));
    }
}
