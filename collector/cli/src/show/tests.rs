use super::*;

fn scribe(language: Language) -> Scribe {
    Scribe { language, zone: TimeZone::get("Europe/Paris").unwrap() }
}

fn french(view: View, body: &str) -> String {
    let shown = scribe(Language::French).show(view, body).unwrap();
    for line in shown.text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    format!("{}[{}]", shown.text, shown.code)
}

const STATUS: &str = r#"{"at":"2026-11-23T13:44:00Z","coverage":{"sites":5000,"heard":4988,"measured":4985,"window_s":300},
    "sites":{"up":4980,"degraded":7,"down":1,"unknown":12},
    "agents":{"active":4999,"connected":4988,"faulty":3,"revoked":2},
    "open_incidents":{"total":3,"target_down":1,"agent_silent":2,"threshold":0},
    "outbox":{"waiting":1,"oldest_s":75}}"#;

#[test]
fn status_is_one_screen_in_both_languages() {
    insta::assert_snapshot!(french(View::Status, STATUS));
    let english = scribe(Language::English).show(View::Status, STATUS).unwrap();
    insta::assert_snapshot!(english.text);
    assert_eq!(english.code, SOMETHING);
}

#[test]
fn a_fleet_without_fault_exits_with_zero_and_an_unknown_site_is_a_fault() {
    let status = |unknown: u64| {
        let body = format!(
            r#"{{"at":"2026-11-23T13:44:00Z","coverage":{{"sites":1,"heard":1,"window_s":300}},
            "sites":{{"up":1,"degraded":0,"down":0,"unknown":{unknown}}},
            "agents":{{"active":1,"connected":1,"revoked":0}},
            "open_incidents":{{"total":0,"target_down":0,"agent_silent":0,"threshold":0}},
            "outbox":{{"waiting":0,"oldest_s":0}}}}"#
        );
        scribe(Language::French).show(View::Status, &body).unwrap().code
    };
    assert_eq!((status(0), status(1)), (ALL_WELL, SOMETHING));
}

#[test]
fn colour_marks_only_what_is_wrong() {
    let shown = |code| Shown { text: "a\nb\n".to_owned(), code };
    assert_eq!(shown(SOMETHING).text(false), "a\nb\n");
    assert_eq!(shown(ALL_WELL).text(true), "a\nb\n");
    assert_eq!(shown(SOMETHING).text(true), "\u{1b}[1;31ma\u{1b}[0m\nb\n");
}

const SITE: &str = r#"{"uai":"0999001W","name":"Collège J. Moulin","type":"college","zone":"A","pupils":612,
    "lot":"2","address":"3, rue X","latitude":45.7,"longitude":4.8"#;
const TARGET: &str = r#"{"id":12,"uai":"0999001W","role":"gateway","name":"box","method":"icmp",
    "address":"192.0.2.1","period_s":10,"parent":null,"state":"up","outcome":"ok",
    "asked_at":"2026-11-23T13:43:55Z","age_s":5}"#;

#[test]
fn sites_fit_a_hundred_columns_whatever_their_names() {
    let site = |name: &str, state: &str, heard: &str| {
        let facts = SITE.replace("Collège J. Moulin", name);
        format!(
            r#"{facts},"state":"{state}","last_heard":{heard},
            "targets":{{"up":3,"failing":1,"unreachable":0,"down":0,"unknown":2}},"open_incidents":1}}"#
        )
    };
    let body = format!(
        r#"{{"at":"2026-11-23T13:44:00Z","coverage":{{"sites":3,"heard":2,"measured":1,"window_s":300}},
        "items":[{},{},{}],"next":null}}"#,
        site("Collège J. Moulin", "up", r#""2026-11-23T13:43:58Z""#),
        site("\\u001b[2J\\u202eeslaf\\u0007", "degraded", r#""2026-11-23T13:40:58Z""#),
        site(&"École très longue ".repeat(30), "unknown", "null"),
    );
    insta::assert_snapshot!(french(View::Sites, &body));
}

