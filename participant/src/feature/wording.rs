//! Features of the statement's own words: injection, reconnaissance, file and program access, destruction, bulk reads.

use super::scale::{flag, length, log, real};
use super::statement::{Statement, Tally};
use super::vector::Row;

/// Writes what the words say; zeros where there is no statement.
pub(super) fn write(statement: Option<&Statement<'_>>, truncated: bool, length_in_bytes: usize, row: &mut impl Row) {
    let none = Statement::default();
    let statement = statement.unwrap_or(&none);
    let some = |tally: Tally| log(real(tally.get()), 10.0);
    let many = |tally: Tally| log(real(tally.get()), 200.0);
    row.put("sql_length", log(length(length_in_bytes), 4_096.0));
    row.put("sql_truncated", flag(truncated));
    row.put("sql_longest_text", log(length(statement.longest_text), 1_000.0));
    row.put("sql_comment", flag(statement.comments.any()));
    row.put("sql_stacked", some(statement.stacked));
    row.put("sql_unterminated", flag(statement.unterminated.any()));
    row.put("sql_union", flag(statement.unions.any()));
    row.put("sql_subselects", log((real(statement.selects.get()) - 1.0).max(0.0), 10.0));
    row.put("sql_joins", some(statement.joins));
    row.put("sql_connectives", some(statement.connectives));
    row.put("sql_tautology", flag(statement.tautologies.any()));
    row.put("sql_catalog", some(statement.catalogs));
    row.put("sql_probe", some(statement.probes));
    row.put("sql_file_or_program", flag(statement.files.any()));
    row.put("sql_sleep", flag(statement.sleeps.any()));
    row.put("sql_encoding", many(statement.encodings));
    row.put("sql_case", flag(statement.cases.any()));
    row.put("sql_depth", some(statement.depth));
    row.put("sql_sensitive", some(statement.sensitive));
    row.put("sql_privilege", some(statement.privileges));
    row.put("sql_destruction", flag(statement.destruction.any()));
    row.put("sql_aggregate", flag(statement.aggregates.any()));
    row.put("sql_ordered", flag(statement.ordered));
    row.put("sql_paged", flag(statement.paged));
    row.put("sql_ranged", flag(statement.ranged));
    row.put(
        "sql_bulk_read",
        flag(statement.selects.any() && statement.star && !statement.filtered && !statement.limited),
    );
    row.put("sql_unfiltered", flag(statement.selects.any() && !statement.filtered && !statement.limited));
    row.put("sql_copy", flag(statement.copy));
}
