//! What was measured: values, rates on fixed edges, holes, coverage.

use domain::{id::TargetId, sample::Span, target::Detail};
use http::StatusCode;
use serde_json::{Value, json};
use store::NewSeries;

use crate::house::{Agent, House, NOW};

const IN_OCTETS: u32 = 60;
/// Octets a second of the port.
const RATE: i64 = 12_500;

/// The 64-bit counter so many seconds before now: it passes what a signed number holds an hour ago.
fn counter(before: i64) -> i64 {
    i64::MAX.wrapping_add((3_600 - before) * RATE)
}

/// A switch with one port whose counter grows by [`RATE`]; the series of that counter.
async fn port(house: &House) -> (Agent, i64, i64) {
    let uai = house.site(1).await;
    let agent = house.agent(&uai, "srv").await;
    let switch =
        json!({"method": "snmp", "address": "192.0.2.2", "community": "s3cret", "name": "sw"});
    let target = house.target(&uai, &switch).await;
    let column = NewSeries {
        target: TargetId(target),
        metric: IN_OCTETS,
        instance: 1,
        label: "Gi0/1".to_owned(),
        detail: Detail::Full,
    };
    house.store().add_series(agent.site, vec![column]).await.unwrap();
    let list = house.read(&format!("/series?uai={uai}&metric=if_hc_in_octets&label=Gi0/1")).await;
    let series = list["items"][0]["id"].as_i64().unwrap();
    (agent, target, series)
}

/// Readings of the counter, each minute from two hours ago, but for a hole of half an hour.
async fn two_hours(house: &House, agent: &mut Agent, target: i64) {
    let rounds =
        |from: i64, to: i64| -> Vec<i64> { (to..=from).rev().map(|minute| minute * 60).collect() };
    for rounds in [rounds(120, 60), rounds(29, 0)] {
        house
            .measure(agent, target, &rounds, |series, before| match series.metric {
                IN_OCTETS => Some(counter(before)),
                50 => Some(0),
                _ => None,
            })
            .await;
    }
}

fn values(document: &Value) -> Vec<Option<f64>> {
    document["points"].as_array().unwrap().iter().map(|point| point["value"].as_f64()).collect()
}

#[tokio::test]
async fn a_counter_is_a_rate_on_fixed_edges_with_its_holes() {
    let house = House::new().await;
    let (mut agent, target, series) = port(&house).await;
    two_hours(&house, &mut agent, target).await;
    let path = format!("/series/{series}/samples?from=-2h&step=5m");
    let answer = house.read(&path).await;
    assert_eq!((&answer["unit"], &answer["aggregate"]), (&json!("octets/s"), &json!("mean")));
    assert_eq!(answer["from"], "2026-11-23T12:00:00Z");
    let values = values(&answer);
    assert_eq!(values.len(), 24);
    for (at, value) in values.iter().enumerate() {
        let expected = !(12..18).contains(&at);
        assert_eq!(value.is_some(), expected, "{at}: {values:?}");
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let right = value.is_none_or(|value| (value - RATE as f64).abs() < 1.0);
        assert!(right, "{at}: {value:?}");
    }
    let coverage = &answer["coverage"];
    assert_eq!((&coverage["rows"], &coverage["expected_rows"]), (&json!(18), &json!(24)));
    let ratio = coverage["ratio"].as_f64().unwrap();
    assert!((0.70..0.80).contains(&ratio), "{ratio}");
    assert_eq!(coverage["asked_s"], 7_200.0);
    assert_eq!(answer["points"][12]["coverage"], 0.0);

    // Readings themselves are exact, beyond what a float or a signed number holds.
    let raw = house.read(&format!("/series/{series}/samples?from=-10m&to=now&step=raw")).await;
    assert_eq!((&raw["unit"], &raw["aggregate"]), (&json!("octets"), &json!(null)));
    let last = raw["points"].as_array().unwrap().last().unwrap();
    let reading = counter(60).cast_unsigned();
    assert_eq!(last["value"], json!(reading), "{raw}");
}

