//! Certificates and certificate requests as a stranger sends them: DER on a connection, PEM in an enrolment.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use shared::{ParticipantId, Timestamp};
use shared_crypto::pki::{CertificateAuthority, PeerCertificate};

const DAY: Duration = Duration::from_secs(86_400);

static AUTHORITY: LazyLock<(CertificateAuthority, ParticipantId)> = LazyLock::new(|| {
    let authority = CertificateAuthority::create("fuzz", Timestamp::EPOCH, DAY).expect("an authority");
    (authority, ParticipantId::new("a").expect("a valid name"))
});

fuzz_target!(|bytes: &[u8]| {
    let _ = PeerCertificate::from_der(bytes);
    let Ok(pem) = std::str::from_utf8(bytes) else { return };
    let _ = PeerCertificate::from_pem(pem);
    let (authority, participant_id) = &*AUTHORITY;
    if let Ok(certificate) = authority.sign_request(pem, participant_id, Timestamp::EPOCH, DAY) {
        let peer = PeerCertificate::from_pem(&certificate).expect("a certificate that was just signed");
        assert_eq!(peer.participant_id, *participant_id, "a request chose its own name");
    }
});
