//! Somebody runs pg_dump with an account that may read everything, from a machine that never did (T1005, T1048).

use crate::range::pg_dump;
use crate::range::site::Account;
use crate::range::transcript::Transcript;

pub(super) fn strike(transcript: &mut Transcript<'_>) {
    let site = transcript.site;
    let owner = if transcript.draw.chance(50) { site.admin(transcript.draw) } else { site.service("etl", 20, "") };
    let thief = Account { ip: site.foothold(transcript.draw), application: "pg_dump".to_owned(), ..owner };
    let tables = if transcript.draw.chance(50) { pg_dump::TABLES } else { pg_dump::TABLES.split_at(2).0 };
    pg_dump::run(transcript, &thief, tables);
}
