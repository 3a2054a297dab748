use std::os::unix::fs::PermissionsExt as _;

use rcgen::{CertificateParams, IsCa, Issuer, KeyPair, SanType};

use super::*;

/// An authority of the test.
pub(crate) struct Authority {
    pub(crate) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for `key`, with these URI names.
    pub(crate) fn sign(&self, key: &KeyPair, uris: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            uris.iter().map(|&uri| SanType::URI(uri.try_into().unwrap())).collect();
        params.signed_by(key, &self.issuer).unwrap().der().to_vec()
    }

    fn reply(&self, key: &KeyPair, id: u128) -> v1::EnrolReply {
        v1::EnrolReply {
            chain: vec![self.sign(key, &[&format!("{URN}{id:032x}")])],
            trust: vec![self.certificate.to_vec()],
            agent_id: id.to_be_bytes().to_vec(),
            config: None,
            site_name: "École\u{1b}[2J Victor Hugo".to_owned(),
        }
    }
}

fn enrolled() -> (tempfile::TempDir, Keyring, Authority, KeyPair) {
    let dir = tempfile::tempdir().unwrap();
    let (keyring, authority) = (Keyring::new(dir.path()), Authority::new());
    let key = keyring.pending_key().unwrap();
    keyring.enrolled(&key, &authority.reply(&key, 7), "collecte.example.fr:7443").unwrap();
    (dir, keyring, authority, key)
}

fn message(error: &IdentityError) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

