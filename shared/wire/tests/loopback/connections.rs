//! Who may connect, how much of it one may have, and how it ends.

use shared_crypto::pki::CertificateAuthority;
use shared_wire::client::{Client, Presence};
use shared_wire::{EnrolAnswer, MAX_MESSAGE_BYTES, PemIdentity, WireError};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::bare::{call, handshake};
use crate::stage::{LIMITS, Seen, Uploads, World, document, issue_server, opening, params, task, view};

fn is_cut(error: &WireError) -> bool {
    matches!(error, WireError::Unreachable { .. })
}

#[tokio::test]
async fn nothing_older_than_tls_1_3_is_spoken() {
    let world = World::start(Uploads::From(0), None).await;
    let credentials = world.credentials("site");
    let refused = handshake(&world, Some(&credentials), &TLS12).await.unwrap_err();
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
    handshake(&world, Some(&credentials), &TLS13).await.unwrap();
}

#[tokio::test]
async fn whoever_has_no_certificate_may_enrol() {
    let mut world = World::start(Uploads::From(0), None).await;
    let guest = world.guest().await;
    assert_eq!(guest.enrol(document()).await.unwrap(), EnrolAnswer::Pending);
    assert_eq!(world.saw().await, Seen::Enrolment { certificate: false });
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_not_let_in() {
    let world = World::start(Uploads::From(0), None).await;
    let other = World::start(Uploads::From(0), None).await;
    let foreign = other.credentials("site");
    let answer = match Client::connect(&world.url(), world.authority.certificate_pem(), Some(foreign.pem())).await {
        Ok(client) => client.tasks().await.map(drop),
        Err(error) => Err(error),
    };
    assert!(is_cut(&answer.unwrap_err()));
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_spoken_to() {
    let world = World::start(Uploads::From(0), None).await;
    let now = shared::Timestamp::from_micros(1_700_000_000_000_000);
    let other = CertificateAuthority::create("other", now, std::time::Duration::from_secs(3_000_000_000)).unwrap();
    let refused = Client::connect(&world.url(), other.certificate_pem(), None).await.unwrap_err();
    assert!(is_cut(&refused), "{refused}");
}

#[tokio::test]
async fn a_revoked_connection_is_cut_while_it_is_idle() {
    let world = World::start(Uploads::From(0), None).await;
    let mut revoked = handshake(&world, Some(&world.credentials("site")), &TLS13).await.unwrap();
    let other = world.client("other").await;
    other.tasks().await.unwrap();
    world.register.revoke("site");
    // What the server had to say first, and then the end; a connection that is only left alone never ends.
    let _ = revoked.read_to_end(&mut Vec::new()).await;
    other.tasks().await.unwrap();
}

#[tokio::test]
async fn a_revoked_watch_and_a_revoked_upload_end_at_once_on_both_sides() {
    let mut world = World::start(Uploads::Stuck, None).await;
    world.line.notify_one();
    let site = world.client("site").await;
    let clock = std::sync::Arc::new(shared::time::ManualClock::new(shared::Timestamp::EPOCH));
    let mut views = site.watch(&task(), &Presence::new(clock)).await.unwrap();
    assert_eq!(views.next().await.unwrap(), Some(view()));
    let (placed, place) = tokio::sync::oneshot::channel();
    let uploading = tokio::spawn(async move {
        let mut placed = Some(placed);
        let told = move |_, _| {
            if let Some(placed) = placed.take() {
                placed.send(()).unwrap();
            }
        };
        site.submit_update(opening(), params(), told).await
    });
    place.await.unwrap();
    world.register.revoke("site");
    let (watched, uploaded) = (views.next().await.unwrap_err(), uploading.await.unwrap().unwrap_err());
    assert!(is_cut(&watched) && is_cut(&uploaded), "{watched}; {uploaded}");
    while world.saw().await != Seen::UploadOver {}
}

#[tokio::test]
async fn a_revoked_certificate_connects_as_a_guest_only() {
    let mut world = World::start(Uploads::From(0), None).await;
    world.register.revoke("site");
    let clients = [world.client("site").await, world.client("site").await, world.client("site").await];
    let mut answered = 0;
    for client in &clients {
        answered += usize::from(client.renew(document()).await.is_ok());
    }
    assert_eq!(answered, LIMITS.guests);
    assert_eq!(world.saw().await, Seen::Enrolment { certificate: true });
}

#[tokio::test]
async fn one_participant_cannot_take_the_connections_of_others() {
    let world = World::start(Uploads::From(0), None).await;
    let mut held = Vec::new();
    for _ in 0..LIMITS.connections_per_participant {
        held.push(world.client("site").await);
    }
    for client in &held {
        client.tasks().await.unwrap();
    }
    assert!(is_cut(&world.client("site").await.tasks().await.unwrap_err()));
    world.client("other").await.tasks().await.unwrap();
}

#[tokio::test]
async fn a_broken_connection_is_dialled_anew() {
    let world = World::start(Uploads::From(0), None).await;
    let site = world.client("site").await;
    site.tasks().await.unwrap();
    world.register.revoke("site");
    while site.tasks().await.is_err() {}
}

#[tokio::test]
async fn a_peer_that_never_finishes_its_handshake_is_dropped() {
    let world = World::start(Uploads::From(0), None).await;
    let mut slow: Vec<TcpStream> = Vec::new();
    for _ in 0..LIMITS.handshakes {
        slow.push(TcpStream::connect(world.address).await.unwrap());
    }
    for stream in &mut slow {
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
    }
    world.client("site").await.tasks().await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_announced_too_large_is_refused_unread() {
    let world = World::start(Uploads::From(0), None).await;
    let announced = u32::try_from(MAX_MESSAGE_BYTES * 2).unwrap().to_be_bytes();
    let prefix = String::from_utf8([&[0], announced.as_slice()].concat()).unwrap();
    for method in ["SubmitEvaluation", "JoinRound", "Enrol"] {
        let stream = handshake(&world, Some(&world.credentials(&method.to_lowercase())), &TLS13).await.unwrap();
        let answer = call(stream, method, &prefix).await;
        // OUT_OF_RANGE
        assert_eq!(answer.headers()["grpc-status"], "11", "{method}");
    }
}

#[tokio::test]
async fn a_new_server_certificate_is_shown_to_the_next_connection() {
    let world = World::start(Uploads::From(0), None).await;
    let site = world.client("site").await;
    let next = issue_server(&world.authority);
    world.identity.replace(next.pem()).unwrap();
    let stream = handshake(&world, None, &TLS13).await.unwrap();
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    assert_eq!(shown, CertificateDer::from_pem_slice(next.certificate.as_bytes()).unwrap());
    site.tasks().await.unwrap();
    let torn = PemIdentity { certificate: &next.certificate, key: "no key" };
    assert!(matches!(world.identity.replace(torn), Err(WireError::Setup { .. })));
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_before_it_is_dialled() {
    let world = World::start(Uploads::From(0), None).await;
    for address in ["", "127.0.0.1:1", "http://127.0.0.1:1", "https://127.0.0.1", "https://"] {
        let refused = Client::connect(address, world.authority.certificate_pem(), None).await.unwrap_err();
        assert!(matches!(refused, WireError::Setup { .. }), "{address}: {refused}");
    }
}
