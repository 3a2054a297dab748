//! Rules of the architecture that neither crates nor lints express, and floors of versions.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test that called them")]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every source file below some folders: path from the root, and text.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders {
        walk(&root().join(folder), &mut found);
    }
    assert!(!found.is_empty(), "no sources in {folders:?}");
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.strip_prefix(root()).unwrap().display().to_string(), text)
        })
        .collect()
}

const PRODUCT: &[&str] = &["proto/src", "agent/src", "collector"];

/// The text without its test modules; anything else that only tests see stays. `rustfmt` writes the
/// end of a module alone on a line, as far to the right as its start.
fn without_test_modules(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim_start() != "#[cfg(test)]" {
            code.extend([line, "\n"]);
            continue;
        }
        // Up to the item that the attributes belong to.
        let mut attributes = vec![line];
        while let Some(next) = lines.next_if(|next| !is_item(next)) {
            attributes.push(next);
        }
        let is_module = |item: &&str| {
            let words = item.split_whitespace().find(|word| !word.starts_with("pub"));
            words == Some("mod")
        };
        match lines.next_if(is_module) {
            Some(module) if module.ends_with('{') => {
                let indent = module.len() - module.trim_start().len();
                let end = format!("{}}}", " ".repeat(indent));
                assert!(lines.any(|line| line == end), "a module without end: {module}");
            }
            Some(_) => {}
            None => attributes.iter().for_each(|line| code.extend([*line, "\n"])),
        }
    }
    code
}

/// True for the first line of an item, false for attributes and comments before it.
fn is_item(line: &str) -> bool {
    let first = line.split([' ', '(']).find(|word| !word.is_empty()).unwrap_or_default();
    matches!(
        first,
        "pub"
            | "mod"
            | "use"
            | "fn"
            | "async"
            | "const"
            | "static"
            | "struct"
            | "enum"
            | "trait"
            | "impl"
            | "type"
            | "macro_rules!"
            | "let"
    )
}

#[test]
fn only_test_modules_are_passed_over() {
    let text = "a();\n#[cfg(test)]\nfn b() {}\nmod m {\n    #[cfg(test)]\n    #[expect(\n        x,\n    )]\n    \
                pub(crate) mod tests {\n        c();\n        if d {\n        }\n    }\n    e();\n}\n\
                #[cfg(test)]\nmod tests;\n#[cfg(test)]\npub use f::g;\nh();\n";
    let code = without_test_modules(text);
    for kept in ["a();", "fn b()", "mod m {", "e();", "use f::g", "h();"] {
        assert!(code.contains(kept), "{kept} was passed over:\n{code}");
    }
    for skipped in ["c();", "if d", "mod tests"] {
        assert!(!code.contains(skipped), "{skipped} is left:\n{code}");
    }
}

/// Asserts that a text occurs only where it may.
fn only(folders: &[&str], needles: &[&str], may: impl Fn(&str) -> bool) {
    let mut wrong = Vec::new();
    for (path, text) in sources(folders) {
        if may(&path) || path.contains("/tests") || path.contains("/benches/") {
            continue;
        }
        let code = without_test_modules(&text);
        for needle in needles.iter().filter(|needle| code.contains(**needle)) {
            wrong.push(format!("{path}: {needle}"));
        }
    }
    assert!(wrong.is_empty(), "not here:\n{}", wrong.join("\n"));
}

fn manifest(path: &str) -> toml::Table {
    fs::read_to_string(root().join(path)).unwrap().parse().unwrap()
}

fn dependencies(path: &str) -> Vec<String> {
    let table = manifest(path);
    table["dependencies"].as_table().unwrap().keys().cloned().collect()
}

#[test]
fn crates_import_only_what_stands_below_them() {
    let ours = ["agent", "collector", "domain", "proto", "store", "vigie", "e2e"];
    let allowed: [(&str, &[&str]); 6] = [
        ("proto/Cargo.toml", &[]),
        ("agent/Cargo.toml", &["proto"]),
        ("collector/domain/Cargo.toml", &[]),
        ("collector/store/Cargo.toml", &["domain"]),
        ("collector/Cargo.toml", &["domain", "proto", "store"]),
        ("collector/cli/Cargo.toml", &[]),
    ];
    for (path, allowed) in allowed {
        let imported = dependencies(path);
        let wrong: Vec<_> = imported
            .iter()
            .filter(|name| ours.contains(&name.as_str()) && !allowed.contains(&name.as_str()))
            .collect();
        assert!(wrong.is_empty(), "{path} imports {wrong:?}");
    }
}

