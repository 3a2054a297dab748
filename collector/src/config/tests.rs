use super::*;

fn faults(text: &str) -> String {
    Config::parse(text, "collector.toml").unwrap_err().to_string()
}

#[test]
fn an_empty_file_is_a_working_configuration() {
    let config = Config::parse("", "collector.toml").unwrap();
    assert_eq!(config.agents.listen.port(), 7443);
    assert!(config.agents.public_address.ends_with(":7443"));
    assert!(config.api_listen.ip().is_loopback());
    assert_eq!(config.smtp, None);
    assert_eq!(config.alerts.silence, Duration::from_mins(5));
    assert_eq!(config.references, References::default());
}

#[test]
fn the_sample_in_deploy_is_accepted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/collector.toml");
    let config = Config::load(&path).unwrap();
    assert_eq!(config.agents.public_address, "collecte.example.fr:7443");
    assert_eq!(config.smtp.map(|smtp| smtp.tls), Some(SmtpTls::StartTls));
    assert_eq!(config.alerts, Config::parse("", "").unwrap().alerts);
    assert_eq!(config.retention, Config::parse("", "").unwrap().retention);
}

#[test]
fn an_unknown_key_is_shown_in_its_line() {
    insta::assert_snapshot!(faults("[agents]\nlissen = \"0.0.0.0:7443\"\n"));
}

#[test]
fn broken_syntax_is_shown_in_its_line() {
    insta::assert_snapshot!(faults("[api]\nlisten = 127.0.0.1:7480\n"));
}

#[test]
fn every_fault_of_meaning_is_told_at_once() {
    insta::assert_snapshot!(faults(
        r#"data_dir = ""
[agents]
listen = "7443"
public_address = "collecte.example.fr"
server_names = ["-x"]
enrol_total_per_minute = 0
[api]
listen = "localhost:7480"
[smtp]
relay = "smtp.example.fr:0"
tls = "ssl"
from = "vigie at example.fr"
username_file = "/etc/vigie/smtp.user"
[alerts]
silence_after_s = 1
[[alerts.threshold]]
metric = "icmp_los"
roles = ["gatway"]
raise = 0.2
clear = 0.2
hold_s = 300
[[alerts.threshold]]
metric = "icmp_outcome"
raise = inf
clear = 0
hold_s = 86401
[references]
icmp = ["gw.example.fr"]
dns = ["192.0.2.53"]
http = ["ftp://example.fr/", "http://user@example.fr/"]
[retention]
hours_days = 10
"#
    ));
}

#[test]
fn a_password_is_never_sent_in_clear() {
    insta::assert_snapshot!(faults(
        "[smtp]\nrelay = \"127.0.0.1:25\"\ntls = \"none\"\nfrom = \"vigie@example.fr\"\n\
         username_file = \"/u\"\npassword_file = \"/p\"\n"
    ));
}

#[test]
fn a_missing_key_is_named() {
    insta::assert_snapshot!(faults("[smtp]\nrelay = \"127.0.0.1:25\"\n"));
}

#[test]
fn a_file_of_zeros_and_a_huge_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("collector.toml");
    std::fs::write(&path, [0; 512]).unwrap();
    assert!(matches!(Config::load(&path), Err(ConfigError::Faulty(_))));
    std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
    assert!(matches!(Config::load(&path), Err(ConfigError::Read { .. })));
    std::fs::write(&path, b"\xff\xfe").unwrap();
    assert!(matches!(Config::load(&path), Err(ConfigError::Read { .. })));
}

#[test]
fn lists_are_accepted_at_their_limit_and_refused_above() {
    let of = |n: usize| format!("[references]\nicmp = [{}]\n", "\"192.0.2.1\",".repeat(n));
    assert!(Config::parse(&of(MAX_REFERENCES), "").is_ok());
    assert!(Config::parse(&of(MAX_REFERENCES + 1), "").is_err());
    let pages = |n: usize| format!("http = [{}]\n", "\"http://ref.example/\",".repeat(n));
    let both = |n: usize| Config::parse(&(of(MAX_REFERENCES - 2) + &pages(n)), "");
    assert!(both(2).is_ok());
    assert!(both(3).is_err(), "agents are told addresses and pages in one list");
}
