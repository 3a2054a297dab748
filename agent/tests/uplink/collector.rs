//! A collector of the test: real TLS and gRPC, answers by the test's hand.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use agent::{enrol::Token, identity::tls};
use futures_util::future::BoxFuture;
use proto::{
    records::{Decoder, Record},
    v1::{
        self,
        agent_link_server::{AgentLink, AgentLinkServer},
        down,
        enrolment_server::{Enrolment, EnrolmentServer},
        up,
    },
};
use rcgen::{CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair, SanType};
use rustls::{
    RootCertStore, ServerConfig, server::WebPkiClientVerifier, time_provider::TimeProvider,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::server::Connected};

/// Longest wait for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const AGENT_ID: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;

/// Waits for `what`, with the deadline.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(DEADLINE, what).await.expect("the deadline has passed")
}

/// How long a certificate is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Long,
    /// Until the end of January 2026.
    Over,
}

pub(crate) struct Authority {
    pub(crate) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A token whose pin is this authority's.
    pub(crate) fn token(&self) -> Token {
        let pin = tls::spki_pin(&self.certificate).unwrap();
        let number = |bytes: &[u8]| u128::from_be_bytes(bytes.try_into().unwrap());
        let pin = format!("{:032x}{:032x}", number(&pin[..16]), number(&pin[16..]));
        format!("t1.{}.{pin}", "5a".repeat(32)).parse().unwrap()
    }

    fn server(&self) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![tls::COLLECTOR_NAME.to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .unwrap();
        let mut config = ServerConfig::builder_with_details(provider, Arc::new(January))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![leaf.der().clone(), self.certificate.clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    fn sign(&self, csr: &[u8], life: Life) -> Vec<u8> {
        let mut request = CertificateSigningRequestParams::from_der(&csr.into()).unwrap();
        let name = format!("urn:vigie:agent:{AGENT_ID:032x}");
        request.params.subject_alt_names = vec![SanType::URI(name.as_str().try_into().unwrap())];
        request.params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        if life == Life::Over {
            request.params.not_after = rcgen::date_time_ymd(2026, 1, 31);
        }
        request.signed_by(&self.issuer).unwrap().der().to_vec()
    }
}

/// The collector's idea of the time: an agent's certificate that has expired for the agent holds
/// for this collector still, which the real one grants for renewals.
#[derive(Debug)]
struct January;

impl TimeProvider for January {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = rcgen::date_time_ymd(2026, 1, 15).unix_timestamp();
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds.try_into().unwrap())))
    }
}

/// What the collector was asked.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) enrolments: Vec<v1::EnrolRequest>,
    pub(crate) renewals: Vec<v1::RenewRequest>,
}

struct Shared {
    authority: Arc<Authority>,
    asked: Mutex<Asked>,
    config: Mutex<Option<v1::Config>>,
    /// Answers to break off before one is given.
    broken: Mutex<u32>,
    sessions: mpsc::Sender<Session>,
    /// What takes the next connections in the collector's place.
    strangers: Mutex<VecDeque<Stranger>>,
}

/// Takes an agreed TLS connection and does what it likes with it.
pub(crate) type Stranger =
    Box<dyn FnOnce(TlsStream<TcpStream>) -> BoxFuture<'static, ()> + Send + Sync>;

/// A running collector.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    pub(crate) authority: Arc<Authority>,
    shared: Arc<Shared>,
    sessions: mpsc::Receiver<Session>,
}

/// One session of an agent.
pub(crate) struct Session {
    up: Streaming<v1::Up>,
    down: mpsc::Sender<Result<v1::Down, Status>>,
    decoder: Decoder,
}

struct Service(Arc<Shared>);

