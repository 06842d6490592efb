//! Takes connections: TLS handshake, a seat, HTTP/2, until the peer goes, loses its seat, or the server stops. It bounds
//! whatever a peer can hold, and reads no message itself.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service as _;

use super::download;
use super::seats::{Seat, Seats};
use super::service::Service;
use super::{Certificate, Federation, Gate, Limits, ServerIdentity};
use crate::http2;
use crate::proto::federation_server::FederationServer;
use crate::socket::Socket;
use crate::tls::server_config;
use crate::{MAX_MESSAGE_BYTES, WireError};

/// How long to wait when the system has no more sockets or files.
const EXHAUSTED: Duration = Duration::from_millis(50);
/// Calls at a time on a guest's connection.
const GUEST_STREAMS: u32 = 4;
/// What a guest may send before it is read, on all its calls together.
const GUEST_WINDOW: u32 = 64 * 1024;
/// All headers of a call together.
const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// Serves `federation` on `listener` until `stop` resolves; then takes no more calls and finishes those that run.
///
/// `ca_certificate` (PEM) is the authority of the clients' certificates. Dropping the future closes all connections.
pub async fn serve<F: Federation>(
    listener: TcpListener,
    federation: Arc<F>,
    gate: Arc<dyn Gate>,
    identity: ServerIdentity,
    ca_certificate: &str,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> Result<(), WireError> {
    let acceptor = Arc::new(Acceptor {
        federation,
        tls: TlsAcceptor::from(server_config(identity, ca_certificate)?),
        seats: Seats::new(gate, &limits),
        streams: limits.streams_per_connection,
        stopping: CancellationToken::new(),
    });
    let handshakes = Arc::new(Semaphore::new(limits.handshakes.min(Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    tokio::select! {
        () = stop => {}
        () = accept(listener, &acceptor, &handshakes, &mut connections) => {}
    }
    acceptor.stopping.cancel();
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Takes connections for ever.
async fn accept<F: Federation>(
    listener: TcpListener,
    acceptor: &Arc<Acceptor<F>>,
    handshakes: &Arc<Semaphore>,
    connections: &mut JoinSet<()>,
) {
    // The semaphore is never closed.
    while let Ok(permit) = Arc::clone(handshakes).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(Arc::clone(acceptor).connection(stream, permit));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

struct Acceptor<F> {
    federation: Arc<F>,
    tls: TlsAcceptor,
    seats: Seats,
    streams: u32,
    stopping: CancellationToken,
}

impl<F: Federation> Acceptor<F> {
    /// One connection from its first byte to its last.
    async fn connection(self: Arc<Self>, stream: TcpStream, handshake: OwnedSemaphorePermit) {
        let shaken = tokio::time::timeout(http2::HANDSHAKE, self.handshake(stream)).await;
        drop(handshake);
        let stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "handshake failed"),
            Err(_) => return tracing::debug!("handshake took too long"),
        };
        let caller = peer_certificate(&stream);
        let Some(seat) = self.seats.take(&caller) else { return tracing::debug!("no seat for another connection") };
        tokio::select! {
            () = self.calls(stream, caller, &seat) => {}
            () = seat.lost() => tracing::info!("connection cut: its certificate is not admitted"),
        }
    }

    async fn handshake(&self, stream: TcpStream) -> std::io::Result<TlsStream<Socket>> {
        self.tls.accept(Socket::new(stream)?).await
    }

    /// Answers the calls on one connection, to its end.
    async fn calls(&self, stream: TlsStream<Socket>, caller: Certificate, seat: &Seat) {
        let service = Service { federation: Arc::clone(&self.federation), caller };
        let service = FederationServer::new(service)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let service = service_fn(move |request| {
            let mut service = service.clone();
            async move { service.call(request).await.map(download::with_body) }
        });
        let connection = self.terms(seat).serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
    }

    /// What a connection may hold.
    fn terms(&self, seat: &Seat) -> Builder<TokioExecutor> {
        let (streams, stream_window, connection_window) = match seat {
            Seat::Member(_) => (self.streams, http2::STREAM_WINDOW, http2::CONNECTION_WINDOW),
            Seat::Guest { .. } => (GUEST_STREAMS, GUEST_WINDOW, GUEST_WINDOW),
        };
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(streams)
            .initial_stream_window_size(stream_window)
            .initial_connection_window_size(connection_window)
            .max_frame_size(http2::FRAME_BYTES)
            .max_send_buf_size(http2::SEND_BUFFER_BYTES)
            .max_header_list_size(MAX_HEADER_BYTES)
            .keep_alive_interval(http2::KEEP_ALIVE)
            .keep_alive_timeout(http2::ANSWER_WITHIN);
        builder
    }
}

/// The certificate that the peer showed, already checked against the authority.
fn peer_certificate(stream: &TlsStream<Socket>) -> Certificate {
    let (_, connection) = stream.get_ref();
    connection.peer_certificates()?.first().map(|certificate| Bytes::copy_from_slice(certificate))
}
