//! Certificates against rustls, the TLS stack that the federation's endpoints run.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P384_SHA384, SanType};
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use shared::{Explain, ParticipantId, Timestamp};

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> Timestamp {
    "2026-03-02T00:00:00Z".parse().unwrap()
}

fn id(text: &str) -> ParticipantId {
    ParticipantId::new(text).unwrap()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn authority() -> CertificateAuthority {
    CertificateAuthority::create("test federation", now(), DAY * 365).unwrap()
}

fn participant(authority: &CertificateAuthority, name: &str) -> TlsIdentity {
    let request = CertificateRequest::new(&id(name)).unwrap();
    let certificate_pem = authority.sign_request(&request.csr_pem, &id(name), now(), DAY).unwrap();
    TlsIdentity { certificate_pem, key_pem: request.key_pem }
}

#[derive(Debug)]
struct FixedTime(Timestamp);

impl TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.since(Timestamp::EPOCH)))
    }
}

fn roots(authority: &CertificateAuthority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(der(authority.certificate_pem())).unwrap();
    Arc::new(roots)
}

/// A mutual TLS 1.3 handshake in memory at `at`; gives what the server learns about the client.
fn handshake(
    authority: &CertificateAuthority,
    server: &TlsIdentity,
    client: &TlsIdentity,
    at: Timestamp,
) -> Result<Vec<u8>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let time = Arc::new(FixedTime(at));
    let key = |identity: &TlsIdentity| PrivateKeyDer::from_pem_slice(identity.key_pem.expose().as_bytes()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(authority), provider.clone()).build().unwrap();
    let server_config = ServerConfig::builder_with_details(provider.clone(), time.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![der(&server.certificate_pem)], key(server))?;
    let client_config = ClientConfig::builder_with_details(provider, time)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(authority))
        .with_client_auth_cert(vec![der(&client.certificate_pem)], key(client))?;
    let mut client = ClientConnection::new(Arc::new(client_config), ServerName::try_from("localhost").unwrap())?;
    let mut server = ServerConnection::new(Arc::new(server_config))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(server.peer_certificates().unwrap()[0].to_vec())
}

fn server(authority: &CertificateAuthority) -> TlsIdentity {
    authority.issue_server(&["localhost".to_owned(), "127.0.0.1".to_owned()], now(), DAY).unwrap()
}

#[test]
fn both_ends_verify_each_other_and_the_server_learns_the_participant() {
    let authority = authority();
    let peer = handshake(&authority, &server(&authority), &participant(&authority, "site-1"), now()).unwrap();
    let peer = PeerCertificate::from_der(&peer).unwrap();
    assert_eq!(peer.participant_id, id("site-1"));
    assert_eq!(peer.validity.not_after, now().plus(DAY));
    assert_eq!(peer.serial.len(), 32);
}

#[test]
fn a_certificate_is_refused_before_after_and_outside_its_federation() {
    let authority = authority();
    let (server, client) = (server(&authority), participant(&authority, "site-1"));
    let soon = Timestamp::from_micros(now().as_micros() - 200_000_000);
    let early = Timestamp::from_micros(now().as_micros() - 400_000_000);
    assert!(handshake(&authority, &server, &client, soon).is_ok());
    assert!(handshake(&authority, &server, &client, early).is_err());
    assert!(handshake(&authority, &server, &client, now().plus(DAY * 2)).is_err());
    let stranger = participant(&self::authority(), "site-1");
    assert!(handshake(&authority, &server, &stranger, now()).is_err());
}

#[test]
fn a_participant_cannot_pose_as_the_server_nor_a_server_as_a_participant() {
    let authority = authority();
    let (server, client) = (server(&authority), participant(&authority, "site-1"));
    assert!(handshake(&authority, &client, &client, now()).is_err());
    assert!(handshake(&authority, &server, &server, now()).is_err());
    assert!(PeerCertificate::from_der(&der(&server.certificate_pem)).is_err());
    assert!(PeerCertificate::from_der(&der(authority.certificate_pem())).is_err());
}

#[test]
fn the_server_certificate_holds_for_its_names_only() {
    let authority = authority();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(roots(&authority), provider).build().unwrap();
    let certificate = der(&server(&authority).certificate_pem);
    let at = UnixTime::since_unix_epoch(now().since(Timestamp::EPOCH));
    let holds = |name: &'static str| {
        verifier.verify_server_cert(&certificate, &[], &ServerName::try_from(name).unwrap(), &[], at).is_ok()
    };
    assert!(holds("localhost") && holds("127.0.0.1"));
    assert!(!holds("example.org") && !holds("127.0.0.2"));
    assert!(authority.issue_server(&[], now(), DAY).is_err());
}

