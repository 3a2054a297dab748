//! The command line against the real API.

use collector::targets::Seen;
use serde_json::{Value, json};

use crate::house::House;

#[tokio::test]
async fn a_first_day_is_typed_without_a_file_to_edit() {
    let house = House::new().await;
    let add = [
        "site",
        "add",
        "0999001W",
        "--name",
        "Collège J. Moulin",
        "--type",
        "college",
        "--zone",
        "A",
        "--lot",
        "2",
        "--lat",
        "45.7",
        "--lon",
        "4.8",
    ];
    let said = house.vigie(&add).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    let said = house.vigie(&["agent", "token", "0999001W"]).await;
    let line = said.out.lines().last().unwrap();
    assert!(
        line.starts_with("vigie-agent enrol --collector collecte.example.fr:7443 --token "),
        "{line}"
    );
    let set = ["contractor", "set", "2", "--name", "Réseaux", "--email", "support@example.fr"];
    assert_eq!(house.vigie(&set).await.code, 0);
    let said = house.vigie(&["contractors"]).await;
    assert!(said.out.contains("sites avec mainteneur : 1 sur 1"), "{}", said.out);
    let target =
        ["target", "add", "0999001W", "icmp", "192.0.2.1", "--name", "box", "--role", "gateway"];
    assert_eq!(house.vigie(&target).await.code, 0);
    let said = house.vigie(&["targets", "0999001W"]).await;
    assert!(said.out.contains("passerelle  box"), "{}", said.out);
    let said = house.vigie(&["series", "list", "--uai", "0999001W", "--metric", "icmp_loss"]).await;
    assert!(said.out.contains("icmp_loss"), "{}", said.out);
    let said = house.vigie(&["series", "get", "--uai", "0999001W", "--metric", "icmp_loss"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.lines().last().unwrap().starts_with("couverture 0 %"), "{}", said.out);

    // A site that nobody heard is no good news.
    let said = house.vigie(&["status", "--lang", "en"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("unknown 1"), "{}", said.out);
    assert!(
        said.out.ends_with(
            "sites heard in the last 5 minutes: 0 of 1, measured: 0, at 2026-11-23 15:00:00\n"
        ),
        "{}",
        said.out
    );
}

#[tokio::test]
async fn json_is_the_document_of_the_api_and_csv_its_table() {
    let house = House::new().await;
    house.site(1).await;
    for (line, path) in [
        (&["status"][..], "/status"),
        (&["sites"], "/sites?limit=10000"),
        (&["agents"], "/agents?limit=10000"),
        (&["incidents"], "/incidents?limit=10000"),
        (&["series", "list"], "/series?limit=10000"),
        (&["contractors"], "/contractors"),
    ] {
        let json = house.vigie(&[line, &["--json"]].concat()).await;
        let document: Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(document, house.read(path).await, "{line:?}");
        let csv = house.vigie(&[line, &["--csv"]].concat()).await;
        let separator = if path.contains('?') { '&' } else { '?' };
        assert_eq!(csv.out, house.get(&format!("{path}{separator}format=csv")).await.body);
        assert!(csv.err.ends_with('\n') && !csv.err.trim().is_empty(), "{line:?}: {csv:?}");
    }
}

#[tokio::test]
async fn exit_codes_tell_a_bad_question_from_no_answer() {
    let house = House::new().await;
    for (line, code, said) in [
        (&["site", "show", "0999001A"][..], 2, "la lettre clé de l'UAI doit être W, pas A"),
        (&["site", "show", "0999001W"], 2, "→ vigie sites"),
        (&["series", "get", "7"], 2, "→ vigie series list"),
        (&["series", "get", "--metric", "icmp_loss"], 2, "aucune série ne correspond"),
        (&["agent", "revoke", "00"], 2, "→ vigie agents"),
        (&["sites", "--server", "http://127.0.0.1:1"], 3, "→ systemctl status vigie-collector"),
        (
            &["sites", "--server", "https://collecte.example.fr"],
            2,
            "→ --server http://127.0.0.1:7480",
        ),
        (&["sites", "--token-file", "/nonexistent/token"], 3, "→ sudo vigie"),
        (&["sites", "--timezone", "Mars/Olympus"], 2, "→ --timezone Europe/Paris"),
    ] {
        let answer = house.vigie(line).await;
        assert_eq!(answer.code, code, "{line:?}: {answer:?}");
        assert!(answer.err.contains(said) && answer.out.is_empty(), "{line:?}: {answer:?}");
    }
    let token = house.dir.path().join("token");
    std::fs::write(&token, "vgi_0000000000000000000000000000000000000000\n").unwrap();
    let refused = house.vigie(&["sites", "--token-file", token.to_str().unwrap()]).await;
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.err.contains("jeton valide"), "{refused:?}");
    let empty = house.vigie(&["incidents"]).await;
    assert_eq!(empty.code, 0, "{empty:?}");
}

#[tokio::test]
async fn a_site_list_is_imported_from_the_command_line() {
    let house = House::new().await;
    let file = house.dir.path().join("sites.csv");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "uai;name;type;zone\n0999001A;Collège;collège;A\n").unwrap();
    let said = house.vigie(&["site", "import", path]).await;
    assert_eq!(said.code, 2, "{said:?}");
    insta::assert_snapshot!(said.err);
    std::fs::write(&file, "uai;name;type;zone\n0999001W;Collège;college;A\n").unwrap();
    let said = house.vigie(&["site", "import", path, "--dry-run"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out.starts_with("sites 1, ajoutés 1, mis à jour 0, inchangés 0\nÀ blanc"),
        "{}",
        said.out
    );
    assert_eq!(house.read("/sites").await["coverage"]["sites"], 0);
    assert_eq!(house.vigie(&["site", "import", path]).await.code, 0);
    assert_eq!(house.read("/sites").await["coverage"]["sites"], 1);
}

#[tokio::test]
async fn an_agent_is_revoked_by_the_start_of_its_id() {
    let house = House::new().await;
    let uai = house.site(1).await;
    house.agent(&uai, "one").await;
    house.agent(&uai, "two").await;
    let many = house.vigie(&["agent", "revoke", "0"]).await;
    assert_eq!((many.code, many.err.contains("plus de chiffres")), (2, true), "{many:?}");
    assert_eq!(house.vigie(&["agent", "revoke", "0202"]).await.code, 0);
    let agents = house.read("/agents").await;
    assert_eq!(
        (&agents["items"][0]["status"], &agents["items"][1]["status"]),
        (&"active".into(), &"revoked".into())
    );
}

#[tokio::test]
async fn a_target_is_withdrawn_its_measures_stay_and_the_same_again_goes_on() {
    let house = House::new().await;
    let uai = house.site(1).await;
    let mut agent = house.agent(&uai, "srv").await;
    let box_ = json!({"method": "icmp", "address": "192.0.2.1", "name": "box"});
    let id = house.target(&uai, &box_).await;
    house.measure(&mut agent, id, &[120, 60], |_, _| Some(0)).await;
    let loss = format!("/series?target={id}&metric=icmp_loss");
    let series = house.read(&loss).await["items"][0]["id"].as_i64().unwrap();
    let samples = format!("/series/{series}/samples?from=-1h");
    let before = house.read(&samples).await["points"].clone();
    assert_eq!(before.as_array().unwrap().len(), 2, "{before}");

    let number = id.to_string();
    let remove = ["target", "remove", uai.as_str(), number.as_str()];
    let said = house.vigie(&remove).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    assert!(said.out.starts_with(&format!("Cible {id} (box, 192.0.2.1) retirée")), "{}", said.out);
    let listed = house.read(&format!("/sites/{uai}/targets")).await;
    assert_eq!(listed["items"], json!([]));
    assert_eq!(house.read(&samples).await["points"], before, "what was measured stays");

    let said = house.vigie(&remove).await;
    assert_eq!(said.code, 2, "it is withdrawn already: {said:?}");
    assert!(said.err.contains(&format!("cible {id}")), "{}", said.err);
    assert_eq!(house.target(&uai, &box_).await, id);
    assert_eq!(house.read(&loss).await["items"][0]["id"], series);
    let said = house.vigie(&[&remove[..], &["--json", "--lang", "en"]].concat()).await;
    let document: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&document["id"], &document["status"]), (&json!(id), &json!("withdrawn")));

    // Another site's number, and no number, are no targets of this one.
    let other = house.site(2).await;
    let theirs = house.target(&other, &box_).await;
    for id in [theirs.to_string(), "-1".to_owned(), "1e3".to_owned(), "\u{1b}[2J".to_owned()] {
        let said = house.vigie(&["target", "remove", &uai, &id]).await;
        assert_eq!(said.code, 2, "{said:?}");
        assert!(!said.err.contains('\u{1b}'), "{said:?}");
    }
    let listed = house.read(&format!("/sites/{other}/targets")).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_rung_of_the_ladder_is_not_withdrawn_by_hand() {
    let house = House::new().await;
    let uai = house.site(1).await;
    let site = house.agent(&uai, "srv").await.site;
    let seen = Seen::new(&["192.0.2.1".to_owned()], &[], &[]);
    house.app.context.targets.ladder(site, &seen).await.unwrap();
    let rungs = house.store().rungs(site).await.unwrap();
    assert!(!rungs.is_empty());
    for rung in &rungs {
        let said = house.vigie(&["target", "remove", &uai, &rung.to_string()]).await;
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains("échelon du site"), "{}", said.err);
    }
    assert_eq!(house.store().rungs(site).await.unwrap(), rungs);
}

#[tokio::test]
async fn completions_are_written_without_a_collector() {
    let house = House::new().await;
    let said = house.vigie(&["completions", "bash", "--server", "http://127.0.0.1:1"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("_vigie()"), "{}", said.out);
}
