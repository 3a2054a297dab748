//! The objects that are asked for, their names as BER bytes, and what counts as a value of each.

use proto::v1::Metric;
use snmp2::Value;

use super::get::MAX_OBJECTS;
use crate::snmp::name::{self, push_arc, split_arc};

/// Longest name of an object without its instance, in encoded bytes.
const MAX_BASE_BYTES: usize = 10;

/// The instances of the system group, encoded.
pub(super) const SYS_DESCR: &[u8] = &[0x2b, 6, 1, 2, 1, 1, 1, 0];
pub(super) const SYS_OBJECT_ID: &[u8] = &[0x2b, 6, 1, 2, 1, 1, 2, 0];
pub(super) const SYS_UP_TIME: &[u8] = &[0x2b, 6, 1, 2, 1, 1, 3, 0];
pub(super) const SYS_CONTACT: &[u8] = &[0x2b, 6, 1, 2, 1, 1, 4, 0];
pub(super) const SYS_NAME: &[u8] = &[0x2b, 6, 1, 2, 1, 1, 5, 0];
pub(super) const SYS_LOCATION: &[u8] = &[0x2b, 6, 1, 2, 1, 1, 6, 0];

/// A column of a table, as the encoded start of its instances' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Base {
    bytes: [u8; MAX_BASE_BYTES],
    len: u8,
}

impl Base {
    /// Column `n` of `ifTable` (1.3.6.1.2.1.2.2.1).
    pub(super) const fn if_table(n: u8) -> Self {
        Self { bytes: [0x2b, 6, 1, 2, 1, 2, 2, 1, n, 0], len: 9 }
    }

    /// Column `n` of `ifXTable` (1.3.6.1.2.1.31.1.1.1).
    pub(super) const fn if_x_table(n: u8) -> Self {
        Self { bytes: [0x2b, 6, 1, 2, 1, 31, 1, 1, 1, n], len: 10 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Appends the encoded name of one instance.
    pub(super) fn push_instance(&self, index: u32, into: &mut Vec<u8>) {
        into.extend_from_slice(self.bytes());
        push_arc(index, into);
    }

    /// The index of an instance of this column; `None` when `name` is none.
    pub(super) fn index_of(&self, name: &[u8]) -> Option<u32> {
        let (arc, rest) = split_arc(name.strip_prefix(self.bytes())?)?;
        rest.is_empty().then_some(arc)
    }
}

/// What a device must answer for a value to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A counter of 64 bits, stored as its bits.
    Counter64,
    /// A counter of 32 bits. Gauges are let through: agents mix the two up, the width is equal.
    Counter32,
    /// An enumeration from 1 to its largest value.
    Status(i64),
    /// Bits a second.
    Bits,
    /// Millions of bits a second, stored as bits a second.
    Megabits,
    /// Hundredths of a second.
    Ticks,
}

/// An interface metric and the object that holds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object {
    pub(super) base: Base,
    kind: Kind,
}

impl Object {
    const fn of(base: Base, kind: Kind) -> Self {
        Self { base, kind }
    }

    /// The objects of the interface metrics (RFC 2863).
    const ALL: [(Metric, Self); 21] = {
        use Kind::{Bits, Counter32, Counter64, Megabits, Status, Ticks};
        [
            (Metric::IfSpeed, Self::of(Base::if_table(5), Bits)),
            (Metric::IfAdminStatus, Self::of(Base::if_table(7), Status(3))),
            (Metric::IfOperStatus, Self::of(Base::if_table(8), Status(7))),
            (Metric::IfInOctets, Self::of(Base::if_table(10), Counter32)),
            (Metric::IfInUcastPkts, Self::of(Base::if_table(11), Counter32)),
            (Metric::IfInDiscards, Self::of(Base::if_table(13), Counter32)),
            (Metric::IfInErrors, Self::of(Base::if_table(14), Counter32)),
            (Metric::IfOutOctets, Self::of(Base::if_table(16), Counter32)),
            (Metric::IfOutUcastPkts, Self::of(Base::if_table(17), Counter32)),
            (Metric::IfOutDiscards, Self::of(Base::if_table(19), Counter32)),
            (Metric::IfOutErrors, Self::of(Base::if_table(20), Counter32)),
            (Metric::IfHcInOctets, Self::of(Base::if_x_table(6), Counter64)),
            (Metric::IfHcInUcastPkts, Self::of(Base::if_x_table(7), Counter64)),
            (Metric::IfHcInMulticastPkts, Self::of(Base::if_x_table(8), Counter64)),
            (Metric::IfHcInBroadcastPkts, Self::of(Base::if_x_table(9), Counter64)),
            (Metric::IfHcOutOctets, Self::of(Base::if_x_table(10), Counter64)),
            (Metric::IfHcOutUcastPkts, Self::of(Base::if_x_table(11), Counter64)),
            (Metric::IfHcOutMulticastPkts, Self::of(Base::if_x_table(12), Counter64)),
            (Metric::IfHcOutBroadcastPkts, Self::of(Base::if_x_table(13), Counter64)),
            (Metric::IfHighSpeed, Self::of(Base::if_x_table(15), Megabits)),
            (Metric::IfCounterDiscontinuityTime, Self::of(Base::if_x_table(19), Ticks)),
        ]
    };

