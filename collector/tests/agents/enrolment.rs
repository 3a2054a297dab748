use std::{sync::Arc, time::Duration};

use collector::{app::Parts, ca::hex, clock::FakeClock};
use domain::target::{Method, Role, TargetSpec};
use jiff::Timestamp;
use prost::Message as _;
use proto::limits::MAX_CONFIG_BYTES;
use rcgen::{KeyPair, PublicKeyData as _};
use tonic::Code;

use crate::fake::{
    self, Agent, anonymous, channel, enrol, enrol_request, enrol_with, hello, start, start_with,
};

fn at_noon() -> (Arc<FakeClock>, Parts) {
    // The test's own TLS judges the server's certificate by the real time.
    let clock = Arc::new(FakeClock::new(Timestamp::now()));
    let parts = Parts { clock: clock.clone(), ..Parts::default() };
    (clock, parts)
}

#[tokio::test]
async fn a_token_makes_an_agent_that_knows_at_once_what_to_measure() {
    let collector = start().await;
    let token = collector.token(collector.site(999_001).await).await;
    let key = KeyPair::generate().unwrap();
    let reply = enrol(collector.app.agents, &token, &key).await.unwrap();
    assert_eq!(reply.site_name, "Collège 999001");
    let groups = reply.config.clone().unwrap().groups;
    let probes: Vec<_> = groups.iter().filter_map(|group| group.probe.clone()).collect();
    assert_eq!(groups.len(), probes.len());
    let shown = format!("{probes:?}");
    for target in ["192.0.2.1", "198.51.100.1", "192.0.2.53", "Host"] {
        assert!(shown.contains(target), "{target} is not in {shown}");
    }
    let address = &collector.app.context.config.agents.public_address;
    assert!(shown.contains(address.as_str()), "{shown}");
    let spki = x509(&reply.trust[0]);
    assert_eq!(hex(&collector::ca::sha256(&spki)), token.pin);
}

#[tokio::test]
async fn the_largest_plan_that_operators_can_make_reaches_its_agent_both_ways() {
    let collector = start().await;
    let site = collector.site(999_001).await;
    let targets = &collector.app.context.targets;
    let mut refused = None;
    for n in 0..1_000 {
        let spec = TargetSpec {
            site,
            role: Role::Service,
            name: "page".to_owned(),
            address: format!("http://{n}.example.fr/{}", "x".repeat(20_000)),
            method: Method::Http,
            period_s: 60,
            parent: None,
        };
        refused = targets.add(spec).await.err();
        if refused.is_some() {
            break;
        }
    }
    assert!(refused.unwrap().to_string().contains(" bytes, 851968 at most: withdraw targets"));
    let token = collector.token(site).await;
    let key = KeyPair::generate().unwrap();
    let reply = enrol(collector.app.agents, &token, &key).await.unwrap();
    let brought = reply.config.clone().unwrap();
    assert!((800_000..=MAX_CONFIG_BYTES).contains(&brought.encoded_len()));
    let agent = Agent::new(collector.app.agents, key, &reply);
    let (mut stream, _) = agent.hello(hello(1)).await;
    let pushed = stream.config().await;
    assert_eq!(pushed.groups.len(), brought.groups.len());
    assert!((800_000..=MAX_CONFIG_BYTES).contains(&pushed.encoded_len()));
}

fn x509(der: &[u8]) -> Vec<u8> {
    use x509_parser::prelude::FromDer as _;
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).unwrap();
    certificate.public_key().raw.to_vec()
}

#[tokio::test]
async fn a_token_serves_one_key_and_that_one_again_for_a_while() {
    let (clock, parts) = at_noon();
    let collector = start_with(parts, "").await;
    let site = collector.site(999_001).await;
    let token = collector.token(site).await;
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let first = enrol(collector.app.agents, &token, &key).await.unwrap();
    clock.advance(Duration::from_mins(9));
    let again = enrol(collector.app.agents, &token, &key).await.unwrap();
    assert_eq!(first.agent_id, again.agent_id);
    assert_eq!(x509(&again.chain[0]), key.subject_public_key_info());
    let used = enrol(collector.app.agents, &token, &other).await.unwrap_err();
    clock.advance(Duration::from_mins(2));
    let late = enrol(collector.app.agents, &token, &key).await.unwrap_err();

    let fresh = collector.token(site).await;
    let wrong = fake::Token { secret: vec![0; 32], id: fresh.id.clone(), pin: String::new() };
    let wrong = enrol(collector.app.agents, &wrong, &other).await.unwrap_err();
    let unknown = fake::Token { id: "nobody".to_owned(), secret: vec![], pin: String::new() };
    let unknown = enrol(collector.app.agents, &unknown, &other).await.unwrap_err();
    clock.advance(Duration::from_hours(25));
    let expired = enrol(collector.app.agents, &fresh, &other).await.unwrap_err();
    for refusal in [&used, &late, &wrong, &unknown, &expired] {
        assert_eq!((refusal.code(), refusal.message()), (used.code(), used.message()));
    }
    assert_eq!(used.code(), Code::PermissionDenied);
    assert_eq!(collector.app.context.store.agents().await.unwrap().len(), 1);
}

