//! An administrator's account makes a role and raises it as far as the server allows, then uses it (T1098).

use crate::range::site::Account;
use crate::range::transcript::{Transcript, sqlstate};

pub(super) fn strike(transcript: &mut Transcript<'_>) {
    let site = transcript.site;
    let admin = site.admin(transcript.draw);
    let ip = if transcript.draw.chance(50) { site.foothold(transcript.draw) } else { admin.ip.clone() };
    let admin = Account { ip: ip.clone(), ..admin };
    let role = format!("{}_svc{}", site.profile.name, transcript.draw.between(100, 999));
    transcript.login(&admin);
    transcript.wait(10, 60);
    transcript.select("SELECT rolname, rolsuper, rolcreaterole FROM pg_roles", 130, 1500);
    refused(transcript, "SELECT usename, passwd FROM pg_shadow");
    granted(transcript, "CREATE ROLE", &format!("CREATE ROLE {role} LOGIN PASSWORD <REDACTED>"));
    refused(transcript, &format!("ALTER ROLE {role} SUPERUSER"));
    refused(transcript, &format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"));
    granted(transcript, "GRANT ROLE", &format!("GRANT pg_read_server_files TO {role}"));
    refused(transcript, &format!("ALTER ROLE {} SUPERUSER", admin.name));
    let function = "CREATE OR REPLACE FUNCTION public.f_21() RETURNS text LANGUAGE sql SECURITY DEFINER \
                    AS 'SELECT current_user::text'";
    granted(transcript, "CREATE FUNCTION", function);
    transcript.logout();
    transcript.wait(60, 180);
    use_role(transcript, Account { name: role, ip, application: "psql".to_owned() });
}

fn use_role(transcript: &mut Transcript<'_>, role: Account) {
    transcript.login(&role);
    refused(transcript, "SELECT * FROM cards LIMIT 2000");
    refused(transcript, "SELECT * FROM employees");
    transcript.logout();
}

fn granted(transcript: &mut Transcript<'_>, operation: &str, sql: &str) {
    transcript.wait(5, 60);
    transcript.run(operation, sql, 0, 5000);
}

fn refused(transcript: &mut Transcript<'_>, sql: &str) {
    transcript.wait(5, 60);
    transcript.refused(sql, sqlstate::INSUFFICIENT_PRIVILEGE);
}
