use domain::{
    id::{GroupId, IncidentId, OutboxId, SiteId, TargetId},
    incident::Incident,
    site::{SiteFacts, SiteKind, Zone},
    target::{Method, Role, TargetSpec},
};

use super::*;
use crate::config::SmtpTls;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_419_730 + second).unwrap()
}

fn smtp() -> Smtp {
    Smtp {
        host: "127.0.0.1".to_owned(),
        port: 25,
        tls: SmtpTls::None,
        from: "Vigie <vigie@example.fr>".parse().unwrap(),
        helo: Some("collecte.example.fr".to_owned()),
        credentials: None,
    }
}

fn site() -> Site {
    let facts = SiteFacts {
        uai: "0999001W".parse().unwrap(),
        name: "Collège des Essais".to_owned(),
        kind: SiteKind::College,
        zone: Zone::A,
        pupils: Some(486),
        lot: Some("2".to_owned()),
        address: Some("1 rue de l'Exemple, 00000 Ville-Test".to_owned()),
        position: None,
    };
    Site { id: SiteId(1), facts }
}

fn target(name: &str) -> Target {
    let spec = TargetSpec {
        site: SiteId(1),
        role: Role::Equipment,
        name: name.to_owned(),
        address: "10.0.0.2".to_owned(),
        method: Method::Icmp { count: 1 },
        period_s: 60,
        parent: None,
    };
    Target { id: TargetId(4), group: GroupId(1), spec, active: true }
}

fn mail(transition: &str, title: &str) -> OutboxMail {
    let closed = (transition == "close").then(|| at(700));
    OutboxMail {
        id: OutboxId(1),
        incident: Incident {
            id: IncidentId(7),
            reference: "INC-2026-000007".to_owned(),
            key: "down:4@0".to_owned(),
            site: SiteId(1),
            target: Some(TargetId(4)),
            kind: IncidentKind::TargetDown,
            title: title.to_owned(),
            evidence: vec!["Dernière réponse : 23/11/2026 08:42:10".to_owned()],
            started_at: at(0),
            opened_at: at(12),
            restored_at: closed,
            closed_at: closed,
        },
        transition: transition.to_owned(),
        recipient: "lot2@mainteneur.example".to_owned(),
        created_at: at(12),
        attempts: 0,
        ambiguous: false,
    }
}

fn written(mail: &OutboxMail, target: &Target) -> String {
    let message = compose(&smtp(), mail, Some(&site()), Some(target)).unwrap();
    String::from_utf8(message.formatted()).unwrap()
}

#[test]
fn the_opening_mail_is_complete_by_itself() {
    let mail = mail("open", "Équipement injoignable : switch coeur (10.0.0.2)");
    insta::assert_snapshot!(body(&mail, Some(&site()), Some(&target("switch coeur"))));
}

#[test]
fn the_closing_mail_tells_start_end_and_duration() {
    let mail = mail("close", "Équipement injoignable : switch coeur (10.0.0.2)");
    insta::assert_snapshot!(body(&mail, Some(&site()), Some(&target("switch coeur"))));
}

#[test]
fn the_mails_of_an_incident_are_one_thread_with_one_subject() {
    let (open, close) =
        (written(&mail("open", "x"), &target("s")), written(&mail("close", "x"), &target("s")));
    let header = |text: &str, name: &str| {
        let start = format!("{name}: ");
        text.lines().find_map(|line| line.strip_prefix(&start).map(str::to_owned))
    };
    let id = header(&open, "Message-ID").unwrap();
    assert!(
        id.starts_with("<inc-2026-000007.open.") && id.ends_with("@collecte.example.fr>"),
        "{id}"
    );
    assert_eq!(header(&close, "References").as_ref(), Some(&id));
    assert_eq!(header(&close, "In-Reply-To").as_ref(), Some(&id));
    assert_eq!(header(&open, "Subject"), header(&close, "Subject"));
    assert_eq!(header(&open, "References"), None);
    assert_eq!(header(&open, "Auto-Submitted").as_deref(), Some("auto-generated"));
    assert_eq!(id, header(&written(&mail("open", "x"), &target("s")), "Message-ID").unwrap());
}

#[test]
fn hostile_text_leaves_as_one_harmless_line() {
    let hostile = "x\r\nBcc: evil@example.org\r\n.\r\n\u{1b}[2J\u{202e}txt\u{0}";
    let mut mail = mail("open", hostile);
    mail.incident.evidence = vec![hostile.to_owned()];
    let text = written(&mail, &target(hostile));
    assert!(!text.lines().any(|line| line.starts_with("Bcc:") || line == "."), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{0}']));
    let body = body(&mail, Some(&site()), Some(&target(hostile)));
    assert!(body.contains("  - x  Bcc: evil@example.org  .   [2Jtxt "), "{body}");
}

#[test]
fn the_sample_configuration_can_write_a_mail() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/collector.toml");
    let smtp = crate::config::Config::load(&path).unwrap().smtp.unwrap();
    let message = compose(&smtp, &mail("open", "x"), Some(&site()), None).unwrap();
    assert!(String::from_utf8(message.formatted()).unwrap().contains("From: Vigie <"));
}

#[test]
fn an_address_that_is_none_is_told_and_nothing_is_written() {
    for address in ["a@b, c@d", "\"a\r\nRCPT TO:<x>\"@b", "", "two words@example.fr"] {
        let mail = OutboxMail { recipient: address.to_owned(), ..mail("open", "x") };
        let error = compose(&smtp(), &mail, None, None).unwrap_err().to_string();
        assert!(error.ends_with("is not a mail address"), "{address}: {error}");
    }
}
