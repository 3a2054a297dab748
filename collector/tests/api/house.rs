//! A collector in a temporary directory, with a clock that stands still, and agents whose records
//! are put into its store as ingest does.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use collector::{
    app::{App, Parts},
    clock::{Clock as _, FakeClock},
    config::Config,
};
use domain::{
    id::{AgentId, SiteId},
    target::Series,
    uai::Uai,
};
use http::{HeaderMap, Method, StatusCode, header};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{
    Disposition, IncomingRecord, LaneKey, NewAgent, NewToken, Redeemed, ServerTime, Store,
};
use tempfile::TempDir;
use tokio::{net::TcpStream, time::timeout};
use vigie::Environment;

/// Longest wait for anything.
pub(crate) const SOON: Duration = Duration::from_secs(40);
/// Where time stands: 2026-11-23 14:00 UTC.
pub(crate) const NOW: i64 = 1_795_442_400;

pub(crate) struct House {
    pub(crate) app: App,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) dir: TempDir,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The problem's code, when it is one.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json", "{self:?}");
        let document = self.json();
        assert_eq!(document["status"], self.status.as_u16());
        document["type"].as_str().unwrap().trim_start_matches("/problems/").to_owned()
    }
}

/// What a command wrote.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) site: SiteId,
    sequence: u64,
}

pub(crate) fn uai(number: u32) -> String {
    Uai::from_number(number).unwrap().to_string()
}

impl House {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "data_dir = \"{}\"\n[api]\nlisten = \"127.0.0.1:0\"\n[agents]\nlisten = \"127.0.0.1:0\"\n\
             public_address = \"collecte.example.fr:7443\"\n",
            dir.path().join("data").display()
        );
        let config = Config::parse(&text, "test").unwrap();
        let clock = Arc::new(FakeClock::new(Timestamp::from_second(NOW).unwrap()));
        let app = App::start(config, Parts { clock: clock.clone(), ..Parts::default() });
        Self { app: app.await.unwrap(), clock, dir }
    }

    /// The same after a stop and a start, with the same files.
    pub(crate) async fn restarted(self) -> Self {
        let Self { app, clock, dir } = self;
        let config = app.context.config.as_ref().clone();
        app.stop().await;
        let app = App::start(config, Parts { clock: clock.clone(), ..Parts::default() });
        Self { app: app.await.unwrap(), clock, dir }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.app.context.store.as_ref()
    }

    /// One request with all its parts; `Authorization` only from `headers`.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let exchange = async {
            let stream = TcpStream::connect(self.app.api).await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let mut request =
                http::Request::builder().method(method).uri(path).header("host", "collector");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let response =
                sender.send_request(request.body(Body::from(body)).unwrap()).await.unwrap();
            let (parts, body) = response.into_parts();
            let bytes = axum::body::to_bytes(Body::new(body), 64 << 20).await.unwrap();
            let body = String::from_utf8(bytes.into()).unwrap();
            Answer { status: parts.status, headers: parts.headers, body }
        };
        timeout(SOON, exchange).await.unwrap()
    }

    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.app.operator_token)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let headers = [("authorization", self.bearer())];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.request(Method::GET, &format!("/api/v1{path}"), &headers, Vec::new()).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let bearer = self.bearer();
        let headers = [("authorization", bearer.as_str()), ("content-type", media_type)];
        self.request(method, &format!("/api/v1{path}"), &headers, body.into()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, "application/json", body.to_string()).await
    }

    /// The answer to a good question.
    pub(crate) async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        answer.json()
    }

    /// Types a command on the collector's host.
    pub(crate) async fn vigie(&self, line: &[&str]) -> Said {
        let server = format!("http://{}", self.app.api);
        let token = self.app.context.config.operator_token();
        let variables = [
            ("VIGIE_SERVER", server.as_str()),
            ("VIGIE_TOKEN_FILE", token.to_str().unwrap()),
            ("TZ", "Europe/Paris"),
        ];
        let environment = Environment {
            variables: variables.map(|(name, value)| (name.into(), value.into())).into(),
            terminal: false,
        };
        let arguments = std::iter::once("vigie").chain(line.iter().copied()).map(Into::into);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = timeout(SOON, vigie::run(arguments, &environment, &mut out, &mut err)).await;
        Said {
            code: code.unwrap(),
            out: String::from_utf8(out).unwrap(),
            err: String::from_utf8(err).unwrap(),
        }
    }

    /// Registers a site.
    pub(crate) async fn site(&self, number: u32) -> String {
        let uai = uai(number);
        let site = json!({"uai": uai, "name": format!("Collège {number}"), "type": "college", "zone": "A"});
        let answer = self.post("/sites", &site).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        uai
    }

    /// Enrols an agent that calls its machine `hostname` and was heard just now.
    pub(crate) async fn agent(&self, uai: &str, hostname: &str) -> Agent {
        let store = self.store();
        let site = store.site_by_uai(uai.parse().unwrap()).await.unwrap().unwrap().id;
        let now = self.clock.now();
        let number = u8::try_from(store.agents().await.unwrap().len() + 1).unwrap();
        let token = NewToken {
            id: format!("token-{number}"),
            secret_sha256: [number; 32],
            site,
            created_at: now,
            expires_at: now + jiff::SignedDuration::from_hours(1),
        };
        let id = token.id.clone();
        store.add_token(token).await.unwrap();
        let agent = NewAgent {
            id: AgentId([number; 16]),
            spki_sha256: [number; 32],
            hostname: hostname.to_owned(),
            version: "0.1.0".to_owned(),
        };
        let redeemed = store.redeem_token(&id, [number; 32], agent, now).await.unwrap();
        let Redeemed::Agent(agent) = redeemed else { panic!("{redeemed:?}") };
        store.touch_agents(vec![(agent.id, now, "0.1.0".to_owned())]).await.unwrap();
        Agent { id: agent.id, site, sequence: 0 }
    }

    /// Has a target probed; its id.
    pub(crate) async fn target(&self, uai: &str, target: &Value) -> i64 {
        let answer = self.post(&format!("/sites/{uai}/targets"), target).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.json()["id"].as_i64().unwrap()
    }

    /// Commits rounds of the group of a target, `(seconds before now, value of each column)`.
    pub(crate) async fn measure(
        &self,
        agent: &mut Agent,
        target: i64,
        rounds: &[i64],
        value: impl Fn(&Series, i64) -> Option<i64>,
    ) {
        let (_, groups) = self.store().groups(agent.site).await.unwrap();
        let group = groups
            .iter()
            .find(|group| group.targets.iter().any(|member| member.id.0 == target))
            .unwrap();
        let now_ms = self.clock.now_ms();
        let mut records = Vec::with_capacity(rounds.len());
        for before in rounds {
            let cells: Vec<Option<i64>> =
                group.columns.iter().map(|series| value(series, *before)).collect();
            agent.sequence += 1;
            records.push(IncomingRecord {
                lane: LaneKey { agent: agent.id, lane: 1, epoch: 1 },
                seq: agent.sequence,
                kind: proto::KIND_SAMPLES,
                hash: agent.sequence,
                time: ServerTime::Known(now_ms - before * 1_000),
                boot_ns: 0,
                items: u32::try_from(cells.len()).unwrap(),
                payload: proto::samples::encode(group.id.0, group.layout.0, &[0], &cells),
                group: Some((group.id, group.layout)),
                explains: None,
                gap: None,
                refused: None,
            });
        }
        let commit = self.store().commit(records).await.unwrap();
        assert!(commit.records.iter().all(|record| record.disposition == Disposition::Stored));
    }
}
