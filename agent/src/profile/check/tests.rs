use super::*;

const STANDARD_FILE: &str = "[objects]\nsysDescr = \"1.3.6.1.2.1.1.1\"\n";

/// What the build says of files beside [`STANDARD`].
fn told(files: &[(&str, &str)]) -> String {
    let mut read = Files::new();
    let mut lines = Vec::new();
    for (name, text) in files.iter().copied().chain([(STANDARD, STANDARD_FILE)]) {
        match parse(text.to_owned()) {
            Ok(file) => drop(read.insert(name.to_owned(), file)),
            Err(faults) => {
                lines.extend(faults.iter().map(|fault| fault.line(&format!("{name}.toml"), text)));
            }
        }
    }
    if lines.is_empty() {
        lines = check(&read)
            .iter()
            .map(|(name, fault)| fault.line(&format!("{name}.toml"), &read[name].text))
            .collect();
    }
    lines.join("\n")
}

/// A file that is right but for `rules`.
fn with(rules: &str) -> String {
    format!(
        "[objects]\nusage = \"1.3.6.1.4.1.9.1\"\nname = \"1.3.6.1.4.1.9.2\"\n\
         [[match]]\nsys_object_id = [\"1.3.6.1.4.1.9\"]\nhas = [\"usage\", \"name\"]\n{rules}"
    )
}

#[test]
fn a_file_without_a_fault_is_told_nothing_of() {
    let text = with(
        "[[sensor]]\nclass = \"state\"\nvalue = \"usage\"\ndescr = [\"{name|kinds}\", \"Fan {index}\"]\n\
         states = \"fan\"\n[states.fan]\nok = { 1 = \"up\" }\n[maps.kinds]\n1 = \"one\"\n",
    );
    assert_eq!(told(&[("a", &text)]), "");
}

#[test]
fn what_the_schema_does_not_know_is_told() {
    let files = [
        ("unknown-section", "[[sensors]]\nvalue = \"x\"\n"),
        ("unknown-field", "[[processor]]\nusage = \"x\"\nusages = \"x\"\n"),
        ("missing-field", "[[sensor]]\nclass = \"state\"\n"),
        ("unknown-class", "[identity]\nclass = [{ is = \"toaster\" }]\n"),
        ("unknown-reading", "without = [\"weather\"]\n"),
        ("unknown-severity", "[states.a]\nbad = { 1 = \"x\" }\n"),
        ("wrong-number", "[[memory]]\ntotal = \"x\"\nunit = true\n"),
        ("wrong-text", "[[memory]]\ntotal = \"x\"\ndescr = 3\n"),
        ("wrong-value", "[[memory]]\ntotal = \"x\"\nwhere = { x = [[1]] }\n"),
        ("wrong-range", "[[sensor]]\nclass = \"power\"\nvalue = \"x\"\nrange = [1]\n"),
        ("syntax", "a = \nb = 'x\n"),
    ];
    insta::assert_snapshot!(told(&files));
}

#[test]
fn references_that_mean_nothing_are_told() {
    let text = with(
        r#"
[[processor]]
usage = "usages"
[[processor]]
usage = "usage.x"
descr = ["{name", "{nobody}", "{name|nothing}", "hpSwitchName"]
[[memory]]
total = "usage#0"
free = "1.3.x"
where = { stranger = [1] }
match = { name = '(' }
unless = ["usage#1"]
[[sensor]]
class = "temperature"
value = "usage"
scale = "factor"
scale_exponent = "index$a"
[[sensor]]
class = "state"
value = "usage"
states = "nowhere"
[identity]
class = [{ is = "switch", sys_object_id = ["9"] }]
model = [{ from = "nothing.0" }, { from = "name", map = "nowhere" }]
version = [{ from = "{usage} {nothing}" }]
[wireless]
clients = [{ from = "usage@name" }, { sum = "usage.0" }]
"#,
    );
    insta::assert_snapshot!(told(&[("a", &text)]));
}

#[test]
fn rules_that_cannot_work_are_told() {
    let text = with(
        r#"
[[processor]]
descr = "CPU"
[[memory]]
total = "usage#1"
[[vlan]]
name = "VLAN {index}"
[[sensor]]
class = "weather"
value = "usage"
[[sensor]]
class = "state"
value = "usage"
[[sensor]]
class = "power"
value = "usage"
states = "fan"
range = [5, 5]
[states.fan]
ok = { 1 = "up" }
warning = { 1 = "slow" }
[states.unused]
[maps.unused]
[identity]
class = [{ is = "switch", pattern = 'x' }]
model = [{ from = "name", format = "{1}" }, { from = "name", pattern = '(a)', format = "{1} {2}" }]
serial = [{ from = "name", pattern = '(a)', format = "a" }]
[wireless]
aps = [{}, { sum = "usage", rows = "usage" }]
"#,
    );
    insta::assert_snapshot!(told(&[("a", &text)]));
}

#[test]
fn objects_that_are_wrong_are_told() {
    let text = r#"
[objects]
index = "1.3.6.1.4.1.9.1"
"two words" = "1.3.6.1.4.1.9.2"
instance = "1.3.6.1.4.1.9.3.0"
word = "1.3.6.one"
huge = "1.3.6.99999999999"
unused = "1.3.6.1.4.1.9.4"
[[match]]
has = ["instance", "word", "huge"]
"#;
    insta::assert_snapshot!(told(&[("a", text)]));
}

#[test]
fn inheritance_that_leads_nowhere_or_round_is_told() {
    let base = |oid: &str| format!("[objects]\nshared = \"{oid}\"\n");
    let heir = "inherits = [\"left\", \"right\"]\n[[match]]\nhas = [\"shared\"]\n";
    let files = [
        ("Upper", "[[match]]\nsys_descr = 'a'\n"),
        ("left", &*base("1.3.6.1.4.1.9.1")),
        ("right", &*base("1.3.6.1.4.1.9.2")),
        ("heir", heir),
        ("lost", "inherits = [\"nobody\"]\n[[match]]\nsys_descr = 'b'\n"),
        ("one", "inherits = [\"two\"]\n[[match]]\nsys_descr = 'c'\n"),
        ("two", "inherits = [\"one\"]\n"),
        ("unreached", "[identity]\nvendor = \"X\"\n"),
    ];
    insta::assert_snapshot!(told(&files));
}

#[test]
fn conditions_that_do_not_tell_devices_apart_are_told() {
    let files = [
        ("any", "[[match]]\nnot_sys_descr = 'x'\n"),
        ("first", "[[match]]\nsys_object_id = [\"1.3.6.1.4.1.9\", \"1.3.6.1.4.1.8\"]\n"),
        ("second", "[[match]]\nsys_object_id = [\"1.3.6.1.4.1.8\"]\n"),
        ("third", "[[match]]\nsys_object_id = [\"1.3.6.1.4.1.8\"]\nsys_descr = 'x'\n"),
    ];
    insta::assert_snapshot!(told(&files));
}

#[test]
fn an_inherited_name_can_be_given_another_oid() {
    let base = "[objects]\nusage = \"1.3.6.1.4.1.9.1\"\n[[processor]]\nusage = \"usage\"\n";
    let heir = "inherits = [\"base\"]\n[objects]\nusage = \"1.3.6.1.4.1.8.1\"\n\
                [[match]]\nsys_descr = 'x'\n";
    assert_eq!(told(&[("base", base), ("heir", heir)]), "");
}
