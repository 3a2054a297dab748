//! Requests to servers that behave, and to servers that do not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use agent::{
    plan::{Metric, ProbeKind},
    probe::{Env, Outcome, allow::AllowList, http::MAX_BODY_BYTES, http::tls::Trust},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsAcceptor;

use crate::support::{Cells, Subject, canned, closed_port, env, loopback, read_head, server};

const METRICS: [Metric; 9] = [
    Metric::HttpOutcome,
    Metric::HttpStatus,
    Metric::HttpNameTime,
    Metric::HttpConnectTime,
    Metric::HttpTlsTime,
    Metric::HttpFirstByteTime,
    Metric::HttpTotalTime,
    Metric::HttpCertificateExpiry,
    Metric::HttpBodyBytes,
];

async fn get(url: String, env: &Env) -> Cells {
    let mut subject = Subject::new(ProbeKind::Http { urls: vec![url] }, 1, &METRICS, env);
    subject.round().await
}

#[track_caller]
fn check(round: &Cells, outcome: Outcome, status: Option<i64>) {
    round.check(0, Metric::HttpOutcome, outcome);
    assert_eq!(round.get(0, Metric::HttpStatus), status);
    let is_whole = matches!(outcome, Outcome::Ok | Outcome::Failed);
    assert_eq!(round.get(0, Metric::HttpTotalTime).is_some(), is_whole);
}

