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
    assert_eq!(config.mesh_listen, Some("[::]:9782".parse().unwrap()));
}

#[test]
fn each_key_is_read() {
    let config = Config::parse(
        r#"
        collector = "[2001:db8::1]:7443"
        data_dir = "/srv/vigie"
        allow_networks = ["10.0.0.0/8", "127.0.0.1"]
        allow_http_ports = [631, 9100]
        allow_service_ports = [2525]
        backup_directories = ["/srv/sauvegardes"]
        metrics_listen = "off"
        mesh_listen = "off"
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
    assert!(config.allow.permits_service_port(2525, &[]));
    assert!(!config.allow.permits_service_port(9100, &[]));
    assert_eq!(config.backup_directories, [PathBuf::from("/srv/sauvegardes")]);
    assert_eq!(config.metrics_listen, None);
    assert_eq!(config.mesh_listen, None);
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
    for key in ["allow_http_ports", "allow_service_ports"] {
        for port in ["0", "-1", "65536"] {
            let faults = Config::parse(&format!("{key} = [8443, {port}]")).unwrap_err();
            assert_eq!(faults[0].message, format!("{port} is not a port"));
        }
    }
}

#[test]
fn a_directory_of_backups_is_absolute_and_leads_nowhere_else() {
    for path in ["srv", "/srv/../etc", ""] {
        let faults = Config::parse(&format!("backup_directories = [\"{path}\"]")).unwrap_err();
        assert_eq!(
            faults[0].message,
            "the directory of backups is not an absolute path without \"..\""
        );
    }
    let many = |n: usize| format!("backup_directories = [{}]", "\"/srv\",".repeat(n));
    assert!(Config::parse(&many(MAX_BACKUP_DIRECTORIES)).is_ok());
    assert!(Config::parse(&many(MAX_BACKUP_DIRECTORIES + 1)).is_err());
}

/// What is told of a file with these bytes.
fn told(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.toml");
    std::fs::write(&path, bytes).unwrap();
    match Config::load(&path) {
        Ok(config) => panic!("it was read as {config:?}"),
        Err(error) => error.to_string().replace(&path.display().to_string(), "agent.toml"),
    }
}

#[test]
fn a_file_that_is_no_text_is_told_in_one_line() {
    let file = b"collector = \"collecte.example.fr:7443\"\n".to_vec();
    let again = "as a power cut may leave a file; write it again\n";
    let utf8 = "does not belong to text in UTF-8; save the file as UTF-8\n";
    let large = format!("it is larger than {MAX_FILE_BYTES} bytes; is it the right file?\n");
    let most = usize::try_from(MAX_FILE_BYTES).unwrap();
    let utf16 = "collector = 1".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut wide = vec![b'#'; most - 1];
    wide.extend("é".bytes());
    let cases: [(Vec<u8>, String); 9] = [
        (vec![0; 512], format!("byte 1 is zero, {again}")),
        (vec![0; most], format!("byte 1 is zero, {again}")),
        ([file.clone(), vec![0; 4096]].concat(), format!("byte 40 is zero, {again}")),
        (utf16, format!("byte 2 is zero, {again}")),
        ([file.clone(), b"\xff\xfe".to_vec()].concat(), format!("byte 40 {utf8}")),
        (vec![0xff; most], format!("byte 1 {utf8}")),
        (b"# \xe9cole\n".to_vec(), format!("byte 3 {utf8}")),
        (vec![b'#'; most + 1], large.clone()),
        // Its last letter is cut in two by the limit: still too large, and text.
        (wide, large),
    ];
    for (bytes, expected) in cases {
        assert_eq!(told(&bytes), format!("error: agent.toml: {expected}"));
    }
}

#[test]
fn a_file_at_the_limit_a_byte_order_mark_and_other_ends_of_lines_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.toml");
    let text = "collector = \"collecte.example.fr:7443\"\nlog_format = \"json\"\n";
    let padding = "#".repeat(usize::try_from(MAX_FILE_BYTES).unwrap() - text.len());
    for text in [
        format!("{text}{padding}"),
        format!("\u{feff}{text}"),
        text.replace('\n', "\r\n"),
        text.trim_end().to_owned(),
    ] {
        std::fs::write(&path, &text).unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.collector.as_deref(), Some("collecte.example.fr:7443"));
        assert_eq!(config.log_format, LogFormat::Json);
    }
}

#[test]
fn a_hole_a_directory_and_a_link_to_nowhere_are_told_and_cost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let told = |name: &str| {
        let error = Config::load(&dir.path().join(name)).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        error
    };
    File::create(dir.path().join("sparse.toml")).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(told("sparse.toml"), ConfigError::Faulty(_)));
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, dir.path().join(name));
    link(dir.path(), "directory.toml").unwrap();
    link(Path::new("/nonexistent/agent.toml"), "nowhere.toml").unwrap();
    link(Path::new("loop.toml"), "loop.toml").unwrap();
    let kinds = [
        ("directory.toml", io::ErrorKind::IsADirectory),
        ("nowhere.toml", io::ErrorKind::NotFound),
    ];
    for (name, kind) in kinds {
        let error = told(name);
        let ConfigError::Read { source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.kind(), kind);
    }
    assert!(matches!(told("loop.toml"), ConfigError::Read { .. }));
}

#[test]
fn a_file_with_a_fault_in_each_line_is_told_shortly() {
    let most = usize::try_from(MAX_FILE_BYTES).unwrap();
    for text in ["=\n".repeat(most / 2), "[".repeat(most), "\u{1}".repeat(most)] {
        let report = told(text.as_bytes());
        assert!(report.len() < 64 << 10, "a report of {} bytes", report.len());
    }
    let many = format!("allow_networks = [{}]", "\"lan\",".repeat(MAX_NETWORKS));
    assert!(told(many.as_bytes()).ends_with("error: agent.toml: 236 more faults\n"));
}
