//! Site lists: all or none.

use std::{fmt::Write as _, time::Instant};

use http::{Method, StatusCode};
use serde_json::json;

use crate::house::{House, uai};

const HEADER: &str = "uai;name;type;zone;pupils;lot;address;latitude;longitude\n";

async fn import(house: &House, dry_run: bool, body: impl Into<Vec<u8>>) -> crate::house::Answer {
    let path = format!("/sites/import?dry_run={dry_run}");
    house.send(Method::POST, &path, "text/csv", body).await
}

#[tokio::test]
async fn one_bad_line_keeps_all_sites_out_and_every_bad_line_is_told() {
    let house = House::new().await;
    let mut text = HEADER.to_owned();
    for number in 1..=100 {
        let _ = writeln!(text, "{};École {number};primaire;A;;;;;", uai(number));
    }
    text.push_str("0750654E;x;college;D;;;;;\n");
    let _ = writeln!(text, "{};again;college;A;;;;;", uai(1));
    let answer = import(&house, false, text).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (422, "invalid"));
    assert_eq!(
        answer.json()["errors"],
        json!([
            {"line": 102, "column": "uai", "code": "uai-key", "found": "E", "expected": "D",
             "reason": "the key letter of 0750654 is D, not E"},
            {"line": 102, "column": "zone", "code": "unknown-code", "found": "D",
             "expected": "A, B, C, Corse, Guadeloupe, Guyane, Martinique, Mayotte, Reunion, SPM, NC, PF, WF",
             "reason": "unknown zone \"D\", expected one of A, B, C, Corse, Guadeloupe, Guyane, Martinique, Mayotte, Reunion, SPM, NC, PF, WF"},
            {"line": 103, "column": "uai", "code": "uai-twice", "found": "2",
             "reason": "the UAI stands in line 2 already"},
        ])
    );
    assert_eq!(house.read("/sites").await["coverage"]["sites"], 0);
}

#[tokio::test]
async fn a_dry_run_tells_what_an_import_then_does() {
    let house = House::new().await;
    let line = |number: u32, name: &str| format!("{};{name};lp;Corse;;2;;42,7;9,45\n", uai(number));
    let text = format!("{HEADER}{}{}", line(1, "un"), line(2, "deux"));
    let counts = |answer: &crate::house::Answer| {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let report = answer.json();
        ["added", "updated", "unchanged"].map(|count| report[count].as_u64().unwrap())
    };
    assert_eq!(counts(&import(&house, true, text.clone()).await), [2, 0, 0]);
    assert_eq!(house.read("/sites").await["coverage"]["sites"], 0);
    assert_eq!(counts(&import(&house, false, text).await), [2, 0, 0]);
    let text = format!("{HEADER}{}{}{}", line(1, "un"), line(2, "DEUX"), line(3, "trois"));
    assert_eq!(counts(&import(&house, true, text.clone()).await), [1, 1, 1]);
    assert_eq!(counts(&import(&house, false, text).await), [1, 1, 1]);
    let site = &house.read("/sites").await["items"][1];
    assert_eq!((&site["name"], &site["latitude"]), (&json!("DEUX"), &json!(42.7)));
}

#[tokio::test]
async fn five_thousand_sites_are_imported_within_seconds() {
    let house = House::new().await;
    let mut text = HEADER.to_owned();
    for number in 0..5_000 {
        let _ = writeln!(text, "{};École {number};primaire;A;130;2;1 rue X;45.1;4.8", uai(number));
    }
    let start = Instant::now();
    let answer = import(&house, false, text).await;
    let elapsed = start.elapsed();
    assert_eq!(answer.json()["added"], 5_000, "{answer:?}");
    assert!(elapsed.as_secs() < 10, "{elapsed:?}");
    let page = house.read("/sites?limit=3000").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 3_000);
    let after = page["next"].as_str().unwrap();
    let rest = house.read(&format!("/sites?limit=3000&after={after}")).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 2_000);
    assert_eq!(rest["next"], json!(null));
}

#[tokio::test]
async fn files_that_are_no_site_lists_are_refused() {
    let house = House::new().await;
    let utf16: Vec<u8> = HEADER.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (body, code) in [
        (utf16, "utf-16"),
        (b"uai;name\xE9\n".to_vec(), "not-utf-8"),
        (Vec::new(), "empty"),
        (b"PK\x03\x04\x14\x00".to_vec(), "unknown-column"),
        (format!("{HEADER}\"open\n").into_bytes(), "open-quote"),
        (vec![b';'; 1 << 20], "line-too-long"),
    ] {
        let answer = import(&house, false, body).await;
        assert_eq!(answer.json()["errors"][0]["code"], code, "{answer:?}");
    }
    let limit = collector::import::MAX_BYTES;
    assert_eq!(import(&house, false, vec![b'x'; limit]).await.problem(), "invalid");
    assert_eq!(import(&house, false, vec![b'x'; limit + 1]).await.problem(), "too-large");
    let json = house.send(Method::POST, "/sites/import", "application/json", "{}").await;
    assert_eq!(json.problem(), "media-type");
}
