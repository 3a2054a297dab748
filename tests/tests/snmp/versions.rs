//! Every version and every security level against Debian's agent, and what is told when it refuses.

use std::{fmt::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use agent::{
    plan::{Metric, Secret},
    probe::{Outcome, Probe as _, snmp::SnmpProbe},
    snmp::{
        self, AuthProtocol, Credentials, Fault, Limits, Pace, PrivProtocol, Session, User, Value,
        Wanted,
    },
};
use e2e::snmp_responder::column;
use tokio::time::Instant;

use crate::{
    snmpd::Snmpd,
    support::{LONG, SHORT, columns, outcome, round},
};

const AUTH: [(AuthProtocol, &str); 6] = [
    (AuthProtocol::Md5, "MD5"),
    (AuthProtocol::Sha1, "SHA"),
    (AuthProtocol::Sha224, "SHA-224"),
    (AuthProtocol::Sha256, "SHA-256"),
    (AuthProtocol::Sha384, "SHA-384"),
    (AuthProtocol::Sha512, "SHA-512"),
];
const PRIVACY: [(PrivProtocol, &str); 4] = [
    (PrivProtocol::Des, "DES"),
    (PrivProtocol::Aes128, "AES"),
    (PrivProtocol::Aes192, "AES-192"),
    (PrivProtocol::Aes256, "AES-256"),
];
const AUTH_PASSWORD: &str = "authenticate-me";
const PRIV_PASSWORD: &str = "encrypt-me-too";
const SYS_NAME: [u32; 9] = [1, 3, 6, 1, 2, 1, 1, 5, 0];
const NAME: &str = "sw-cdi";

fn secret(text: &str) -> Secret {
    Secret(text.to_owned())
}

fn user(name: &str, auth: Option<AuthProtocol>, privacy: Option<PrivProtocol>) -> Arc<Credentials> {
    let auth = auth.map(|protocol| (protocol, secret(AUTH_PASSWORD)));
    let privacy = privacy.map(|protocol| (protocol, secret(PRIV_PASSWORD)));
    Arc::new(Credentials::V3(User::new(name, auth, privacy, "").expect("a right user")))
}

fn session(address: SocketAddr, credentials: Arc<Credentials>, timeout: Duration) -> Session {
    Session::new(address, credentials, timeout, Instant::now() + Duration::from_mins(1))
}

async fn name(session: &mut Session) -> Result<Option<Value>, Fault> {
    session.get(&[&SYS_NAME]).await.map(|mut values| values.remove(0))
}

fn right() -> Value {
    Value::Bytes(NAME.as_bytes().into())
}

/// A user for every pair, named by the positions of its protocols, and one without any.
fn configuration(more: &str) -> String {
    let mut text = format!("sysName {NAME}\ncreateUser open\nrouser open noauth\n{more}\n");
    for (a, (_, auth)) in AUTH.iter().enumerate() {
        writeln!(text, "createUser u{a} {auth} {AUTH_PASSWORD}\nrouser u{a} auth").expect("memory");
        for (p, (_, privacy)) in PRIVACY.iter().enumerate() {
            writeln!(text, "createUser u{a}x{p} {auth} {AUTH_PASSWORD} {privacy} {PRIV_PASSWORD}\nrouser u{a}x{p} priv").expect("memory");
        }
    }
    text
}

#[tokio::test]
async fn every_pair_of_protocols_is_answered() {
    let agent = Snmpd::start(&configuration(""));
    agent.listens().await;
    let mut tried = vec![user("open", None, None)];
    for (a, (auth, _)) in AUTH.into_iter().enumerate() {
        tried.push(user(&format!("u{a}"), Some(auth), None));
        for (p, (privacy, _)) in PRIVACY.into_iter().enumerate() {
            tried.push(user(&format!("u{a}x{p}"), Some(auth), Some(privacy)));
        }
    }
    for credentials in tried {
        let mut session = session(agent.address(), Arc::clone(&credentials), LONG);
        for _ in 0..2 {
            let answer = name(&mut session).await;
            assert_eq!(answer.ok(), Some(Some(right())), "{credentials:?}");
        }
        // The engine's name, then at most one refusal that brings its clock.
        assert!(session.requests() <= 4, "{} requests for {credentials:?}", session.requests());
        session.renew(Instant::now() + Duration::from_mins(1));
        let before = session.requests();
        assert_eq!(name(&mut session).await.ok(), Some(Some(right())));
        assert_eq!(session.requests(), before + 1, "the engine is known for {credentials:?}");
    }
}

#[tokio::test]
async fn what_a_device_refuses_is_told() {
    let more = "rocommunity public\ncreateUser lost SHA authenticate-me\n";
    let agent = Snmpd::start(&configuration(more));
    agent.listens().await;
    let asked = |credentials| async {
        let mut session = session(agent.address(), credentials, Duration::from_millis(400));
        name(&mut session).await.expect_err("a refusal")
    };
    let wrong = |auth: &str, privacy: Option<&str>| {
        let auth = Some((AuthProtocol::Sha1, secret(auth)));
        let name = if privacy.is_some() { "u1x1" } else { "u1" };
        let privacy = privacy.map(|password| (PrivProtocol::Aes128, secret(password)));
        Arc::new(Credentials::V3(User::new(name, auth, privacy, "").expect("a right user")))
    };
    for (credentials, what) in [
        (user("stranger", Some(AuthProtocol::Sha1), None), "an unknown user"),
        (user("stranger", None, None), "an unknown user without password"),
        (wrong("authenticate-you", None), "another password"),
        (wrong("authenticate-you", Some(PRIV_PASSWORD)), "another password, with privacy"),
        (user("u1", Some(AuthProtocol::Sha256), None), "another protocol"),
        (user("u1", Some(AuthProtocol::Sha1), Some(PrivProtocol::Aes128)), "another level"),
    ] {
        let fault = asked(credentials).await;
        assert!(matches!(fault, Fault::Denied), "{what}: {fault:?}");
    }
    let fault = asked(wrong(AUTH_PASSWORD, Some("encrypt-you-too"))).await;
    assert!(matches!(fault, Fault::Ignored | Fault::Denied), "another privacy password: {fault:?}");
    // Known, but admitted to nothing.
    let fault = asked(user("lost", Some(AuthProtocol::Sha1), None)).await;
    assert!(matches!(fault, Fault::Status { status: 16, .. }), "{fault:?}");
    for wrong in [Credentials::v1("private"), Credentials::v2c("private")] {
        let fault = asked(Arc::new(wrong)).await;
        assert!(matches!(fault, Fault::Timeout), "another community: {fault:?}");
    }
}

#[tokio::test]
async fn a_refused_user_costs_few_requests() {
    let agent = Snmpd::start(&configuration(""));
    agent.listens().await;
    let stranger = user("stranger", Some(AuthProtocol::Sha1), None);
    let mut session = session(agent.address(), stranger, LONG);
    assert!(matches!(name(&mut session).await, Err(Fault::Denied)));
    assert_eq!(session.requests(), 3, "the engine's name, the request, and once more");
}

#[tokio::test]
async fn a_device_that_restarts_is_followed_within_one_request() {
    let engine = |id: &str| configuration(&format!("exactEngineID 0x{id}"));
    let boots = |count: u32| {
        move |kept: std::path::PathBuf| {
            std::fs::write(kept, format!("engineBoots {count}\n")).expect("written");
        }
    };
    let (first, second) = (engine("80001f880401"), engine("80001f880402"));
    let mut agent = Snmpd::start(&first);
    agent.restart(&first, boots(40));
    agent.listens().await;
    let all = [
        user("open", None, None),
        user("u3", Some(AuthProtocol::Sha256), None),
        user("u3x3", Some(AuthProtocol::Sha256), Some(PrivProtocol::Aes256)),
        user("u0x0", Some(AuthProtocol::Md5), Some(PrivProtocol::Des)),
    ];
    let mut sessions: Vec<Session> =
        all.into_iter().map(|credentials| session(agent.address(), credentials, LONG)).collect();
    for session in &mut sessions {
        assert_eq!(name(session).await.ok(), Some(Some(right())));
    }
    for (what, configuration, count) in [
        ("it has started once more", &first, 41),
        ("it has forgotten how often it started", &first, 1),
        ("another device has its address", &second, 7),
    ] {
        agent.restart(configuration, boots(count));
        agent.listens().await;
        for session in &mut sessions {
            // Within a round, and at the begin of one.
            let answer = name(session).await;
            assert!(answer.is_ok(), "{what}: {answer:?} for {session:?}");
            assert_eq!(answer.ok(), Some(Some(right())), "{what}");
            session.renew(Instant::now() + Duration::from_mins(1));
        }
    }
}

#[tokio::test]
async fn an_agent_of_version_1_is_found_and_read() {
    let agent = Snmpd::start(&format!(
        "sysName {NAME}\ncom2sec local default public\ngroup old v1 local\n\
         view all included .1\naccess old \"\" v1 noauth exact all none none\n"
    ));
    agent.listens().await;
    let known = [
        user("ops", Some(AuthProtocol::Sha1), None),
        Arc::new(Credentials::v2c("public")),
        Arc::new(Credentials::v1("private")),
        Arc::new(Credentials::v1("public")),
    ];
    let mut answer = snmp::first_answer(agent.address(), &known, Duration::from_millis(300))
        .await
        .expect("found");
    assert_eq!(answer.position, 3);
    assert!(answer.object_id.is_some_and(|id| id.starts_with(&[1, 3, 6, 1, 4, 1, 8072])));
    assert!(answer.up_time.is_some());

    let mut pace = Pace::for_session(&answer.session);
    let (if_descr, absent) = ([1, 3, 6, 1, 2, 1, 2, 2, 1, 2], [1, 3, 6, 1, 2, 1, 17, 1]);
    let wanted =
        [Wanted::from(&SYS_NAME[..]), Wanted::from(&if_descr[..]), Wanted::from(&absent[..])];
    let read =
        snmp::read(&mut answer.session, &mut pace, &wanted, &Limits::default(), &mut |_| ()).await;
    assert!(read.fault.is_none() && !read.is_capped, "{:?}", read.fault);
    assert_eq!(read.tables.get(&SYS_NAME[..8], &[0]), Some(&right()));
    let interfaces = std::fs::read_dir("/sys/class/net").expect("Linux").count();
    assert_eq!(read.tables.rows(&if_descr).count(), interfaces);
    assert_eq!(read.tables.rows(&absent).count(), 0);

    // The probe steps where it can not ask for several.
    let mut probe =
        SnmpProbe::new(7, agent.address(), Credentials::v1("public"), 20, LONG, columns([1]));
    let read = round(&mut probe).await;
    assert_eq!(outcome(&read), Some(Outcome::Ok as i64));
    let status = columns([1]).iter().position(|of| of.metric == Metric::IfOperStatus);
    assert_eq!(read.cells[status.expect("asked for")], Some(1));
}

#[tokio::test]
async fn the_preferred_credentials_come_first_and_a_closed_port_ends_the_search() {
    let agent = Snmpd::start(&configuration("rocommunity public"));
    agent.listens().await;
    let known = [
        user("stranger", Some(AuthProtocol::Sha1), None),
        user("u1x1", Some(AuthProtocol::Sha1), Some(PrivProtocol::Aes128)),
        Arc::new(Credentials::v2c("public")),
    ];
    let answer = snmp::first_answer(agent.address(), &known, LONG).await.expect("found");
    assert_eq!(answer.position, 1);

    let refused = snmp::first_answer(agent.address(), &known[..1], LONG).await;
    assert!(matches!(refused, Err(Fault::Denied)));

    let closed = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("bound");
    drop(closed);
    let started = Instant::now();
    assert!(matches!(snmp::first_answer(address, &known, LONG).await, Err(Fault::Refused)));
    assert!(started.elapsed() < LONG);
}

#[tokio::test]
async fn a_silent_device_costs_two_tries_for_each_of_the_credentials() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("bound");
    let known = [
        user("u1x1", Some(AuthProtocol::Sha1), Some(PrivProtocol::Aes256)),
        Arc::new(Credentials::v2c("public")),
    ];
    let answer = snmp::first_answer(address, &known, SHORT).await;
    assert!(matches!(answer, Err(Fault::Timeout)));
    silent.set_nonblocking(true).expect("a socket option");
    let mut datagrams = 0;
    while silent.recv(&mut [0; 2048]).is_ok() {
        datagrams += 1;
    }
    assert_eq!(datagrams, 4);
}

