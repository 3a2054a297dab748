//! What a device says of itself and its interfaces: read seldom, cut to limits, cleaned of what
//! could act on a terminal or a log.

use std::collections::BTreeMap;

use proto::v1::{Interface, SnmpInventory};
use snmp2::Value;

use super::{
    get::{self, Instances},
    object::{self, Base},
    walk::{Column, Extent, NUMBER_BYTES, TEXT_BYTES, walk},
};
use crate::snmp::{Fault, Pace, Session};

/// Longest description kept, in bytes.
pub(super) const MAX_DESCRIPTION_BYTES: usize = 1024;
/// Longest name kept, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 255;
/// Most interfaces of one inventory.
pub(super) const MAX_INTERFACES: usize = 2048;
/// Most text of one inventory's interfaces, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 64 << 10;

const IF_TYPE: usize = 0;
const IF_SPEED: usize = 1;
const IF_ADMIN_STATUS: usize = 2;
const IF_OPER_STATUS: usize = 3;
const IF_HIGH_SPEED: usize = 4;
const HC_IN_OCTETS: usize = 5;
const IN_OCTETS: usize = 6;
const HC_IN_UCAST_PKTS: usize = 7;
const IN_UCAST_PKTS: usize = 8;
/// The last four tell, by being there, which counters are worth polling.
const NUMBERS: [Base; 9] = [
    Base::if_table(3),
    Base::if_table(5),
    Base::if_table(7),
    Base::if_table(8),
    Base::if_x_table(15),
    Base::if_x_table(6),
    Base::if_table(10),
    Base::if_x_table(7),
    Base::if_table(11),
];

const IF_NAME: usize = 0;
const IF_DESCR: usize = 1;
const TEXTS: [Base; 3] = [Base::if_x_table(1), Base::if_table(2), Base::if_x_table(18)];

/// What was learnt, and what ended it early.
pub(super) struct Learnt {
    pub(super) inventory: SnmpInventory,
    /// A table failed half way; asking again may bring more. A cap is no fault.
    pub(super) fault: Option<Fault>,
}

/// Reads the system group and the interfaces. A table that was capped or failed half way is reported
/// as far as it came, and as truncated; an error means that nothing was learnt.
pub(super) async fn read(
    session: &mut Session,
    pace: &mut Pace,
    group: u32,
) -> Result<Learnt, Fault> {
    let mut system = System::default();
    get::get(session, pace, &mut system).await?;

    let mut interfaces = BTreeMap::<u32, Interface>::new();
    let mut truncated = false;
    let mut columns = NUMBERS.map(|base| Column::new(base, 0, u32::MAX));
    let numbers = walk(session, pace, &mut columns, NUMBER_BYTES, &[], &mut |at, index, value| {
        if interfaces.len() < MAX_INTERFACES || interfaces.contains_key(&index) {
            let interface = interfaces.entry(index).or_default();
            interface.if_index = index;
            set_number(interface, at, value);
        } else {
            truncated = true;
        }
    })
    .await;
    truncated |= !matches!(numbers, Ok(Extent::Whole));
    let mut fault = numbers.err();

    // Known rows let an unreadable text be stepped over.
    let rows: Vec<u32> = interfaces.keys().copied().collect();
    let mut text_bytes = 0;
    if let Some(last) = rows.last() {
        let mut columns = TEXTS.map(|base| Column::new(base, 0, *last));
        let texts =
            walk(session, pace, &mut columns, TEXT_BYTES, &rows, &mut |at, index, value| {
                let (Some(interface), Value::OctetString(raw)) =
                    (interfaces.get_mut(&index), value)
                else {
                    return;
                };
                let limit = if at == IF_NAME { MAX_NAME_BYTES } else { MAX_DESCRIPTION_BYTES };
                let text = clean(raw, limit);
                if text_bytes + text.len() > MAX_TEXT_BYTES {
                    truncated = true;
                    return;
                }
                text_bytes += text.len();
                match at {
                    IF_NAME => interface.if_name = text,
                    IF_DESCR => interface.if_descr = text,
                    _ => interface.if_alias = text,
                }
            })
            .await;
        truncated |= !matches!(texts, Ok(Extent::Whole));
        fault = fault.or(texts.err());
    }

    let inventory = SnmpInventory {
        group,
        sys_descr: system.descr,
        sys_object_id: system.object_id,
        sys_contact: system.contact,
        sys_name: system.name,
        sys_location: system.location,
        interfaces: interfaces.into_values().collect(),
        truncated,
    };
    Ok(Learnt { inventory, fault })
}

fn set_number(interface: &mut Interface, at: usize, value: &Value<'_>) {
    let narrow = matches!(value, Value::Counter32(_) | Value::Unsigned32(_));
    let wide = matches!(value, Value::Counter64(_));
    match at {
        HC_IN_OCTETS if wide => interface.octet_bits = 64,
        IN_OCTETS if narrow => interface.octet_bits = interface.octet_bits.max(32),
        HC_IN_UCAST_PKTS if wide => interface.packet_bits = 64,
        IN_UCAST_PKTS if narrow => interface.packet_bits = interface.packet_bits.max(32),
        _ => {}
    }
    let number = if let Value::Integer(number) = value {
        u32::try_from(*number).unwrap_or(0)
    } else if let Value::Unsigned32(number) = value {
        *number
    } else {
        return;
    };
    match at {
        IF_TYPE => interface.if_type = number,
        IF_SPEED if interface.speed_bps == 0 => interface.speed_bps = u64::from(number),
        IF_ADMIN_STATUS => interface.admin_status = number,
        IF_OPER_STATUS => interface.oper_status = number,
        // 0 stands for less than half a megabit, or for a device that leaves it out.
        IF_HIGH_SPEED if number > 0 => interface.speed_bps = u64::from(number) * 1_000_000,
        _ => {}
    }
}