#[test]
fn what_enrolment_brought_is_read_back() {
    let (dir, keyring, authority, _) = enrolled();
    let credentials = keyring.load().unwrap();
    assert_eq!(credentials.current.agent_id, 7_u128.to_be_bytes());
    assert_eq!(credentials.trust, [authority.certificate]);
    assert_eq!(credentials.enrolment.site_name, "École[2J Victor Hugo");
    assert_eq!(credentials.enrolment.agent_id, format!("{:032x}", 7));
    assert!(!dir.path().join("key.next.pem").exists());
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn an_unfinished_attempt_keeps_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let keyring = Keyring::new(dir.path());
    let key = keyring.pending_key().unwrap();
    assert!(!keyring.is_enrolled());
    assert_eq!(keyring.pending_key().unwrap().serialize_der(), key.serialize_der());
    std::fs::write(dir.path().join("key.next.pem"), "-----BEGIN PRIVATE").unwrap();
    assert_ne!(keyring.pending_key().unwrap().serialize_der(), key.serialize_der());
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let (dir, keyring, ..) = enrolled();
    let path = dir.path().join("identity.pem");
    for mode in [0o640, 0o604, 0o660, 0o777] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = message(&keyring.load().unwrap_err());
        assert!(error.contains(&format!("permissions {mode:03o} let others")), "{error}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    assert!(keyring.load().is_ok());
}

#[test]
fn a_damaged_identity_is_told_and_never_used() {
    let (dir, keyring, authority, _) = enrolled();
    let path = dir.path().join("identity.pem");
    let whole = std::fs::read(&path).unwrap();
    for cut in (0..whole.len() - 1).step_by(7) {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let error = keyring.load().unwrap_err();
        assert!(matches!(error, IdentityError::Damaged { .. }), "cut at {cut}: {error}");
    }
    let other = KeyPair::generate().unwrap();
    let stranger = authority.sign(&other, &[&format!("{URN}{:032x}", 7)]);
    let key = KeyPair::generate().unwrap();
    let pem = key.serialize_pem() + &pem_block("CERTIFICATE", &stranger);
    std::fs::write(&path, pem).unwrap();
    let error = message(&keyring.load().unwrap_err());
    assert!(error.contains("is damaged: a certificate of another key;"), "{error}");
}

/// Names and bytes of all that is kept.
fn files_of(dir: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// An identity, as PEM, whose certificate held from one day to another.
fn identity_of(authority: &Authority, key: &KeyPair, years: [i32; 2]) -> String {
    let mut params = CertificateParams::default();
    let name = format!("{URN}{:032x}", 7);
    params.subject_alt_names = vec![SanType::URI(name.as_str().try_into().unwrap())];
    let day = |year| rcgen::date_time_ymd(year, 1, 1);
    (params.not_before, params.not_after) = (day(years[0]), day(years[1]));
    let leaf = params.signed_by(key, &authority.issuer).unwrap();
    key.serialize_pem() + &pem_block("CERTIFICATE", leaf.der())
}

#[test]
fn certificate_files_that_were_converted_or_mixed_up_are_told_with_their_place() {
    let (dir, keyring, authority, key) = enrolled();
    let leaf = authority.sign(&key, &[&format!("{URN}{:032x}", 7)]);
    let block = |der: &[u8]| pem_block("CERTIFICATE", der);
    let (own, issuer) = (block(&leaf), block(&authority.certificate));
    let secret = key.serialize_pem();
    let utf16: Vec<u8> =
        format!("\u{feff}{issuer}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases: [(&str, Vec<u8>, &str); 16] = [
        ("identity.pem", (secret.clone() + &own.repeat(1000)).into(), "too many certificates"),
        ("identity.pem", (secret.clone() + &issuer + &own).into(), "in the wrong order"),
        ("identity.pem", (secret.clone() + &issuer).into(), "a certificate of another key"),
        ("identity.pem", secret.clone().into(), "no certificate"),
        ("identity.pem", own.clone().into(), "no whole private key"),
        ("identity.pem", leaf.clone(), "binary (DER) where text (PEM) belongs"),
        ("identity.pem", key.serialize_der(), "binary (DER) where text (PEM) belongs"),
        ("identity.pem", vec![0; 4096], "no whole private key"),
        ("identity.pem", Vec::new(), "no whole private key"),
        ("trust.pem", issuer.repeat(1000).into(), "too many certificates"),
        ("trust.pem", authority.certificate.to_vec(), "binary (DER) where text (PEM) belongs"),
        ("trust.pem", utf16, "no certificate"),
        ("trust.pem", vec![0; 4096], "no certificate"),
        ("trust.pem", secret.into(), "no certificate"),
        ("trust.pem", block(b"rubbish").into(), "a malformed certificate"),
        ("trust.pem", (issuer.clone() + &block(&leaf[..40])).into(), "a malformed certificate"),
    ];
    for (name, bytes, what) in cases {
        let path = dir.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let before = files_of(dir.path());
        let error = message(&keyring.load().unwrap_err());
        let place = format!("{} is damaged: ", path.display());
        assert!(error.starts_with(&place) && error.contains(what), "{name}, {what}: {error}");
        assert!(error.ends_with("or enrol again with --replace"), "{error}");
        assert!(files_of(dir.path()) == before, "what is refused is left as it is");
        std::fs::write(&path, whole).unwrap();
        keyring.load().unwrap();
    }
}

#[test]
fn what_editors_do_to_certificate_files_is_read_all_the_same() {
    let (dir, keyring, authority, _) = enrolled();
    let other = Authority::new();
    let pem_of = |authority: &Authority| pem_block("CERTIFICATE", &authority.certificate);
    let two = pem_of(&authority) + &pem_of(&other);
    files::replace(&dir.path().join("trust.pem"), two.as_bytes()).unwrap();
    let expected = keyring.load().unwrap();
    assert_eq!(expected.trust.len(), 2);
    let edits: [fn(String) -> String; 5] = [
        |pem| format!("\u{feff}{pem}"),
        |pem| pem.replace('\n', "\r\n"),
        |pem| format!("\u{feff}{}", pem.replace('\n', "\r\n")),
        |pem| format!("subject=école\n\n{pem}\n\n"),
        |pem| pem.trim_end().to_owned(),
    ];
    for edit in edits {
        for name in ["identity.pem", "trust.pem"] {
            let path = dir.path().join(name);
            let whole = std::fs::read_to_string(&path).unwrap();
            let edited = edit(whole.clone());
            std::fs::write(&path, &edited).unwrap();
            let read = keyring.load().unwrap_or_else(|error| panic!("{edited}: {error}"));
            assert_eq!(read.trust, expected.trust, "{edited}");
            assert_eq!(read.current.leaf_der(), expected.current.leaf_der());
            std::fs::write(&path, whole).unwrap();
        }
    }
}

#[test]
fn an_identity_that_expired_is_kept_for_its_renewal() {
    let (dir, keyring, authority, key) = enrolled();
    let path = dir.path().join("identity.pem");
    std::fs::write(&path, identity_of(&authority, &key, [2000, 2001])).unwrap();
    let identity = keyring.load().unwrap().current;
    assert_eq!((identity.not_before, identity.not_after), (946_684_800, 978_307_200));
    assert!(identity.renew_at(0) < identity.not_after, "its renewal is long due");
    // Never in force: no time is right for it.
    std::fs::write(&path, identity_of(&authority, &key, [2001, 2001])).unwrap();
    let error = message(&keyring.load().unwrap_err());
    assert!(error.contains("a certificate that never holds"), "{error}");
}

#[test]
fn a_key_or_certificate_file_that_is_no_file_is_told() {
    let (dir, keyring, ..) = enrolled();
    let path = dir.path().join("trust.pem");
    std::fs::remove_file(&path).unwrap();
    let error = message(&keyring.load().unwrap_err());
    assert!(error.contains("trust.pem is damaged: the file is missing"), "{error}");
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), &path).unwrap();
    let error = message(&keyring.load().unwrap_err());
    assert!(error.contains("trust.pem: it is not a file"), "{error}");
    std::fs::remove_file(&path).unwrap();
    // A hole of 1 TiB takes neither the memory nor the time to read it.
    files::create(&path, b"").unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    let error = message(&keyring.load().unwrap_err());
    assert!(error.contains("trust.pem: the file is larger than"), "{error}");
}

