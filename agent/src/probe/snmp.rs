//! snmp.