    /// The object of an interface metric; `None` for every other metric.
    pub(super) fn of_metric(metric: Metric) -> Option<Self> {
        Self::ALL.into_iter().find(|(of, _)| *of == metric).map(|(_, object)| object)
    }

    /// The stored form of what a device answered; `None` when it is no value of this object's type.
    pub(super) fn cell(&self, value: &Value<'_>) -> Option<i64> {
        match (self.kind, value) {
            (Kind::Counter64, Value::Counter64(count)) => Some(count.cast_signed()),
            (Kind::Counter32, Value::Counter32(count) | Value::Unsigned32(count)) => {
                Some(i64::from(*count))
            }
            (Kind::Status(max), Value::Integer(status)) => {
                (1..=max).contains(status).then_some(*status)
            }
            (Kind::Bits, Value::Unsigned32(speed)) => Some(i64::from(*speed)),
            (Kind::Megabits, Value::Unsigned32(speed)) => Some(i64::from(*speed) * 1_000_000),
            (Kind::Ticks, Value::Timeticks(ticks)) => Some(i64::from(*ticks)),
            _ => None,
        }
    }
}

// A round may ask for all of them.
const _: () = assert!(Object::ALL.len() <= MAX_OBJECTS);

/// True for the three answers of version 2c that say "there is none".
pub(super) fn is_exception(value: &Value<'_>) -> bool {
    matches!(value, Value::EndOfMibView | Value::NoSuchObject | Value::NoSuchInstance)
}

/// A name in dotted form; `None` when it is not one of at most 128 arcs of 32 bits.
pub(super) fn dotted(encoded: &[u8]) -> Option<String> {
    name::decode(encoded).map(|arcs| name::dotted(&arcs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_comes_back_from_the_name_it_gave() {
        for index in [0, 1, 127, 128, 16_383, 16_384, 10_101_001, u32::MAX - 1, u32::MAX] {
            let mut name = Vec::new();
            Base::if_x_table(6).push_instance(index, &mut name);
            assert_eq!(Base::if_x_table(6).index_of(&name), Some(index));
            assert_eq!(Base::if_x_table(7).index_of(&name), None);
            assert_eq!(Base::if_table(6).index_of(&name), None);
        }
    }

    #[test]
    fn a_name_with_a_bad_index_is_no_instance() {
        let base = Base::if_table(8);
        let with = |suffix: &[u8]| [base.bytes(), suffix].concat();
        for suffix in [
            &[][..],
            &[0x81],                               // unterminated
            &[0x80, 0x01],                         // padded
            &[0x90, 0x80, 0x80, 0x80, 0x00],       // 2^32
            &[0x81, 0x80, 0x80, 0x80, 0x80, 0x00], // six bytes
            &[1, 1],                               // two arcs
        ] {
            assert_eq!(base.index_of(&with(suffix)), None, "{suffix:x?}");
        }
        assert_eq!(base.index_of(&with(&[0x8f, 0xff, 0xff, 0xff, 0x7f])), Some(u32::MAX));
    }

    #[test]
    fn a_value_of_another_type_is_no_value() {
        let octets = Object::of_metric(Metric::IfHcInOctets).expect("an interface metric");
        assert_eq!(octets.cell(&Value::Counter64(u64::MAX)), Some(-1));
        // A narrower counter would wrap unseen.
        assert_eq!(octets.cell(&Value::Counter32(7)), None);
        assert_eq!(octets.cell(&Value::OctetString(b"7")), None);
        assert_eq!(octets.cell(&Value::NoSuchInstance), None);

        let status = Object::of_metric(Metric::IfOperStatus).expect("an interface metric");
        assert_eq!(status.cell(&Value::Integer(7)), Some(7));
        for outside in [0, 8, -1, i64::MAX] {
            assert_eq!(status.cell(&Value::Integer(outside)), None);
        }

        let speed = Object::of_metric(Metric::IfHighSpeed).expect("an interface metric");
        assert_eq!(speed.cell(&Value::Unsigned32(u32::MAX)), Some(4_294_967_295_000_000));
        assert!(Object::of_metric(Metric::IcmpLoss).is_none());
    }

    #[test]
    fn names_are_dotted_up_to_128_arcs_of_32_bits() {
        assert_eq!(dotted(&[0x2b, 6, 1, 4, 1, 0x89, 0x37]).as_deref(), Some("1.3.6.1.4.1.1207"));
        assert_eq!(dotted(&[0x88, 0x37]).as_deref(), Some("2.999"));
        assert_eq!(dotted(&[0]).as_deref(), Some("0.0"));
        assert_eq!(dotted(&[]), None);
        assert_eq!(dotted(&[0x2b, 0x86]), None);
        assert!(dotted(&[1; 127]).is_some()); // 128 arcs: the first byte holds two
        assert!(dotted(&[1; 128]).is_none());
        assert!(dotted(&[1; 10_000]).is_none());
    }
}
