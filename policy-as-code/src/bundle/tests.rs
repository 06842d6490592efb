//! A bundle is taken only signed, whole and proven.

use shared::Explain;

use super::*;
use crate::prove::Subject;
use crate::testing::{bundle, certified, changed, shipped};

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

/// The code with which `bundle` is refused; none where it is taken.
fn refusal(bundle: &Bundle, key: &SigningKey) -> Option<&'static str> {
    bundle.verify(&key.public()).err().map(|error| error.code())
}

#[test]
fn the_shipped_certificate_proves_the_shipped_repository() {
    let certificate = certificate(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    certificate.covers(&shipped()).unwrap();
}

#[test]
fn a_bundle_is_taken_only_signed_and_whole() {
    let signed = bundle(&shipped(), 7, &key());
    assert_eq!(signed.verify(&key().public()).unwrap().version, 7);
    assert_eq!(refusal(&signed, &SigningKey::from_seed(&[2; 32])), Some("crypto-wrong-signer"));
    let stripped =
        Bundle { manifest: SignedDocument { signature: String::new(), ..signed.manifest.clone() }, ..signed };
    assert_eq!(refusal(&stripped, &key()), Some("crypto-signature"));
    let signed = bundle(&shipped(), 7, &key());
    let forbid = "@id(\"x\")\nforbid (principal, action, resource);\n";
    for other in [("policies/x.cedar", forbid), ("policies/20-people.cedar", forbid), ("policies/20-people.cedar", "")]
    {
        let swapped = Bundle { repository: changed(&[other]), ..signed.clone() };
        assert_eq!(refusal(&swapped, &key()), Some("bundle-content"), "{other:?}");
    }
}

#[test]
fn a_bundle_is_taken_only_with_the_certificate_that_proves_it() {
    let signed = bundle(&shipped(), 7, &key());
    let mut swapped = signed.clone();
    swapped.certificate.solver = "guess 1.0".to_owned();
    assert_eq!(refusal(&swapped, &key()), Some("bundle-content"), "the manifest names another certificate");

    let hotfix = changed(&[("policies/90-hotfix.cedar", "@id(\"hotfix\")\npermit (principal, action, resource);\n")]);
    let build = |certificate| Bundle::build(hotfix.clone(), certificate, 8, &key(), Timestamp::EPOCH);
    let code = |built: Result<Bundle, PolicyError>| built.err().map(|error| error.code());
    assert_eq!(code(build(signed.certificate.clone())), Some("certificate-subject"));
    let mut lacking = certified(&hotfix);
    assert_eq!(code(build(lacking.clone())), None);
    lacking.proven.remove("never.unsure");
    assert_eq!(code(build(lacking.clone())), Some("certificate-incomplete"));

    // Somebody who has the key signs all the same.
    let manifest = Manifest { certificate: digest_of(&lacking).unwrap(), ..signed.verify(&key().public()).unwrap() };
    let manifest = Manifest { digest: hotfix.digest().unwrap(), files: hotfix.digests(), version: 8, ..manifest };
    assert_ne!(Subject::of(&hotfix).unwrap(), signed.certificate.subject);
    let forced = Bundle { manifest: key().sign(&manifest).unwrap(), certificate: lacking, repository: hotfix };
    assert_eq!(refusal(&forced, &key()), Some("certificate-incomplete"));
}

#[test]
fn what_is_written_is_read_again_and_a_missing_or_broken_part_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let signed = bundle(&shipped(), 7, &key());
    signed.write(folder.path()).unwrap();
    let read = Bundle::read(folder.path()).unwrap();
    assert_eq!(read.verify(&key().public()).unwrap(), signed.verify(&key().public()).unwrap());
    for name in [MANIFEST_FILE, CERTIFICATE_FILE] {
        let path = folder.path().join(name);
        let text = std::fs::read(&path).unwrap();
        for broken in [b"{".to_vec(), vec![b' '; usize::try_from(MAX_BYTES).unwrap() + 1]] {
            std::fs::write(&path, broken).unwrap();
            let error = Bundle::read(folder.path()).unwrap_err();
            assert!(error.code() == "bundle-file" && error.to_string().contains(name), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = Bundle::read(folder.path()).unwrap_err();
        assert!(error.code() == "bundle-file" && error.to_string().contains(name), "{error}");
        std::fs::write(&path, text).unwrap();
    }
    Bundle::read(folder.path()).unwrap();
}
