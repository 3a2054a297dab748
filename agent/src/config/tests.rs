use super::*;

/// What `--check-config` prints.
fn faults(text: &str) -> String {
    match Config::parse(text) {
        Ok(config) => panic!("{text:?} was read as {config:?}"),
        Err(faults) => render("agent.toml", text, &faults),
    }
}

#[test]
fn an_empty_file_gives_every_default() {
    let config = Config::parse("").unwrap();
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.data_dir, PathBuf::from(DEFAULT_DATA));
    assert_eq!(config.collector, None);
    assert_eq!(config.metrics_listen, Some(([127, 0, 0, 1], 9781).into()));
}

#[test]
fn each_key_is_read() {
    let config = Config::parse(
        r#"
        collector = "[2001:db8::1]:7443"
        data_dir = "/srv/vigie"
        allow_networks = ["10.0.0.0/8", "127.0.0.1"]
        allow_http_ports = [631, 9100]
        metrics_listen = "off"
        log_format = "json"
        [limits]
        spool_events_mib = 8
        spool_samples_mib = 16
        commit_interval_ms = 100
        upload_kbit_per_s = 800
        packets_per_s = 1000
        snmp_devices = 8
        memory_mib = 48
        reconnect_ms = 50
        "#,
    )
    .unwrap();
    assert_eq!(config.collector.as_deref(), Some("[2001:db8::1]:7443"));
    assert_eq!(config.data_dir, PathBuf::from("/srv/vigie"));
    assert!(config.allow.permits([10, 1, 2, 3].into()).is_ok());
    assert!(config.allow.permits([192, 168, 1, 1].into()).is_err());
    assert!(config.allow.permits_http_port(9100) && !config.allow.permits_http_port(9101));
    assert_eq!(config.metrics_listen, None);
    assert_eq!(config.log_format, LogFormat::Json);
    assert_eq!(
        config.limits,
        Limits {
            spool_events_bytes: 8 << 20,
            spool_samples_bytes: 16 << 20,
            commit_interval: Duration::from_millis(100),
            upload_bytes_per_s: Some(100_000),
            packets_per_s: 1000,
            snmp_devices: 8,
            memory_bytes: 48 << 20,
            reconnect: Duration::from_millis(50),
        }
    );
}

#[test]
fn several_faults_are_told_at_once() {
    insta::assert_snapshot!(faults(
        "collector = \"collecte.example.fr\"\ndata_dir = \"var\"\n\
         allow_networks = [\"10.0.0.0/8\", \"10.0.0.1/8\", \"lan\"]\n\
         metrics_listen = \"0.0.0.0:9781\"\n\n[limits]\nspool_samples_mib = 4\npackets_per_s = -1\n"
    ));
}

#[test]
fn several_faults_of_syntax_are_told_at_once() {
    insta::assert_snapshot!(faults("collector = \ndata_dir = \"/srv\nlog_format = 'json'\n"));
}

#[test]
fn an_unknown_key_is_told_with_the_known_ones() {
    insta::assert_snapshot!(faults("colector = \"collecte.example.fr:7443\"\n"));
}

#[test]
fn an_unknown_limit_is_told() {
    insta::assert_snapshot!(faults("[limits]\nspool_gib = 1\n"));
}

#[test]
fn a_value_of_another_type_is_told() {
    insta::assert_snapshot!(faults("[limits]\npackets_per_s = \"200\"\n"));
}

#[test]
fn an_unknown_log_format_is_told() {
    insta::assert_snapshot!(faults("log_format = \"xml\"\n"));
}

#[test]
fn a_metrics_address_without_port_is_told() {
    insta::assert_snapshot!(faults("metrics_listen = \"localhost\"\n"));
}

#[test]
fn every_limit_is_told_with_its_range() {
    insta::assert_snapshot!(faults(
        "[limits]\nspool_events_mib = 7\nspool_samples_mib = 1048577\ncommit_interval_ms = 99\n\
         upload_kbit_per_s = 0\npackets_per_s = 100001\nsnmp_devices = 513\nreconnect_ms = 9\n\
         memory_mib = 31\n"
    ));
}

#[test]
fn a_long_list_of_networks_is_refused() {
    let networks = |n: usize| format!("allow_networks = [{}]", "\"10.0.0.1\",".repeat(n));
    assert!(Config::parse(&networks(MAX_NETWORKS)).is_ok());
    let faults = Config::parse(&networks(MAX_NETWORKS + 1)).unwrap_err();
    assert_eq!(faults[0].message, "more than 256 networks are allowed");
}

#[test]
fn a_port_that_is_none_is_told() {
    for port in ["0", "-1", "65536"] {
        let faults = Config::parse(&format!("allow_http_ports = [8443, {port}]")).unwrap_err();
        assert_eq!(faults[0].message, format!("{port} is not a port"));
    }
}
