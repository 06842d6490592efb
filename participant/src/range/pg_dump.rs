//! What pg_dump asks of a server: its settings, the catalogue, a lock and a copy of each table. The nightly backup and
//! the thief with a copy of the same program differ only in who, whence and when.

use super::site::Account;
use super::transcript::Transcript;

/// Every table of a site, with its columns.
pub(super) const TABLES: &[(&str, &str)] = &[
    ("customers", "id, full_name, email, phone, national_id, tier, created_at, region"),
    ("cards", "id, customer_id, pan, exp"),
    ("orders", "id, customer_id, amount, status, created_at, product_id"),
    ("products", "id, name, price, descr, category"),
    ("tickets", "id, customer_id, subject, status, created_at"),
    ("employees", "id, login, salary"),
    ("api_keys", "id, name, secret"),
    ("sessions", "id, customer_id, token, created_at"),
    ("daily_stats", "day, metric, val"),
];

const SETTINGS: &[&str] = &[
    "SET DATESTYLE = ISO",
    "SET INTERVALSTYLE = POSTGRES",
    "SET extra_float_digits TO 3",
    "SET synchronize_seqscans TO off",
    "SET statement_timeout = 0",
    "SET lock_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET row_security = off",
];

/// Catalogue queries and how many rows they return.
const CATALOGUE: &[(&str, u64)] = &[
    ("SELECT oid, rolname FROM pg_catalog.pg_roles ORDER BY 1", 146),
    ("SELECT n.tableoid, n.oid, n.nspname, n.nspowner, n.nspacl FROM pg_namespace n", 4),
    ("SELECT c.tableoid, c.oid, c.relname, c.relnamespace, c.relkind, c.reltype, c.relowner FROM pg_class c", 220),
    ("SELECT p.tableoid, p.oid, p.proname, p.prolang, p.pronargs, p.proargtypes FROM pg_proc p", 13),
    ("SELECT tableoid, oid, typname, typnamespace, typacl, typowner FROM pg_type", 633),
    ("SELECT tableoid, oid, lanname, lanpltrusted, lanplcallfoid, laninline FROM pg_language", 1),
    ("SELECT tableoid, oid, oprname, oprnamespace, oprowner, oprkind FROM pg_operator", 799),
    ("SELECT tableoid, oid, opcmethod, opcname, opcnamespace, opcowner FROM pg_opclass", 177),
    ("SELECT tableoid, oid, dictname, dictnamespace, dictowner FROM pg_ts_dict", 29),
    ("SELECT tableoid, oid, collname, collnamespace, collowner FROM pg_collation", 811),
    ("SELECT tableoid, oid, castsource, casttarget, castfunc FROM pg_cast", 223),
    ("SELECT inhrelid, inhparent FROM pg_inherits", 0),
    ("SELECT a.attrelid, a.attnum, a.attname, a.atttypmod FROM pg_attribute a", 47),
    ("SELECT t.tableoid, t.oid, i.indrelid, t.relname AS indexname FROM pg_index i JOIN pg_class t ON true", 12),
    ("SELECT classid, objid, refclassid, refobjid, deptype FROM pg_depend WHERE deptype != 'p'", 1917),
    ("SELECT description, classid, objoid, objsubid FROM pg_catalog.pg_description", 5137),
];

/// One run of pg_dump over `tables`.
pub(super) fn run(transcript: &mut Transcript<'_>, account: &Account, tables: &[(&str, &str)]) {
    transcript.login(account);
    transcript.select("SELECT pg_catalog.set_config('search_path', '', false);", 1, 400);
    transcript.select("SELECT pg_catalog.pg_is_in_recovery()", 1, 100);
    for setting in SETTINGS {
        transcript.run("SET", setting, 0, 30);
    }
    transcript.run("BEGIN", "BEGIN", 0, 30);
    transcript.run("SET", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", 0, 30);
    for (sql, rows) in CATALOGUE {
        transcript.select(sql, *rows, 1500);
    }
    for (table, _) in tables {
        transcript.run("LOCK TABLE", &format!("LOCK TABLE public.{table} IN ACCESS SHARE MODE"), 0, 40);
    }
    for (table, columns) in tables {
        transcript.run("COPY", &format!("COPY public.{table} ({columns}) TO stdout;"), 0, 15_000);
    }
    transcript.logout();
}
