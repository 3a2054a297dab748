//! Text from devices at every exit: JSON, CSV, terminal.

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
