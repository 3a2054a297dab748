//! Services that misbehave as no real daemon does, and what must not be asked. Real daemons are asked by
//! the tests of the whole system.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use agent::{
    plan::{Metric, Pages, ProbeKind, Secret, Service, ServiceKind},
    probe::{Env, Outcome, allow::AllowList},
};
use rustls::version::TLS13;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
};

use crate::{
    http::Authority,
    support::{Cells, Subject, canned, closed_port, env, loopback, server},
};

#[expect(clippy::needless_pass_by_value, reason = "addresses and texts are passed alike")]
fn service(kind: ServiceKind, target: impl ToString) -> Service {
    Service { kind, targets: vec![target.to_string()], secret: None, pages: None }
}

fn subject(service: Service, metrics: &[Metric], env: &Env) -> Subject {
    let metrics: Vec<_> = [&[Metric::ServiceOutcome], metrics].concat();
    let kind = ProbeKind::Service(service);
    Subject::with_timeout(kind, 1, &metrics, env, Duration::from_millis(500))
}

async fn ask(kind: ServiceKind, target: impl ToString, env: &Env) -> Cells {
    subject(service(kind, target), &[], env).round().await
}

/// Kinds that are asked over a stream, without TLS at its start.
const STREAMS: [ServiceKind; 8] = [
    ServiceKind::Ldap,
    ServiceKind::Smb,
    ServiceKind::Nfs,
    ServiceKind::Smtp,
    ServiceKind::SmtpStarttls,
    ServiceKind::Imap,
    ServiceKind::ImapStarttls,
    ServiceKind::SipTcp,
];
const DATAGRAMS: [ServiceKind; 2] = [ServiceKind::Ntp, ServiceKind::Sip];

/// A server that says this at once and hears what comes until the caller goes.
async fn babbling(words: impl Into<Vec<u8>>) -> SocketAddr {
    let words: Arc<[u8]> = words.into().into();
    server(move |mut stream| {
        let words = Arc::clone(&words);
        async move {
            let _ = stream.write_all(&words).await;
            let mut heard = [0; 1024];
            while stream.read(&mut heard).await.is_ok_and(|len| len > 0) {}
        }
    })
    .await
}

#[tokio::test]
async fn nobody_there_is_refused_and_silence_is_a_timeout() {
    let silent = babbling("").await;
    for kind in STREAMS {
        println!("{kind:?}");
        let outcome = Metric::ServiceOutcome;
        ask(kind, closed_port(), &loopback()).await.check(0, outcome, Outcome::Refused);
        ask(kind, silent, &loopback()).await.check(0, outcome, Outcome::Timeout);
    }
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for kind in DATAGRAMS {
        let outcome = Metric::ServiceOutcome;
        ask(kind, closed_port(), &loopback()).await.check(0, outcome, Outcome::Refused);
        let address = silent.local_addr().unwrap();
        ask(kind, address, &loopback()).await.check(0, outcome, Outcome::Timeout);
    }
}

#[tokio::test]
async fn another_protocol_and_endless_words_are_no_answer() {
    for words in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"+OK POP3 ready\r\n",
        &[0xff; 300],
        &b"220-more\r\n".repeat(3_000),
        &b"* OK more\r\n".repeat(3_000),
        &[b"\x30\x84\x00\x00\x1f\xff", &[0x30; 9_000][..]].concat(),
        &[b"SIP/2.0 100 Trying\r\n", &b"a: b\r\n".repeat(5_000)[..]].concat(),
    ] {
        let address = babbling(words).await;
        for kind in STREAMS {
            let round = ask(kind, address, &loopback()).await;
            println!("{kind:?} {:?}", &words[..10]);
            round.check(0, Metric::ServiceOutcome, Outcome::Malformed);
        }
    }
    let strange = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = strange.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        let mut question = [0; 1024];
        while let Ok((_, peer)) = strange.recv_from(&mut question).await {
            strange.send_to(b"what?", peer).await.unwrap();
        }
    });
    for kind in DATAGRAMS {
        let round = ask(kind, address, &loopback()).await;
        round.check(0, Metric::ServiceOutcome, Outcome::Malformed);
    }
    answering.abort();
}

