use super::*;
use crate::{
    device::{DeviceClass, Memory, MemoryClass, Severity},
    profile::check,
    snmp::Extent,
};

/// Objects of the tests' device: 1.3.9.1 to 1.3.9.9 by the letters a to i.
const OBJECTS: &str = "[objects]\na = \"1.3.9.1\"\nb = \"1.3.9.2\"\nc = \"1.3.9.3\"\nd = \"1.3.9.4\"\n\
    e = \"1.3.9.5\"\nf = \"1.3.9.6\"\ng = \"1.3.9.7\"\nh = \"1.3.9.8\"\ni = \"1.3.9.9\"\n\
    sysDescr = \"1.3.6.1.2.1.1.1\"\nsysObjectID = \"1.3.6.1.2.1.1.2\"\n";

#[derive(Default)]
struct Device(Tables);

impl Device {
    fn with(mut self, object: &str, index: &[u32], value: Value) -> Self {
        let column: Vec<u32> = match object {
            "sysDescr" => vec![1, 3, 6, 1, 2, 1, 1, 1],
            "sysObjectID" => vec![1, 3, 6, 1, 2, 1, 1, 2],
            letter => vec![1, 3, 9, u32::from(letter.as_bytes()[0] - b'a' + 1)],
        };
        self.0.insert(&column, index, value);
        self.0.set_extent(&column, Extent::Whole);
        self
    }

    fn number(self, object: &str, index: &[u32], number: i64) -> Self {
        self.with(object, index, Value::Integer(number))
    }

    fn text(self, object: &str, index: &[u32], text: &str) -> Self {
        self.with(object, index, Value::Bytes(text.as_bytes().into()))
    }

    fn found(&self, rules: &str) -> Findings {
        let file = match check::parse(format!("{rules}\n{OBJECTS}")) {
            Ok(file) => file,
            Err(faults) => panic!("{rules} has {faults:?}"),
        };
        evaluate(&Resolved::new("test", file.profile).unwrap(), &self.0)
    }

    /// Class, descr and value, or state, of each sensor.
    fn sensors(&self, rules: &str) -> Vec<String> {
        let sensors = self.found(rules).sensors;
        let shown = sensors.iter().map(|sensor| match (&sensor.state, sensor.value) {
            (Some((text, severity)), value) => {
                format!("{} {} = {text} {severity:?} {value:?}", sensor.class, sensor.descr)
            }
            (None, Some(value)) => format!("{} {} = {value}", sensor.class, sensor.descr),
            (None, None) => panic!("{sensor:?} says nothing"),
        });
        shown.collect()
    }
}

#[test]
fn a_sensor_is_read_scaled_and_named_by_its_row() {
    let device = Device::default()
        .number("a", &[1], 235)
        .number("a", &[2], -100)
        .text("a", &[3], "31.5 C")
        .text("a", &[4], "n/a")
        .text("b", &[1], "Inlet\r\n");
    let rules = "[[sensor]]\nclass = \"temperature\"\nvalue = \"a\"\n\
                 descr = [\"{b}\", \"Probe {index}\"]\nscale = 0.1\nskip = [-100]";
    let expected = ["temperature Inlet = 23.5", "temperature Probe 3 = 3.15"];
    assert_eq!(device.sensors(rules), expected);
    assert_eq!(device.found(rules).sensors[0].oid, "1.3.9.1.1");
}

#[test]
fn decimal_places_prefixes_and_offsets_are_the_devices_own() {
    let device =
        Device::default().number("a", &[1], 2500).number("b", &[1], 2).number("c", &[1], 8);
    let sensor = |more: &str| {
        device.sensors(&format!(
            "[[sensor]]\nclass = \"current\"\nvalue = \"a\"\ndescr = \"x\"\n{more}"
        ))
    };
    assert_eq!(sensor("scale_exponent = \"b\""), ["current x = 25"]);
    assert_eq!(sensor("scale_prefix = \"c\""), ["current x = 2.5"]);
    assert_eq!(sensor("scale = \"b\"\noffset = -1000"), ["current x = 4000"]);
    // A scale that the device does not tell makes the value unknown.
    assert_eq!(sensor("scale = \"d\""), [""; 0]);
    assert_eq!(sensor("scale_prefix = \"a\""), [""; 0]);
    assert_eq!(sensor("scale_exponent = \"a\""), [""; 0]);
}

