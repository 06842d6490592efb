//! The end of a process: the first signal asks for it, the second forces it, and draining has a limit.

use std::io;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::Exit;
use crate::problem::explained;

/// How long open requests may take to end once a stop was asked for.
pub const DRAIN: Duration = Duration::from_secs(10);

/// A token that SIGINT or SIGTERM cancels. The second signal ends the process at once, with [`Exit::Interrupted`].
/// Must be called within a Tokio runtime.
pub fn on_signals() -> CancellationToken {
    let stop = CancellationToken::new();
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(interrupt), Ok(terminate)) => {
            tokio::spawn(watch(interrupt, terminate, stop.clone()));
        }
        (Err(error), _) | (_, Err(error)) => tracing::warn!(%error, "signals end this process without draining"),
    }
    stop
}

async fn watch(mut interrupt: Signal, mut terminate: Signal, stop: CancellationToken) {
    let mut either = async || tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} };
    either().await;
    tracing::info!("stopping; a second signal stops at once");
    stop.cancel();
    either().await;
    std::process::exit(Exit::Interrupted.code().into());
}

/// Serves `router` until `stop`, then lets open requests end, for at most [`DRAIN`]. Whatever it refuses, it refuses as
/// problem+json.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> io::Result<()> {
    serve_draining(listener, router, stop, DRAIN).await
}

async fn serve_draining(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    limit: Duration,
) -> io::Result<()> {
    let server = axum::serve(listener, explained(router)).with_graceful_shutdown(stop.clone().cancelled_owned());
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(limit).await;
    };
    tokio::select! {
        served = server.into_future() => served,
        () = overdue => {
            tracing::warn!(limit_secs = limit.as_secs_f64(), "requests that did not end were cut off");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    use std::sync::Arc;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::Notify;

    use super::*;

    /// A server whose one request has begun and ends when `gate` opens.
    async fn server_with_open_request(
        limit: Duration,
    ) -> (tokio::task::JoinHandle<io::Result<()>>, CancellationToken, Arc<Notify>, TcpStream) {
        let (begun, gate, stop) = (Arc::new(Notify::new()), Arc::new(Notify::new()), CancellationToken::new());
        let answer = {
            let (begun, gate) = (begun.clone(), gate.clone());
            move || async move {
                begun.notify_one();
                gate.notified().await;
                "done"
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let router = Router::new().route("/", get(answer));
        let server = tokio::spawn(serve_draining(listener, router, stop.clone(), limit));
        stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        begun.notified().await;
        (server, stop, gate, stream)
    }

    #[tokio::test]
    async fn an_open_request_ends_before_the_server_does() {
        let (server, stop, gate, mut stream) = server_with_open_request(DRAIN).await;
        stop.cancel();
        gate.notify_one();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        assert!(reply.ends_with("\r\n\r\ndone"), "{reply}");
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_is_cut_off() {
        let (server, stop, _gate, _stream) = server_with_open_request(Duration::from_millis(20)).await;
        stop.cancel();
        server.await.unwrap().unwrap();
    }

    const CHILD: &str = "RINGFENCE_OPS_TEST_CHILD";

    /// What the next test stops: a process that says when it is asked to stop, and does not.
    #[tokio::test]
    async fn child_that_does_not_stop() {
        if std::env::var_os(CHILD).is_some() {
            let stop = on_signals();
            eprintln!("begun");
            stop.cancelled().await;
            eprintln!("asked to stop");
            std::future::pending::<()>().await;
        }
    }

    #[test]
    fn the_first_signal_asks_and_the_second_forces() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "shutdown::tests::child_that_does_not_stop"])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        for (line, signal) in [("begun", "-TERM"), ("asked to stop", "-INT")] {
            assert_eq!(lines.next().as_deref(), Some(line));
            assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        }
        assert_eq!(child.wait().unwrap().code(), Some(130));
    }
}
