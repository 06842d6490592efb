//! Against a real server, started here.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use shared::Explain;

use super::*;
use crate::testing::{asset_id, run_id};

/// A name that is only safe when quoted.
const NASTY: &str = "read\"er; DROP ROLE \"owner";
const PASSWORD: &str = "correct horse";

/// A server in a folder of its own, reached through a socket in it.
struct TestServer {
    folder: tempfile::TempDir,
    process: Child,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.folder.path().join("data/postmaster.pid")).unwrap_or_default();
        if let Some(pid) = pid.lines().next() {
            let _ = Command::new("kill").args(["-INT", pid]).status();
        }
        let _ = self.process.wait();
    }
}

/// The folder of the server's programs, if there is one.
fn programs() -> Option<PathBuf> {
    let asked = Command::new("pg_config").arg("--bindir").output().ok();
    let told = asked.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let packaged = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found =
        told.into_iter().chain(packaged.map(|entry| entry.path().join("bin"))).find(|bin| bin.join("initdb").is_file());
    if found.is_none() {
        eprintln!("skipped: no postgresql server programs on this machine");
    }
    found
}

/// PostgreSQL refuses to run as root, so root runs it as the user `postgres`.
fn command(program: &Path, folder: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let mut command = if is_root {
        assert!(Command::new("chown").args(["-R", "postgres"]).arg(folder).status().unwrap().success());
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl TestServer {
    fn start() -> Option<Self> {
        let bin = programs()?;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let initdb = command(&bin.join("initdb"), folder.path())
            .args(["--no-sync", "--auth-local=scram-sha-256", "--username=admin", "--pwfile=/dev/stdin", "-D"])
            .arg(&data)
            .stdin(password_on_stdin(folder.path()))
            .status();
        assert!(initdb.unwrap().success(), "initdb failed");
        let process = command(&bin.join("postgres"), folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(folder.path())
            .arg("-D")
            .arg(&data)
            .spawn()
            .unwrap();
        Some(Self { folder, process })
    }

    fn url(&self, user: &str, password: &str) -> String {
        format!("host={} user='{user}' password='{password}' dbname=postgres", self.folder.path().display())
    }

    fn roles(&self, user: &str) -> PostgresRoles {
        let role = |name: &str| Role { name: name.to_owned(), password: Some(SecretText::new(PASSWORD.to_owned())) };
        let inventory = [
            (asset_id("reader"), role(NASTY)),
            (asset_id("admin"), role("admin")),
            (asset_id("weak"), role("weak")),
            (asset_id("gone"), role("gone")),
        ];
        PostgresRoles::new(&self.url(user, PASSWORD), inventory.into(), 1).unwrap()
    }

    async fn ready(&self) -> Client {
        let roles = self.roles("admin");
        for _ in 0..200 {
            if let Ok(client) = roles.server.connect().await {
                return client;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server did not start");
    }

    async fn login(&self) -> Result<Client, tokio_postgres::Error> {
        let role = Role { name: NASTY.to_owned(), password: Some(SecretText::new(PASSWORD.to_owned())) };
        self.roles("admin").server.connect_as(&role).await.unwrap()
    }
}

fn password_on_stdin(folder: &Path) -> std::fs::File {
    let path = folder.join("password");
    std::fs::write(&path, PASSWORD).unwrap();
    std::fs::File::open(path).unwrap()
}

fn effect(target: &str, step: u32, action: ContainmentAction) -> Effect {
    Effect { run_id: run_id("run"), step, action, target: asset_id(target) }
}

async fn contain(roles: &PostgresRoles, effect: &Effect, postcondition: Postcondition) -> Undo {
    let undo = roles.capture(effect).await.unwrap();
    roles.apply(effect).await.unwrap();
    roles.apply(effect).await.unwrap();
    roles.probe(effect, postcondition, &undo).await.unwrap();
    undo
}

#[tokio::test]
async fn a_role_of_a_real_server_is_throttled_ended_disabled_and_given_back() {
    let Some(server) = TestServer::start() else { return };
    let admin = server.ready().await;
    let quoted = quoted(&effect("reader", 1, ContainmentAction::Throttle), NASTY).unwrap();
    let create = format!("CREATE ROLE {quoted} LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 7; CREATE ROLE owner");
    admin.batch_execute(&create).await.unwrap();
    admin.batch_execute(&format!("CREATE ROLE weak LOGIN PASSWORD '{PASSWORD}'")).await.unwrap();
    let roles = server.roles("admin");
    roles.check().await.unwrap();

    throttle_end_and_disable(&server, &roles).await;
    refusals(&server, &roles).await;
    let owner: i64 =
        admin.query_one("SELECT count(*) FROM pg_roles WHERE rolname = 'owner'", &[]).await.unwrap().get(0);
    assert_eq!(owner, 1, "a role's name is never read as SQL");
}

async fn throttle_end_and_disable(server: &TestServer, roles: &PostgresRoles) {
    let attacker = server.login().await.unwrap();
    let throttle = effect("reader", 1, ContainmentAction::Throttle);
    let throttled = contain(roles, &throttle, Postcondition::AccessLimited).await;
    let second = server.login().await.expect_err("a second connection is refused");
    assert_eq!(second.code(), Some(&SqlState::TOO_MANY_CONNECTIONS));
    assert!(attacker.simple_query("SELECT 1").await.is_ok(), "a limit leaves the live session alone");

    let terminate = effect("reader", 2, ContainmentAction::TerminateSessions);
    let undo = roles.capture(&terminate).await.unwrap();
    assert!(matches!(
        roles.probe(&terminate, Postcondition::SessionsEnded, &undo).await,
        Err(ActuatorError::NotHeld { .. })
    ));
    contain(roles, &terminate, Postcondition::SessionsEnded).await;
    assert!(attacker.simple_query("SELECT 1").await.is_err());

    let again = server.login().await.unwrap();
    let disable = effect("reader", 3, ContainmentAction::DisableCredential);
    let disabled = contain(roles, &disable, Postcondition::LoginRefused).await;
    assert!(again.simple_query("SELECT 1").await.is_err(), "disabling ends what the credential opened meanwhile");
    assert!(server.login().await.is_err());

    roles.restore(&disable, &disabled).await.unwrap();
    roles.restore(&throttle, &throttled).await.unwrap();
    let both = (server.login().await.unwrap(), server.login().await.unwrap());
    let limit = roles.role_row(&both.0, &throttle).await.unwrap().connection_limit;
    assert_eq!(limit, 7);
}

async fn refusals(server: &TestServer, roles: &PostgresRoles) {
    let throttle = |target| effect(target, 1, ContainmentAction::Throttle);
    let admin = roles.capture(&throttle("admin")).await.unwrap_err();
    assert_eq!(admin.code(), "actuator-off-limits", "{admin}");
    assert_eq!(roles.capture(&throttle("gone")).await.unwrap_err().code(), "actuator-unknown-target");
    assert_eq!(roles.capture(&throttle("nobody")).await.unwrap_err().code(), "actuator-unknown-target");
    let isolate = roles.apply(&effect("reader", 1, ContainmentAction::Isolate)).await.unwrap_err();
    assert_eq!(isolate.code(), "actuator-unsupported");

    let weak = server.roles("weak");
    assert_eq!(weak.check().await.unwrap_err().code(), "actuator-not-permitted");
    assert_eq!(weak.apply(&throttle("reader")).await.unwrap_err().code(), "actuator-not-permitted");
    let stranger = PostgresRoles::new(&server.url("admin", "wrong"), BTreeMap::new(), 1).unwrap();
    assert_eq!(stranger.check().await.unwrap_err().code(), "actuator-not-permitted");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named_without_its_password() {
    let roles = PostgresRoles::new("postgresql://admin:hunter2@127.0.0.1:1/postgres", BTreeMap::new(), 1).unwrap();
    let error = roles.check().await.unwrap_err();
    assert_eq!(error.code(), "actuator-unreachable");
    assert!(error.to_string().contains("127.0.0.1:1") && !error.to_string().contains("hunter2"), "{error}");
    let nonsense = PostgresRoles::new("mysql:/x", BTreeMap::new(), 1).err().unwrap();
    assert_eq!(nonsense.code(), "actuator-bad-address");
}

#[test]
fn a_name_that_the_server_would_cut_is_refused() {
    let effect = effect("reader", 1, ContainmentAction::Throttle);
    assert!(quoted(&effect, &"x".repeat(64)).is_err());
    assert!(quoted(&effect, "a\0b").is_err());
    assert_eq!(quoted(&effect, "a\"b").unwrap(), "\"a\"\"b\"");
}