#[tokio::test]
async fn guessing_tokens_is_slow() {
    let collector = start().await;
    let key = KeyPair::generate().unwrap();
    let guess = fake::Token { id: "guess".to_owned(), secret: vec![1; 32], pin: String::new() };
    let mut codes = Vec::new();
    for _ in 0..7 {
        codes.push(enrol(collector.app.agents, &guess, &key).await.unwrap_err().code());
    }
    assert_eq!(codes[..5], [Code::PermissionDenied; 5]);
    assert_eq!(codes[5..], [Code::ResourceExhausted; 2]);
}

#[tokio::test]
async fn requests_with_tricks_are_refused_before_the_token_is_burnt() {
    let pace = "enrol_per_address_per_minute = 60\n";
    let collector = start_with(Parts::default(), pace).await;
    let token = collector.token(collector.site(999_001).await).await;
    let key = KeyPair::generate().unwrap();
    let mut tricks = vec![Vec::new(), vec![0x30; 8 << 10], vec![0x30; (8 << 10) + 1]];
    let mut forged = enrol_request(&token, &key).csr;
    *forged.last_mut().unwrap() ^= 1;
    tricks.push(forged);
    tricks.push(include_bytes!("../../src/ca/tests/rsa512.csr.der").to_vec());
    tricks.push(include_bytes!("../../src/ca/tests/rsa16384.csr.der").to_vec());
    for csr in tricks {
        let request = fake_request(&token, &key, csr);
        let status = enrol_with(collector.app.agents, anonymous(), request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().starts_with("certificate request "), "{status:?}");
    }
    assert!(collector.app.context.store.agents().await.unwrap().is_empty());
    enrol(collector.app.agents, &token, &key).await.unwrap();
}

fn fake_request(token: &fake::Token, key: &KeyPair, csr: Vec<u8>) -> proto::v1::EnrolRequest {
    proto::v1::EnrolRequest { csr, ..enrol_request(token, key) }
}

#[tokio::test]
async fn an_expired_certificate_is_renewed_and_good_for_nothing_else() {
    let day = Duration::from_hours(24);
    for (overdue_days, fine) in [(1, true), (71, true), (399, true), (401, false)] {
        let (clock, parts) = at_noon();
        let collector = start_with(parts, "").await;
        let agent = collector.agent(999_001).await;
        clock.advance(day * (90 + overdue_days));
        let key = KeyPair::generate().unwrap();
        let renewed = agent.renew(&key).await;
        assert_eq!(renewed.is_ok(), fine, "after {overdue_days} days: {renewed:?}");
        if let Ok(reply) = renewed {
            let refused = agent.open().await.err().unwrap();
            assert_eq!(refused.code(), Code::PermissionDenied);
            let back = Agent::new(agent.address, key, &reply);
            assert_eq!(back.id, agent.id);
            let (_stream, ok) = back.hello(hello(1)).await;
            assert_eq!(ok.site_name, "Collège 999001");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_was_superseded_is_not_renewed() {
    let (clock, parts) = at_noon();
    let collector = start_with(parts, "").await;
    let agent = collector.agent(999_001).await;
    let (_stream, _) = agent.hello(hello(1)).await;
    let key = KeyPair::generate().unwrap();
    let reply = agent.renew(&key).await.unwrap();
    // Until the new one is used the old one may try again: the answer may have been lost.
    agent.renew(&KeyPair::generate().unwrap()).await.unwrap();
    let renewed = Agent::new(agent.address, key, &reply);
    let (_stream, _) = renewed.hello(hello(1)).await;
    let refused = agent.renew(&KeyPair::generate().unwrap()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    clock.advance(Duration::from_hours(24));
    renewed.renew(&KeyPair::generate().unwrap()).await.unwrap();
}

#[tokio::test]
async fn each_identity_reaches_its_own_calls_only() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let token = collector.token(collector.site(999_002).await).await;
    let key = KeyPair::generate().unwrap();
    let request = enrol_request(&token, &key);
    let status = enrol_with(collector.app.agents, agent.client(), request).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);

    let open = || channel(collector.app.agents, anonymous());
    let mut link = proto::v1::agent_link_client::AgentLinkClient::new(open().await.unwrap());
    let status = link.session(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let mut enrolment = proto::v1::enrolment_client::EnrolmentClient::new(open().await.unwrap());
    let renew = proto::v1::RenewRequest { csr: fake::request(&key), certificate: Vec::new() };
    assert_eq!(enrolment.renew(renew).await.unwrap_err().code(), Code::PermissionDenied);
    enrol(collector.app.agents, &token, &key).await.unwrap();
}

#[tokio::test]
async fn a_revoked_agent_is_not_renewed_and_not_heard() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let context = &collector.app.context;
    context.store.revoke_agent(agent.id, context.clock.now()).await.unwrap();
    let status = agent.renew(&KeyPair::generate().unwrap()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let mut stream = agent.open().await.unwrap();
    stream.send(proto::v1::up::Message::Hello(hello(1))).await;
    let away = stream.away().await;
    assert!(away.refused, "{away:?}");
}

#[tokio::test]
async fn an_agent_of_another_collector_is_a_stranger() {
    let (one, other) = (start().await, start().await);
    let agent = one.agent(999_001).await;
    // Even one that trusts the other collector.
    let stranger = Agent {
        address: other.app.agents,
        trust: other.agent(999_001).await.trust,
        id: agent.id,
        key: agent.key,
        chain: agent.chain,
        config: agent.config,
    };
    assert!(stranger.open().await.is_err());
    let failures = &other.app.context.metrics.handshake_failures;
    let tls = collector::metrics::Reason { reason: "tls" };
    assert_eq!(failures.get_or_create(&tls).get(), 1);
}
