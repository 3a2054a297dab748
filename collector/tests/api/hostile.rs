//! Text from devices at every exit: JSON, CSV, terminal.

use collector::clock::Clock as _;
use domain::{id::TargetId, target::Device};
use http::{Method, header};
use serde_json::json;

use crate::house::House;

const NAMES: &[&str] = &[
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "=HYPERLINK(\"http://x\",\"y\")",
    "+cmd|' /C calc'!A0",
    "\u{9b}31mred",
    "\u{202e}txt.exe",
    "a\r\nBcc: x@example.org",
    "\",\n\"0999001W\",\"forged",
    "<script>alert(1)</script>",
    "'; DROP TABLE agents;--",
    "\t=1+1",
    "＝1+1",
];

#[tokio::test]
async fn names_of_machines_reach_no_reader_as_anything_but_text() {
    let house = House::new().await;
    let uai = house.site(1).await;
    for name in NAMES {
        house.agent(&uai, name).await;
    }
    let answer = house.get("/agents").await;
    assert!(!answer.body.chars().any(|character| character.is_ascii_control()), "{}", answer.body);
    let document = answer.json();
    let names: Vec<_> = document["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|agent| agent["hostname"].as_str().unwrap())
        .collect();
    assert_eq!(names, NAMES, "JSON gives back what was said");

    let answer = house.get("/agents?format=csv").await;
    assert!(answer.headers[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/csv"));
    assert!(
        answer.headers[header::CONTENT_DISPOSITION].to_str().unwrap().starts_with("attachment")
    );
    let mut reader = csv::Reader::from_reader(answer.body.as_bytes());
    let column = reader.headers().unwrap().iter().position(|name| name == "hostname").unwrap();
    let cells: Vec<String> =
        reader.records().map(|record| record.unwrap()[column].to_owned()).collect();
    let guarded: Vec<String> = NAMES
        .iter()
        .map(|name| {
            let formula = ["=", "+", "\t", "＝"].iter().any(|start| name.starts_with(start));
            if formula { format!("'{name}") } else { (*name).to_owned() }
        })
        .collect();
    assert_eq!(cells, guarded);

    for line in [&["agents"][..], &["site", "show", &uai]] {
        let said = house.vigie(line).await;
        assert!(said.out.contains("\\x{1b}[2J"), "{}", said.out);
        assert!(said.out.contains("\\x{202e}txt.exe"), "{}", said.out);
        let controls = said.out.chars().filter(|c| c.is_control() && *c != '\n').count();
        assert_eq!(controls, 0, "{}", said.out);
        assert!(said.out.lines().all(|line| line.chars().count() <= 100), "{}", said.out);
    }
}

#[tokio::test]
async fn what_devices_say_they_are_is_shown_as_text_while_they_are_probed() {
    let house = House::new().await;
    let uai = house.site(1).await;
    let switch =
        json!({"method": "snmp", "address": "192.0.2.2", "community": "s3cret", "name": "sw"});
    let target = house.target(&uai, &switch).await;
    let device = Device {
        name: NAMES[0].to_owned(),
        descr: NAMES.join(" "),
        object_id: "1.3.6.1.4.1.9.1.1208".to_owned(),
        location: String::new(),
        truncated: true,
    };
    let told_at = house.clock.now();
    house.store().keep_device(TargetId(target), told_at, device).await.unwrap();
    let document = house.read(&format!("/sites/{uai}")).await;
    let expected = json!([{"target": target, "target_name": "sw", "told_at": "2026-11-23T14:00:00Z",
        "name": NAMES[0], "descr": NAMES.join(" "), "object_id": "1.3.6.1.4.1.9.1.1208",
        "location": "", "truncated": true}]);
    assert_eq!(document["devices"], expected);
    let said = house.vigie(&["site", "show", &uai]).await;
    for text in ["\\x{1b}[2J", "\\x{202e}txt.exe", "1.3.6.1.4.1.9.1.1208", "interfaces incomplètes"]
    {
        assert!(said.out.contains(text), "{text} is not in {}", said.out);
    }
    let controls = said.out.chars().filter(|c| c.is_control() && *c != '\n').count();
    assert_eq!(controls, 0, "{}", said.out);
    assert!(said.out.lines().all(|line| line.chars().count() <= 100), "{}", said.out);

    let gone = format!("/sites/{uai}/targets/{target}");
    let answer = house.send(Method::DELETE, &gone, "application/json", "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(house.read(&format!("/sites/{uai}")).await["devices"], json!([]));
}

#[tokio::test]
async fn csv_is_had_by_header_or_key_and_numbers_stay_numbers() {
    let house = House::new().await;
    let site = json!({"uai": "0999001W", "name": "=1+1", "type": "college", "zone": "A", "lot": "-2",
        "latitude": -12.5, "longitude": 45.0});
    house.post("/sites", &site).await;
    let bearer = house.bearer();
    let headers = [("authorization", bearer.as_str()), ("accept", "text/csv")];
    let answer = house.request(Method::GET, "/api/v1/sites", &headers, Vec::new()).await;
    assert_eq!(answer.body, house.get("/sites?format=csv").await.body);
    let row = answer.body.lines().nth(1).unwrap();
    assert!(row.starts_with("0999001W,'=1+1,college,A,,'-2,,-12.5,45,unknown,"), "{row}");
    assert!(answer.body.contains("\r\n"));
    assert_eq!(answer.headers["vigie-coverage"], "0 of 1 sites heard in 300 s, 0 measured");
}

#[tokio::test]
async fn secrets_are_told_to_nobody() {
    let house = House::new().await;
    let uai = house.site(1).await;
    let switch = json!({"method": "snmp", "address": "192.0.2.2", "community": "s3cret"});
    house.target(&uai, &switch).await;
    for path in [format!("/sites/{uai}"), format!("/sites/{uai}/targets"), "/series".to_owned()] {
        for format in ["json", "csv"] {
            let answer = house.get(&format!("{path}?format={format}")).await;
            assert!(!answer.body.contains("s3cret"), "{path}");
        }
    }
}

#[tokio::test]
async fn contractors_are_mailed_at_one_plain_address() {
    let house = House::new().await;
    let put = async |email: &str| {
        let body = json!({"lot": "2", "name": "Réseaux", "email": email}).to_string();
        house.send(Method::PUT, "/contractors", "application/json", body).await.status.as_u16()
    };
    for email in [
        "",
        "a",
        "a@b, c@d",
        "a@b c@d",
        "\"a\r\nRCPT TO:<x>\"@b",
        "a@b\r\nBcc: x@y",
        "<a@b.fr>",
        "a@ехаmple.fr",
        &format!("{}@b.fr", "a".repeat(320)),
    ] {
        assert_eq!(put(email).await, 422, "{email:?}");
    }
    assert_eq!(house.read("/contractors").await["items"], json!([]));
    assert_eq!(put("support@example.fr").await, 200);
    assert_eq!(put("noc@example.fr").await, 200);
    let contractors = house.read("/contractors").await;
    assert_eq!(
        contractors["items"],
        json!([{"lot": "2", "name": "Réseaux", "email": "noc@example.fr", "sites": 0}])
    );
}