/// The system group.
#[derive(Debug, Default)]
struct System {
    descr: String,
    object_id: String,
    contact: String,
    name: String,
    location: String,
}

/// All but the uptime, which every round asks for.
const SYSTEM: [&[u8]; 5] = [
    object::SYS_DESCR,
    object::SYS_OBJECT_ID,
    object::SYS_CONTACT,
    object::SYS_NAME,
    object::SYS_LOCATION,
];

impl Instances for System {
    fn len(&self) -> usize {
        SYSTEM.len()
    }

    fn object(&self, at: usize) -> usize {
        at
    }

    fn push_name(&self, at: usize, into: &mut Vec<u8>) {
        into.extend_from_slice(SYSTEM[at]);
    }

    fn accept(&mut self, at: usize, value: &Value<'_>) {
        match (at, value) {
            (0, Value::OctetString(raw)) => self.descr = clean(raw, MAX_DESCRIPTION_BYTES),
            (1, Value::ObjectIdentifier(name)) => {
                self.object_id = object::dotted(name.as_bytes()).unwrap_or_default();
            }
            (2, Value::OctetString(raw)) => self.contact = clean(raw, MAX_NAME_BYTES),
            (3, Value::OctetString(raw)) => self.name = clean(raw, MAX_NAME_BYTES),
            (4, Value::OctetString(raw)) => self.location = clean(raw, MAX_NAME_BYTES),
            _ => {}
        }
    }
}

/// A device's text of at most `limit` bytes: what is not UTF-8 is replaced, runs of control
/// characters and line ends become one space, marks that reorder or hide text are left out.
pub(super) fn clean(raw: &[u8], limit: usize) -> String {
    let raw = &raw[..raw.len().min(limit)];
    let mut text = String::with_capacity(raw.len());
    let mut gap = false;
    for character in String::from_utf8_lossy(raw).chars() {
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            gap = !text.is_empty();
        } else if !is_invisible(character) {
            if gap && !text.ends_with(' ') {
                text.push(' ');
            }
            gap = false;
            text.push(character);
        }
    }
    // A replacement character is longer than the byte it replaces.
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Bidirectional controls, zero-width characters and the byte order mark.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_loses_what_could_act() {
        for (raw, cleaned) in [
            (&b"Cisco IOS\r\nVersion 15\r\n"[..], "Cisco IOS Version 15"),
            (b"\x1b[2Jgone\x07", "[2Jgone"),
            (b"a\0b", "a b"),
            ("a\u{9b}31mb".as_bytes(), "a 31mb"),
            ("safe\u{202e}txt.exe".as_bytes(), "safetxt.exe"),
            ("\u{feff}zero\u{200b}width".as_bytes(), "zerowidth"),
            (b"caf\xe9", "caf\u{fffd}"),
            ("Étage 2".as_bytes(), "Étage 2"),
            (b"\r\n\t", ""),
            (b"<script>", "<script>"), // encoded at the exits, not here
        ] {
            assert_eq!(clean(raw, 255), cleaned, "{raw:?}");
        }
    }

    #[test]
    fn text_is_cut_at_its_limit_and_never_inside_a_character() {
        assert_eq!(clean(&[b'x'; 255], 255).len(), 255);
        assert_eq!(clean(&[b'x'; 256], 255).len(), 255);
        // 127 two-byte characters and half of one, which becomes three bytes and falls off again.
        assert_eq!(clean("é".repeat(200).as_bytes(), 255), "é".repeat(127));
        assert!(clean(&vec![0xff; 65_000], MAX_DESCRIPTION_BYTES).len() <= MAX_DESCRIPTION_BYTES);
    }

    #[test]
    fn the_fast_speed_wins_unless_the_device_leaves_it_out() {
        let mut interface = Interface::default();
        set_number(&mut interface, IF_HIGH_SPEED, &Value::Unsigned32(10_000));
        set_number(&mut interface, IF_SPEED, &Value::Unsigned32(u32::MAX));
        assert_eq!(interface.speed_bps, 10_000_000_000);

        let mut slow = Interface::default();
        set_number(&mut slow, IF_SPEED, &Value::Unsigned32(128_000));
        set_number(&mut slow, IF_HIGH_SPEED, &Value::Unsigned32(0));
        assert_eq!(slow.speed_bps, 128_000);
        set_number(&mut slow, IF_OPER_STATUS, &Value::Integer(-1));
        assert_eq!(slow.oper_status, 0);
    }

    #[test]
    fn the_widest_counter_of_the_right_type_tells_the_width() {
        let widths = |values: &[(usize, Value<'_>)]| {
            let mut interface = Interface::default();
            for (at, value) in values {
                set_number(&mut interface, *at, value);
            }
            (interface.octet_bits, interface.packet_bits)
        };
        assert_eq!(widths(&[]), (0, 0));
        let narrow = [(IN_OCTETS, Value::Counter32(7)), (IN_UCAST_PKTS, Value::Unsigned32(7))];
        assert_eq!(widths(&narrow), (32, 32));
        // A line of 20 to 650 Mbit/s needs the octets only (RFC 2863, 3.1.6).
        let mixed = [(HC_IN_OCTETS, Value::Counter64(7)), (IN_OCTETS, Value::Counter32(7))];
        assert_eq!(widths(&mixed), (64, 0));
        let odd =
            [(HC_IN_OCTETS, Value::Counter32(7)), (HC_IN_UCAST_PKTS, Value::OctetString(b""))];
        assert_eq!(widths(&odd), (0, 0));
    }
}
