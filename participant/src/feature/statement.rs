//! What a statement looks like, whatever its literals: its shape, its tables, and counts of what attackers need.
//!
//! It counts words and never decides that a statement is an attack; that is for the model. Literals enter neither the
//! shape nor any feature, except the first whole number, which tells scanning through ids from looking up one.

use super::shape::Shape;
use crate::event::lexer::{Lexer, Token};

/// The most tables of one statement that are looked at.
pub(super) const MAX_TABLES: usize = 4;

/// The look of one statement. Counts saturate at 255.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Statement<'a> {
    /// Keyed hash of the words and symbols, literals and digits in names left out.
    pub(super) shape: u64,
    /// The first tables named, in order.
    pub(super) tables: [Option<&'a str>; MAX_TABLES],
    /// The first whole number.
    pub(super) first_number: Option<i64>,
    /// Length of the longest string literal, in bytes.
    pub(super) longest_text: usize,
    pub(super) comments: Tally,
    /// Statements after the first that are stacked behind a semicolon.
    pub(super) stacked: Tally,
    pub(super) unterminated: Tally,
    pub(super) selects: Tally,
    pub(super) unions: Tally,
    pub(super) joins: Tally,
    /// `AND` and `OR`.
    pub(super) connectives: Tally,
    /// Comparisons of a literal with an equal one, or `OR` before a literal.
    pub(super) tautologies: Tally,
    /// Names in `information_schema`, `pg_…` relations and the like.
    pub(super) catalogs: Tally,
    /// Functions that tell who one is and what one may do: `current_user`, `has_table_privilege`, `version`.
    pub(super) probes: Tally,
    /// Functions and words that read files, write them or run programs.
    pub(super) files: Tally,
    /// Functions that wait.
    pub(super) sleeps: Tally,
    /// Functions and operators that build text from pieces: `chr`, `||`, casts.
    pub(super) encodings: Tally,
    /// Deepest nesting of parentheses.
    pub(super) depth: Tally,
    /// Columns and tables whose names speak of secrets or of persons.
    pub(super) sensitive: Tally,
    /// `GRANT`, `ROLE`, `SUPERUSER` and the like.
    pub(super) privileges: Tally,
    /// `DROP`, `TRUNCATE`, and `UPDATE` or `DELETE` without `WHERE`.
    pub(super) destruction: Tally,
    pub(super) aggregates: Tally,
    pub(super) cases: Tally,
    pub(super) star: bool,
    pub(super) filtered: bool,
    pub(super) limited: bool,
    pub(super) paged: bool,
    pub(super) ranged: bool,
    pub(super) ordered: bool,
    /// `COPY`.
    pub(super) copy: bool,
}

/// A count that stops at 255.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tally(u8);

impl Tally {
    fn add(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    pub(super) fn get(self) -> u32 {
        u32::from(self.0)
    }

    pub(super) fn any(self) -> bool {
        self.0 > 0
    }
}

/// Reads a statement. `seed` keys the shape's hash, so that nobody outside the site can forge a familiar shape.
pub(super) fn read(sql: &str, seed: u64) -> Statement<'_> {
    let mut reader = Reader { statement: Statement::default(), shape: Shape::new(seed), ..Reader::default() };
    for token in Lexer::new(sql) {
        reader.shape.take(token);
        reader.take(token);
    }
    reader.finish()
}

/// What may follow a word that announces a table.
#[derive(Default, Clone, Copy, PartialEq)]
enum Expect {
    #[default]
    Nothing,
    Table,
}

