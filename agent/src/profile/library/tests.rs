use std::collections::BTreeMap;

use proptest::prelude::*;
use regex_syntax::hir::{Class, Hir, HirKind};

use super::*;
use crate::{
    profile::{evaluate, syntax::Arcs},
    snmp::{Extent, Tables, Value},
};

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// What stands at or below `oid`, as the reader keeps it.
fn answer(tables: &mut Tables, oid: &[u32], text: &str) {
    tables.insert(oid, &[0], Value::Bytes(text.as_bytes().into()));
    tables.set_extent(oid, Extent::Partial);
}

#[test]
fn every_built_in_profile_is_clean_and_resolves() {
    let checked = check_directory(directory(&[]).path()).unwrap();
    assert_eq!(checked, Checked { files: 0, faults: 0, report: String::new() });
    let library = Library::built_in().unwrap();
    let names: Vec<&str> = library.names().collect();
    assert!(names.contains(&STANDARD) && names.len() > 1, "{names:?}");
    for name in names {
        library.resolve(name).unwrap();
    }
}

#[test]
fn a_device_that_no_profile_is_for_gets_the_generic_one() {
    let library = Library::built_in().unwrap();
    let candidates = library.candidates(&[1, 3, 6, 1, 4, 1, 4_294_967_295], "").unwrap();
    assert_eq!(candidates.choose(&Tables::default()), GENERIC);
    assert_eq!(library.resolve(GENERIC).unwrap().name(), GENERIC);
    let error = library.resolve("no-such-profile").unwrap_err();
    assert_eq!(error.to_string(), "there is no profile \"no-such-profile\"");
}

/// Some text that a regular expression matches.
fn example(hir: &Hir, out: &mut String) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(str::from_utf8(&literal.0).unwrap()),
        HirKind::Class(Class::Bytes(class)) => {
            out.push(char::from(class.ranges()[0].start().max(b'-')));
        }
        HirKind::Class(Class::Unicode(class)) => out.push(class.ranges()[0].start()),
        HirKind::Repetition(repetition) => {
            (0..repetition.min).for_each(|_| example(&repetition.sub, out));
        }
        HirKind::Capture(capture) => example(&capture.sub, out),
        HirKind::Concat(parts) => parts.iter().for_each(|part| example(part, out)),
        HirKind::Alternation(ways) => example(&ways[0], out),
    }
}

fn matched_by(pattern: &str) -> String {
    let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
    let mut out = String::new();
    example(&parser.parse(pattern).unwrap(), &mut out);
    out
}

#[test]
fn every_condition_chooses_its_profile_for_the_device_that_it_describes() {
    let library = Library::built_in().unwrap();
    let mut lost = Vec::new();
    for head in &library.heads {
        for condition in &head.conditions {
            let mut tables = Tables::default();
            condition.has.iter().for_each(|oid| answer(&mut tables, oid, "x"));
            for (oid, pattern) in &condition.values {
                answer(&mut tables, oid, &matched_by(pattern));
            }
            let descr =
                condition.sys_descr.as_ref().map_or_else(|| "x".into(), |it| matched_by(it));
            let nobody: Arcs = [0, 0].into();
            for family in
                condition.families.iter().chain(condition.families.is_empty().then_some(&nobody))
            {
                let candidates = library.candidates(family, &descr).unwrap();
                let chosen = candidates.choose(&tables);
                if chosen != head.name {
                    lost.push(format!("{} loses {family:?} {descr:?} to {chosen}", head.name));
                }
            }
        }
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

#[test]
fn a_directory_adds_profiles_and_replaces_built_in_ones() {
    let own = "[[match]]\nsys_object_id = [\"1.3.6.1.4.1.99999\"]\n[identity]\nvendor = \"Own\"\n";
    let standard = "[objects]\nsysDescr = \"1.3.6.1.2.1.1.1\"\n";
    let directory = directory(&[("own.toml", own), ("notes.txt", "not a profile")]);
    let library = Library::with_directory(directory.path()).unwrap();
    let candidates = library.candidates(&[1, 3, 6, 1, 4, 1, 99999, 1], "").unwrap();
    assert_eq!(candidates.choose(&Tables::default()), "own");
    let found = evaluate(&library.resolve("own").unwrap(), &Tables::default());
    assert_eq!(found.identity.vendor.as_deref(), Some("Own"));
    // What the others go by is gone then.
    fs::write(directory.path().join("standard.toml"), standard).unwrap();
    let checked = check_directory(directory.path()).unwrap();
    assert!(checked.faults > 0 && checked.report.contains("built-in "), "{}", checked.report);
}

#[test]
fn faults_of_a_directory_are_told_with_file_line_and_caret() {
    let text = "[objects]\nusage = \"1.3.6.1.4.1.9.1\"\n\n[[match]]\nhas = [\"usages\"]\n";
    let directory = directory(&[("mine.toml", text)]);
    let checked = check_directory(directory.path()).unwrap();
    assert_eq!((checked.files, checked.faults), (1, 2));
    let shown = checked.report.replace(&directory.path().display().to_string(), "DIR");
    insta::assert_snapshot!(shown);
    let error = Library::with_directory(directory.path()).unwrap_err();
    assert!(matches!(error, LibraryError::Faulty(report) if report == checked.report));
}

#[test]
fn a_directory_that_cannot_be_read_is_an_error() {
    let missing = directory(&[]).path().join("missing");
    assert!(matches!(Library::with_directory(&missing), Err(LibraryError::Read { .. })));
    let large = "#".repeat(usize::try_from(MAX_FILE_BYTES).unwrap() + 1);
    let directory = directory(&[("large.toml", &large)]);
    assert!(matches!(check_directory(directory.path()), Err(LibraryError::Faulty(_))));
}

/// Any value that a device can send.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::Integer),
        (-3..=200_i64).prop_map(Value::Integer),
        any::<u64>().prop_map(Value::Unsigned),
        any::<f64>().prop_map(Value::Float),
        any::<[u8; 4]>().prop_map(|octets| Value::Address(octets.into())),
        prop::collection::vec(any::<u32>(), 0..12).prop_map(|arcs| Value::Oid(arcs.into())),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Value::Bytes(bytes.into())),
        "[0-9.%a-zA-Z /:-]{0,20}".prop_map(|text| Value::Bytes(text.into_bytes().into())),
    ]
}

