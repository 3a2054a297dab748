//! The measures between sites, and the shared centre that all of them ask.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::{Agent, House};

const OK: i64 = 0;
const TIMEOUT: i64 = 1;

impl House {
    async fn set(&self, uai: &str, body: &Value) -> crate::house::Answer {
        let path = format!("/mesh/sites/{uai}");
        self.send(Method::PUT, &path, "application/json", body.to_string()).await
    }

    /// Sites with an agent each, all of them in the mesh.
    async fn region(&self, count: u32) -> (Vec<String>, Vec<Agent>) {
        let (mut uais, mut agents) = (Vec::new(), Vec::new());
        for number in 1..=count {
            let uai = self.site(999_000 + number).await;
            agents.push(self.agent(&uai, "srv").await);
            let body = json!({"address": format!("10.0.0.{number}:9782")});
            let answer = self.set(&uai, &body).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            uais.push(uai);
        }
        (uais, agents)
    }

    /// Rounds of the pairs that `agent` asks: outcome by peer, 20 ms and no loss where it answers.
    async fn ask_peers(&self, agent: &mut Agent, rounds: &[i64], outcome: impl Fn(&str) -> i64) {
        let targets = self.store().targets(Some(agent.site)).await.unwrap();
        let peer = |id| {
            let target = targets.iter().find(|target| target.id == id).unwrap();
            target.spec.address.clone()
        };
        let first = targets.iter().find(|target| target.spec.role.code() == "peer").unwrap();
        self.measure(agent, first.id.0, rounds, |series, _| {
            let outcome = outcome(&peer(series.target));
            match series.metric {
                140 => Some(outcome),
                141 => Some(if outcome == OK { 0 } else { 10_000 }),
                _ => (outcome == OK).then_some(20_000),
            }
        })
        .await;
    }
}

fn pair<'a>(mesh: &'a Value, from: &str, to: &str) -> &'a Value {
    let pairs = mesh["pairs"].as_array().unwrap();
    pairs.iter().find(|pair| pair["from"] == *from && pair["to"] == *to).unwrap()
}

