//! A client without our manners: TLS as it likes, and HTTP/2 by hand.

use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::stage::{Credentials, World};

pub(crate) async fn handshake(
    world: &World,
    credentials: Option<&Credentials>,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(world.authority.certificate_pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_protocol_versions(&[version]).with_root_certificates(roots);
    let mut config = match credentials {
        Some(credentials) => {
            let chain = vec![CertificateDer::from_pem_slice(credentials.certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(credentials.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(world.address).await?;
    TlsConnector::from(std::sync::Arc::new(config)).connect(ServerName::try_from("127.0.0.1").unwrap(), socket).await
}

/// Calls `method` with `body` as it is.
pub(crate) async fn call(stream: TlsStream<TcpStream>, method: &str, body: &str) -> Response<Incoming> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("https://127.0.0.1/ringfence.federation.v1.Federation/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body.to_owned());
    sender.send_request(request.unwrap()).await.unwrap()
}