/// The state between two tokens.
#[derive(Default)]
struct Reader<'a> {
    statement: Statement<'a>,
    shape: Shape,
    expect: Expect,
    depth: u8,
    /// The last literal, and whether a comparison has followed it.
    literal: Option<(Token<'a>, bool)>,
    after_or: bool,
    after_bar: bool,
    after_semicolon: bool,
    /// An `UPDATE` or `DELETE` that no `WHERE` has followed yet.
    unguarded_write: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, token: Token<'a>) {
        if self.after_semicolon && token != Token::Symbol(b';') && token != Token::Comment {
            self.statement.stacked.add();
            self.after_semicolon = false;
        }
        match token {
            Token::Word(word) => self.word(word),
            Token::Quoted(name) => self.table(name),
            Token::Number(number) => {
                self.statement.first_number = self.statement.first_number.or_else(|| number.parse().ok());
                self.literal(token);
            }
            Token::Text(text) => {
                self.statement.longest_text = self.statement.longest_text.max(text.len());
                self.literal(token);
            }
            Token::Comment => self.statement.comments.add(),
            Token::Symbol(symbol) => self.symbol(symbol),
            Token::Unterminated => self.statement.unterminated.add(),
        }
    }

    fn literal(&mut self, token: Token<'a>) {
        if self.after_or || self.literal == Some((token, true)) {
            self.statement.tautologies.add();
        }
        self.after_or = false;
        self.literal = Some((token, false));
        self.expect = Expect::Nothing;
    }

    fn symbol(&mut self, symbol: u8) {
        let statement = &mut self.statement;
        match symbol {
            b'(' => {
                self.depth = self.depth.saturating_add(1);
                statement.depth = statement.depth.max(Tally(self.depth));
                self.expect = Expect::Nothing;
            }
            b')' => self.depth = self.depth.saturating_sub(1),
            b'*' => statement.star = true,
            b';' => self.end_of_statement(),
            b'|' if self.after_bar => statement.encodings.add(),
            _ => {}
        }
        self.after_bar = symbol == b'|';
        match (&mut self.literal, symbol) {
            (Some((_, compared)), b'=' | b'<' | b'>') => *compared = true,
            (_, b'\'' | b'(' | b')') => {}
            _ => self.literal = None,
        }
    }

    fn end_of_statement(&mut self) {
        if std::mem::take(&mut self.unguarded_write) {
            self.statement.destruction.add();
        }
        self.after_semicolon = true;
        self.expect = Expect::Nothing;
    }

    fn table(&mut self, name: &'a str) {
        if self.expect == Expect::Table {
            let bare = name.rsplit_once('.').map_or(name, |(_, bare)| bare);
            if let Some(slot) = self.statement.tables.iter_mut().find(|slot| slot.is_none()) {
                *slot = Some(bare);
            }
        }
        self.expect = Expect::Nothing;
        self.after_or = false;
        self.literal = None;
    }

    fn word(&mut self, word: &'a str) {
        let mut buffer = [0; 40];
        let lower = lower(word, &mut buffer);
        let was_or = std::mem::replace(&mut self.after_or, lower == b"or");
        if !self.clause(lower) {
            self.table(word);
            self.after_or = was_or && lower == b"not";
            self.statement.count_name(lower);
        }
    }

    /// Notes a word that shapes the statement; false for every other.
    fn clause(&mut self, word: &[u8]) -> bool {
        let statement = &mut self.statement;
        let mut expect = Expect::Nothing;
        match word {
            b"select" => statement.selects.add(),
            b"from" | b"into" | b"table" => expect = Expect::Table,
            b"join" => {
                statement.joins.add();
                expect = Expect::Table;
            }
            b"copy" => {
                statement.copy = true;
                expect = Expect::Table;
            }
            b"update" => {
                self.unguarded_write = true;
                expect = Expect::Table;
            }
            b"delete" => self.unguarded_write = true,
            b"truncate" => {
                statement.destruction.add();
                expect = Expect::Table;
            }
            b"drop" => statement.destruction.add(),
            b"where" => {
                statement.filtered = true;
                self.unguarded_write = false;
            }
            b"and" | b"or" => statement.connectives.add(),
            b"union" | b"intersect" | b"except" => statement.unions.add(),
            b"limit" => statement.limited = true,
            b"offset" => statement.paged = true,
            b"between" => statement.ranged = true,
            b"order" => statement.ordered = true,
            b"case" => statement.cases.add(),
            b"only" | b"if" | b"exists" => expect = self.expect,
            _ => return false,
        }
        self.expect = expect;
        true
    }

    fn finish(mut self) -> Statement<'a> {
        if self.unguarded_write {
            self.statement.destruction.add();
        }
        self.statement.shape = self.shape.finish();
        self.statement
    }
}