#[test]
fn only_the_approved_id_goes_in_whatever_the_request_asks() {
    let authority = authority();
    let key = KeyPair::generate().unwrap();
    let mut greedy = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    greedy.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    greedy.distinguished_name.push(DnType::CommonName, "site-2");
    greedy.subject_alt_names.push(SanType::URI("ringfence://participant/site-2".try_into().unwrap()));
    let csr = greedy.serialize_request(&key).unwrap().pem().unwrap();
    let issued = der(&authority.sign_request(&csr, &id("site-1"), now(), DAY).unwrap());
    assert_eq!(PeerCertificate::from_der(&issued).unwrap().participant_id, id("site-1"));
    let (_, parsed) = x509_parser::parse_x509_certificate(&issued).unwrap();
    assert!(!parsed.is_ca());
    assert_eq!(parsed.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 1);
}

#[test]
fn a_request_without_proof_of_possession_or_of_another_kind_is_refused() {
    let authority = authority();
    let refused = |csr: &str| {
        assert_eq!(
            authority.sign_request(csr, &id("site-1"), now(), DAY).unwrap_err().code(),
            "certificate-request",
            "{csr}"
        );
    };
    let honest = CertificateRequest::new(&id("site-1")).unwrap().csr_pem;
    let (_, mut pem) = x509_parser::pem::parse_x509_pem(honest.as_bytes()).unwrap();
    *pem.contents.last_mut().unwrap() ^= 1;
    refused(&rewrap(&pem.contents));
    let other_curve = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    refused(&CertificateParams::default().serialize_request(&other_curve).unwrap().pem().unwrap());
    refused("");
    refused("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n");
    refused(&format!("{honest}{}", "\n".repeat(20_000)));
}

fn rewrap(der: &[u8]) -> String {
    let body = <base64::engine::GeneralPurpose as base64::Engine>::encode(&base64::prelude::BASE64_STANDARD, der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
}

#[test]
fn renewing_over_one_key_gives_another_serial() {
    let authority = authority();
    let request = CertificateRequest::new(&id("site-1")).unwrap();
    let serial = || {
        let pem = authority.sign_request(&request.csr_pem, &id("site-1"), now(), DAY).unwrap();
        PeerCertificate::from_der(&der(&pem)).unwrap().serial
    };
    assert_ne!(serial(), serial());
}

#[test]
fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
    let authority = authority();
    let client = participant(&authority, "site-1");
    let validity = Validity::of_pem(&client.certificate_pem).unwrap();
    assert_eq!(PeerCertificate::from_pem(&client.certificate_pem).unwrap().validity, validity);
    assert_eq!(validity.not_after.since(validity.not_before), DAY + Duration::from_secs(300));
    assert_eq!(validity.renew_at().since(validity.not_before), (DAY + Duration::from_secs(300)) * 2 / 3);
    assert_eq!(authority.validity().unwrap().not_after, now().plus(DAY * 365));
    assert!(Validity::of_pem("").is_err() && PeerCertificate::from_pem("").is_err());
}

#[test]
fn certificates_over_one_key_name_it_and_over_another_do_not() {
    let authority = authority();
    let request = CertificateRequest::new(&id("site-1")).unwrap();
    let key = |csr: &str| {
        let pem = authority.sign_request(csr, &id("site-1"), now(), DAY).unwrap();
        PeerCertificate::from_pem(&pem).unwrap().key
    };
    assert_eq!(key(&request.csr_pem), key(&request.csr_pem));
    assert_ne!(key(&request.csr_pem), key(&CertificateRequest::new(&id("site-1")).unwrap().csr_pem));
}

#[test]
fn a_stored_authority_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let load = || CertificateAuthority::load_or_create(folder.path(), "test federation", now()).unwrap();
    let before = load();
    let after = load();
    assert_eq!(after.certificate_pem(), before.certificate_pem());
    assert!(handshake(&before, &server(&before), &participant(&after, "site-1"), now()).is_ok());
    assert!(!format!("{before:?}{:?}", server(&before)).contains("PRIVATE"));
}

#[test]
fn an_authority_with_anothers_certificate_or_a_cut_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authority.pem");
    CertificateAuthority::load_or_create(folder.path(), "one", now()).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let key = text.split("-----BEGIN CERTIFICATE").next().unwrap();
    for content in [format!("{key}{}", authority().certificate_pem()), key.to_owned(), String::new()] {
        crate::key_file::replace(&path, content.as_bytes()).unwrap();
        let error = CertificateAuthority::load_or_create(folder.path(), "one", now()).unwrap_err();
        assert_eq!(error.code(), "certificate", "{content}");
    }
}