#[tokio::test]
async fn an_answer_has_its_phases_status_and_length() {
    let address = canned("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
    let round = get(format!("http://localhost:{}/a?b", address.port()), &loopback()).await;
    check(&round, Outcome::Ok, Some(200));
    assert_eq!(round.get(0, Metric::HttpBodyBytes), Some(5));
    let time = |metric| round.get(0, metric).unwrap();
    let phases = [Metric::HttpNameTime, Metric::HttpConnectTime, Metric::HttpFirstByteTime];
    assert!(phases.map(time).into_iter().sum::<i64>() <= time(Metric::HttpTotalTime));
    assert_eq!(round.get(0, Metric::HttpTlsTime), None);
    assert_eq!(round.get(0, Metric::HttpCertificateExpiry), None);
    let round = get(format!("http://{address}/"), &loopback()).await;
    assert_eq!(round.get(0, Metric::HttpNameTime), None, "an address is not looked up");
}

#[tokio::test]
async fn the_request_is_plain_and_carries_nothing_of_the_machine() {
    let (heard, mut head) = tokio::sync::mpsc::channel(1);
    let address = server(move |mut stream| {
        let heard = heard.clone();
        async move {
            heard.send(read_head(&mut stream).await).await.unwrap();
            stream.write_all(b"HTTP/1.0 204 No Content\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let round = get(format!("http://{address}/a?b#c"), &loopback()).await;
    check(&round, Outcome::Ok, Some(204));
    let head = head.recv().await.unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        head,
        format!(
            "GET /a?b HTTP/1.1\r\nhost: {address}\r\nuser-agent: vigie-agent/{version}\r\n\
             accept: */*\r\naccept-encoding: identity\r\nconnection: close\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn a_redirect_is_a_status_and_is_not_followed() {
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&visits);
    let elsewhere = server(move |_stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {}
    })
    .await;
    for place in [format!("http://{elsewhere}/"), "file:///etc/passwd".to_owned()] {
        let answer =
            format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n");
        let round = get(format!("http://{}/", canned(answer).await), &loopback()).await;
        check(&round, Outcome::Ok, Some(302));
    }
    assert_eq!(visits.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_servers_own_failure_is_failed_and_a_clients_is_not() {
    for (status, outcome) in
        [(404, Outcome::Ok), (499, Outcome::Ok), (500, Outcome::Failed), (503, Outcome::Failed)]
    {
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        let round = get(format!("http://{}/", canned(answer).await), &loopback()).await;
        check(&round, outcome, Some(status));
    }
}

#[tokio::test]
async fn what_is_not_http_is_malformed() {
    let head = |lines: usize| {
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(lines - 1) + "content-length: 0\r\n")
    };
    for (answer, outcome, status) in [
        (String::new(), Outcome::Malformed, None),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), Outcome::Malformed, None),
        ("HTTP/1.1 abc\r\n\r\n".to_owned(), Outcome::Malformed, None),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel".to_owned(),
            Outcome::Malformed,
            Some(200),
        ),
        (format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(200_000)), Outcome::Malformed, None),
        (head(100), Outcome::Ok, Some(200)),
        (head(101), Outcome::Malformed, None),
    ] {
        let shown: String = answer.chars().take(30).collect();
        let round = get(format!("http://{}/", canned(answer).await), &loopback()).await;
        println!("{shown:?}");
        check(&round, outcome, status);
    }
}

#[tokio::test]
async fn a_body_is_counted_up_to_its_limit() {
    let limit = i64::try_from(MAX_BODY_BYTES).unwrap();
    for length in [limit - 1, limit, limit + 1, 4 * limit] {
        let body = "b".repeat(usize::try_from(length).unwrap());
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        let round = get(format!("http://{}/", canned(answer).await), &loopback()).await;
        check(&round, Outcome::Ok, Some(200));
        assert_eq!(round.get(0, Metric::HttpBodyBytes), Some(length.min(limit)));
    }
}

#[tokio::test]
async fn a_reset_is_refused_and_so_is_a_closed_port() {
    let address = server(|mut stream| async move {
        read_head(&mut stream).await;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    })
    .await;
    check(&get(format!("http://{address}/"), &loopback()).await, Outcome::Refused, None);
    check(&get(format!("http://{}/", closed_port()), &loopback()).await, Outcome::Refused, None);
}

#[tokio::test]
async fn a_slow_server_keeps_what_was_measured_and_the_time_limit() {
    let silent = server(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let dripping = server(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nh").await;
        std::future::pending::<()>().await;
    })
    .await;
    let urls = vec![format!("http://{silent}/"), format!("http://{dripping}/")];
    let limit = Duration::from_millis(300);
    let mut subject =
        Subject::with_timeout(ProbeKind::Http { urls }, 2, &METRICS, &loopback(), limit);
    let started = Instant::now();
    let round = subject.round().await;
    assert!(started.elapsed() < 2 * limit, "{:?}", started.elapsed());
    check(&round, Outcome::Timeout, None);
    assert!(round.get(0, Metric::HttpConnectTime).is_some());
    assert_eq!(round.get(0, Metric::HttpFirstByteTime), None);
    round.check(1, Metric::HttpOutcome, Outcome::Timeout);
    assert_eq!(round.get(1, Metric::HttpStatus), Some(200));
    assert_eq!(round.get(1, Metric::HttpBodyBytes), Some(1));
    assert_eq!(round.get(1, Metric::HttpTotalTime), None);
}

/// The port of a server that counts who connects, and says nothing.
async fn counting() -> (u16, Arc<AtomicUsize>) {
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&visits);
    let port = server(move |_stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {}
    })
    .await
    .port();
    (port, visits)
}

#[tokio::test]
async fn a_denied_address_is_not_asked() {
    let (port, visits) = counting().await;
    let mut env = env(&[]);
    env.allow = AllowList::default().and_http_ports([1..=u16::MAX]).into();
    for host in ["127.0.0.1", "[::ffff:7f00:1]", "2130706433", "0x7f.1", "localhost"] {
        check(&get(format!("http://{host}:{port}/"), &env).await, Outcome::NotAsked, None);
    }
    assert_eq!(visits.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_port_of_no_web_server_is_not_asked() {
    let (port, visits) = counting().await;
    assert!(!(8_000..=8_999).contains(&port), "the system's own ports are elsewhere");
    let mut env = env(&[]);
    let networks = vec!["127.0.0.0/8".parse().unwrap()];
    env.allow = AllowList::only(networks).into();
    check(&get(format!("http://127.0.0.1:{port}/"), &env).await, Outcome::NotAsked, None);
    assert_eq!(visits.load(Ordering::Relaxed), 0);
}

/// An authority, and what it signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: rustls::RootCertStore,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(params.self_signed(&key).unwrap().der().clone()).unwrap();
        Self { issuer: Issuer::new(params, key), roots }
    }

    pub(crate) fn env(&self) -> Env {
        Env { trust: Arc::new(Trust::only(self.roots.clone())), ..loopback() }
    }

    /// Port of a web server whose certificate is for `name` and ends on 1 January of `last_year`.
    async fn https(
        &self,
        name: &str,
        last_year: i32,
        speaks: &'static SupportedProtocolVersion,
    ) -> u16 {
        let acceptor = self.acceptor(name, last_year, speaks);
        let address = server(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    read_head(&mut stream).await;
                    let _ =
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                    let _ = stream.shutdown().await;
                }
            }
        });
        address.await.port()
    }

    /// The server's side of TLS, with such a certificate.
    pub(crate) fn acceptor(
        &self,
        name: &str,
        last_year: i32,
        speaks: &'static SupportedProtocolVersion,
    ) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[speaks])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// 1 January 2021 and 2100, in Unix seconds.
