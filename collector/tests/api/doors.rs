//! Who gets in, and what is too much.

use http::{Method, StatusCode, header};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::house::{House, SOON};

const ROUTES: &[(&str, &str)] = &[
    ("GET", "/status"),
    ("GET", "/sites"),
    ("POST", "/sites"),
    ("POST", "/sites/import"),
    ("GET", "/sites/0999001W"),
    ("POST", "/sites/0999001W/tokens"),
    ("GET", "/sites/0999001W/targets"),
    ("POST", "/sites/0999001W/targets"),
    ("DELETE", "/sites/0999001W/targets/1"),
    ("GET", "/series"),
    ("GET", "/series/1/samples"),
    ("GET", "/percentiles"),
    ("GET", "/agents"),
    ("POST", "/agents/00000000000000000000000000000000/revoke"),
    ("GET", "/incidents"),
    ("GET", "/contractors"),
    ("PUT", "/contractors"),
    ("GET", "/no/such/route"),
    ("DELETE", "/sites"),
];

#[tokio::test]
async fn nobody_gets_in_without_a_token_and_all_hear_the_same() {
    let house = House::new().await;
    let wrong = format!("Bearer vgi_{}", "0".repeat(40));
    let short = house.bearer()[..40].to_owned();
    let attempts: [Option<&str>; 4] = [None, Some(&wrong), Some(&short), Some("Basic dmdp")];
    let mut heard = std::collections::BTreeSet::new();
    for (method, path) in ROUTES {
        for attempt in attempts {
            let method: Method = method.parse().unwrap();
            let headers: Vec<_> = attempt.iter().map(|value| ("authorization", *value)).collect();
            let answer =
                house.request(method, &format!("/api/v1{path}"), &headers, Vec::new()).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
            assert_eq!(answer.problem(), "unauthorised");
            assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
            heard.insert(answer.body);
        }
    }
    assert_eq!(heard.len(), 1, "{heard:?}");
}

#[tokio::test]
async fn the_token_of_the_command_line_is_in_a_file_for_one_reader() {
    use std::os::unix::fs::PermissionsExt as _;
    let house = House::new().await;
    let path = house.app.context.config.operator_token();
    assert!(path.starts_with(house.dir.path()));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(path).unwrap().trim(), house.app.operator_token);
}

