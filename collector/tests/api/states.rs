//! What is said of sites: silence is unknown, and down needs an incident.

use collector::targets::Seen;
use domain::{id::TargetId, incident::IncidentKind, target::Role};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{Evaluation, NewIncident};

use crate::house::{Agent, House, NOW};

/// A site whose gateway answers.
async fn heard_site(house: &House, number: u32) -> (String, Agent, i64) {
    let uai = house.site(number).await;
    let mut agent = house.agent(&uai, "srv").await;
    let gateway =
        json!({"method": "icmp", "address": "192.0.2.1", "role": "gateway", "name": "box"});
    let target = house.target(&uai, &gateway).await;
    house.measure(&mut agent, target, &[10, 5], |_, _| Some(0)).await;
    (uai, agent, target)
}

async fn counts(house: &House) -> Value {
    house.read("/status").await["sites"].clone()
}

#[tokio::test]
async fn a_silent_site_is_unknown_and_coverage_says_so() {
    let house = House::new().await;
    let empty = house.read("/status").await;
    assert_eq!(empty["coverage"], json!({"sites": 0, "heard": 0, "measured": 0, "window_s": 300}));
    let (heard, ..) = heard_site(&house, 1).await;
    let silent = house.site(2).await;

    let status = house.read("/status").await;
    let coverage = json!({"sites": 2, "heard": 1, "measured": 1, "window_s": 300});
    assert_eq!(status["coverage"], coverage);
    assert_eq!(status["sites"], json!({"up": 1, "degraded": 0, "down": 0, "unknown": 1}));
    let sites = house.read("/sites").await;
    let states: Vec<_> =
        sites["items"].as_array().unwrap().iter().map(|site| &site["state"]).collect();
    assert_eq!(states, ["up", "unknown"]);
    assert_eq!(house.read("/sites?state=unknown").await["items"][0]["uai"], json!(silent));
    let detail = house.read(&format!("/sites/{heard}")).await;
    assert_eq!(detail["ladder"][0]["role"], "gateway");
    assert_eq!(detail["targets"][0]["outcome"], "ok");
    assert_eq!(detail["targets"][0]["age_s"], 5);

    // The last measure was good; six minutes of silence say nothing of now.
    house.clock.set(Timestamp::from_second(NOW + 360).unwrap());
    assert_eq!(counts(&house).await, json!({"up": 0, "degraded": 0, "down": 0, "unknown": 2}));
    let detail = house.read(&format!("/sites/{heard}")).await;
    assert_eq!(
        (&detail["state"], &detail["targets"][0]["state"]),
        (&json!("unknown"), &json!("unknown"))
    );
    assert_eq!(detail["coverage"]["heard"], 0);
}

#[tokio::test]
async fn an_agent_that_is_heard_but_measures_nothing_makes_no_site_up() {
    let house = House::new().await;
    let uai = house.site(1).await;
    house.agent(&uai, "srv").await;
    assert_eq!(counts(&house).await["unknown"], 1);
}

