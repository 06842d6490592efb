//! Statements as rows of a table: a text with blanks, how often it is used, what it returns, how long it takes.

use super::draw::Draw;
use super::profile::SiteProfile;
use super::transcript::Transcript;

/// Rows of `products`, `tickets` and regions, alike at every site.
const PRODUCTS: u64 = 2000;
const TICKETS: u64 = 10_000;
pub(super) const REGIONS: u64 = 50;
const CATEGORIES: u64 = 40;

/// One kind of statement that an account issues.
pub(super) struct Statement {
    /// How often, against the others of its table.
    pub(super) weight: u64,
    /// pgaudit's name of it.
    pub(super) operation: &'static str,
    /// Its text. Blanks such as `{customer}` are filled with a fitting value at each use.
    pub(super) sql: &'static str,
    /// How many rows it returns or changes.
    pub(super) rows: Rows,
    /// How long it usually takes.
    pub(super) micros: u64,
}

/// How many rows a statement returns or changes.
#[derive(Clone, Copy)]
pub(super) enum Rows {
    /// As many as this.
    Exactly(u64),
    /// Anything from the first to the second.
    Between(u64, u64),
    /// As many as its `{limit}` allows.
    Limit,
    /// One in so many customers.
    CustomersOver(u64),
    /// One in so many orders.
    OrdersOver(u64),
}

/// Issues one of `statements`, chosen by weight.
pub(super) fn issue(transcript: &mut Transcript<'_>, statements: &[Statement]) {
    let mut left = transcript.draw.below(statements.iter().map(|statement| statement.weight).sum());
    for statement in statements {
        if left < statement.weight {
            return issue_one(transcript, statement);
        }
        left -= statement.weight;
    }
}

/// Issues `statement`, its blanks filled.
pub(super) fn issue_one(transcript: &mut Transcript<'_>, statement: &Statement) {
    let limit = transcript.draw.pick(&[100, 200, 500, 800, 1000]);
    let profile = &transcript.site.profile;
    let sql = fill(statement.sql, profile, limit, transcript.draw);
    let rows = match statement.rows {
        Rows::Exactly(rows) => rows,
        Rows::Between(low, high) => transcript.draw.between(low, high),
        Rows::Limit => limit,
        Rows::CustomersOver(parts) => profile.customers / parts,
        Rows::OrdersOver(parts) => profile.orders / parts,
    };
    match sql.strip_prefix("COPY (").and_then(|rest| rest.strip_suffix(") TO STDOUT")) {
        Some(query) => transcript.copy_query(query, rows, statement.micros),
        None => transcript.run(statement.operation, &sql, rows, statement.micros),
    }
}

/// Replaces each blank `{name}` of `text` with a drawn value.
fn fill(text: &str, profile: &SiteProfile, limit: u64, draw: &mut Draw) -> String {
    let mut filled = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some((before, name, after)) = next_blank(rest) {
        filled.push_str(before);
        filled.push_str(&value(name, profile, limit, draw));
        rest = after;
    }
    filled + rest
}

fn next_blank(text: &str) -> Option<(&str, &str, &str)> {
    let (before, after) = text.split_once('{')?;
    let (name, after) = after.split_once('}')?;
    Some((before, name, after))
}

fn value(name: &str, profile: &SiteProfile, limit: u64, draw: &mut Draw) -> String {
    let number = match name {
        "limit" => limit,
        "customer" => draw.below(profile.customers),
        "order" => draw.below(profile.orders),
        "new_order" => profile.orders + draw.below(1 << 24),
        "ticket" => draw.below(TICKETS),
        "product" => draw.below(PRODUCTS),
        "category" => draw.below(CATEGORIES),
        "region" => draw.below(REGIONS),
        "days" => draw.between(1, 30),
        "part" => draw.below(10),
        "cents" => draw.between(100, 50_000),
        "phone" => draw.between(10_000_000, 99_999_999),
        _ => return draw.hex(12),
    };
    number.to_string()
}