#[tokio::test]
async fn declared_gaps_are_told_with_the_values() {
    let house = House::new().await;
    let (mut agent, target, series) = port(&house).await;
    two_hours(&house, &mut agent, target).await;
    let span = Span { from_ms: (NOW - 3_540) * 1_000, to_ms: (NOW - 1_800) * 1_000 };
    house.store().declare_gap(agent.site, None, span, "stopped").await.unwrap();
    let answer = house.read(&format!("/series/{series}/samples?from=-2h&step=1h")).await;
    assert_eq!(
        answer["gaps"],
        json!([{"from": "2026-11-23T13:01:00Z", "to": "2026-11-23T13:30:00Z", "reason": "stopped"}])
    );
    let site = house.read(&format!("/sites/{}", crate::house::uai(1))).await;
    assert_eq!(site["gaps"], answer["gaps"], "the site tells it too");
    let said =
        house.vigie(&["series", "get", &series.to_string(), "--from", "-2h", "--step", "5m"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("100 kbit/s") && said.out.contains("inconnu"), "{}", said.out);
    assert!(said.out.contains("sans mesure : 23/11/2026 14:01:00"), "{}", said.out);
    assert!(said.out.lines().last().unwrap().starts_with("couverture 7"), "{}", said.out);
}

#[tokio::test]
async fn a_spreadsheet_tells_why_a_row_is_empty_or_partial() {
    let house = House::new().await;
    let (mut agent, target, series) = port(&house).await;
    two_hours(&house, &mut agent, target).await;
    // Half of the hole, and what lies around its end, are declared.
    let span = Span { from_ms: (NOW - 3_540) * 1_000, to_ms: (NOW - 2_700) * 1_000 };
    house.store().declare_gap(agent.site, None, span, "stopped").await.unwrap();
    let id = series.to_string();
    let rows = async |step: &str| -> Vec<Vec<String>> {
        let words = ["series", "get", &id, "--from", "-2h", "--step", step, "--csv"];
        let said = house.vigie(&words).await;
        assert_eq!(said.code, 0, "{said:?}");
        let cells = |line: &str| line.split(',').map(str::to_owned).collect();
        said.out.lines().map(cells).collect()
    };
    let buckets = rows("5m").await;
    assert_eq!(buckets[0].join(","), "time,value,coverage,gap");
    for (at, row) in buckets[1..].iter().enumerate() {
        let hole = (12..18).contains(&at);
        assert_eq!(row[1].is_empty(), hole, "{row:?}");
        let declared = (12..15).contains(&at);
        assert_eq!(row[3], if declared { "stopped" } else { "" }, "{at}: {row:?}");
    }
    let hours = rows("1h").await;
    assert!(!hours[2][1].is_empty() && hours[2][2] != "1" && hours[2][3] == "stopped", "{hours:?}");
    assert_eq!(hours[1][3], "", "{hours:?}");

    // As measured, a gap has no sample that could tell it: its start is a row.
    let raw = rows("raw").await;
    let told: Vec<_> = raw[1..].iter().filter(|row| !row[3].is_empty()).collect();
    assert_eq!(told, [&["2026-11-23T13:01:00Z", "", "", "stopped"]]);
    assert!(raw[1..].is_sorted_by(|a, b| a[0] <= b[0]), "{raw:?}");
    assert!(raw.len() > 80, "{}", raw.len());
}

#[tokio::test]
async fn every_aggregate_answers_and_senseless_ones_do_not() {
    let house = House::new().await;
    let (mut agent, target, series) = port(&house).await;
    two_hours(&house, &mut agent, target).await;
    for aggregate in ["mean", "min", "max", "last", "count"] {
        let path = format!("/series/{series}/samples?from=-2h&step=1h&aggregate={aggregate}");
        assert!(values(&house.read(&path).await)[0].is_some(), "{aggregate}");
    }
    let outcome = house.read("/series?metric=snmp_outcome").await["items"][0]["id"].clone();
    let states = house.read(&format!("/series/{outcome}/samples?from=-2h&step=1h")).await;
    assert_eq!((&states["aggregate"], values(&states)[0]), (&json!("last"), Some(0.0)));
    for (id, query, parameter) in [
        (series, "step=raw&aggregate=mean", "aggregate"),
        (series, "step=5m&aggregate=median", "aggregate"),
        (outcome.as_i64().unwrap(), "step=5m&aggregate=mean", "aggregate"),
        (series, "step=7m", "step"),
        (series, "from=-100y", "from"),
        (series, "from=-36500d&step=raw", "from"),
        (series, "from=-36500d&step=5m", "from"),
        (series, "from=-36500d&step=1h", "from"),
        (series, "from=-36500d&step=1d", "from"),
        (series, "from=now", "from"),
        (series, "from=2026-02-30T00:00:00Z", "from"),
        (series, "to=10000-01-01T00:00:00Z", "to"),
    ] {
        let answer = house.get(&format!("/series/{id}/samples?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {answer:?}");
        assert_eq!(answer.json()["parameter"], parameter, "{query}");
    }
    // What lies ahead is not expected to have been measured.
    let ahead = house
        .read(&format!("/series/{series}/samples?from=now&to=2026-11-24T00:00:00Z&step=1h"))
        .await;
    assert_eq!((&ahead["coverage"]["ratio"], &ahead["points"]), (&json!(null), &json!([])));
}

#[tokio::test]
async fn too_many_raw_samples_are_refused_not_cut() {
    let house = House::new().await;
    let uai = house.site(1).await;
    let mut agent = house.agent(&uai, "srv").await;
    let probe = json!({"method": "tcp", "address": "192.0.2.3:443", "period_s": 5});
    let target = house.target(&uai, &probe).await;
    for hour in (0..15).rev() {
        let rounds: Vec<i64> = (0..720).rev().map(|round| hour * 3_600 + round * 5).collect();
        house.measure(&mut agent, target, &rounds, |_, _| Some(0)).await;
    }
    let id = house.read("/series?metric=tcp_connect_time").await["items"][0]["id"].clone();
    let fits = house.read(&format!("/series/{id}/samples?from=-13h&step=raw")).await;
    assert_eq!(fits["coverage"]["rows"], json!(9_360), "{}", fits["coverage"]);
    assert_eq!(fits["coverage"]["ratio"], 1.0);
    let refused = house.get(&format!("/series/{id}/samples?from=-15h&step=raw")).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["parameter"]), (400, &json!("from")));
}