#[tokio::test]
async fn a_pair_that_fails_is_told_in_its_cell_and_what_is_not_measured_is_unknown() {
    let house = House::new().await;
    let (uais, mut agents) = house.region(3).await;
    let mesh = house.read("/mesh").await;
    assert_eq!(mesh["coverage"]["pairs"], 6);
    assert_eq!(mesh["coverage"]["measured_pairs"], 0);
    assert!(mesh.get("centre").is_none());
    for line in mesh["pairs"].as_array().unwrap() {
        assert_eq!((&line["state"], &line["loss"]), (&json!("unknown"), &Value::Null));
    }
    let minutes: Vec<i64> = (0..15).rev().map(|minute| minute * 60 + 5).collect();
    house
        .ask_peers(&mut agents[0], &minutes, |peer| if peer == uais[1] { TIMEOUT } else { OK })
        .await;
    house.ask_peers(&mut agents[1], &minutes, |_| OK).await;
    let mesh = house.read("/mesh").await;
    let cut = pair(&mesh, &uais[0], &uais[1]);
    assert_eq!((&cut["state"], &cut["outcome"]), (&json!("failing"), &json!("timeout")));
    assert_eq!((&cut["loss"], &cut["rtt_p95"]), (&json!(1.0), &Value::Null));
    assert_eq!(&mesh["pairs"][0], cut, "the worst comes first");
    for (from, to) in [(0, 2), (1, 0), (1, 2)] {
        let fine = pair(&mesh, &uais[from], &uais[to]);
        assert_eq!(fine["state"], "up", "{fine}");
        assert_eq!((&fine["loss"], &fine["rtt_p95"]), (&json!(0.0), &json!(0.02)));
        assert_eq!((&fine["rounds"], &fine["coverage"]), (&json!(15), &json!(1.0)));
    }
    for to in [0, 1] {
        let silent = pair(&mesh, &uais[2], &uais[to]);
        assert_eq!((&silent["state"], &silent["loss"]), (&json!("unknown"), &Value::Null));
    }
    assert_eq!(mesh["coverage"]["measured_pairs"], 4);
    // The peer's silence is no fault of the site that asks it, and opens no incident.
    let detail = house.read(&format!("/sites/{}", uais[0])).await;
    assert_eq!(detail["incidents"], json!([]));

    let csv = house.get("/mesh?format=csv&limit=1").await;
    assert_eq!(csv.headers["vigie-coverage"], "4 of 6 pairs measured, 3 of 3 sites heard in 300 s");
    let lines: Vec<_> = csv.body.lines().collect();
    assert_eq!(lines[0], "from,to,state,outcome,asked_at,age_s,loss,rtt_p95,rounds,coverage");
    assert!(lines[1].starts_with(&format!("{},{},failing,timeout,", uais[0], uais[1])), "{csv:?}");
    assert_eq!(lines.len(), 2);
    // A short window holds fewer rounds.
    let short = house.read("/mesh?window_s=300").await;
    assert_eq!(pair(&short, &uais[1], &uais[0])["rounds"], 5);
    for question in ["window_s=59", "window_s=3601", "limit=0", "limit=10001", "windows=9"] {
        assert_eq!(house.get(&format!("/mesh?{question}")).await.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn who_takes_part_is_checked_and_a_pair_is_not_withdrawn_alone() {
    let house = House::new().await;
    let (uais, _) = house.region(2).await;
    for body in [
        json!({"address": "10.0.0.1"}),
        json!({"address": "0.0.0.0:9782"}),
        json!({"address": "10.0.0.1:0"}),
        json!({"hub": true}),
        json!({"adress": "10.0.0.1:9782"}),
    ] {
        let answer = house.set(&uais[0], &body).await;
        assert!(answer.status.is_client_error(), "{body}: {answer:?}");
    }
    assert!(house.set("0999009F", &json!({})).await.status.is_client_error());
    let targets = house.read(&format!("/sites/{}/targets", uais[0])).await;
    let of_pair = targets["items"].as_array().unwrap().iter().find(|one| one["role"] == "peer");
    let of_pair = of_pair.unwrap();
    assert_eq!((&of_pair["method"], &of_pair["address"]), (&json!("mesh"), &json!(uais[1])));
    let path = format!("/sites/{}/targets/{}", uais[0], of_pair["id"]);
    let refused = house.send(Method::DELETE, &path, "application/json", "").await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (StatusCode::BAD_REQUEST, &json!("pair"))
    );
    // Nor made by hand.
    let given = json!({"method": "icmp", "address": "192.0.2.1", "role": "peer"});
    let refused = house.post(&format!("/sites/{}/targets", uais[0]), &given).await;
    assert_eq!(refused.problem(), "invalid");

    let path = format!("/mesh/sites/{}", uais[1]);
    let removed = house.send(Method::DELETE, &path, "application/json", "").await;
    assert_eq!(removed.status, StatusCode::OK, "{removed:?}");
    assert_eq!(house.read("/mesh").await["pairs"], json!([]));
    let again = house.send(Method::DELETE, &path, "application/json", "").await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn no_answer_shows_a_key() {
    let house = House::new().await;
    let (uais, agents) = house.region(2).await;
    let links = house.store().mesh_links().await.unwrap();
    let hex =
        |bytes: &[u8]| bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let site = format!("/sites/{}", uais[0]);
    for path in ["/mesh", &site, &format!("{site}/targets"), "/series", "/status"] {
        let body = house.get(path).await.body.to_lowercase();
        assert!(links.iter().all(|link| !body.contains(&hex(link.key.expose()))), "{path}");
    }
    // The key of a withdrawn agent opens nothing any more.
    let answer = house.post(&format!("/agents/{}/revoke", agents[0].id), &json!({})).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let after = house.store().mesh_links().await.unwrap();
    assert_eq!(after.len(), links.len());
    assert!(after.iter().zip(&links).all(|(now, before)| now.key != before.key));
}

#[tokio::test]
async fn the_centre_is_told_from_the_way_to_it_and_from_a_sites_own_line() {
    let house = House::new().await;
    let mut uais = Vec::new();
    let mut asked = Vec::new();
    for number in 1..=4 {
        let uai = house.site(999_000 + number).await;
        let agent = house.agent(&uai, "srv").await;
        let centre = json!({"method": "icmp", "address": "203.0.113.1", "role": "centre"});
        let other = json!({"method": "icmp", "address": "198.51.100.1", "role": "reference"});
        let ids = (house.target(&uai, &centre).await, house.target(&uai, &other).await);
        uais.push(uai);
        asked.push((agent, ids));
    }
    // Per site: whether the centre answers, and whether the other reference does.
    let mut before = 30;
    let mut after = async |signs: [(i64, i64); 4]| {
        before -= 5;
        for ((agent, (centre, _)), sign) in asked.iter_mut().zip(signs) {
            let id = *centre;
            house
                .measure(agent, id, &[before], |series, _| match series.metric {
                    1 if series.target.0 == id => Some(sign.0),
                    1 => Some(sign.1),
                    _ => None,
                })
                .await;
        }
        let mesh = house.read("/mesh").await;
        assert_eq!(mesh["centre"], house.read("/status").await["centre"]);
        mesh["centre"].clone()
    };
    let up = after([(OK, OK); 4]).await;
    assert_eq!((&up["state"], &up["faults"]), (&json!("up"), &json!([])));
    let path = after([(TIMEOUT, OK), (OK, OK), (OK, OK), (OK, OK)]).await;
    assert_eq!(path["state"], "partial");
    assert_eq!(path["faults"], json!([{"uai": uais[0], "fault": "path"}]));
    let down = after([(TIMEOUT, OK), (TIMEOUT, OK), (TIMEOUT, OK), (TIMEOUT, TIMEOUT)]).await;
    assert_eq!((&down["state"], &down["missing"]), (&json!("down"), &json!(3)));
    let faults: Vec<_> =
        down["faults"].as_array().unwrap().iter().map(|fault| fault["fault"].clone()).collect();
    assert_eq!(faults, ["centre", "centre", "centre", "site"]);
    assert_eq!(down["services"][0]["address"], "203.0.113.1");
    let site = after([(TIMEOUT, TIMEOUT), (OK, OK), (OK, OK), (OK, OK)]).await;
    assert_eq!(site["state"], "up", "a site without any way out says nothing of the centre");
    assert_eq!(site["faults"], json!([{"uai": uais[0], "fault": "site"}]));
}