#[test]
fn a_site_is_told_from_its_host_outwards() {
    let body = format!(
        r#"{{"at":"2026-11-23T13:44:00Z","coverage":{{"sites":1,"heard":1,"measured":1,"window_s":300}},
        "site":{SITE}}},"state":"down","last_heard":"2026-11-23T13:43:58Z",
        "ladder":[{{"role":"host","state":"up","targets":{{"up":1,"failing":0,"unreachable":0,"down":0,"unknown":0}}}},
                  {{"role":"hop","state":"down","targets":{{"up":0,"failing":0,"unreachable":0,"down":1,"unknown":1}}}}],
        "targets":[{TARGET}],"devices":[
            {{"target":3,"target_name":"sw1","told_at":"2026-11-23T13:00:00Z","name":"sw-cdi\u001b[2J","descr":"Cisco IOS\u202e 15.2",
              "object_id":"1.3.6.1.4.1.9.1.1208","location":"","truncated":true}},
            {{"target":4,"target_name":"ap","told_at":"2026-11-23T13:00:00Z","name":"","descr":"","object_id":"","location":"","truncated":false}}],
        "series":212,
        "incidents":[{{"reference":"INC-2026-000001","uai":"0999001W","state":"open","title":"Coupure WAN opérateur",
            "evidence":["1er saut : 3 tours sur 3 sans réponse"],"started_at":"2026-11-23T13:38:00Z","duration_s":360}}],
        "gaps":[{{"from":"2026-11-23T10:00:00Z","to":"2026-11-23T11:00:00Z","reason":"evicted"}},
                {{"from":"2026-11-23T09:00:00Z","to":"2026-11-23T09:30:00Z","reason":"new\u0007"}}],
        "agents":[{{"id":"000102030405060708090a0b0c0d0e0f","uai":"0999001W","hostname":"srv-\u0007",
            "version":"0.1.0","status":"active","connected":true,"age_s":2,
            "certificate_expires_at":"2027-02-21T00:00:00Z",
            "live":{{"faults":["spool","clock"],"spool_records":3,"config_offered":5,"config_applied":4,"config_failed":null}}}}]}}"#
    );
    insta::assert_snapshot!(french(View::Site, &body));
}

#[test]
fn an_identity_that_two_machines_use_is_told() {
    let body = |held: bool| {
        format!(
            r#"{{"at":"2026-11-23T13:44:00Z","coverage":{{"sites":1,"heard":1,"measured":1,"window_s":300}},
            "next":null,"items":[{{"id":"000102030405060708090a0b0c0d0e0f","uai":"0999001W","hostname":"srv",
            "version":"0.1.0","status":"active","connected":true,"age_s":2,
            "certificate_expires_at":"2027-02-21T00:00:00Z",
            "live":{{"held":{held},"spool_records":3,"config_offered":5,"config_applied":5,"config_failed":null}}}}]}}"#
        )
    };
    let twice = french(View::Agents, &body(true));
    assert!(twice.contains("EN DOUBLE"), "{twice}");
    assert!(french(View::Agents, &body(false)).contains("connecté"));
}

#[test]
fn values_have_units_holes_and_gaps() {
    let body = r#"{"at":"2026-11-23T13:44:00Z",
        "series":{"id":7,"uai":"0999001W","target":"sw1","metric":"if_hc_in_octets","unit":"octets","kind":"counter","label":"Gi0/1\u001b]0;x\u0007"},
        "from":"2026-11-23T12:00:00Z","to":"2026-11-23T15:00:00Z","step":"1h","aggregate":"mean","unit":"octets/s",
        "coverage":{"asked_s":6240,"covered_s":3600,"ratio":0.5769,"rows":1,"expected_rows":2,"unsure":null},
        "gaps":[{"from":"2026-11-23T13:00:00Z","to":"2026-11-23T13:44:00Z","reason":"stopped"}],
        "points":[{"time":"2026-11-23T12:00:00Z","value":1562500.0,"coverage":1.0},
                  {"time":"2026-11-23T13:00:00Z","value":null,"coverage":0.0}]}"#;
    insta::assert_snapshot!(french(View::Samples, body));
}

#[test]
fn rankings_say_how_many_series_they_speak_for() {
    let body = r#"{"at":"2026-11-23T13:44:00Z","from":"2026-11-22T13:44:00Z","to":"2026-11-23T13:44:00Z","p":0.95,
        "unit":"octets/s","coverage":{"series":4000,"measured":3990,"ratio":0.98},
        "items":[{"series":{"id":7,"uai":"0999001W","target":"box","metric":"if_hc_in_octets","unit":"octets","kind":"counter","label":"wan"},
        "value":12500000.0,"buckets":288,"coverage":0.99999}]}"#;
    insta::assert_snapshot!(french(View::Ranking, body));
}

#[test]
fn open_incidents_make_the_exit_code() {
    let body = |state: &str| {
        format!(
            r#"{{"at":"2026-11-23T13:44:00Z","coverage":{{"sites":1,"heard":1,"window_s":300}},
            "items":[{{"reference":"INC-2026-000001","uai":"0999001W","state":"{state}",
            "title":"Coupure WAN opérateur : 1er saut sans réponse, passerelle en service, autres écoles non touchées",
            "evidence":[],"started_at":"2026-11-23T13:38:00Z","duration_s":360}}],"next":null}}"#
        )
    };
    insta::assert_snapshot!(french(View::Incidents, &body("open")));
    assert!(french(View::Incidents, &body("closed")).ends_with("[0]"));
    let none = r#"{"at":"2026-11-23T13:44:00Z","coverage":{"sites":1,"heard":0,"window_s":300},"items":[],"next":null}"#;
    insta::assert_snapshot!(french(View::Incidents, none));
}

