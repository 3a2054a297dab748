//! Who the agent is, whom it trusts, and what it does without either.

use std::sync::Arc;

use agent::{
    app::{self, Extra},
    clock::{Clock, SystemClock},
    config::Config,
    enrol::{EnrolError, Existing, enrol},
    identity::{Keyring, tls::ConnectError},
};
use prost::Message as _;
use proto::{
    KIND_EVENT, LANE_EVENTS,
    v1::{self, event::Event},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;

use crate::{
    collector::{AGENT_ID, Authority, Collector, Life, PLENTY, soon},
    line::{Line, enrolled},
};

#[tokio::test]
async fn enrolment_uses_one_key_over_broken_attempts_and_trusts_only_the_pin() {
    let collector = Collector::start().await;
    let (dir, address) = (tempfile::tempdir().unwrap(), collector.address.to_string());
    let data = dir.path().join("data");
    let seen = v1::Surroundings { hostname: "serveur".to_owned(), ..Default::default() };

    let stranger = Authority::new().token();
    let error = enrol(&data, &address, &stranger, seen.clone(), Existing::Keep).await.unwrap_err();
    assert!(matches!(error, EnrolError::Connect(ConnectError::Intercepted { .. })), "{error:?}");
    assert_eq!(collector.asked(|asked| asked.enrolments.len()), 0, "the token was not shown");

    let token = collector.authority.token();
    collector.break_enrolments(1);
    let error = enrol(&data, &address, &token, seen.clone(), Existing::Keep).await.unwrap_err();
    assert_eq!(error.to_string(), "the collector refused: broken \\u{1b}[2Joff");
    assert!(!Keyring::new(&data).is_enrolled());

    collector.configure(v1::Config { version: 4, ..Default::default() });
    let enrolled = enrol(&data, &address, &token, seen.clone(), Existing::Keep).await.unwrap();
    assert_eq!(enrolled.site_name, "Collège du Test");
    assert_eq!(enrolled.agent_id, format!("{AGENT_ID:032x}"));
    collector.asked(|asked| {
        let [first, second] = &asked.enrolments[..] else { panic!("two attempts") };
        let key = |request: &v1::EnrolRequest| {
            let csr = rcgen::CertificateSigningRequestParams::from_der(&request.csr[..].into());
            rcgen::PublicKeyData::subject_public_key_info(&csr.unwrap().public_key)
        };
        assert_eq!(key(first), key(second));
        assert_eq!((first.token_id.as_str(), &first.token_secret[..]), ("t1", &[0x5a; 32][..]));
        assert_eq!(first.hostname, "serveur");
    });
    let kept = agent::app::plans::PlanStore::new(&data).load().unwrap();
    assert_eq!(kept.good.unwrap().version, 4);

    let again = enrol(&data, &address, &token, seen.clone(), Existing::Keep).await.unwrap_err();
    assert!(matches!(again, EnrolError::Already));
    enrol(&data, &address, &token, seen, Existing::Replace).await.unwrap();
}

#[tokio::test]
async fn a_captive_portal_is_declared_once_and_outlived() {
    let portal = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut collector = Collector::start().await;
    let dir = tempfile::tempdir().unwrap();
    enrolled(dir.path(), &collector, Life::Long);
    let mut line = Line::in_dir(dir, &portal.local_addr().unwrap().to_string());
    line.connect();
    for _ in 0..3 {
        let (mut stream, _) = soon(portal.accept()).await.unwrap();
        let mut hello = [0; 512];
        let _read = stream.read(&mut hello).await;
        let page = b"HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n\r\n<html>pay</html>";
        let _written = stream.write_all(page).await;
    }
    let metrics = Arc::clone(&line.metrics);
    soon(async {
        while metrics.interceptions.get() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let dir = line.stop().await;
    let mut line = Line::in_dir(dir, &collector.address.to_string());
    line.connect();
    let (mut session, _) = collector.begin(PLENTY).await;
    let mut told = 0;
    let mut started = 0;
    while started < 2 {
        let (batch, records) = session.records().await.unwrap();
        assert_eq!(batch.lane, LANE_EVENTS);
        for record in records {
            assert_eq!(record.kind, KIND_EVENT);
            match v1::Event::decode(&*record.payload).unwrap().event {
                Some(Event::Interception(_)) => told += 1,
                Some(Event::Started(_)) => started += 1,
                _ => {}
            }
        }
    }
    assert_eq!(told, 1);
    line.stop().await;
}

#[tokio::test]
async fn an_expired_certificate_is_renewed_with_a_new_key_and_then_used() {
    let mut collector = Collector::start().await;
    let dir = tempfile::tempdir().unwrap();
    enrolled(dir.path(), &collector, Life::Over);
    let keyring = Keyring::new(dir.path());
    let old = keyring.load().unwrap().current;
    let mut line = Line::in_dir(dir, &collector.address.to_string());
    line.connect();
    let (_session, _) = collector.begin(PLENTY).await;
    collector.asked(|asked| {
        let [renewal] = &asked.renewals[..] else { panic!("one renewal") };
        assert_eq!(renewal.certificate, old.leaf_der());
    });
    soon(async {
        while line.metrics.connected.get() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let credentials = keyring.load().unwrap();
    assert!(credentials.next.is_none(), "the renewed one is in force");
    assert_ne!(credentials.current.leaf_der(), old.leaf_der());
    line.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_not_enrolled_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: dir.path().to_owned(), ..Config::default() };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let stop = CancellationToken::new();
    let error = app::run(config, clock, stop, Extra::default()).await.unwrap_err();
    assert!(format!("{error:#}").contains("not enrolled"), "{error:#}");
}