#[test]
fn a_certificate_names_one_agent() {
    let (_dir, keyring, authority, _) = enrolled();
    let id = format!("{URN}{:032x}", 7);
    let long = format!("{id}0");
    let upper = format!("{URN}{:032X}", 0xAB);
    for uris in [&[][..], &[id.as_str(), &id], &["urn:other:1"], &[&long], &[&upper]] {
        let key = keyring.pending_key().unwrap();
        let mut reply = authority.reply(&key, 7);
        reply.chain = vec![authority.sign(&key, uris)];
        let error = keyring.enrolled(&key, &reply, "c:1").unwrap_err();
        assert!(error.to_string().contains("no agent's name"), "{uris:?}: {error}");
    }
    assert_eq!(keyring.load().unwrap().enrolment.collector, "collecte.example.fr:7443");
}

#[test]
fn an_answer_that_does_not_fit_together_changes_nothing() {
    let (dir, keyring, authority, _) = enrolled();
    let key = keyring.pending_key().unwrap();
    let fine = authority.reply(&key, 9);
    let with = |change: fn(&mut v1::EnrolReply)| {
        let mut reply = fine.clone();
        change(&mut reply);
        reply
    };
    for reply in [
        with(|reply| reply.agent_id = 8_u128.to_be_bytes().to_vec()),
        with(|reply| reply.agent_id.clear()),
        with(|reply| reply.chain.clear()),
        with(|reply| reply.chain = vec![vec![0x30, 0x00]]),
        with(|reply| reply.chain = vec![reply.chain[0].clone(); MAX_CERTIFICATES + 1]),
        with(|reply| reply.trust.clear()),
        with(|reply| reply.trust = vec![b"rubbish".to_vec()]),
        with(|reply| reply.trust = vec![reply.trust[0].clone(); 1000]),
        with(|reply| reply.chain = vec![reply.chain[0].clone(); 1000]),
        with(|reply| reply.chain.insert(0, reply.trust[0].clone())),
        with(|reply| reply.chain[0].splice(..0, *b"\xef\xbb\xbf").for_each(drop)),
        with(|reply| reply.chain[0] = pem_block("CERTIFICATE", &reply.chain[0]).into()),
        with(|reply| reply.trust[0] = pem_block("CERTIFICATE", &reply.trust[0]).into()),
    ] {
        let before = files_of(dir.path());
        keyring.enrolled(&key, &reply, "c:1").unwrap_err();
        // A renewal names no agent and may bring no anchors.
        if reply.agent_id == fine.agent_id && !reply.trust.is_empty() {
            keyring.renewed(&key, &reply, 9_u128.to_be_bytes()).unwrap_err();
        }
        assert!(files_of(dir.path()) == before, "a refused answer left something: {reply:?}");
        assert_eq!(keyring.load().unwrap().current.agent_id, 7_u128.to_be_bytes());
    }
    assert_eq!(keyring.enrolled(&key, &fine, "c:1").unwrap().agent_id, 9_u128.to_be_bytes());
}