/// A relay or a server of mailboxes that goes over to TLS when it is asked to.
async fn starting_tls(
    kind: ServiceKind,
    acceptor: tokio_rustls::TlsAcceptor,
    injected: &'static [u8],
) -> SocketAddr {
    server(move |mut stream: TcpStream| {
        let acceptor = acceptor.clone();
        async move {
            let lines: &[&[u8]] = if kind == ServiceKind::SmtpStarttls {
                &[b"220 ready\r\n", b"250-me\r\n250 STARTTLS\r\n", b"220 go on\r\n"]
            } else {
                &[b"* OK\r\n", b"* CAPABILITY STARTTLS\r\nv1 OK\r\n", b"v2 OK\r\n"]
            };
            let mut heard = [0; 256];
            for (at, line) in lines.iter().enumerate() {
                if at > 0 && stream.read(&mut heard).await.unwrap_or(0) == 0 {
                    return;
                }
                let line = if at == 2 { [line, injected].concat() } else { line.to_vec() };
                let _ = stream.write_all(&line).await;
            }
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.read(&mut heard).await;
                let answer: &[u8] =
                    if kind == ServiceKind::SmtpStarttls { b"250 me\r\n" } else { b"v3 OK\r\n" };
                let _ = stream.write_all(answer).await;
                while stream.read(&mut heard).await.is_ok_and(|len| len > 0) {}
            }
        }
    })
    .await
}