#[test]
fn values_are_converted_before_they_are_out_of_range() {
    let device = Device::default().number("a", &[0], 1000).number("b", &[0], 0);
    let sensor = |class: &str, value: &str, more: &str| {
        let rule =
            format!("[[sensor]]\nclass = \"{class}\"\nvalue = \"{value}\"\ndescr = \"x\"\n{more}");
        device.sensors(&rule)
    };
    assert_eq!(sensor("dbm", "a.0", "convert = \"mw-to-dbm\""), ["dbm x = 30"]);
    assert_eq!(sensor("dbm", "a.0", "convert = \"w-to-dbm\""), ["dbm x = 60"]);
    assert_eq!(sensor("dbm", "b.0", "convert = \"mw-to-dbm\""), [""; 0]);
    assert_eq!(
        sensor("temperature", "a.0", "scale = 0.05\nconvert = \"fahrenheit\""),
        ["temperature x = 10"]
    );
    assert_eq!(
        sensor("runtime", "a.0", "scale = 3\nconvert = \"seconds-to-minutes\""),
        ["runtime x = 50"]
    );
    assert_eq!(
        sensor("runtime", "a.0", "scale = 12\nconvert = \"ticks-to-minutes\""),
        ["runtime x = 2"]
    );
    assert_eq!(sensor("dbm", "a.0", "convert = \"mw-to-dbm\"\nrange = [-40, 20]"), [""; 0]);
}

#[test]
fn states_have_texts_and_severities_and_what_is_not_listed_is_unknown() {
    let device = Device::default()
        .number("a", &[1], 1)
        .number("a", &[2], 2)
        .number("a", &[3], 9)
        .number("a", &[4], 0)
        .text("a", &[5], "UP")
        .text("a", &[6], "odd");
    let rules = "[[sensor]]\nclass = \"state\"\nvalue = \"a\"\ndescr = \"Fan {index}\"\nstates = \"s\"\n\
                 skip = [0]\n[states.s]\nok = { 1 = \"good\", up = \"working\" }\ncritical = { 2 = \"failed\" }";
    let expected = [
        "state Fan 1 = good Ok Some(1.0)",
        "state Fan 2 = failed Critical Some(2.0)",
        "state Fan 3 = 9 Unknown Some(9.0)",
        "state Fan 5 = working Ok None",
        "state Fan 6 = odd Unknown None",
    ];
    assert_eq!(device.sensors(rules), expected);
    assert_eq!(
        device.found(rules).sensors[1].state,
        Some(("failed".to_owned(), Severity::Critical))
    );
}

#[test]
fn filters_keep_rows_by_value_text_and_what_others_say() {
    let mut device = Device::default().number("d", &[0], 5);
    for row in 1..=4 {
        device = device.number("a", &[row], i64::from(row));
    }
    let device = device.number("b", &[1], 7).text("b", &[2], "seven").text("b", &[3], "Eight");
    let rows = |more: &str| {
        let rule =
            format!("[[sensor]]\nclass = \"count\"\nvalue = \"a\"\ndescr = \"{{index}}\"\n{more}");
        device.found(&rule).sensors.into_iter().map(|sensor| sensor.descr).collect::<Vec<_>>()
    };
    assert_eq!(rows("where = { b = [7, \"eight\"] }"), ["1", "3"]);
    assert_eq!(rows("where_not = { b = [7, \"eight\"] }"), ["2", "4"]);
    assert_eq!(rows("match = { b = '^[a-z]' }"), ["2"]);
    assert_eq!(rows("absent = [\"b\"]"), ["4"]);
    assert_eq!(rows("unless = [\"b\"]"), [""; 0]);
    assert_eq!(rows("unless = [\"c\"]"), ["1", "2", "3", "4"]);
    assert_eq!(rows("where = { \"index#1\" = [2] }"), ["2"]);
    assert_eq!(rows("where = { \"d.0\" = [5] }\nskip = [1]"), ["2", "3", "4"]);
    assert_eq!(rows("key = \"b\""), ["1", "2", "3"]);
}

#[test]
fn of_two_rules_for_one_value_the_first_counts() {
    let device = Device::default().number("a", &[1], 50).number("b", &[1], 20);
    let rules = "[[sensor]]\nclass = \"load\"\nvalue = \"a\"\ndescr = \"own\"\n\
                 [[sensor]]\nclass = \"load\"\nvalue = \"a\"\ndescr = \"inherited\"\n\
                 [[sensor]]\nclass = \"count\"\nvalue = \"a\"\ndescr = \"other class\"\n\
                 [[processor]]\nusage = \"a\"\n[[processor]]\nusage = \"a\"\ndescr = \"again\"\n\
                 [[memory]]\ntotal = \"a\"\nused = \"b\"\n[[memory]]\ntotal = \"a\"\nused = \"b\"\n";
    let found = device.found(rules);
    let descrs: Vec<&str> = found.sensors.iter().map(|sensor| sensor.descr.as_str()).collect();
    assert_eq!(descrs, ["own", "other class"]);
    assert_eq!((found.processors.len(), found.memory.len()), (1, 1));
}