#[test]
fn a_renewed_identity_waits_beside_the_one_in_force() {
    let (dir, keyring, authority, first) = enrolled();
    let id = 7_u128.to_be_bytes();
    let key = keyring.pending_key().unwrap();
    assert_ne!(key.serialize_der(), first.serialize_der(), "a new key each time");
    assert!(keyring.renewed(&key, &authority.reply(&key, 8), id).is_err(), "another agent's");
    keyring.renewed(&key, &authority.reply(&key, 7), id).unwrap();
    let credentials = keyring.load().unwrap();
    let next = credentials.next.unwrap();
    assert_eq!(credentials.current.key.secret_pkcs8_der(), first.serialize_der());
    assert_eq!(next.key.secret_pkcs8_der(), key.serialize_der());
    keyring.promote().unwrap();
    let credentials = keyring.load().unwrap();
    assert_eq!(credentials.current.key.secret_pkcs8_der(), key.serialize_der());
    assert!(credentials.next.is_none());
    // A renewed identity that is cut short on the disk is dropped.
    let next = dir.path().join("identity.next.pem");
    files::replace(&next, b"-----BEGIN PRIVATE KEY-----\n").unwrap();
    assert!(keyring.load().unwrap().next.is_none());
    assert!(!next.exists());
}

#[test]
fn renewal_comes_with_a_third_of_the_life_left_or_a_ninth_earlier() {
    let (_dir, keyring, ..) = enrolled();
    let mut identity = keyring.load().unwrap().current;
    (identity.not_before, identity.not_after) = (0, 90 * 86_400);
    assert_eq!(identity.renew_at(0), 60 * 86_400);
    let earliest = identity.renew_at(255);
    assert!((50 * 86_400..51 * 86_400).contains(&earliest));
}

#[test]
fn the_pem_writer_writes_what_the_reader_reads() {
    for len in 1..200 {
        let der: Vec<u8> = (0..len).map(|n: u8| n.wrapping_mul(37)).collect();
        let block = pem_block("CERTIFICATE", &der);
        assert!(block.lines().all(|line| line.len() <= 64));
        assert_eq!(certificates(block.as_bytes()).unwrap(), [CertificateDer::from(der)]);
    }
}

#[test]
fn the_time_for_certificates_never_falls_behind_the_servers() {
    let dir = tempfile::tempdir().unwrap();
    let time = tls::TlsTime::load(dir.path(), 0);
    let far = 32_503_680_000; // year 3000
    time.server_said(far);
    assert_eq!(time.now_s(), far);
    time.server_said(5);
    assert_eq!(time.now_s(), far);
    assert_eq!(tls::TlsTime::load(dir.path(), 0).now_s(), far, "it is kept on the disk");
    std::fs::write(dir.path().join("server-time"), "yesterday").unwrap();
    let wall = tls::TlsTime::load(dir.path(), 7).now_s();
    assert!(wall > 7 && wall < far);
}

#[test]
fn a_server_is_not_believed_to_live_after_the_end_of_its_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let time = tls::TlsTime::load(dir.path(), 0);
    let key = KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(2900, 1, 1);
    let leaf = params.self_signed(&key).unwrap();
    let end = params.not_after.unix_timestamp();
    time.met(Some(&[leaf.der().clone()]));
    time.server_said(end + 1);
    time.server_said(i64::MAX);
    assert!(time.now_s() < end, "{}", time.now_s());
    time.server_said(end - 1);
    assert_eq!(time.now_s(), end - 1);
    assert_eq!(tls::TlsTime::load(dir.path(), 0).now_s(), end - 1);
}
