//! From the crate's values to ours.

use std::net::Ipv4Addr;

use super::{name, tables::Value};

/// First byte of what net-snmp wraps in an Opaque: a tag beyond 30 (X.690, 8.1.2.4).
const WRAPPED: u8 = 0x9f;
/// Types of NET-SNMP-TC within an Opaque.
const FLOAT: u8 = 0x78;
const DOUBLE: u8 = 0x79;
const COUNTER64: u8 = 0x76;
const INTEGER64: u8 = 0x7a;
const UNSIGNED64: u8 = 0x7b;

/// The value, if it is one: exceptions, NULL and what no object holds are none.
pub(crate) fn value(value: &snmp2::Value<'_>) -> Option<Value> {
    use snmp2::Value as Raw;
    Some(match value {
        Raw::Integer(number) => Value::Integer(*number),
        Raw::Counter32(number) | Raw::Unsigned32(number) | Raw::Timeticks(number) => {
            Value::Unsigned(u64::from(*number))
        }
        Raw::Counter64(number) => Value::Unsigned(*number),
        Raw::OctetString(bytes) => Value::Bytes((*bytes).into()),
        Raw::ObjectIdentifier(oid) => Value::Oid(name::decode(oid.as_bytes())?),
        Raw::IpAddress(octets) => Value::Address(Ipv4Addr::from(*octets)),
        Raw::Opaque(bytes) => opaque(bytes)?,
        Raw::Null
        | Raw::Boolean(_)
        | Raw::Sequence(_)
        | Raw::Set(_)
        | Raw::Constructed(..)
        | Raw::EndOfMibView
        | Raw::NoSuchObject
        | Raw::NoSuchInstance
        | Raw::GetRequest(_)
        | Raw::GetNextRequest(_)
        | Raw::GetBulkRequest(_)
        | Raw::Response(_)
        | Raw::SetRequest(_)
        | Raw::InformRequest(_)
        | Raw::Trap(_)
        | Raw::Report(_) => return None,
    })
}

/// What net-snmp wraps; other content stays bytes. A figure that is none ("not a number") is no
/// value.
fn opaque(bytes: &[u8]) -> Option<Value> {
    let [WRAPPED, kind, length, content @ ..] = bytes else {
        return Some(Value::Bytes(bytes.into()));
    };
    if usize::from(*length) != content.len() {
        return Some(Value::Bytes(bytes.into()));
    }
    let finite = |number: f64| number.is_finite().then_some(Value::Float(number));
    match (*kind, content) {
        (FLOAT, _) if let Ok(bytes) = content.try_into() => {
            finite(f64::from(f32::from_be_bytes(bytes)))
        }
        (DOUBLE, _) if let Ok(bytes) = content.try_into() => finite(f64::from_be_bytes(bytes)),
        (COUNTER64 | UNSIGNED64, [0, content @ ..] | content)
            if (1..=8).contains(&content.len()) =>
        {
            Some(Value::Unsigned(content.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))))
        }
        (INTEGER64, [first, ..]) if content.len() <= 8 => {
            let sign = if first & 0x80 == 0 { 0 } else { -1 };
            let number = content.iter().fold(sign, |sum, byte| sum << 8 | i64::from(*byte));
            Some(Value::Integer(number))
        }
        _ => Some(Value::Bytes(bytes.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use snmp2::Value as Raw;

    #[test]
    fn each_type_becomes_its_value_and_the_rest_none() {
        let name = snmp2::Oid::new((&[0x2b_u8, 6, 1][..]).into());
        for (raw, wanted) in [
            (Raw::Integer(-5), Some(Value::Integer(-5))),
            (Raw::Counter32(u32::MAX), Some(Value::Unsigned(u64::from(u32::MAX)))),
            (Raw::Counter64(u64::MAX), Some(Value::Unsigned(u64::MAX))),
            (Raw::Timeticks(1), Some(Value::Unsigned(1))),
            (Raw::OctetString(b"\xff\0"), Some(Value::Bytes((*b"\xff\0").into()))),
            (Raw::ObjectIdentifier(name), Some(Value::Oid([1, 3, 6, 1].into()))),
            (Raw::IpAddress([192, 0, 2, 1]), Some(Value::Address([192, 0, 2, 1].into()))),
            (Raw::Null, None),
            (Raw::NoSuchInstance, None),
            (Raw::EndOfMibView, None),
        ] {
            assert_eq!(value(&raw), wanted, "{raw:?}");
        }
        let broken = snmp2::Oid::new((&[0x2b_u8, 0x86][..]).into());
        assert_eq!(value(&Raw::ObjectIdentifier(broken)), None);
    }

    #[test]
    fn a_wrapped_figure_is_unwrapped_and_anything_else_stays_bytes() {
        for (bytes, wanted) in [
            (&[0x9f, 0x78, 4, 0x41, 0xbc, 0, 0][..], Value::Float(23.5)),
            (&[0x9f, 0x79, 8, 0x40, 0x37, 0x80, 0, 0, 0, 0, 0], Value::Float(23.5)),
            (&[0x9f, 0x76, 2, 1, 0], Value::Unsigned(256)),
            (
                &[0x9f, 0x7b, 9, 0, 255, 255, 255, 255, 255, 255, 255, 255],
                Value::Unsigned(u64::MAX),
            ),
            (&[0x9f, 0x7b, 1, 0], Value::Unsigned(0)),
            (&[0x9f, 0x7a, 1, 0xff], Value::Integer(-1)),
        ] {
            assert_eq!(opaque(bytes), Some(wanted), "{bytes:x?}");
        }
        for bytes in [
            &[][..],
            &[0x9f],
            &[0x9f, 0x78, 4, 0x41, 0xbc, 0],
            &[0x9f, 0x78, 3, 0x41, 0xbc, 0],
            &[0x9f, 0x76, 0],
            &[0x9f, 0x7a, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9],
            &[0x02, 1, 5],
        ] {
            assert_eq!(opaque(bytes), Some(Value::Bytes(bytes.into())), "{bytes:x?}");
        }
        assert_eq!(opaque(&[0x9f, 0x78, 4, 0x7f, 0xc0, 0, 0]), None, "not a number");
    }
}