const IN_2021: i64 = 1_609_459_200;
const IN_2100: i64 = 4_102_444_800;

#[tokio::test]
async fn a_valid_certificate_gives_its_expiry_by_both_versions_of_tls() {
    let authority = Authority::new();
    for speaks in [&version::TLS12, &version::TLS13] {
        for name in ["localhost", "127.0.0.1"] {
            let port = authority.https(name, 2100, speaks).await;
            let round = get(format!("https://{name}:{port}/"), &authority.env()).await;
            check(&round, Outcome::Ok, Some(200));
            assert_eq!(round.get(0, Metric::HttpCertificateExpiry), Some(IN_2100));
            assert!(round.get(0, Metric::HttpTlsTime).unwrap() > 0);
        }
    }
}

#[tokio::test]
async fn an_invalid_certificate_fails_and_still_gives_its_expiry() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let tls13 = &version::TLS13;
    let tls12 = &version::TLS12;
    for (why, port, expiry, outcome) in [
        ("expired", authority.https("localhost", 2021, tls13).await, IN_2021, Outcome::Expired),
        ("a stranger's", stranger.https("localhost", 2100, tls12).await, IN_2100, Outcome::Tls),
        ("both", stranger.https("localhost", 2021, tls12).await, IN_2021, Outcome::Expired),
        ("another name's", authority.https("other.test", 2100, tls13).await, IN_2100, Outcome::Tls),
    ] {
        println!("{why}");
        let url = format!("https://localhost:{port}/");
        let mut subject =
            Subject::new(ProbeKind::Http { urls: vec![url] }, 1, &METRICS, &authority.env());
        // Twice: no session may be resumed without its certificate.
        for _ in 0..2 {
            let round = subject.round().await;
            check(&round, outcome, None);
            assert_eq!(round.get(0, Metric::HttpCertificateExpiry), Some(expiry));
            assert_eq!(round.get(0, Metric::HttpTlsTime), None);
            assert!(round.get(0, Metric::HttpConnectTime).is_some());
        }
    }
}

#[tokio::test]
async fn a_server_without_tls_is_a_tls_failure_without_expiry() {
    let address = server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        read_head(&mut stream).await;
    })
    .await;
    let round = get(format!("https://{address}/"), &Authority::new().env()).await;
    check(&round, Outcome::Tls, None);
    assert_eq!(round.get(0, Metric::HttpCertificateExpiry), None);
}

#[tokio::test]
async fn a_whole_group_that_hangs_is_told_as_such_and_holds_up_no_answer() {
    let silent = server(|stream| async move {
        // Held open, and nothing said.
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let fine = canned("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let mut urls = vec![format!("http://{silent}/"); 63];
    urls.push(format!("http://{fine}/"));
    let limit = Duration::from_millis(600);
    let kind = ProbeKind::Http { urls };
    let mut subject = Subject::with_timeout(kind, 64, &METRICS, &loopback(), limit);
    let started = Instant::now();
    let round = subject.round().await;
    assert!(started.elapsed() < 2 * limit, "{:?}", started.elapsed());
    for target in 0..63 {
        round.check(target, Metric::HttpOutcome, Outcome::Timeout);
    }
    round.check(63, Metric::HttpOutcome, Outcome::Ok);
}