#[tokio::test]
async fn tls_that_starts_later_is_as_strict_and_tells_its_end() {
    const METRICS: [Metric; 3] =
        [Metric::ServiceCertificateExpiry, Metric::ServiceTlsTime, Metric::ServiceTime];
    let (authority, stranger) = (Authority::new(), Authority::new());
    for kind in [ServiceKind::SmtpStarttls, ServiceKind::ImapStarttls] {
        for (acceptor, injected, outcome) in [
            (authority.acceptor("localhost", 2100, &TLS13), &b""[..], Outcome::Ok),
            (authority.acceptor("localhost", 2021, &TLS13), b"", Outcome::Expired),
            (stranger.acceptor("localhost", 2100, &TLS13), b"", Outcome::Tls),
            // What is said before TLS must not be taken for said behind it.
            (authority.acceptor("localhost", 2100, &TLS13), b"250 me\r\n", Outcome::Malformed),
        ] {
            let port = starting_tls(kind, acceptor, injected).await.port();
            let service = service(kind, format!("localhost:{port}"));
            let round = subject(service, &METRICS, &authority.env()).round().await;
            println!("{kind:?}");
            round.check(0, Metric::ServiceOutcome, outcome);
            let is_seen = outcome != Outcome::Malformed;
            assert_eq!(round.get(0, Metric::ServiceCertificateExpiry).is_some(), is_seen);
            assert_eq!(round.get(0, Metric::ServiceTlsTime).is_some(), outcome == Outcome::Ok);
            assert_eq!(round.get(0, Metric::ServiceTime).is_some(), outcome == Outcome::Ok);
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_offer_tls_where_it_is_wanted_fails_by_tls() {
    for (kind, words) in [
        (ServiceKind::SmtpStarttls, "220 me\r\n250 me\r\n"),
        (ServiceKind::ImapStarttls, "* OK\r\nv1 OK\r\n"),
        (ServiceKind::Imaps, "* OK\r\n"),
        (ServiceKind::Smtps, "220 me\r\n"),
    ] {
        let round = ask(kind, babbling(words).await, &loopback()).await;
        round.check(0, Metric::ServiceOutcome, Outcome::Tls);
    }
}

#[tokio::test]
async fn nothing_is_asked_where_the_local_file_does_not_allow_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut ports = env(&[]);
    let networks = vec!["127.0.0.0/8".parse().unwrap()];
    ports.allow = AllowList::only(networks).into();
    for kind in STREAMS.into_iter().chain(DATAGRAMS) {
        for env in [&env(&["10.0.0.0/8"]), &ports] {
            let round = ask(kind, address, env).await;
            round.check(0, Metric::ServiceOutcome, Outcome::NotAsked);
        }
    }
    // No network is on the list; loopback is none, and a card that is not there has none.
    for name in ["auto", "none-such", "lo"] {
        let round = ask(ServiceKind::Dhcp, name, &env(&[])).await;
        round.check(0, Metric::ServiceOutcome, Outcome::NotAsked);
    }
    let round = ask(ServiceKind::Backup, "/etc", &loopback()).await;
    round.check(0, Metric::ServiceOutcome, Outcome::NotAsked);
    let knock = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
    assert!(knock.is_err(), "a denied service was connected to");
}

#[tokio::test]
async fn a_radius_server_that_keeps_silent_to_strangers_is_unknown() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let asked = |address: SocketAddr, secret: Option<&str>| {
        let secret = secret.map(|secret| Secret(secret.to_owned()));
        subject(Service { secret, ..service(ServiceKind::Radius, address) }, &[], &loopback())
    };
    let outcome = Metric::ServiceOutcome;
    asked(address, None).round().await.check(0, outcome, Outcome::NotAsked);
    asked(address, Some("secret")).round().await.check(0, outcome, Outcome::Timeout);
    asked(closed_port(), None).round().await.check(0, outcome, Outcome::Refused);
}

fn pages(proxy: impl ToString, permitted: &str, blocked: Option<&str>) -> Service {
    let pages = Pages {
        permitted: permitted.to_owned(),
        blocked: blocked.map(str::to_owned),
        blocked_text: Some("forbidden fruit".to_owned()),
    };
    Service { pages: Some(pages), ..service(ServiceKind::Proxy, proxy) }
}

#[tokio::test]
async fn a_filter_is_judged_by_what_becomes_of_two_pages() {
    const METRICS: [Metric; 2] = [Metric::FilterOutcome, Metric::ServiceTime];
    let ok =
        |text: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    let away = "HTTP/1.1 302 Found\r\nLocation: http://filter.test/\r\nContent-Length: 0\r\n\r\n";
    let not = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    for (permitted, blocked, outcome, filter) in [
        (ok("page"), not.to_owned(), Outcome::Ok, Some(Outcome::Ok)),
        (ok("page"), away.to_owned(), Outcome::Ok, Some(Outcome::Ok)),
        (ok("page"), ok("the filter says no"), Outcome::Ok, Some(Outcome::Ok)),
        (ok("page"), ok("a forbidden fruit"), Outcome::NotBlocked, Some(Outcome::NotBlocked)),
        (not.to_owned(), ok("a forbidden fruit"), Outcome::Blocked, None),
        (away.to_owned(), not.to_owned(), Outcome::Blocked, None),
        (ok("page"), "HTTP/1.1 503 x\r\n\r\n".to_owned(), Outcome::Ok, Some(Outcome::Failed)),
    ] {
        let (permitted, blocked) = (canned(permitted).await, canned(blocked).await);
        let urls = [format!("http://{permitted}/a"), format!("http://{blocked}/b")];
        let service = pages("direct", &urls[0], Some(&urls[1]));
        let round = subject(service, &METRICS, &loopback()).round().await;
        round.check(0, Metric::ServiceOutcome, outcome);
        assert_eq!(round.get(0, Metric::FilterOutcome), filter.map(|filter| filter as i64));
    }
}

#[tokio::test]
async fn a_proxy_is_given_the_whole_url_or_asked_for_a_tunnel() {
    let (told, mut heard) = tokio::sync::mpsc::channel(4);
    let proxy = server(move |mut stream| {
        let told = told.clone();
        async move {
            told.send(crate::support::read_head(&mut stream).await).await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 407 x\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    for (url, first) in [
        ("http://page.test/a?b", "GET http://page.test/a?b HTTP/1.1\r\nhost: page.test\r\n"),
        ("https://page.test:8443/a", "CONNECT page.test:8443 HTTP/1.1\r\nHost: page.test:8443\r\n"),
    ] {
        let round = subject(pages(proxy, url, None), &[], &loopback()).round().await;
        round.check(0, Metric::ServiceOutcome, Outcome::Refused);
        let head = heard.recv().await.unwrap();
        assert!(head.starts_with(first), "{head}");
    }
    // What nobody may ask is not asked of a proxy either.
    for url in ["http://169.254.169.254/", "http://[::ffff:169.254.169.254]/"] {
        let round = subject(pages(proxy, url, None), &[], &loopback()).round().await;
        round.check(0, Metric::ServiceOutcome, Outcome::NotAsked);
    }
    assert!(heard.try_recv().is_err());
}

fn age(path: &Path, seconds: u64) {
    let at = SystemTime::now() - Duration::from_secs(seconds);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
}

#[tokio::test]
async fn a_backup_has_an_age_and_a_size() {
    const METRICS: [Metric; 3] = [Metric::BackupAge, Metric::BackupBytes, Metric::BackupTotalBytes];
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let env = Env { backup_directories: vec![root.clone()].into(), ..loopback() };
    let at = |rest: &str| service(ServiceKind::Backup, format!("{}/{rest}", root.display()));
    let mut probe = subject(at("base-*.gz"), &METRICS, &env);
    let round = probe.round().await;
    round.check(0, Metric::ServiceOutcome, Outcome::Failed);
    assert_eq!(round.get(0, Metric::BackupAge), None);
    for (name, bytes, seconds) in [("base-1.gz", 70, 90_000), ("base-2.gz", 30, 3_600)] {
        std::fs::write(root.join(name), vec![0; bytes]).unwrap();
        age(&root.join(name), seconds);
    }
    let round = probe.round().await;
    round.check(0, Metric::ServiceOutcome, Outcome::Ok);
    assert!(round.changed);
    let age_s = round.get(0, Metric::BackupAge).unwrap();
    assert!((3_600..3_660).contains(&age_s), "{age_s}");
    assert_eq!(round.get(0, Metric::BackupBytes), Some(30));
    assert_eq!(round.get(0, Metric::BackupTotalBytes), Some(100));
    let gone = subject(at("not/mounted"), &[], &env).round().await;
    gone.check(0, Metric::ServiceOutcome, Outcome::Failed);
}

#[tokio::test]
async fn a_printer_tells_its_state() {
    let answer = |status: &str, kind: &str, body: &[u8]| {
        let len = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    for (answer, outcome) in [
        (answer("404 Not Found", "text/html", b"no"), Outcome::Failed),
        (answer("401 x", "text/html", b""), Outcome::Refused),
        (answer("200 OK", "text/html", b"<p>hello"), Outcome::Malformed),
        (b"SSH-2.0\r\n".to_vec(), Outcome::Malformed),
    ] {
        let address = canned(answer).await;
        let service = service(ServiceKind::Ipp, format!("ipp://{address}/ipp/print"));
        let round = subject(service, &[Metric::PrinterState], &loopback()).round().await;
        round.check(0, Metric::ServiceOutcome, outcome);
        assert_eq!(round.get(0, Metric::PrinterState), None);
    }
}

#[tokio::test]
async fn one_that_hangs_holds_up_no_other() {
    let silent = babbling("").await;
    let fine = babbling("220 me\r\n250 me\r\n").await;
    let mut targets = vec![silent.to_string(); 20];
    targets.push(fine.to_string());
    let kind = ServiceKind::Smtp;
    let service = Service { kind, targets, secret: None, pages: None };
    let limit = Duration::from_millis(500);
    let metrics = [Metric::ServiceOutcome];
    let mut subject =
        Subject::with_timeout(ProbeKind::Service(service), 21, &metrics, &loopback(), limit);
    let started = Instant::now();
    let round = subject.round().await;
    assert!(started.elapsed() < 2 * limit, "{:?}", started.elapsed());
    round.check(0, Metric::ServiceOutcome, Outcome::Timeout);
    round.check(20, Metric::ServiceOutcome, Outcome::Ok);
}
