use rcgen::PublicKeyData as _;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

const AGENT: AgentId = AgentId([0x5a; 16]);

fn now() -> Timestamp {
    "2026-11-23T08:00:00Z".parse().unwrap()
}

fn authority() -> (tempfile::TempDir, Authority) {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::open(&dir.path().join("ca"), now()).unwrap();
    (dir, authority)
}

fn request(params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
    params.serialize_request(key).unwrap().der().to_vec()
}

#[test]
fn the_authority_is_made_once_and_found_again() {
    let (dir, first) = authority();
    let again = Authority::open(&dir.path().join("ca"), now()).unwrap();
    assert_eq!(first.pin(), again.pin());
    assert_eq!(first.certificate(), again.certificate());
    let mode = std::fs::metadata(dir.path().join("ca/ca.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    let (dir, _) = authority();
    let path = dir.path().join("ca/ca.key");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = Authority::open(&dir.path().join("ca"), now()).unwrap_err();
    assert!(matches!(error, CaError::File(SecretFileError::Wide { .. })), "{error:?}");
}

#[test]
fn a_damaged_or_foreign_file_is_named_and_left_alone() {
    let (dir, _) = authority();
    let (other_dir, other) = authority();
    let path = dir.path().join("ca/ca.crt");
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(&path, pem).unwrap();
    assert!(matches!(Authority::open(&dir.path().join("ca"), now()), Err(CaError::Damaged { .. })));
    let foreign = Authority::open(other_dir.path().join("ca").as_path(), now()).unwrap();
    assert_eq!(foreign.pin(), other.pin());
    std::fs::copy(other_dir.path().join("ca/ca.crt"), &path).unwrap();
    assert!(matches!(
        Authority::open(&dir.path().join("ca"), now()),
        Err(CaError::Mismatch { .. })
    ));
    std::fs::write(dir.path().join("ca/ca.key"), "garbage").unwrap();
    assert!(matches!(Authority::open(&dir.path().join("ca"), now()), Err(CaError::Damaged { .. })));
}

#[test]
fn only_the_key_of_a_request_is_used() {
    let (_dir, authority) = authority();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["admin.example.fr".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "admin");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let foreign = format!("{AGENT_URN}{}", AgentId([1; 16]));
    params.subject_alt_names.push(SanType::URI(foreign.as_str().try_into().unwrap()));
    let taken = RequestKey::from_request(&request(&params, &key)).unwrap();
    let issued = authority.issue_agent(&taken, AGENT, now()).unwrap();
    let identity = Identity::from_certificate(&issued.der).unwrap();
    assert_eq!(identity.agent, AGENT);
    assert_eq!(identity.serial, issued.serial);
    assert_eq!(identity.expires_at, issued.expires_at);
    assert_eq!(identity.spki_sha256, sha256(&key.subject_public_key_info()));
    let text = String::from_utf8_lossy(&issued.der).into_owned();
    assert!(!text.contains("admin"), "nothing of the subject or the names may be left");
}

#[test]
fn kinds_of_keys_outside_the_list_are_refused() {
    for algorithm in
        [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519]
    {
        let key = KeyPair::generate_for(algorithm).unwrap();
        RequestKey::from_request(&request(&CertificateParams::default(), &key)).unwrap();
    }
    // Requests that OpenSSL made with RSA keys, correctly signed: neither one that anybody can break
    // nor one that keeps whoever checks its signature busy.
    let rsa: [&[u8]; 3] = [
        include_bytes!("tests/rsa512.csr.der"),
        include_bytes!("tests/rsa2048.csr.der"),
        include_bytes!("tests/rsa16384.csr.der"),
    ];
    for request in rsa {
        assert_eq!(RequestKey::from_request(request).unwrap_err(), RequestError::Kind);
    }
}

#[test]
fn a_request_signed_by_another_key_is_refused() {
    let key = KeyPair::generate().unwrap();
    let mut der = request(&CertificateParams::default(), &key);
    let last = der.len() - 1;
    der[last] ^= 1;
    assert_eq!(RequestKey::from_request(&der).unwrap_err(), RequestError::Proof);
    let other = KeyPair::generate().unwrap();
    let mut der = request(&CertificateParams::default(), &key);
    let (spki, foreign) = (key.subject_public_key_info(), other.subject_public_key_info());
    let at = der.windows(spki.len()).position(|window| window == spki).unwrap();
    der[at..at + spki.len()].copy_from_slice(&foreign);
    assert_eq!(RequestKey::from_request(&der).unwrap_err(), RequestError::Proof);
}

#[test]
fn requests_are_bounded_and_must_be_whole() {
    let key = KeyPair::generate().unwrap();
    let der = request(&CertificateParams::default(), &key);
    let mut longer = der.clone();
    longer.push(0);
    assert_eq!(RequestKey::from_request(&longer).unwrap_err(), RequestError::Malformed);
    for cut in 0..der.len() {
        assert!(RequestKey::from_request(&der[..cut]).is_err());
    }
    let large = vec![0x30; proto::limits::MAX_CSR_BYTES + 1];
    assert_eq!(RequestKey::from_request(&large).unwrap_err(), RequestError::Size);
    let full = vec![0x30; proto::limits::MAX_CSR_BYTES];
    assert_eq!(RequestKey::from_request(&full).unwrap_err(), RequestError::Malformed);
}

/// What a certificate of ours would never hold, signed by our own key all the same.
fn signed(authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let (mut params, _, _) = leaf_params("x", now());
    let urn = format!("{AGENT_URN}{AGENT}");
    params.subject_alt_names = vec![SanType::URI(urn.as_str().try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    params.signed_by(&key, &authority.issuer).unwrap().der().to_vec()
}

#[test]
fn an_identity_is_exactly_one_agent_and_a_client() {
    let (_dir, authority) = authority();
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    assert!(Identity::from_certificate(&signed(&authority, |_| ())).is_ok());
    let other = format!("{AGENT_URN}{}", AgentId([1; 16]));
    let twice = signed(&authority, |params| params.subject_alt_names.push(uri(&other)));
    assert_eq!(Identity::from_certificate(&twice), Err(IdentityError::Name));
    let bad = [
        String::new(),
        AGENT_URN.to_owned(),
        format!("{AGENT_URN}{}", "5".repeat(31)),
        format!("{AGENT_URN}{}", "A".repeat(32)),
        format!("urn:other:agent:{AGENT}"),
        format!("spiffe://example.org/{AGENT}"),
    ];
    for name in bad {
        let der = signed(&authority, |params| params.subject_alt_names = vec![uri(&name)]);
        assert_eq!(Identity::from_certificate(&der), Err(IdentityError::Name), "{name}");
    }
    let none = signed(&authority, |params| params.subject_alt_names.clear());
    assert_eq!(Identity::from_certificate(&none), Err(IdentityError::Name));
    let server = signed(&authority, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(Identity::from_certificate(&server), Err(IdentityError::Usage));
    let signer = signed(&authority, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    assert_eq!(Identity::from_certificate(&signer), Err(IdentityError::Usage));
    assert_eq!(Identity::from_certificate(&[]), Err(IdentityError::Malformed));
}
