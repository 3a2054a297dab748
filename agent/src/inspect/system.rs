//! The system group (SNMPv2-MIB, RFC 3418).

use super::mib::{Name, Read};
use crate::snmp::tables::Tables;

const GROUP: Name = Name::new(&[1, 3, 6, 1, 2, 1, 1]);
const DESCR: Name = GROUP.child(1);
const OBJECT_ID: Name = GROUP.child(2);
const UP_TIME: Name = GROUP.child(3);
const CONTACT: Name = GROUP.child(4);
const NAME: Name = GROUP.child(5);
const LOCATION: Name = GROUP.child(6);

/// The group's scalars, which are asked for in one request.
pub(crate) const SCALARS: [Name; 6] = [DESCR, OBJECT_ID, UP_TIME, CONTACT, NAME, LOCATION];

/// What a device says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct System {
    /// sysDescr.
    pub descr: String,
    /// sysObjectID; empty where there is none.
    pub object_id: Box<[u32]>,
    /// Hundredths of a second.
    pub up_time: Option<u64>,
    /// sysContact.
    pub contact: String,
    /// sysName.
    pub name: String,
    /// sysLocation.
    pub location: String,
}

impl System {
    pub(crate) fn read(tables: &Tables) -> Self {
        let text = |column| tables.text_or_empty(column, &[0]);
        Self {
            descr: text(DESCR),
            object_id: tables.oid(OBJECT_ID, &[0]).unwrap_or_default().into(),
            up_time: tables.count(UP_TIME, &[0]),
            contact: text(CONTACT),
            name: text(NAME),
            location: text(LOCATION),
        }
    }
}