#[test]
fn writes_say_what_to_type_next() {
    let enrolment = r#"{"uai":"0999001W","expires_at":"2026-11-24T13:44:00Z","token":"t",
        "command":"vigie-agent enrol --collector collecte.example.fr:7443 --token abc.def.ghi"}"#;
    insta::assert_snapshot!(french(View::Enrolment, enrolment));
    let import = r#"{"dry_run":true,"sites":3,"added":1,"updated":1,"unchanged":1}"#;
    insta::assert_snapshot!(french(View::Imported, import));
    insta::assert_snapshot!(french(View::SiteAdded, &format!("{SITE}}}")));
    insta::assert_snapshot!(french(View::TargetAdded, TARGET));
    let removed = r#"{"id":12,"uai":"0999001W","name":"box\u001b[2J","address":"192.0.2.1"}"#;
    insta::assert_snapshot!(french(View::TargetRemoved, removed));
}

#[test]
fn a_document_of_another_shape_is_no_answer() {
    assert!(scribe(Language::French).show(View::Status, "<html>").is_err());
    assert!(scribe(Language::French).show(View::Status, "{}").is_err());
}

const ROUND: &str = r#"{"started_at":"2026-11-24T06:00:00Z","ended_at":"2026-11-24T06:04:00Z","asked":254,
    "answered":12,"identified":4,"refused":["192.0.2.0/24\u001b[2J"],"complete":false}"#;

#[test]
fn equipment_is_told_with_what_is_to_confirm_and_what_is_gone() {
    let body = format!(
        r#"{{"at":"2026-11-24T07:00:00Z","uai":"0999001W","round":{ROUND},"items":[
        {{"no":1,"state":"confirmed","class":"switch","name":"sw-coeur","address":"10.0.0.2","vendor":"Cisco",
          "model":"WS-C2960X","serial":"FCW1","version":"15.0","snmp":"3","missing_since":null,
          "parts":[{{"class":"chassis","name":"2","model":"WS-C2960X","serial":"FCW2"}},
                   {{"class":"fan","name":"Fan","model":"","serial":"F"}}]}},
        {{"no":2,"state":"observed","class":null,"name":"","address":"10.0.0.9","vendor":"","model":"",
          "serial":"","version":"","snmp":null,"missing_since":null,"parts":[]}},
        {{"no":3,"state":"missing","class":"wifi-ap","name":"ap\u001b[2J","address":"10.0.0.8","vendor":"X",
          "model":"Y","serial":"Z","version":"1","snmp":"2c","missing_since":"2026-11-20T06:04:00Z","parts":[]}}]}}"#
    );
    insta::assert_snapshot!(french(View::Devices, &body));
    let never = r#"{"at":"2026-11-24T07:00:00Z","uai":"0999001W","round":null,"items":[]}"#;
    insta::assert_snapshot!(french(View::Devices, never));
}

#[test]
fn a_topology_is_a_tree_that_says_how_sure_it_is() {
    let node = |no: u32,
                depth: u32,
                name: &str,
                ports: &str,
                own: &str,
                sure: &str,
                source: &str| {
        format!(
            r#"{{"no":{no},"name":"{name}","class":"switch","model":"","depth":{depth},"parent":null,
            "parent_ports":[{ports}],"ports":[{own}],"source":{source},"confidence":{sure}}}"#
        )
    };
    let neighbour = r#""neighbour""#;
    let items = [
        node(1, 0, "box", "", "", "null", "null"),
        node(2, 1, "coeur", "", r#""Gi0/24""#, "0.95", neighbour),
        node(3, 2, "cdi", r#""Gi0/1","Gi0/2""#, r#""1","2""#, "0.99", neighbour),
        node(5, 3, "copieur\\u001b[2J", r#""7""#, "", "0.6", r#""bridge""#),
        node(4, 2, "salle 12", r#""Gi0/3""#, r#""24""#, "0.99", neighbour),
    ];
    let body = format!(
        r#"{{"at":"2026-11-24T07:00:00Z","uai":"0999001W","round":{ROUND},"top":"busiest","items":[{}],
        "spare":[{{"no":3,"ports":["24"],"other":4,"other_ports":["23"]}}],
        "unplaced":[{{"no":9,"name":"10.0.0.9"}}]}}"#,
        items.join(",")
    );
    insta::assert_snapshot!(french(View::Topology, &body));
}
