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
fn a_file_that_is_no_text_is_told_with_its_place_and_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("collector.toml");
    let told = |path: &Path| {
        let error = Config::load(path).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        std::error::Error::source(&error).expect("a cause").to_string()
    };
    let again = "as a power cut may leave a file; write it again";
    let utf8 = "does not belong to text in UTF-8; save the file as UTF-8";
    let large = format!("it is larger than {MAX_FILE_BYTES} bytes; is it the right file?");
    let most = usize::try_from(MAX_FILE_BYTES).unwrap();
    let cases: [(Vec<u8>, String); 6] = [
        (vec![0; 512], format!("byte 1 is zero, {again}")),
        (vec![0; most], format!("byte 1 is zero, {again}")),
        (b"[api]\n\0\0".to_vec(), format!("byte 7 is zero, {again}")),
        (b"\xff\xfe".to_vec(), format!("byte 1 {utf8}")),
        (b"# \xe9cole\n".to_vec(), format!("byte 3 {utf8}")),
        (vec![b'#'; most + 1], large.clone()),
    ];
    for (bytes, expected) in cases {
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(told(&path), expected);
    }
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(told(&path), large);
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(dir.path(), &path).unwrap();
    assert!(told(&path).contains("directory"), "{}", told(&path));
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    assert!(matches!(Config::load(&path), Err(ConfigError::Read { .. })));
}

#[test]
fn a_byte_order_mark_and_other_ends_of_lines_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("collector.toml");
    for text in ["\u{feff}[api]\nlisten = \"127.0.0.1:9\"\n", "[api]\r\nlisten = \"127.0.0.1:9\""] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(Config::load(&path).unwrap().api_listen.port(), 9);
    }
}

#[test]
fn a_file_with_very_many_faults_is_told_shortly() {
    let most = usize::try_from(MAX_FILE_BYTES).unwrap();
    let names = "[agents]\nserver_names = [".to_owned() + &"\"-\",".repeat(1000) + "]\n";
    assert!(faults(&names).ends_with("951 more faults"), "{}", faults(&names));
    for text in ["=\n".repeat(most / 2), "[".repeat(most), "\u{1}".repeat(most)] {
        let report = faults(&text);
        assert!(report.len() < 64 << 10, "a report of {} bytes", report.len());
    }
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