#[tokio::test]
async fn the_token_survives_a_restart_and_another_one_comes_where_it_can_not() {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt as _,
    };
    let mut house = House::new().await;
    let path = house.app.context.config.operator_token();
    let first = house.app.operator_token.clone();
    house = house.restarted().await;
    assert_eq!(house.app.operator_token, first);
    assert_eq!(house.get("/status").await.status, StatusCode::OK);

    let mut known = vec![first];
    let spoil: [fn(&std::path::Path); 4] = [
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, "vgi_short\n").unwrap(),
        |path| fs::write(path, [0xff; 45]).unwrap(),
        |path| fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap(),
    ];
    for spoil in spoil {
        spoil(&path);
        house = house.restarted().await;
        let token = house.app.operator_token.clone();
        assert!(!known.contains(&token), "{token} of {known:?}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap().trim(), token);
        assert_eq!(house.get("/status").await.status, StatusCode::OK);
        let former = format!("Bearer {}", known.last().unwrap());
        let headers = [("authorization", former.as_str())];
        let answer = house.request(Method::GET, "/api/v1/status", &headers, Vec::new()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        known.push(token);
    }
}

#[tokio::test]
async fn every_answer_is_kept_from_caches_and_guessing_browsers() {
    let house = House::new().await;
    for path in ["/status", "/sites?limit=0", "/no/such/route", "/agents?format=csv"] {
        let answer = house.get(path).await;
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store", "{path}");
        assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
    }
}

#[tokio::test]
async fn questions_with_unknown_repeated_or_senseless_keys_are_refused() {
    let house = House::new().await;
    for (path, parameter) in [
        ("/status?verbose=1", "verbose"),
        ("/sites?stat=up", "stat"),
        ("/sites?state=great", "state"),
        ("/sites?state=up&state=down", "state"),
        ("/sites?limit=1000000000", "limit"),
        ("/sites?limit=99999999999999999999", "limit"),
        ("/sites?limit=10001", "limit"),
        ("/sites?limit=0", "limit"),
        ("/sites?limit=-1", "limit"),
        ("/sites?after=x", "after"),
        ("/sites?sort=colour", "sort"),
        ("/sites?format=xml", "format"),
        ("/series?metric=cpu", "metric"),
        ("/series?uai=0999001A", "uai"),
        ("/series?target=1.5", "target"),
        ("/agents?uai=%27%20OR%201=1", "uai"),
        ("/incidents?open=yes", "open"),
        ("/incidents?after=1", "after"),
        ("/incidents?after=i0", "after"),
        ("/incidents?after=ifffffffffffffffffffffff", "after"),
        ("/percentiles", "metric"),
        ("/percentiles?metric=if_oper_status", "metric"),
        ("/percentiles?metric=icmp_rtt_mean&p=0", "p"),
        ("/percentiles?metric=icmp_rtt_mean&p=NaN", "p"),
        ("/percentiles?metric=icmp_rtt_mean&p=95", "p"),
        ("/percentiles?metric=icmp_rtt_mean&from=-36500d", "from"),
    ] {
        let answer = house.get(path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}: {answer:?}");
        assert_eq!(answer.problem(), "bad-question", "{path}");
        assert_eq!(answer.json()["parameter"], parameter, "{path}");
    }
    assert_eq!(house.get("/sites?limit=10000").await.status, StatusCode::OK);
    let long = format!("/series?label={}", "x".repeat(501));
    assert_eq!(house.get(&long).await.json()["parameter"], "label");
    let many: Vec<String> = (0..33).map(|n| format!("k{n}=1")).collect();
    let answer = house.get(&format!("/sites?{}", many.join("&"))).await;
    assert_eq!(answer.json()["parameter"], "query");
}

#[tokio::test]
async fn what_does_not_exist_is_a_problem_too() {
    let house = House::new().await;
    for (method, path, status, problem) in [
        (Method::GET, "/no/such/route", 404, "no-route"),
        (Method::DELETE, "/sites", 405, "method"),
        (Method::GET, "/sites/0999001W", 404, "not-found"),
        (Method::GET, "/sites/0999001A", 400, "bad-question"),
        (Method::GET, "/sites/%00", 400, "bad-question"),
        (Method::GET, "/sites/0999001W/targets", 404, "not-found"),
        (Method::DELETE, "/sites/0999001W/targets/1", 404, "not-found"),
        (Method::GET, "/sites/0999001W/targets/1", 405, "method"),
        (Method::POST, "/sites/0999001W/tokens", 404, "not-found"),
        (Method::GET, "/series/1/samples", 404, "not-found"),
        (Method::GET, "/series/-1/samples", 404, "not-found"),
        (Method::GET, "/series/1e3/samples", 404, "not-found"),
        (Method::GET, "/series/9999999999999999999999/samples", 404, "not-found"),
        (Method::POST, "/agents/xyz/revoke", 400, "bad-question"),
        (Method::POST, "/agents/00000000000000000000000000000000/revoke", 404, "not-found"),
    ] {
        let answer = house.send(method, path, "application/json", "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.problem().as_str()),
            (status, problem),
            "{path}"
        );
    }
}

#[tokio::test]
async fn bodies_are_bounded_typed_and_strict() {
    let house = House::new().await;
    let site = |more: &str| {
        format!(r#"{{"uai":"0999001W","name":"x","type":"college","zone":"A"{more}}}"#)
    };
    let deep = format!(r#"{{"uai":{}}}"#, "[".repeat(100_000));
    for (media_type, body, status) in [
        ("text/plain", site(""), 415),
        ("application/json", String::new(), 400),
        ("application/json", site(r#","nom":"y""#), 400),
        ("application/json", site(r#","name":"y""#), 400),
        ("application/json", site(r#","latitude":1e400"#), 400),
        ("application/json", site(r#","pupils":"many""#), 400),
        ("application/json", site(r#","pupils":-1"#), 400),
        ("application/json", deep, 400),
        ("application/json", format!("{}{}", site(""), "]"), 400),
        ("application/json", " ".repeat((1 << 20) + 1), 413),
        ("application/json", " ".repeat(1 << 20), 400),
        ("application/json", site(r#","latitude":91,"longitude":0"#), 422),
    ] {
        let answer = house.send(Method::POST, "/sites", media_type, body).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        answer.problem();
    }
    assert_eq!(house.read("/sites").await["items"], json!([]));
    let added =
        house.send(Method::POST, "/sites", "application/json; charset=utf-8", site("")).await;
    assert_eq!(added.status, StatusCode::CREATED);
    let again = house.send(Method::POST, "/sites", "application/json", site("")).await;
    assert_eq!((again.status.as_u16(), again.problem().as_str()), (409, "conflict"));
}

#[tokio::test]
async fn beyond_so_many_requests_at_once_others_are_told_to_come_again() {
    let house = House::new().await;
    let mut held = Vec::new();
    let head = format!(
        "POST /api/v1/sites HTTP/1.1\r\nhost: c\r\nauthorization: {}\r\n\
         content-type: application/json\r\ncontent-length: 10\r\n\r\n",
        house.bearer()
    );
    for _ in 0..collector::api::MAX_REQUESTS {
        let mut stream = TcpStream::connect(house.app.api).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        held.push(stream);
    }
    until(&house, StatusCode::SERVICE_UNAVAILABLE).await;
    let refused = house.get("/status").await;
    assert_eq!(
        (refused.problem().as_str(), &refused.headers[header::RETRY_AFTER]),
        ("busy", &"1".parse().unwrap())
    );
    // Those that were first are still served.
    let mut first = held.swap_remove(0);
    first.write_all(b"0123456789").await.unwrap();
    let mut start = [0; 12];
    first.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 400");
    drop((first, held));
    until(&house, StatusCode::OK).await;
}

/// Waits until the status page answers so.
async fn until(house: &House, status: StatusCode) {
    let deadline = Instant::now() + SOON;
    while house.get("/status").await.status != status {
        assert!(Instant::now() < deadline, "never {status}");
        sleep(std::time::Duration::from_millis(10)).await;
    }
}