#[test]
fn processors_are_busy_or_not_idle_and_never_beyond_the_bounds() {
    let device = Device::default()
        .number("a", &[1], 400)
        .number("a", &[2], 1001)
        .number("a", &[3], -1)
        .number("b", &[0], 93);
    let found = device.found(
        "[[processor]]\nusage = \"a\"\nscale = 0.1\n[[processor]]\nidle = \"b.0\"\ndescr = \"All\"",
    );
    let shown: Vec<_> = found
        .processors
        .iter()
        .map(|cpu| (cpu.descr.as_str(), cpu.usage_percent, cpu.oid.as_str()))
        .collect();
    assert_eq!(shown, [("Processor 1", 40.0, "1.3.9.1.1"), ("All", 7.0, "1.3.9.2.0")]);
}

#[test]
fn memory_is_counted_in_the_devices_units() {
    let device = Device::default()
        .number("a", &[1], 200)
        .number("b", &[1], 50)
        .number("c", &[1], 1024)
        .text("d", &[1], "2 GB")
        .text("e", &[1], "512 MB free")
        .number("f", &[1], -50);
    let pool = |rule: &str| device.found(&format!("[[memory]]\n{rule}")).memory;
    let expected = |total, used, free| Memory {
        descr: "Memory 1".into(),
        class: MemoryClass::System,
        total: Some(total),
        used: Some(used),
        free: Some(free),
        percent: Some(25.0),
    };
    let kib = expected(204_800, 51_200, 153_600);
    assert_eq!(pool("total = \"a\"\nused = \"b\"\nunit = 1024"), [kib.clone()][..]);
    assert_eq!(pool("total = \"a\"\nused = \"b\"\nunit = \"c\""), [kib]);
    assert_eq!(pool("total = \"d\"\nused = \"e\""), [expected(2 << 30, 512 << 20, 1536 << 20)]);
    assert_eq!(pool("total = \"a\"\nused = \"b\"\nunit = \"g\""), []);
    assert_eq!(pool("used = \"f\""), []);
    let alone = &pool("percent_free = \"b\"\nclass = \"swap\"\ndescr = \"Swap\"")[0];
    assert_eq!((alone.percent, alone.total, alone.class), (Some(50.0), None, MemoryClass::Swap));
}

#[test]
fn identity_goes_on_to_the_next_source_until_one_gives_a_text() {
    let device = Device::default()
        .text("sysDescr", &[0], "Acme SW-24 Version 1.2 (build 77)")
        .with("sysObjectID", &[0], Value::Oid([1, 3, 6, 1, 4, 1, 9, 5].into()))
        .text("a", &[1], " ")
        .text("a", &[2], "SN2")
        .number("b", &[1], 10)
        .number("b", &[2], 3)
        .text("c", &[0], "12");
    let found = device.found(
        r#"
[identity]
vendor = "Acme"
os = "AcmeOS {c.0}"
class = [
    { is = "router", sys_descr = 'RT-' },
    { is = "ups", from = "c.0", pattern = '^9' },
    { is = "nas", sys_object_id = ["1.3.6.1.4.1.10"] },
    { is = "switch", sys_object_id = ["1.3.6.1.4.1.9"], from = "b", pattern = '^3$' },
]
model = [{ from = "sysObjectID.0", map = "models" }, { from = "sysDescr.0", pattern = 'SW-\d+' }]
version = [{ from = "sysDescr.0", pattern = 'Version (\S+) \(build (\d+)\)', format = "{1} build {2}" }]
serial = [{ from = "a", where = { b = [9] } }, { from = "a", where = { b = [3] } }]
[system]
name = [{ from = "i.0" }, { from = "acme-{c.0}" }]
[maps.models]
"1.3.6.1.4.1.9.6" = "another"
"#,
    );
    let identity = &found.identity;
    assert_eq!(identity.class, Some(DeviceClass::Switch));
    assert_eq!(identity.vendor.as_deref(), Some("Acme"));
    assert_eq!(identity.os.as_deref(), Some("AcmeOS 12"));
    assert_eq!(identity.model.as_deref(), Some("SW-24"));
    assert_eq!(identity.version.as_deref(), Some("1.2 build 77"));
    assert_eq!(identity.serial.as_deref(), Some("SN2"));
    assert_eq!(identity.profile.as_deref(), Some("test"));
    assert_eq!(found.system_name.as_deref(), Some("acme-12"));
    assert_eq!(found.system_location, None);
}

#[test]
fn supplies_have_a_share_only_where_the_level_is_a_quantity() {
    let device = Device::default()
        .number("a", &[1, 1], 250)
        .number("a", &[1, 2], -3)
        .number("b", &[1, 1], 1000)
        .number("b", &[1, 2], 1000);
    let found = device.found("[[supply]]\nlevel = \"a\"\ncapacity = \"b\"\nkind = \"toner\"");
    let shown: Vec<_> = found
        .supplies
        .iter()
        .map(|supply| (supply.index.as_str(), supply.level, supply.level_percent))
        .collect();
    assert_eq!(shown, [("1.1", Some(250), Some(25.0)), ("1.2", Some(-3), None)]);
}

