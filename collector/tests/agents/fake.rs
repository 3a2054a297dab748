//! A collector in a temporary directory, and an agent made of the wire contract alone.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use collector::{
    app::{App, Parts},
    config::{Config, TLS_NAME},
    enrol::new_token,
};
use domain::{
    id::{AgentId, SiteId},
    sample::Span,
    site::{SiteFacts, SiteKind, Zone},
    uai::Uai,
};
use hyper_util::rt::TokioIo;
use proto::{
    KIND_EVENT, KIND_SAMPLES, LANE_EVENTS, LANE_SAMPLES, record_hash,
    records::{Encoder, Record},
    v1::{self, agent_link_client::AgentLinkClient, enrolment_client::EnrolmentClient},
};
use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tempfile::TempDir;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};

/// Longest wait for anything.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Collector {
    pub(crate) app: App,
    pub(crate) dir: TempDir,
}

pub(crate) async fn start() -> Collector {
    start_with(Parts::default(), "").await
}

pub(crate) async fn start_with(parts: Parts, more: &str) -> Collector {
    let dir = tempfile::tempdir().unwrap();
    let app = App::start(config(dir.path(), more), parts).await.unwrap();
    Collector { app, dir }
}

pub(crate) fn config(dir: &Path, more: &str) -> Config {
    let text = format!(
        "data_dir = \"{}\"\n[api]\nlisten = \"127.0.0.1:0\"\n[agents]\nlisten = \"127.0.0.1:0\"\n{more}",
        dir.join("data").display()
    );
    Config::parse(&text, "test").unwrap()
}

pub(crate) struct Token {
    pub(crate) id: String,
    pub(crate) secret: Vec<u8>,
    pub(crate) pin: String,
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

impl Collector {
    pub(crate) async fn site(&self, number: u32) -> SiteId {
        let uai = Uai::from_number(number).unwrap();
        let facts = SiteFacts::new(uai, format!("Collège {number}"), SiteKind::College, Zone::B);
        self.app.context.store.add_site(facts).await.unwrap().id
    }

    pub(crate) async fn token(&self, site: SiteId) -> Token {
        let life = Duration::from_hours(24);
        let (text, _) = new_token(&self.app.context, site, life).await.unwrap();
        let parts: Vec<&str> = text.split('.').collect();
        let &[id, secret, pin] = parts.as_slice() else { panic!("{text}") };
        Token { id: id.to_owned(), secret: unhex(secret), pin: pin.to_owned() }
    }

    /// An agent that has just enrolled at a new site.
    pub(crate) async fn agent(&self, number: u32) -> Agent {
        let token = self.token(self.site(number).await).await;
        let key = KeyPair::generate().unwrap();
        let reply = enrol(self.app.agents, &token, &key).await.unwrap();
        Agent::new(self.app.agents, key, &reply)
    }

    pub(crate) fn now_ns(&self) -> i64 {
        self.app.context.clock.now_ns()
    }

    /// Every stored sample of an agent's site, over all its series.
    pub(crate) async fn samples(&self, site: SiteId) -> usize {
        let store = &self.app.context.store;
        let series = store.series(Some(site)).await.unwrap();
        let ids = series.into_iter().map(|series| series.id).collect();
        let span = Span { from_ms: 0, to_ms: i64::MAX / 2 };
        let data = store.read(site, ids, span).await.unwrap();
        data.iter().map(|data| data.samples.len()).sum()
    }

