//! Power over Ethernet: POWER-ETHERNET-MIB (RFC 3621).

use super::{
    super::mib::{Name, Read},
    bridge,
    interfaces::Known,
};
use crate::{
    device::{Poe, Sensor, Severity},
    snmp::tables::Tables,
};

/// Most supplies of one device: one a member of a stack.
const MAX_SUPPLIES: usize = 64;
/// Most ports of one device.
const MAX_PORTS: usize = 8192;

const MIB: Name = Name::new(&[1, 3, 6, 1, 2, 1, 105, 1]);
const PORT_STATUS: Name = MIB.child(1).child(1).child(6);
const MAIN: Name = MIB.child(3).child(1).child(1);
const POWER: Name = MAIN.child(2);
const STATUS: Name = MAIN.child(3);
const CONSUMED: Name = MAIN.child(4);

/// What is read of power over Ethernet.
pub(crate) const COLUMNS: [Name; 4] = [PORT_STATUS, POWER, STATUS, CONSUMED];

/// Budgets in watts, and states of the supplies.
pub(crate) fn sensors(tables: &Tables) -> Vec<Sensor> {
    let mut sensors = Vec::new();
    let group = Some("PoE".to_owned());
    for index in tables.indexes(&[POWER, STATUS, CONSUMED]).iter().take(MAX_SUPPLIES) {
        let Some(number) = index.first() else { continue };
        for (column, descr) in [(POWER, "PoE budget"), (CONSUMED, "PoE budget consumed")] {
            // A budget of none is a supply that is not there.
            let value =
                tables.count(column, index).filter(|watts| *watts > 0 || column == CONSUMED);
            sensors.extend(value.map(|watts| Sensor {
                class: "power".to_owned(),
                descr: format!("{descr} {number}"),
                value: Some(watts as f64),
                state: None,
                group: group.clone(),
                oid: column.dotted(index),
            }));
        }
        let state = match tables.code(STATUS, index) {
            Some(1) => Some(("on", Severity::Ok)),
            Some(2) => Some(("off", Severity::Warning)),
            Some(3) => Some(("faulty", Severity::Critical)),
            Some(_) | None => None,
        };
        sensors.extend(state.map(|(text, severity)| Sensor {
            class: "state".to_owned(),
            descr: format!("PoE supply {number}"),
            value: tables.integer(STATUS, index).map(|number| number as f64),
            state: Some((text.to_owned(), severity)),
            group: group.clone(),
            oid: STATUS.dotted(index),
        }));
    }
    sensors
}

/// State of each port. Index: the member, the port within it.
pub(crate) fn ports(tables: &Tables, known: &Known<'_>) -> Vec<Poe> {
    let bridged = bridge::Ports::read(tables);
    let rows = tables.indexes(&[PORT_STATUS]);
    let single = rows.iter().filter_map(|index| index.first()).all(|member| *member <= 1);
    let ports = rows.iter().filter_map(|index| {
        let [_, port] = **index else { return None };
        let status = tables.code(PORT_STATUS, index).and_then(status_name)?;
        // The MIB leaves open how a member's port is found; of one member, it is the bridge's port.
        let if_index = single.then(|| bridged.interface(port)).filter(|index| known.has(*index));
        Some(Poe { if_index, power_w: None, status: status.to_owned() })
    });
    ports.take(MAX_PORTS).collect()
}

fn status_name(status: u32) -> Option<&'static str> {
    Some(match status {
        1 => "disabled",
        2 => "searching",
        3 => "deliveringPower",
        4 => "fault",
        5 => "test",
        6 => "otherFault",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{super::mib::tests::Made, interfaces::Interface},
        *,
    };

    #[test]
    fn a_supply_is_told_in_watts_and_by_its_state() {
        let made = Made::default()
            .with(POWER, &[1], 370_u64)
            .with(STATUS, &[1], 3_i64)
            .with(CONSUMED, &[1], 0_u64)
            .with(POWER, &[2], 0_u64);
        let found = sensors(&made.0);
        let told: Vec<_> = found.iter().map(|of| (of.descr.as_str(), of.value)).collect();
        let expected = [
            ("PoE budget 1", Some(370.0)),
            ("PoE budget consumed 1", Some(0.0)),
            ("PoE supply 1", Some(3.0)),
        ];
        assert_eq!(told, expected);
        assert_eq!(found[2].state, Some(("faulty".to_owned(), Severity::Critical)));
    }

    #[test]
    fn a_port_of_one_of_several_members_has_no_known_interface() {
        let interfaces = [Interface { index: 101, ..Interface::default() }];
        let made = Made::default().with(bridge::BASE_PORT_IF_INDEX, &[1], 101_i64).with(
            PORT_STATUS,
            &[1, 1],
            3_i64,
        );
        let found = ports(&made.0, &Known(&interfaces));
        assert_eq!((found[0].if_index, found[0].status.as_str()), (Some(101), "deliveringPower"));
        let made = made.with(PORT_STATUS, &[2, 1], 1_i64);
        let found = ports(&made.0, &Known(&interfaces));
        assert_eq!(found.iter().filter_map(|of| of.if_index).count(), 0);
    }
}