#[test]
fn parts_vlans_neighbours_and_ports_are_read_by_row() {
    let device = Device::default()
        .text("a", &[1], "SN1")
        .text("a", &[2], "")
        .text("b", &[10, 1], "staff")
        .text("b", &[5000, 1], "beyond")
        .text("c", &[3, 1], "next")
        .with("d", &[3, 1], Value::Bytes([192, 0, 2, 9].into()))
        .number("e", &[4], 15_400)
        .number("e", &[5], -1)
        .text("f", &[4], "delivering")
        .text("g", &[7], "Room 12");
    let found = device.found(
        r#"
[[inventory]]
key = "a"
class = "module"
serial = "a"
name = "Slot {index}"
[[vlan]]
id = "{index#1}"
name = "{b}"
[[neighbour]]
protocol = "fdp"
local_if_index = "{index#1}"
name = "{c}"
address = "{d}"
[[poe]]
power = "e"
scale = 0.001
status = "{f}"
[interfaces]
alias = ["g"]
"#,
    );
    let part = &found.parts[..];
    assert_eq!(part.len(), 1);
    assert_eq!((&*part[0].index, &*part[0].serial, &*part[0].name), ("1", "SN1", "Slot 1"));
    assert_eq!(found.vlans, [crate::device::Vlan { id: 10, name: "staff".into() }]);
    let neighbour = &found.neighbours[0];
    assert_eq!((neighbour.local_if_index, &*neighbour.name), (Some(3), "next"));
    assert_eq!(neighbour.address, Some([192, 0, 2, 9].into()));
    let poe = &found.poe[..];
    assert_eq!((poe.len(), poe[0].if_index, poe[0].power_w), (1, Some(4), Some(15.4)));
    assert_eq!(found.interfaces[&7].alias.as_deref(), Some("Room 12"));
}

#[test]
fn totals_of_a_wireless_network_are_told_or_added_up_or_unknown() {
    let mut device = Device::default()
        .number("a", &[0], 17)
        .number("b", &[1], 3)
        .number("b", &[2], 4)
        .number("c", &[1], 1)
        .number("c", &[2], 2);
    let clients = |device: &Device, rules: &str| device.found(rules).wireless.clients;
    assert_eq!(
        clients(&device, "wireless = { clients = [{ from = \"i.0\" }, { from = \"a.0\" }] }"),
        Some(17)
    );
    assert_eq!(clients(&device, "wireless = { clients = [{ sum = \"b\" }] }"), Some(7));
    assert_eq!(
        clients(&device, "wireless = { clients = [{ rows = \"b\", where = { c = [2] } }] }"),
        Some(1)
    );
    assert_eq!(clients(&device, "wireless = { clients = [{ rows = \"i\" }] }"), None);
    assert_eq!(clients(&device, "[[ssid]]\nname = \"x{index}\"\nclients = \"b\""), Some(7));
    assert_eq!(clients(&device, "[[radio]]\nclients = \"b\"\nchannel = \"c\"\nskip = [4]"), None);
    // A column that was cut off has no sum.
    device.0.set_extent(&[1, 3, 9, 2], Extent::Partial);
    assert_eq!(clients(&device, "wireless = { clients = [{ sum = \"b\" }] }"), None);

    let points =
        "[[access_point]]\nname = \"AP {index}\"\nclients = \"b\"\nkey = \"b\"\nup = { c = [1] }";
    let wireless = device.found(points).wireless;
    assert_eq!(
        (wireless.aps, wireless.aps_connected, wireless.clients),
        (Some(2), Some(1), Some(7))
    );
}

#[test]
fn a_device_with_more_rows_than_the_bound_is_cut() {
    let mut device = Device::default();
    for row in 0..u32::try_from(MAX_ROWS).unwrap() + 10 {
        device = device.number("a", &[row], 1);
    }
    let found = device.found("[[sensor]]\nclass = \"count\"\nvalue = \"a\"\ndescr = \"x\"");
    assert_eq!(found.sensors.len(), MAX_ROWS);
}

#[test]
fn nothing_is_found_on_a_device_that_answered_nothing() {
    let rules = "[[sensor]]\nclass = \"count\"\nvalue = \"a.0\"\n[[processor]]\nusage = \"a\"\n\
                 [[memory]]\ntotal = \"a.0\"\nused = \"b.0\"\n[[poe]]\npower = \"c\"\n[[vlan]]\nname = \"{a}\"";
    let mut found = Device::default().found(rules);
    found.identity = crate::device::Identity::default();
    assert_eq!(found, Findings::default());
}
