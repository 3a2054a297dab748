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
fn what_stands_at_the_centre_is_named_among_the_references() {
    let parsed = |centre: &str| {
        let text = format!(
            "[references]\nicmp = [\"2001:DB8::1\"]\nhttp = [\"https://ent.example.fr/\"]\n\
             centre = [\"{centre}\"]\n"
        );
        Config::parse(&text, "collector.toml").map(|config| config.references)
    };
    let url = parsed("https://ent.example.fr/").unwrap();
    assert_eq!(url.centre, ["https://ent.example.fr/"]);
    let address = parsed("2001:DB8::1").unwrap();
    assert_eq!(address.centre, [address.icmp[0].to_string()]);
    let fault = parsed("192.0.2.1").unwrap_err().to_string();
    assert!(fault.contains("expected one of those in icmp, dns or http"), "{fault}");
}

#[test]
fn sites_measure_each_other_each_minute_unless_the_file_says_otherwise() {
    let period = |text: &str| Config::parse(text, "").map(|config| config.mesh.period_s);
    assert_eq!(period("").unwrap(), 60);
    for (period_s, taken) in [(4, false), (5, true), (3_600, true), (3_601, false)] {
        let text = format!("[mesh]\nperiod_s = {period_s}\n");
        assert_eq!(period(&text).is_ok(), taken, "{period_s}");
    }
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
fn every_fault_of_form_is_told_at_once_and_none_that_follows_from_another() {
    insta::assert_snapshot!(faults(
        r#"data_dri = "/srv"
[agents]
lissen = "0.0.0.0:7443"
server_names = ["a.example.fr", 5]
enrol_total_per_minute = "many"
[smtp]
relay = 25
from = "vigie@example.fr"
[[alerts.threshold]]
metric = "icmp_los"
raise = "high"
clear = 0.2
hold_s = 300
[[alerts.threshold]]
metric = "icmp_loss"
raise = 0.5
clear = 0.2
[retention]
hours_days = 1
"#
    ));
}

#[test]
fn every_fault_of_syntax_is_told_at_once() {
    insta::assert_snapshot!(faults(
        "[api]\nlisten = 127.0.0.1:7480\n[smtp]\nrelay = \"a:25\nfrom = yes\n"
    ));
}

#[test]
fn a_file_that_is_no_text_is_shown_in_its_lines_with_the_way_out() {
    /// Reasons and places.
    type Told<'a> = &'a [(&'a str, &'a str)];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("collector.toml");
    let told = |path: &Path| {
        let report = Config::load(path).unwrap_err().to_string();
        assert!(report.len() < 64 << 10, "a report of {} bytes", report.len());
        report
    };
    let zero = "error: a zero byte, as a power cut may leave in a file; write the file again";
    let utf8 = "error: this does not belong to text in UTF-8; save the file as UTF-8";
    let large = format!("error: it is larger than {MAX_FILE_BYTES} bytes; is it the right file?");
    let most = usize::try_from(MAX_FILE_BYTES).unwrap();
    let cases: [(Vec<u8>, Told<'_>); 7] = [
        (vec![0; 512], &[(zero, "1:1")]),
        (vec![0; most], &[(zero, "1:1")]),
        (b"[api]\n\0\0".to_vec(), &[(zero, "2:1")]),
        (b"\xff\xfe".to_vec(), &[(utf8, "1:1")]),
        (
            b"# \xe9cole\n\n# lyc\xe9e \xe9\n\0".to_vec(),
            &[(utf8, "1:3"), (utf8, "3:6"), (zero, "4:1")],
        ),
        (vec![b'#'; most + 1], &[(&large, "1:1048577")]),
        ([b"#\n".repeat(most / 2), b"##".to_vec()].concat(), &[(&large, "524289:1")]),
    ];
    for (bytes, expected) in cases {
        std::fs::write(&path, bytes).unwrap();
        let report = told(&path);
        assert_eq!(report.matches("error: ").count(), expected.len(), "{report}");
        for (reason, place) in expected {
            assert!(report.contains(reason), "{report}");
            assert!(report.contains(&format!("{}:{place}\n", path.display())), "{report}");
        }
        assert!(report.contains('^'), "{report}");
    }
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(told(&path).contains(&large));
    std::fs::remove_file(&path).unwrap();
    assert!(Config::load(&path).unwrap_err().is_absence());
    for target in [dir.path(), path.as_path()] {
        std::os::unix::fs::symlink(target, &path).unwrap();
        let error = Config::load(&path).unwrap_err();
        assert!(matches!(error, ConfigError::Read { .. }) && !error.is_absence(), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn files_of_secrets_are_opened_and_judged_when_asked() {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("collector.toml");
    let (user, password) = (dir.path().join("user"), dir.path().join("password"));
    let text = format!(
        "[smtp]\nrelay = \"a.example:587\"\nfrom = \"v@example.fr\"\nusername_file = {user:?}\n\
         password_file = {password:?}\n"
    );
    std::fs::write(&path, text).unwrap();
    Config::load(&path).unwrap();
    let told = || match Config::load_with_secrets(&path) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    let both = told();
    assert_eq!(both.matches("error: cannot open this file: No such file").count(), 2, "{both}");
    assert!(both.contains("collector.toml:4:17") && both.contains("collector.toml:5:17"), "{both}");

    let mode = |mode| std::fs::set_permissions(&password, Permissions::from_mode(mode)).unwrap();
    std::fs::write(&user, "vigie\n").unwrap();
    std::fs::write(&password, "s3cret\r\n").unwrap();
    mode(0o600);
    assert_eq!(told(), "");
    mode(0o640);
    assert_eq!(told(), "");
    mode(0o644);
    assert!(told().contains("every account of this machine can use this file (mode 644)"));
    mode(0o600);
    let cases: [(&[u8], &str); 5] = [
        (b"\n", "this file is empty"),
        (b"s3cret\nmore\n", "more than one line"),
        (b"s3cret\0", "control characters"),
        (b"\xe9", "no text in UTF-8"),
        (&[b'x'; 5_000], "larger than 4096 bytes"),
    ];
    for (bytes, expected) in cases {
        std::fs::write(&password, bytes).unwrap();
        let report = told();
        assert!(report.contains(expected) && !report.contains("s3cret"), "{report}");
        assert!(report.contains("collector.toml:5:17"), "{report}");
    }
    std::fs::remove_file(&password).unwrap();
    std::fs::create_dir(&password).unwrap();
    assert!(told().contains("directory"), "{}", told());
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