#[tokio::test]
async fn devices_are_asked_over_ipv6_too() {
    let agent = Snmpd::start_on("[::1]:0", &configuration("rocommunity6 public"));
    agent.listens().await;
    let user = user("u1x1", Some(AuthProtocol::Sha1), Some(PrivProtocol::Aes128));
    for credentials in [user, Arc::new(Credentials::v2c("public"))] {
        let mut session = session(agent.address(), credentials, LONG);
        assert_eq!(name(&mut session).await.ok(), Some(Some(right())));
    }
}

#[tokio::test]
async fn the_probe_measures_a_device_of_version_3() {
    let agent = Snmpd::start(&configuration(""));
    agent.listens().await;
    let user = user("u3x3", Some(AuthProtocol::Sha256), Some(PrivProtocol::Aes256));
    let credentials = Credentials::clone(&user);
    let wanted = columns([1]);
    let mut probe = SnmpProbe::new(7, agent.address(), credentials, 20, LONG, wanted.clone());
    for _ in 0..2 {
        let read = round(&mut probe).await;
        assert_eq!(outcome(&read), Some(Outcome::Ok as i64));
        let at = wanted.iter().position(|of| of.metric == Metric::IfHcInOctets);
        assert!(read.cells[at.expect("asked for")].is_some_and(|octets| octets > 0));
    }
    let columns = vec![column(Metric::SnmpOutcome, 0)];
    let stranger = User::new("stranger", None, None, "").expect("a name");
    let stranger = Credentials::V3(stranger);
    let mut probe = SnmpProbe::new(7, agent.address(), stranger, 20, LONG, columns);
    let refused = probe.round().await.expect("a round");
    assert_eq!(refused.cells, [Some(Outcome::Refused as i64)]);
}
