//! One connection to the coordinator, dialled when it is needed and not there. It decides nothing about repeating calls.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::body::Body;
use tonic::codegen::Service;

use crate::socket::Socket;
use crate::tls::{PemIdentity, client_config};
use crate::{WireError, http2};

/// The connection. Clones share it.
#[derive(Clone)]
pub(crate) struct Link(Arc<Dialler>);

struct Dialler {
    origin: Uri,
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: TlsConnector,
    sender: Mutex<Option<SendRequest<Body>>>,
}

impl Link {
    /// A link to `address`, not yet dialled.
    pub(crate) fn new(
        address: &str,
        ca_certificate: &str,
        identity: Option<PemIdentity<'_>>,
    ) -> Result<Self, WireError> {
        let invalid = |reason: &str| WireError::Setup { reason: format!("`{address}` is no address: {reason}") };
        let origin: Uri = address.parse().map_err(|error| invalid(&format!("{error}")))?;
        if origin.scheme_str() != Some("https") {
            return Err(invalid("it does not begin with `https://`"));
        }
        let host = origin.host().map(|host| host.trim_matches(['[', ']']).to_owned());
        let host = host.ok_or_else(|| invalid("it names no host"))?;
        let port = origin.port_u16().ok_or_else(|| invalid("it names no port"))?;
        let name = ServerName::try_from(host.clone()).map_err(|error| invalid(&error.to_string()))?;
        let tls = TlsConnector::from(client_config(ca_certificate, identity)?);
        Ok(Self(Arc::new(Dialler { origin, host, port, name, tls, sender: Mutex::new(None) })))
    }

    pub(crate) fn origin(&self) -> Uri {
        self.0.origin.clone()
    }

    /// The connection that is there, or a new one.
    pub(crate) async fn sender(&self) -> io::Result<SendRequest<Body>> {
        let mut sender = self.0.sender.lock().await;
        if let Some(alive) = sender.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(alive.clone());
        }
        let fresh = tokio::time::timeout(http2::HANDSHAKE, self.0.dial()).await??;
        Ok(sender.insert(fresh).clone())
    }
}

impl Dialler {
    async fn dial(&self) -> io::Result<SendRequest<Body>> {
        let socket = Socket::new(TcpStream::connect((self.host.as_str(), self.port)).await?)?;
        let stream = self.tls.connect(self.name.clone(), socket).await?;
        let handshake = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(http2::STREAM_WINDOW)
            .initial_connection_window_size(http2::CONNECTION_WINDOW)
            .max_frame_size(http2::FRAME_BYTES)
            .max_send_buf_size(http2::SEND_BUFFER_BYTES)
            .keep_alive_interval(http2::KEEP_ALIVE)
            .keep_alive_timeout(http2::ANSWER_WITHIN)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(io::Error::other)?;
        // Ends with the last sender and the last call. Why it ended is told by the calls that it took along.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the coordinator ended");
            }
        });
        Ok(sender)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("origin", &self.0.origin).finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for Link {
    type Response = Response<Incoming>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let link = self.clone();
        Box::pin(async move { link.sender().await?.send_request(request).await.map_err(io::Error::other) })
    }
}