impl Statement<'_> {
    /// Counts a lower-case name in the kinds it belongs to.
    fn count_name(&mut self, name: &[u8]) {
        let bare = name.rsplit(|byte| *byte == b'.').next().unwrap_or(name);
        match bare {
            b"count" | b"sum" | b"avg" | b"min" | b"max" | b"group" => self.aggregates.add(),
            b"pg_sleep" | b"sleep" | b"benchmark" | b"waitfor" | b"generate_series" => self.sleeps.add(),
            b"chr" | b"char" | b"ascii" | b"hex" | b"unhex" | b"concat" | b"encode" | b"decode" | b"convert_from"
            | b"cast" | b"md5" | b"substring" | b"substr" | b"coalesce" | b"null" => self.encodings.add(),
            b"grant" | b"revoke" | b"role" | b"superuser" | b"createrole" | b"bypassrls" | b"definer" | b"password"
            | b"owner" => self.privileges.add(),
            b"current_user"
            | b"session_user"
            | b"user"
            | b"version"
            | b"current_setting"
            | b"current_database"
            | b"inet_server_addr"
            | b"inet_server_port"
            | b"inet_client_addr"
            | b"has_table_privilege"
            | b"has_schema_privilege"
            | b"has_database_privilege" => self.probes.add(),
            b"program"
            | b"pg_read_file"
            | b"pg_ls_dir"
            | b"pg_read_binary_file"
            | b"lo_import"
            | b"lo_export"
            | b"pg_read_server_files"
            | b"pg_execute_server_program"
            | b"load_file"
            | b"outfile"
            | b"dblink" => {
                self.files.add();
            }
            _ => {}
        }
        if is_catalog(name, bare) {
            self.catalogs.add();
        }
        if SENSITIVE.iter().any(|part| contains(bare, part)) {
            self.sensitive.add();
        }
    }
}

/// Parts of names that speak of secrets, money or persons.
const SENSITIVE: [&[u8]; 16] = [
    b"passw",
    b"secret",
    b"token",
    b"api_key",
    b"card",
    b"pan",
    b"cvv",
    b"ssn",
    b"national_id",
    b"iban",
    b"salary",
    b"employee",
    b"shadow",
    b"email",
    b"phone",
    b"birth",
];

fn is_catalog(name: &[u8], bare: &[u8]) -> bool {
    name.starts_with(b"information_schema")
        || name.starts_with(b"pg_catalog.")
        || bare.starts_with(b"pg_")
        || matches!(bare, b"sysobjects" | b"sqlite_master" | b"all_tables" | b"sysusers")
}

fn contains(name: &[u8], part: &[u8]) -> bool {
    name == part
        || (part.len() > 3 && name.windows(part.len()).any(|window| window.first() == part.first() && window == part))
}

/// The word in lower case, cut to the buffer: no word that matters is longer.
fn lower<'b>(word: &str, buffer: &'b mut [u8; 40]) -> &'b [u8] {
    let len = word.len().min(buffer.len());
    for (to, from) in buffer.iter_mut().zip(word.bytes()) {
        *to = from.to_ascii_lowercase();
    }
    buffer.get(..len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_wherever_they_are_named() {
        let cases: [(&str, &[&str]); 7] = [
            ("SELECT a FROM public.customers c JOIN \"Cards\" ON true", &["customers", "Cards"]),
            ("INSERT INTO orders(id) VALUES (1)", &["orders"]),
            ("UPDATE t SET a = 1", &["t"]),
            ("COPY (SELECT * FROM inner_t) TO STDOUT", &["inner_t"]),
            ("LOCK TABLE public.x IN ACCESS SHARE MODE", &["x"]),
            ("DROP TABLE IF EXISTS y", &["y"]),
            ("SELECT 1", &[]),
        ];
        for (sql, expected) in cases {
            let found: Vec<_> = read(sql, 7).tables.into_iter().flatten().collect();
            assert_eq!(found, expected, "{sql}");
        }
    }

    #[test]
    fn what_an_injection_needs_is_counted() {
        let statement = read(
            "SELECT id FROM p WHERE id = -1 OR 1=1 UNION ALL SELECT CHR(65)||usename FROM pg_shadow; DROP TABLE x-- ",
            7,
        );
        assert!(statement.tautologies.any() && statement.comments.any() && statement.stacked.any());
        assert_eq!((statement.unions.get(), statement.selects.get(), statement.catalogs.get()), (1, 2, 1));
        assert!(statement.encodings.get() >= 2 && statement.destruction.get() == 1 && statement.sensitive.any());
        assert!(read("SELECT * FROM t WHERE a='x' AND 'q'='q'", 7).tautologies.any());
        assert!(!read("SELECT * FROM t WHERE a = 1 AND b = 1", 7).tautologies.any());
    }

    #[test]
    fn a_write_without_where_is_destruction_and_one_with_it_is_not() {
        assert_eq!(read("DELETE FROM t", 7).destruction.get(), 1);
        assert_eq!(read("BEGIN; UPDATE t SET a = 1; ROLLBACK", 7).destruction.get(), 1);
        assert_eq!(read("UPDATE t SET a = 1 WHERE id = 3", 7).destruction.get(), 0);
    }
}