#[tonic::async_trait]
impl AgentLink for Service {
    type SessionStream = ReceiverStream<Result<v1::Down, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::Up>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (down, answers) = mpsc::channel(64);
        let session = Session { up: request.into_inner(), down, decoder: Decoder::new() };
        self.0.sessions.send(session).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

#[tonic::async_trait]
impl Enrolment for Service {
    async fn enrol(
        &self,
        request: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::EnrolReply>, Status> {
        let request = request.into_inner();
        let csr = request.csr.clone();
        self.0.asked.lock().unwrap().enrolments.push(request);
        {
            let mut broken = self.0.broken.lock().unwrap();
            if *broken > 0 {
                *broken -= 1;
                return Err(Status::unavailable("broken \u{1b}[2Joff"));
            }
        }
        Ok(Response::new(self.0.reply(&csr, Life::Long)))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::EnrolReply>, Status> {
        let request = request.into_inner();
        let csr = request.csr.clone();
        self.0.asked.lock().unwrap().renewals.push(request);
        Ok(Response::new(self.0.reply(&csr, Life::Long)))
    }
}

impl Shared {
    fn reply(&self, csr: &[u8], life: Life) -> v1::EnrolReply {
        let authority = self.authority.certificate.to_vec();
        v1::EnrolReply {
            chain: vec![self.authority.sign(csr, life), authority.clone()],
            trust: vec![authority],
            agent_id: AGENT_ID.to_be_bytes().to_vec(),
            config: self.config.lock().unwrap().clone(),
            site_name: "Collège du Test".to_owned(),
        }
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let authority = Arc::new(Authority::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tx, sessions) = mpsc::channel(16);
        let shared = Arc::new(Shared {
            authority: Arc::clone(&authority),
            asked: Mutex::default(),
            config: Mutex::default(),
            broken: Mutex::default(),
            sessions: tx,
            strangers: Mutex::default(),
        });
        let doors = Arc::clone(&shared);
        let acceptor = TlsAcceptor::from(Arc::new(authority.server()));
        let (streams, incoming) = mpsc::channel::<io::Result<Io>>(16);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, streams) = (acceptor.clone(), streams.clone());
                let doors = Arc::clone(&doors);
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let stranger = doors.strangers.lock().unwrap().pop_front();
                    match stranger {
                        Some(stranger) => stranger(stream).await,
                        None => {
                            let _closed = streams.send(Ok(Io(stream))).await;
                        }
                    }
                });
            }
        });
        let link = AgentLinkServer::new(Service(Arc::clone(&shared)))
            .max_decoding_message_size(proto::limits::MAX_MESSAGE_BYTES);
        let enrolment = EnrolmentServer::new(Service(Arc::clone(&shared)));
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(link)
                .add_service(enrolment)
                .serve_with_incoming(ReceiverStream::new(incoming)),
        );
        Self { address, authority, shared, sessions }
    }

    pub(crate) fn asked<T>(&self, look: impl FnOnce(&Asked) -> T) -> T {
        look(&self.shared.asked.lock().unwrap())
    }

    pub(crate) fn break_enrolments(&self, count: u32) {
        *self.shared.broken.lock().unwrap() = count;
    }

    /// Lets these take the next connections, one each.
    pub(crate) fn give_way_to(&self, strangers: Vec<Stranger>) {
        self.shared.strangers.lock().unwrap().extend(strangers);
    }

    /// Strangers that were not met yet.
    pub(crate) fn strangers_left(&self) -> usize {
        self.shared.strangers.lock().unwrap().len()
    }

    pub(crate) fn configure(&self, config: v1::Config) {
        *self.shared.config.lock().unwrap() = Some(config);
    }

    /// What enrolment would bring for this request.
    pub(crate) fn reply(&self, csr: &[u8], life: Life) -> v1::EnrolReply {
        self.shared.reply(csr, life)
    }

    /// The agent's next session, with its hello.
    pub(crate) async fn session(&mut self) -> (Session, v1::Hello) {
        let mut session = soon(self.sessions.recv()).await.unwrap();
        match session.hear().await {
            Some(up::Message::Hello(hello)) => (session, hello),
            other => panic!("no hello but {other:?}"),
        }
    }

    /// The agent's next session, begun with `credit` and nothing committed yet.
    pub(crate) async fn begin(&mut self, credit: v1::Credit) -> (Session, v1::Hello) {
        let (session, hello) = self.session().await;
        session.ok(&hello, credit, |_| {}).await;
        (session, hello)
    }
}

pub(crate) const PLENTY: v1::Credit = v1::Credit { bytes: 1 << 20, records: 10_000 };

impl Session {
    pub(crate) async fn hear(&mut self) -> Option<up::Message> {
        soon(self.up.message()).await.ok()?.map(|message| message.message.expect("a message"))
    }

    pub(crate) async fn say(&self, message: down::Message) {
        soon(self.down.send(Ok(v1::Down { message: Some(message) }))).await.unwrap();
    }

    /// Answers a hello: each lane from its start, unless `change` says otherwise.
    pub(crate) async fn ok(
        &self,
        hello: &v1::Hello,
        credit: v1::Credit,
        change: impl Fn(&mut v1::LaneResume),
    ) {
        let lanes = hello.lanes.iter().map(|lane| {
            let mut resume =
                v1::LaneResume { lane: lane.lane, epoch: lane.epoch, ..Default::default() };
            change(&mut resume);
            resume
        });
        let ok = v1::HelloOk {
            protocol: hello.protocol_max,
            db_generation: 1,
            lanes: lanes.collect(),
            time: Some(v1::TimeReply {
                agent_boot_ns: hello.boot_ns,
                received_wall_ns: 1_800_000_000_000_000_000,
                sent_wall_ns: 1_800_000_000_000_000_000,
            }),
            credit: Some(credit),
            site_name: "Collège du Test".to_owned(),
        };
        self.say(down::Message::Ok(ok)).await;
    }

    /// The next batch of records; whatever else the agent says is passed over.
    pub(crate) async fn records(&mut self) -> Option<(v1::Records, Vec<Record>)> {
        loop {
            match self.hear().await? {
                up::Message::Records(batch) => {
                    let records = self.decoder.decode(&batch).expect("a batch that decodes");
                    return Some((batch, records));
                }
                up::Message::Heartbeat(_) | up::Message::Config(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    pub(crate) async fn ack(&self, batch: &v1::Records, contig_upto: u64, above: &[(u64, u64)]) {
        let above = above.iter().map(|&(from, to)| v1::Range { from, to }).collect();
        let (lane, epoch) = (batch.lane, batch.epoch);
        self.say(down::Message::Ack(v1::Ack {
            lane,
            epoch,
            contig_upto,
            above,
            rejected: Vec::new(),
            credit: None,
        }))
        .await;
    }
}

/// A TLS connection as tonic serves it.
struct Io(TlsStream<TcpStream>);

impl Connected for Io {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