#[test]
fn the_domain_is_pure() {
    let imported = dependencies("collector/domain/Cargo.toml");
    assert_eq!(imported, ["jiff", "thiserror"], "the domain knows values and civil time only");
    let impure = ["std::fs", "std::net", "std::env", "Instant::now", "SystemTime::now"];
    only(&["collector/domain/src"], &impure, |_| false);
    only(&["collector/domain/src"], &["Timestamp::now"], |_| false);
}

#[test]
fn only_the_backends_contain_sql() {
    let sql = ["SELECT ", "INSERT INTO", "DELETE FROM", "CREATE TABLE", "PRAGMA "];
    only(PRODUCT, &sql, |path| path.starts_with("collector/store/src/sqlite"));
}

#[test]
fn generated_messages_stay_where_they_come_in_and_go_out() {
    // The collector's other modules see the domain's values only, which `wire` makes of messages.
    let doors = [
        "app.rs",
        "enrol.rs",
        "session.rs",
        "session/",
        "ingest.rs",
        "ingest/",
        "wire.rs",
        "wire/",
    ];
    only(&["collector"], &["v1::"], |path| {
        let inside = path.strip_prefix("collector/src/").unwrap_or_default();
        doors.iter().any(|door| {
            if door.ends_with('/') { inside.starts_with(door) } else { inside == *door }
        })
    });
    // What an agent is to measure is read in one place.
    let plans = ["v1::Group", "v1::Column", "v1::group", "group::Probe"];
    only(&["agent/src"], &plans, |path| path == "agent/src/wire.rs");
}

#[test]
fn nothing_starts_another_program_or_ends_this_one() {
    // The collector's platform begins its own program anew.
    only(&["agent/src", "collector"], &["process::Command"], |path| {
        path == "collector/src/platform.rs"
    });
    only(&["agent/src", "collector"], &["process::exit"], |path| path.ends_with("src/main.rs"));
}

/// The bugs that the fault campaign plants are in no program that is shipped, and each is tried.
#[test]
fn planted_bugs_stay_out_of_what_is_shipped() {
    let homes = ["agent/src/planted.rs", "collector/store/src/planted.rs"];
    let variable = [concat!("VIGIE_PLANTED", "_BUG")];
    only(&["proto/src", "agent", "collector"], &variable, |path| homes.contains(&path));
    for home in homes {
        let text = fs::read_to_string(root().join(home)).unwrap();
        assert!(text.contains("not(debug_assertions)"), "{home} can be built for release");
    }
    for member in manifest("Cargo.toml")["workspace"]["members"].as_array().unwrap() {
        let path = format!("{}/Cargo.toml", member.as_str().unwrap());
        let text = fs::read_to_string(root().join(&path)).unwrap();
        // The feature itself, the comment above it apart, and the collector's that turns on the store's.
        let asked: Vec<_> = text.lines().filter(|line| line.contains("planted-bugs")).collect();
        let allowed = ["planted-bugs = []", "planted-bugs = [\"store/planted-bugs\"]"];
        assert!(asked.iter().all(|line| allowed.contains(line)), "{path}: {asked:?}");
        assert!(!text.contains("\ndefault = "), "{path} has default features: look at this test");
    }
    for shipped in ["deploy/demo", ".ci/run", "tests/run", "tests/bench"] {
        let text = fs::read_to_string(root().join(shipped)).unwrap();
        assert!(!text.contains("planted-bugs"), "{shipped} builds planted bugs");
    }
    let script = fs::read_to_string(root().join("tests/campaign/planted")).unwrap();
    let (_, list) = script.split_once("\nbugs='\n").unwrap();
    let (list, _) = list.split_once("\n'\n").unwrap();
    let mut tried: Vec<_> = list.lines().filter_map(|line| line.split(' ').next()).collect();
    let mut planted = Vec::new();
    for (_, text) in sources(PRODUCT) {
        let rest = text.split("planted::is(\"").skip(1);
        planted.extend(rest.filter_map(|rest| rest.split('"').next().map(str::to_owned)));
    }
    planted.sort_unstable();
    planted.dedup();
    tried.sort_unstable();
    assert_eq!(planted, tried);
}

#[test]
fn what_is_specific_to_an_operating_system_stands_in_one_place() {
    let words = [
        "libc::",
        "nix::",
        "rustix::",
        "os::unix",
        "os::linux",
        "os::fd",
        "os::windows",
        "signal::",
        "net::unix",
        "raw_os_error",
        "cfg(unix)",
        "cfg(windows)",
        "target_os",
        "\"/proc",
        "\"/sys",
        "\"/etc",
        "\"/run",
    ];
    let data = ["\"/var"];
    let is_platform = |path: &str, of: &str| {
        path.strip_prefix(of).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    };
    only(&["proto/src"], &words, |_| false);
    for words in [&words[..], &data] {
        // Mounts are read there as a device names them, whatever the agent itself runs on.
        let told = |path: &str| path == "agent/src/inspect/standard/volumes.rs";
        only(&["agent/src"], words, |path| is_platform(path, "agent/src/platform") || told(path));
    }
    let collector = |path: &str| is_platform(path, "collector/src/platform");
    only(&["collector"], &words, collector);
    // Where the collector leaves the operator's token, for a crate that knows the API only.
    only(&["collector"], &data, |path| collector(path) || path == "collector/cli/src/client.rs");
}

