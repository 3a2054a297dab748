//! What the collector refuses is told in the reader's language, whatever the reason.

use std::{collections::HashMap, ffi::OsString};

use collector::{api::PROBLEMS, wrong::Code};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};
use vigie::Environment;

use crate::house::{House, SOON};

/// Stands for whatever the collector says in English.
const ENGLISH: &str = "said-in-english";

/// What the command line writes in French and in English when a collector answers with this document.
async fn told(problem: &Value) -> [String; 2] {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "token").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let body = problem.to_string();
    let answer = format!(
        "HTTP/1.1 {} X\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{body}",
        problem["status"],
        body.len()
    );
    let variables: HashMap<OsString, OsString> = [
        ("VIGIE_SERVER".into(), server.into()),
        ("VIGIE_TOKEN_FILE".into(), token.into_os_string()),
    ]
    .into();
    let environment = Environment { variables, terminal: false };
    let mut texts = [String::new(), String::new()];
    for (text, language) in texts.iter_mut().zip(["fr", "en"]) {
        let arguments = ["vigie", "status", "--lang", language].map(OsString::from);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream
        };
        let run = vigie::run(arguments, &environment, &mut out, &mut err);
        let both = async { tokio::join!(run, serve) };
        let (code, _stream) = timeout(SOON, both).await.unwrap();
        assert!(code >= 2 && out.is_empty());
        *text = String::from_utf8(err).unwrap();
    }
    texts
}

#[tokio::test]
async fn every_problem_has_french_words() {
    for code in PROBLEMS {
        let [french, english] = told(&json!({
            "type": format!("/problems/{code}"), "title": ENGLISH, "status": 400,
        }))
        .await;
        assert!(!french.contains(ENGLISH), "{code}: {french}");
        assert!(english.contains(ENGLISH), "{code}: {english}");
    }
}

#[tokio::test]
async fn every_fault_has_french_words_in_a_question_and_in_a_body() {
    for code in Code::ALL.iter().map(|code| code.text()) {
        for found in [json!(null), json!("X")] {
            let question = json!({
                "type": "/problems/bad-question", "title": ENGLISH, "status": 400,
                "detail": format!("limit: {ENGLISH}"), "parameter": "limit", "code": code,
                "found": found, "expected": "Y",
            });
            let body = json!({
                "type": "/problems/invalid", "title": ENGLISH, "status": 422, "detail": ENGLISH,
                "errors": [{"pointer": "/limit", "code": code, "reason": ENGLISH,
                            "found": found, "expected": "Y"}],
            });
            for problem in [question, body] {
                let [french, english] = told(&problem).await;
                assert!(french.contains("limit : "), "{code}: {french}");
                assert!(!french.contains(ENGLISH), "{code}: {french}");
                assert!(english.contains(ENGLISH), "{code}: {english}");
            }
        }
    }
}

#[tokio::test]
async fn what_operators_mistype_is_told_in_french() {
    let house = House::new().await;
    let uai = house.site(1).await;
    let (many, strange) = ("9".repeat(30), "g".repeat(32));
    for (line, expected) in [
        (&["sites", "--limit", "0"][..], "limit : « 0 » n'est pas un nombre de 1 .. 10000"),
        (&["sites", "--limit", &many], "limit : un nombre est attendu"),
        (&["site", "show", "0999001W"], "introuvable : site 0999001W"),
        (&["site", "show", "0999001A"], "uai : la lettre clé de l'UAI doit être W, pas A"),
        (&["series", "get", "7"], "introuvable : série 7"),
        (&["agent", "revoke", &strange], "id : un numéro d'agent est 32 chiffres"),
        (&["top", "--metric", "x"], "metric : métrique inconnue ; attendu : icmp_outcome"),
        (&["top", "--p", "2"], "p : attendu : plus de 0 et 1 au plus"),
        (&["top", "--from", "hier"], "from : attendu : RFC 3339"),
        (&["top", "--from", "now", "--to", "now"], "n'est pas avant"),
        (&["top", "--from", "-9999d"], "from : au pas 5m, 833 heures au plus"),
        (&["target", "add", &uai, "icmp", "x"], "address : une adresse IP est attendue"),
        (&["target", "add", &uai, "tcp", "x"], "address : hôte:port est attendu"),
        (&["target", "add", &uai, "http", "x"], "address : http://hôte/..."),
        (
            &["target", "add", &uai, "icmp", "192.0.2.1", "--role", "x"],
            "role : attendu : gateway, equipment",
        ),
        (
            &["target", "add", &uai, "icmp", "192.0.2.1", "--period", "1"],
            "period_s : « 1 » n'est pas un nombre de 5 .. 3600",
        ),
        (
            &["target", "add", &uai, "icmp", "192.0.2.1", "--parent", "9"],
            "parent : aucune cible de ce site n'a ce numéro",
        ),
        (
            &["site", "add", &uai, "--name", "n", "--type", "lycee", "--zone", "B"],
            "existe déjà : site",
        ),
    ] {
        let said = house.vigie(line).await;
        assert_eq!(said.code, 2, "{line:?}: {said:?}");
        assert!(said.err.contains(expected), "{line:?}: {}", said.err);
        for english in ["expected", "exist ", "exists", "not a", "already", "unknown"] {
            assert!(!said.err.contains(english), "{line:?}: {}", said.err);
        }
    }
    let answer = house.get("/sites?state=x&format=json").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        (&answer.json()["code"], &answer.json()["expected"]),
        (&json!("unknown-code"), &json!("up, degraded, down, unknown"))
    );
}
