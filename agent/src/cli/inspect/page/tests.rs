use super::*;
use crate::{
    device::{Identity, Memory, Neighbour, Part, Processor, Ssid, Storage, Supply, Vlan, Wireless},
    inspect::{standard::addresses::Address, system::System},
};

fn report() -> Report {
    let interface = |index, name: &str, status| Interface {
        index,
        name: name.into(),
        oper_status: Some(status),
        admin_status: Some(1),
        speed_bps: Some(1_000_000_000),
        ..Interface::default()
    };
    let sensor = |class: &str, descr: &str, value, state| Sensor {
        class: class.into(),
        descr: descr.into(),
        value: Some(value),
        state,
        group: None,
        oid: String::new(),
    };
    Report {
        system: System {
            descr: "Some switch\x1b[2J".into(),
            object_id: [1, 3, 6, 1, 4, 1, 99].into(),
            up_time: Some(123_456_789),
            name: "sw-cdi".into(),
            ..System::default()
        },
        identity: Identity {
            class: Some(DeviceClass::Switch),
            vendor: Some("Maker".into()),
            model: Some("X-24".into()),
            ..Identity::default()
        },
        interfaces: vec![
            Interface { alias: "vers la baie B".into(), vlan: Some(10), ..interface(1, "1/1", 1) },
            interface(2, "1/2", 2),
        ],
        found: Findings {
            processors: vec![Processor {
                descr: "CPU".into(),
                usage_percent: 7.0,
                oid: String::new(),
            }],
            memory: vec![Memory {
                descr: "RAM".into(),
                total: Some(1 << 30),
                used: Some(1 << 29),
                percent: Some(50.0),
                ..Memory::default()
            }],
            storage: vec![Storage {
                descr: "flash".into(),
                size: Some(3 << 19),
                ..Storage::default()
            }],
            sensors: vec![
                sensor("temperature", "Châssis", 27.5, None),
                sensor("state", "Fan 1", 2.0, Some(("failed".into(), Severity::Critical))),
            ],
            supplies: vec![
                Supply { descr: "Black".into(), level: Some(-3), ..Supply::default() },
                Supply { descr: "Cyan".into(), level_percent: Some(40.0), ..Supply::default() },
            ],
            parts: vec![Part { class: "chassis".into(), serial: "S1".into(), ..Part::default() }],
            vlans: vec![Vlan { id: 10, name: "Péda".into() }],
            neighbours: vec![Neighbour {
                protocol: "lldp".into(),
                local_if_index: Some(1),
                name: "sw-baie-b".into(),
                port: "24".into(),
                ..Neighbour::default()
            }],
            wireless: Wireless {
                clients: Some(12),
                ssids: vec![Ssid { name: "eduspot".into(), clients: Some(12) }],
                ..Wireless::default()
            },
            ..Findings::default()
        },
        addresses: vec![Address {
            address: [10, 0, 0, 1].into(),
            prefix_len: Some(24),
            if_index: Some(1),
        }],
        ..Report::default()
    }
}

#[test]
fn a_page_tells_what_was_learnt_in_either_language() {
    insta::assert_snapshot!("french", page(&report(), Language::French));
    insta::assert_snapshot!("english", page(&report(), Language::English));
}

#[test]
fn a_page_of_a_device_that_tells_nothing_says_so_and_no_more() {
    let empty = Report { is_partial: true, ..Report::default() };
    let text = page(&empty, Language::French);
    assert_eq!(text, "\nLecture incomplète : ce qui manque est inconnu.\n");
}

#[test]
fn what_could_act_on_a_terminal_is_not_in_the_page() {
    let text = page(&report(), Language::French);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

#[test]
fn sizes_and_figures_are_short() {
    assert_eq!(bytes(1536 << 20, Language::French), "1,5 Gio");
    assert_eq!(bytes(0, Language::English), "0 KiB");
    assert_eq!(figure(0.0061, Language::French), "0,006");
    assert_eq!(figure(1234.56, Language::English), "1234.6");
    assert_eq!(figure(10.0, Language::English), "10");
    assert_eq!(bits_per_second(2_500_000_000), "2.5 Gbit/s");
    assert_eq!(duration(90_000, Language::French), "1 j 1 h");
}