#[test]
fn logs_tell_the_whole_chain_of_an_error() {
    // By `chain`: a formatter for JSON shows the first of a chain of errors only.
    let words =
        [" %error", " ?error", "(%error", "(?error", "as &dyn std::error::Error", "as &dyn Error"];
    only(&["agent/src", "collector"], &words, |_| false);
}

#[test]
fn no_test_is_skipped_and_nothing_is_left_for_later() {
    // Written so that this file does not contain what it looks for.
    let marks = [concat!("#[ign", "ore"), concat!("to", "do!("), concat!("FIX", "ME")];
    for (path, text) in sources(&["proto/src", "agent", "collector", "tests/src", "tests/tests"]) {
        for mark in marks {
            assert!(!text.contains(mark), "{path}: {mark}");
        }
    }
}

#[test]
fn files_stay_readable() {
    for (path, text) in sources(&["proto/src", "agent/src", "collector", "tests/src"]) {
        let lines = text.lines().count();
        assert!(lines <= 1_000, "{path} has {lines} lines: look for the seam");
    }
}

/// The parts of a version that count.
fn version(text: &str) -> [u64; 3] {
    let plain = text.split(['-', '+']).next().unwrap_or_default();
    let mut parts = plain.split('.').map(|part| part.parse().unwrap());
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

#[test]
fn locked_versions_stand_on_or_above_their_floors() {
    // Why each: SQLite before 3.51.3 can corrupt a database while its log is reset; tonic before
    // 0.14.3 bounded only the compressed size; rustls before 0.23.45 took messages at the wrong
    // level; lettre before 0.11.22 read a reply without bound. Advisories do not tell of all four.
    let floors = [
        ("tonic", [0, 14, 3]),
        ("rustls", [0, 23, 45]),
        ("lettre", [0, 11, 22]),
        ("h2", [0, 4, 12]),
        ("snmp2", [0, 5, 3]),
    ];
    let lock = manifest("Cargo.lock");
    let packages = lock["package"].as_array().unwrap();
    for (name, floor) in floors {
        let found: Vec<_> = packages
            .iter()
            .filter(|package| package["name"].as_str() == Some(name))
            .map(|package| version(package["version"].as_str().unwrap()))
            .collect();
        assert!(!found.is_empty(), "{name} is not locked");
        assert!(found.iter().all(|version| *version >= floor), "{name}: {found:?} < {floor:?}");
    }
}

#[test]
fn one_tls_provider_is_linked() {
    let lock = manifest("Cargo.lock");
    let names = lock["package"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap());
    let wrong: Vec<_> =
        names.filter(|n| ["aws-lc-rs", "openssl-sys", "native-tls"].contains(n)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_crate_takes_its_lints_and_version_from_the_root() {
    for member in manifest("Cargo.toml")["workspace"]["members"].as_array().unwrap() {
        let path = format!("{}/Cargo.toml", member.as_str().unwrap());
        let table = manifest(&path);
        assert_eq!(table["lints"]["workspace"].as_bool(), Some(true), "{path}");
        assert_eq!(table["package"]["version"]["workspace"].as_bool(), Some(true), "{path}");
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(list) = table.get(kind) else { continue };
            for (name, value) in list.as_table().unwrap() {
                assert!(value.get("version").is_none(), "{path}: {name} has a version of its own");
            }
        }
    }
}

#[test]
fn every_invariant_is_held_by_tests_that_exist() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = |from: &str, to: &str| {
        let text = page.split_once(from).unwrap_or_else(|| panic!("no part {from:?}")).1;
        text.split_once(to).unwrap_or_else(|| panic!("no part {to:?}")).0.to_owned()
    };
    let stated = section("## Invariants\n", "\n### Which");
    let stated =
        stated.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count();
    let table = section("\n### Which test", "\n## ");
    let rows: Vec<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "))
        .filter(|(number, _)| number.parse::<usize>().is_ok())
        .collect();
    assert_eq!(rows.len(), stated, "a row for each invariant");
    let code: String =
        sources(&["agent", "collector", "proto", "tests"]).into_iter().map(|file| file.1).collect();
    for (number, names) in rows {
        let names: Vec<_> = names.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test of invariant {number}");
        for name in names {
            let known =
                code.contains(&format!("fn {name}(")) || code.contains(&format!("fn {name}<"));
            assert!(known, "invariant {number}: there is no test {name}");
        }
    }
}