fn any_index() -> impl Strategy<Value = Vec<u32>> {
    prop_oneof![
        Just(vec![0]),
        prop::collection::vec(0..4_u32, 0..4),
        prop::collection::vec(any::<u32>(), 0..20),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn no_answer_makes_a_built_in_profile_panic_or_find_what_is_no_number(
        rows in prop::collection::vec((any_index(), any_value()), 1..12),
        turn in any::<prop::sample::Index>(),
    ) {
        let library = Library::built_in().unwrap();
        let names: Vec<&str> = library.names().collect();
        for at in 0..6 {
            let name = names[(turn.index(names.len()) + at * 23) % names.len()];
            let profile = library.resolve(name).unwrap();
            let mut tables = Tables::default();
            for (at, wanted) in profile.wanted().iter().enumerate() {
                for (by, (index, _)) in rows.iter().enumerate() {
                    let (_, value) = &rows[(at + by) % rows.len()];
                    tables.insert(wanted.base(), index, value.clone());
                }
                tables.set_extent(wanted.base(), Extent::Whole);
            }
            let found = evaluate(&profile, &tables);
            for sensor in &found.sensors {
                prop_assert!(sensor.value.is_none_or(f64::is_finite), "{name}: {sensor:?}");
                prop_assert!(!sensor.descr.contains(char::is_control), "{name}: {sensor:?}");
            }
            for processor in &found.processors {
                prop_assert!((0.0..=100.0).contains(&processor.usage_percent), "{name}: {processor:?}");
            }
            for pool in &found.memory {
                prop_assert!(pool.used <= pool.total || pool.total.is_none(), "{name}: {pool:?}");
            }
        }
    }
}

#[test]
fn a_diamond_of_inheritance_has_each_rule_once() {
    let files = [
        ("base.toml", "[objects]\na = \"1.3.6.1.4.1.9.1\"\n[[vlan]]\nname = \"{a}\"\n"),
        ("left.toml", "inherits = [\"base\"]\n"),
        ("right.toml", "inherits = [\"base\"]\nreplaces = [\"vlan\"]\n"),
        ("heir.toml", "inherits = [\"left\", \"right\"]\n[[match]]\nsys_descr = 'x'\n"),
        ("bare.toml", "inherits = [\"right\"]\n[[match]]\nsys_descr = 'y'\n"),
    ];
    let library = Library::with_directory(directory(&files).path()).unwrap();
    let rules = |name: &str| library.resolve(name).unwrap().profile().vlan.len();
    assert_eq!(
        BTreeMap::from(["heir", "bare"].map(|name| (name, rules(name)))),
        BTreeMap::from([("heir", 1), ("bare", 0)])
    );
}