    pub(crate) async fn site_of(&self, agent: &Agent) -> SiteId {
        self.app.context.store.agent(agent.id).await.unwrap().unwrap().site
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[derive(Debug)]
struct AnyServer;

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client that shows no certificate and looks at none.
pub(crate) fn anonymous() -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

pub(crate) async fn tls(
    address: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    let name = ServerName::try_from(TLS_NAME).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

pub(crate) async fn channel(
    address: SocketAddr,
    config: ClientConfig,
) -> Result<Channel, tonic::transport::Error> {
    let connector = tower::service_fn(move |_: http::Uri| {
        let config = config.clone();
        async move { tls(address, config).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://collector").connect_with_connector(connector).await
}

pub(crate) fn request(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}

pub(crate) fn enrol_request(token: &Token, key: &KeyPair) -> v1::EnrolRequest {
    v1::EnrolRequest {
        token_id: token.id.clone(),
        token_secret: token.secret.clone(),
        csr: request(key),
        version: "0.1.0".to_owned(),
        hostname: "srv-pedago".to_owned(),
        surroundings: Some(surroundings()),
    }
}

pub(crate) fn surroundings() -> v1::Surroundings {
    v1::Surroundings {
        gateways: vec!["192.0.2.1".to_owned()],
        resolvers: vec!["192.0.2.53".to_owned()],
        hops: vec!["198.51.100.1".to_owned()],
        ..v1::Surroundings::default()
    }
}

pub(crate) async fn enrol_with(
    address: SocketAddr,
    config: ClientConfig,
    request: v1::EnrolRequest,
) -> Result<v1::EnrolReply, Status> {
    let channel =
        channel(address, config).await.map_err(|error| Status::unavailable(error.to_string()))?;
    // As agents read it.
    let mut client =
        EnrolmentClient::new(channel).max_decoding_message_size(proto::limits::MAX_MESSAGE_BYTES);
    Ok(client.enrol(request).await?.into_inner())
}

pub(crate) async fn enrol(
    address: SocketAddr,
    token: &Token,
    key: &KeyPair,
) -> Result<v1::EnrolReply, Status> {
    enrol_with(address, anonymous(), enrol_request(token, key)).await
}

/// An enrolled agent.
pub(crate) struct Agent {
    pub(crate) address: SocketAddr,
    pub(crate) id: AgentId,
    pub(crate) key: KeyPair,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) trust: CertificateDer<'static>,
    pub(crate) config: v1::Config,
}

impl Agent {
    pub(crate) fn new(address: SocketAddr, key: KeyPair, reply: &v1::EnrolReply) -> Self {
        Self {
            address,
            id: AgentId(reply.agent_id.as_slice().try_into().unwrap()),
            key,
            chain: vec![CertificateDer::from(reply.chain[0].clone())],
            trust: CertificateDer::from(reply.trust[0].clone()),
            config: reply.config.clone().unwrap_or_default(),
        }
    }

    pub(crate) fn client(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.trust.clone()).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(self.chain.clone(), key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    pub(crate) async fn renew(&self, key: &KeyPair) -> Result<v1::EnrolReply, Status> {
        let channel = channel(self.address, self.client()).await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let request = v1::RenewRequest { csr: request(key), certificate: self.chain[0].to_vec() };
        Ok(EnrolmentClient::new(channel).renew(request).await?.into_inner())
    }

    /// Opens a stream and says nothing.
    pub(crate) async fn open(&self) -> Result<Stream, Status> {
        let channel = channel(self.address, self.client()).await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let (up, messages) = mpsc::channel(16);
        let mut client = AgentLinkClient::new(channel).max_decoding_message_size(4 << 20);
        let down = client.session(ReceiverStream::new(messages)).await?.into_inner();
        Ok(Stream { up, down, encoder: Encoder::new() })
    }

    /// Opens a stream and says hello from machine `machine`; returns the answer too.
    pub(crate) async fn hello(&self, hello: v1::Hello) -> (Stream, v1::HelloOk) {
        let mut stream = self.open().await.unwrap();
        stream.send(v1::up::Message::Hello(hello)).await;
        match stream.next().await {
            Some(v1::down::Message::Ok(ok)) => (stream, ok),
            other => panic!("no answer to the hello: {other:?}"),
        }
    }

    /// The first group of the plan with columns, as an empty round of it.
    pub(crate) fn round(&self, value: i64) -> Vec<u8> {
        let group = self.config.groups.iter().find(|group| !group.columns.is_empty()).unwrap();
        let cells = vec![Some(value); group.columns.len()];
        proto::samples::encode(group.id, group.layout, &[0], &cells)
    }

    pub(crate) fn round_width(&self) -> usize {
        let group = self.config.groups.iter().find(|group| !group.columns.is_empty()).unwrap();
        group.columns.len()
    }
}

/// Boot clock of every test's agent at its hello: it started an hour ago.
pub(crate) const BOOT_NS: u64 = 3_600_000_000_000;
pub(crate) const EPOCH: u64 = 77;

pub(crate) fn hello(next_seq: u64) -> v1::Hello {
    let lane = |lane| v1::LaneState {
        lane,
        epoch: EPOCH,
        oldest_seq: 1,
        next_seq,
        ..v1::LaneState::default()
    };
    v1::Hello {
        protocol_min: 1,
        protocol_max: 1,
        instance_id: b"instance".to_vec(),
        machine_fingerprint: b"machine".to_vec(),
        boot_tag: 5,
        boot_ns: BOOT_NS,
        wall_ns: 0,
        lanes: vec![lane(LANE_EVENTS), lane(LANE_SAMPLES)],
        version: "0.1.0".to_owned(),
        config_applied: 0,
        surroundings: Some(surroundings()),
    }
}

/// A record stamped `seq` milliseconds after the hello.
pub(crate) fn record(seq: u64, kind: u8, payload: Vec<u8>) -> Record {
    let boot_ns = BOOT_NS + seq * 1_000_000;
    Record { seq, kind, boot_tag: 5, boot_ns, wall_ns: 0, hash: 0, payload }.hashed()
}

trait Hashed {
    fn hashed(self) -> Self;
}

impl Hashed for Record {
    fn hashed(mut self) -> Self {
        self.hash =
            record_hash(self.kind, self.boot_tag, self.boot_ns, self.wall_ns, &self.payload);
        self
    }
}

pub(crate) fn event(seq: u64, event: v1::event::Event) -> Record {
    use prost::Message as _;
    record(seq, KIND_EVENT, v1::Event { event: Some(event) }.encode_to_vec())
}

pub(crate) struct Stream {
    up: mpsc::Sender<v1::Up>,
    down: Streaming<v1::Down>,
    pub(crate) encoder: Encoder,
}

impl Stream {
    pub(crate) async fn send(&self, message: v1::up::Message) {
        self.try_send(message).await.unwrap();
    }

    pub(crate) async fn try_send(&self, message: v1::up::Message) -> Result<(), &'static str> {
        let up = v1::Up { message: Some(message) };
        timeout(SOON, self.up.send(up)).await.unwrap().map_err(|_| "the stream is closed")
    }

    pub(crate) fn encode(&mut self, lane: u32, records: &[Record]) -> v1::Records {
        self.encoder.encode(lane, EPOCH, 0, records).unwrap()
    }

    pub(crate) async fn samples(&mut self, records: &[Record]) {
        let batch = self.encode(LANE_SAMPLES, records);
        self.send(v1::up::Message::Records(batch)).await;
    }

    pub(crate) async fn events(&mut self, records: &[Record]) {
        let batch = self.encode(LANE_EVENTS, records);
        self.send(v1::up::Message::Records(batch)).await;
    }

    /// The next message; `None` when the stream ended.
    pub(crate) async fn next(&mut self) -> Option<v1::down::Message> {
        match timeout(SOON, self.down.message()).await.expect("a message in time") {
            Ok(Some(down)) => down.message,
            Ok(None) | Err(_) => None,
        }
    }

    /// The next acknowledgement, whatever comes before.
    pub(crate) async fn ack(&mut self) -> v1::Ack {
        loop {
            match self.next().await {
                Some(v1::down::Message::Ack(ack)) => return ack,
                Some(v1::down::Message::Config(_) | v1::down::Message::Time(_)) => {}
                other => panic!("no acknowledgement: {other:?}"),
            }
        }
    }

    pub(crate) async fn config(&mut self) -> v1::Config {
        loop {
            match self.next().await {
                Some(v1::down::Message::Config(config)) => return config,
                Some(v1::down::Message::Ack(_) | v1::down::Message::Time(_)) => {}
                other => panic!("no configuration: {other:?}"),
            }
        }
    }

    /// The last word of the collector; the stream must then end.
    pub(crate) async fn away(&mut self) -> v1::GoAway {
        loop {
            match self.next().await {
                Some(v1::down::Message::Away(away)) => {
                    assert_eq!(self.next().await, None, "nothing follows the last word");
                    return away;
                }
                Some(_) => {}
                None => panic!("the stream ended without a word"),
            }
        }
    }
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + SOON;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn samples(agent: &Agent, seqs: std::ops::RangeInclusive<u64>) -> Vec<Record> {
    seqs.map(|seq| record(seq, KIND_SAMPLES, agent.round(seq.cast_signed()))).collect()
}