#[tokio::test]
async fn rankings_leave_out_what_was_not_measured_and_count_it() {
    let house = House::new().await;
    let (mut agent, target, series) = port(&house).await;
    let other = NewSeries {
        target: TargetId(target),
        metric: IN_OCTETS,
        instance: 2,
        label: "Gi0/2".to_owned(),
        detail: Detail::Full,
    };
    house.store().add_series(agent.site, vec![other]).await.unwrap();
    let readings = |series: &domain::target::Series, before: i64| {
        (series.instance == 1).then_some((NOW - before) * RATE)
    };
    let rounds: Vec<i64> = (0..=120).rev().map(|minute| minute * 60).collect();
    house.measure(&mut agent, target, &rounds, readings).await;
    let answer = house.read("/percentiles?metric=if_hc_in_octets&from=-2h&p=0.95").await;
    assert_eq!(answer["coverage"]["series"], 2);
    assert_eq!(answer["coverage"]["measured"], 1);
    assert_eq!(answer["items"].as_array().unwrap().len(), 1);
    assert_eq!(answer["items"][0]["series"]["id"], json!(series));
    let value = answer["items"][0]["value"].as_f64().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let right = (value - RATE as f64).abs() < 1.0;
    assert!(right, "{value}");
    let said = house.vigie(&["top", "--from", "-2h"]).await;
    assert!(
        said.out.contains("100 kbit/s") && said.out.contains("séries mesurées : 1 sur 2"),
        "{}",
        said.out
    );
    let csv = house.vigie(&["top", "--from", "-2h", "--csv"]).await;
    assert_eq!(csv.out.lines().count(), 2, "{csv:?}");
    assert_eq!(csv.err, "1 of 2 series measured\n");
}