#[tokio::test]
async fn an_agent_that_measures_only_its_own_machine_makes_no_site_up() {
    let house = House::new().await;
    let uai = house.site(1).await;
    let mut agent = house.agent(&uai, "srv").await;
    let seen = Seen::new(&["192.0.2.1".to_owned()], &[], &[]);
    house.app.context.targets.ladder(agent.site, &seen).await.unwrap();
    let targets = house.store().targets(Some(agent.site)).await.unwrap();
    let of = |role| targets.iter().find(|target| target.spec.role == role).unwrap().id.0;
    house.measure(&mut agent, of(Role::Host), &[20], |_, _| Some(1)).await;

    let status = house.read("/status").await;
    assert_eq!(status["sites"], json!({"up": 0, "degraded": 0, "down": 0, "unknown": 1}));
    assert_eq!(status["coverage"]["heard"], 1);
    assert_eq!(status["coverage"]["measured"], 0);
    let detail = house.read(&format!("/sites/{uai}")).await;
    assert_eq!(
        (&detail["state"], &detail["ladder"][0]["state"]),
        (&json!("unknown"), &json!("up"))
    );
    let said = house.vigie(&["site", "show", &uai]).await;
    let told = said.out.contains(": inconnu\n") && said.out.contains("mesurés : 0,");
    assert!(told && said.code == 1, "{said:?}");
    let said = house.vigie(&["status", "--lang", "en"]).await;
    assert!(said.out.contains("measured: 0,") && said.code == 1, "{said:?}");

    house.measure(&mut agent, of(Role::Gateway), &[5], |_, _| Some(0)).await;
    let status = house.read("/status").await;
    assert_eq!((&status["sites"]["up"], &status["coverage"]["measured"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn what_is_said_of_all_sites_is_what_is_said_of_each() {
    let house = House::new().await;
    let (first, mut agent, gateway) = heard_site(&house, 1).await;
    let (second, ..) = heard_site(&house, 2).await;
    // A new layout of the gateway's group, of which nothing has come yet; then only the new target.
    let beside = json!({"method": "icmp", "address": "192.0.2.9", "role": "hop", "period_s": 10});
    let hop = house.target(&first, &beside).await;
    let same = async || {
        let list = house.read("/sites").await;
        let mut states = Vec::new();
        for site in list["items"].as_array().unwrap() {
            let detail = house.read(&format!("/sites/{}", site["uai"].as_str().unwrap())).await;
            assert_eq!(site["state"], detail["state"]);
            let of_each: u64 = detail["ladder"]
                .as_array()
                .unwrap()
                .iter()
                .map(|rung| rung["targets"]["up"].as_u64().unwrap())
                .sum();
            assert_eq!(site["targets"]["up"], of_each, "{site}");
            states.push((site["state"].as_str().unwrap().to_owned(), of_each));
        }
        let counts = house.read("/status").await["sites"].clone();
        for state in ["up", "degraded", "down", "unknown"] {
            let of_state = states.iter().filter(|(known, _)| known == state).count();
            assert_eq!(counts[state], of_state, "{state}");
        }
        states
    };
    assert_eq!(same().await, [("up".to_owned(), 1), ("up".to_owned(), 1)], "{second}");
    house.measure(&mut agent, hop, &[2], |series, _| (series.target.0 == hop).then_some(0)).await;
    assert_eq!(
        same().await[0],
        ("up".to_owned(), 1),
        "the gateway's newest round was not obtained"
    );
    house.measure(&mut agent, gateway, &[0], |_, _| Some(0)).await;
    assert_eq!(same().await[0], ("up".to_owned(), 2));
    // The day after, nothing of it is fresh.
    house.clock.set(Timestamp::from_second(NOW + 86_400).unwrap());
    assert_eq!(same().await[0].0, "unknown");
}

#[tokio::test]
async fn a_failed_round_is_failing_until_an_incident_makes_it_down() {
    let house = House::new().await;
    let (uai, mut agent, target) = heard_site(&house, 1).await;
    house
        .measure(&mut agent, target, &[2], |series, _| {
            // Outcome: timeout. The figures of a target that did not answer are unknown.
            (series.metric == 1).then_some(1)
        })
        .await;
    let detail = house.read(&format!("/sites/{uai}")).await;
    assert_eq!(
        (&detail["state"], &detail["targets"][0]["state"]),
        (&json!("degraded"), &json!("failing"))
    );
    assert_eq!(detail["targets"][0]["outcome"], "timeout");

    let site = house.store().site_by_uai(uai.parse().unwrap()).await.unwrap().unwrap().id;
    let opened = Timestamp::from_second(NOW).unwrap();
    let incident = NewIncident {
        key: "cause".to_owned(),
        site,
        target: Some(TargetId(target)),
        kind: IncidentKind::TargetDown,
        title: "Passerelle sans réponse".to_owned(),
        evidence: vec!["3 tours sur 3".to_owned()],
        started_at: Timestamp::from_second(NOW - 60).unwrap(),
    };
    let evaluation = Evaluation {
        open: vec![(incident, Vec::new())],
        at: Some(opened),
        ..Evaluation::default()
    };
    let incidents = house.store().save_evaluation(evaluation).await.unwrap();
    let detail = house.read(&format!("/sites/{uai}")).await;
    assert_eq!(
        (&detail["state"], &detail["targets"][0]["state"]),
        (&json!("down"), &json!("down"))
    );
    let open = house.read("/incidents?open=true").await;
    assert_eq!(open["items"][0]["target"], "box");
    assert_eq!(open["items"][0]["duration_s"], 60);
    assert_eq!(house.read("/status").await["open_incidents"]["target_down"], 1);
    let said = house.vigie(&["incidents", "--open"]).await;
    assert_eq!((said.code, said.out.contains("Passerelle sans réponse")), (1, true), "{said:?}");
    let said = house.vigie(&["site", "show", &uai]).await;
    assert_eq!((said.code, said.out.contains(": coupé\n")), (1, true), "{said:?}");

    let close = vec![(incidents[0].id, opened, Vec::new(), Vec::new())];
    let evaluation = Evaluation { close, at: Some(opened), ..Evaluation::default() };
    house.store().save_evaluation(evaluation).await.unwrap();
    assert_eq!(house.read("/incidents?open=true").await["items"], json!([]));
    assert_eq!(house.read("/incidents").await["items"][0]["state"], "closed");
    assert_eq!(house.vigie(&["incidents"]).await.code, 0);
}

#[tokio::test]
async fn incidents_are_walked_page_by_page() {
    const INCIDENTS: usize = 10_005;
    let house = House::new().await;
    let uai = house.site(1).await;
    let site = house.store().site_by_uai(uai.parse().unwrap()).await.unwrap().unwrap().id;
    let open = async |from: usize, to: usize| {
        let at = Timestamp::from_second(NOW).unwrap();
        let incident = |number: usize| NewIncident {
            key: number.to_string(),
            site,
            target: None,
            kind: IncidentKind::AgentSilent,
            title: format!("silence {number}"),
            evidence: Vec::new(),
            started_at: at,
        };
        let open = (from..to).map(|number| (incident(number), Vec::new())).collect();
        let evaluation = Evaluation { open, at: Some(at), ..Evaluation::default() };
        house.store().save_evaluation(evaluation).await.unwrap();
    };
    open(0, 5).await;
    let page = async |after: &str| {
        let page = house.read(&format!("/incidents?limit=2{after}")).await;
        let items = page["items"].as_array().unwrap().iter();
        let titles: Vec<_> = items.map(|item| item["title"].as_str().unwrap().to_owned()).collect();
        (titles, page["next"].as_str().map(|next| format!("&after={next}")))
    };
    let (first, next) = page("").await;
    assert_eq!(first, ["silence 4", "silence 3"]);
    // What is opened meanwhile moves nothing.
    open(5, INCIDENTS).await;
    let (second, next) = page(&next.unwrap()).await;
    assert_eq!(second, ["silence 2", "silence 1"]);
    assert_eq!(page(&next.unwrap()).await, (vec!["silence 0".to_owned()], None));

    let limit = |limit: &'static str| ["incidents", "--limit", limit];
    let more = "augmentez --limit";
    for (asked, rows) in [("10000", 10_000), ("10003", 10_003), ("99999", INCIDENTS)] {
        let table = house.vigie(&limit(asked)).await;
        let shown: Vec<_> =
            table.out.lines().filter(|line| line.trim_start().starts_with("INC-")).collect();
        assert_eq!(shown.len(), rows, "{:?}", table.out.lines().take(4).collect::<Vec<_>>());
        assert_eq!(table.out.contains(more), rows < INCIDENTS, "{asked}");
        let csv = house.vigie(&[&limit(asked)[..], &["--csv"]].concat()).await;
        assert_eq!(csv.out.lines().count(), rows + 1);
        assert_eq!(csv.out.matches("reference").count(), 1);
        assert_eq!(csv.err.contains(more), rows < INCIDENTS, "{asked}: {}", csv.err);
        let json = house.vigie(&[&limit(asked)[..], &["--json"]].concat()).await;
        let json: Value = serde_json::from_str(&json.out).unwrap();
        let items = json["items"].as_array().unwrap();
        let mut numbers: Vec<_> = items.iter().map(|item| item["id"].as_i64().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a > b));
        numbers.dedup();
        assert_eq!((numbers.len(), json["next"].is_null()), (rows, rows == INCIDENTS));
        assert!(json["at"].is_string() && json["coverage"]["sites"] == 1);
    }
}

#[tokio::test]
async fn a_revoked_agent_is_heard_no_more() {
    let house = House::new().await;
    let (_, agent, _) = heard_site(&house, 1).await;
    let answer = house.post(&format!("/agents/{}/revoke", agent.id), &json!(null)).await;
    assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::OK, &json!("revoked")));
    let agents = house.read("/agents").await;
    assert_eq!(
        (&agents["items"][0]["status"], &agents["coverage"]["heard"]),
        (&json!("revoked"), &json!(0))
    );
    assert_eq!(counts(&house).await["unknown"], 1);
    assert_eq!(
        house.read("/status").await["agents"],
        json!({"active": 0, "connected": 0, "faulty": 0, "revoked": 1})
    );
}
