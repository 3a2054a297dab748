//! Makers by their IANA private enterprise number, for devices that no profile describes: those whose
//! gear stands in schools.

/// `enterprises` of the tree of names; a maker's number follows.
const ENTERPRISES: [u32; 6] = [1, 3, 6, 1, 4, 1];

/// The maker that a sysObjectID names; `None` for an unknown one, and for the numbers of programs and chip
/// makers, behind which any maker can stand.
pub(crate) fn maker(sys_object_id: &[u32]) -> Option<&'static str> {
    let number = sys_object_id.strip_prefix(&ENTERPRISES[..])?.first()?;
    let at = MAKERS.binary_search_by_key(number, |(number, _)| *number).ok()?;
    Some(MAKERS[at].1)
}

/// Ascending.
const MAKERS: [(u32, &str); 91] = [
    (9, "Cisco"),
    (11, "HP"),
    (43, "3Com"),
    (45, "Extreme Networks (Avaya)"),
    (171, "D-Link"),
    (207, "Allied Telesis"),
    (232, "HPE"),
    (236, "Samsung"),
    (253, "Xerox"),
    (259, "Edge-Core"),
    (311, "Microsoft"),
    (318, "APC"),
    (343, "Intel"),
    (367, "Ricoh"),
    (368, "Axis"),
    (388, "Zebra"),
    (476, "Vertiv"),
    (534, "Eaton"),
    (641, "Lexmark"),
    (664, "Adtran"),
    (674, "Dell"),
    (705, "Eaton (MGE)"),
    (789, "NetApp"),
    (890, "Zyxel"),
    (1027, "Mitel"),
    (1248, "Epson"),
    (1347, "Kyocera"),
    (1588, "Brocade"),
    (1602, "Canon"),
    (1916, "Extreme Networks"),
    (1991, "Ruckus"),
    (2001, "OKI"),
    (2011, "Huawei"),
    (2356, "LANCOM"),
    (2385, "Sharp"),
    (2435, "Brother"),
    (2544, "Adva"),
    (2620, "Check Point"),
    (2636, "Juniper Networks"),
    (3097, "WatchGuard"),
    (3181, "Microsens"),
    (3224, "Juniper Networks"),
    (3375, "F5"),
    (3417, "Blue Coat"),
    (3808, "CyberPower"),
    (3902, "ZTE"),
    (4526, "Netgear"),
    (4555, "Socomec"),
    (4881, "Ruijie"),
    (5624, "Extreme Networks (Enterasys)"),
    (6027, "Dell"),
    (6296, "Dasan"),
    (6486, "Alcatel-Lucent Enterprise"),
    (6527, "Nokia"),
    (6574, "Synology"),
    (6876, "VMware"),
    (7779, "Infoblox"),
    (8691, "Moxa"),
    (8741, "SonicWall"),
    (8886, "Raisecom"),
    (11256, "Stormshield"),
    (11863, "TP-Link"),
    (12356, "Fortinet"),
    (13191, "OneAccess"),
    (13742, "Raritan"),
    (14179, "Cisco"),
    (14525, "Juniper Networks (Trapeze)"),
    (14823, "HPE Aruba Networking"),
    (14988, "MikroTik"),
    (17163, "Riverbed"),
    (17713, "Cambium Networks"),
    (18334, "Konica Minolta"),
    (21067, "Sophos"),
    (21317, "ATEN"),
    (24681, "QNAP"),
    (25053, "Ruckus"),
    (25461, "Palo Alto Networks"),
    (25506, "HPE Comware (H3C)"),
    (26543, "Lenovo"),
    (26928, "Extreme Networks (Aerohive)"),
    (28557, "Hillstone"),
    (29671, "Cisco Meraki"),
    (30065, "Arista"),
    (33049, "NVIDIA Mellanox"),
    (35265, "Eltex"),
    (39165, "Hikvision"),
    (41112, "Ubiquiti"),
    (42397, "Grandstream"),
    (47196, "HPE Aruba Networking"),
    (52642, "FS"),
    (55062, "QNAP"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makers_stand_in_order() {
        assert!(MAKERS.is_sorted_by(|one, other| one.0 < other.0));
    }

    #[test]
    fn a_maker_is_known_by_its_number_alone() {
        assert_eq!(maker(&[1, 3, 6, 1, 4, 1, 9, 1, 1208]), Some("Cisco"));
        assert_eq!(maker(&[1, 3, 6, 1, 4, 1, 47196]), Some("HPE Aruba Networking"));
        for other in [&[1, 3, 6, 1, 4, 1, 8072, 3, 2, 10][..], &[1, 3, 6, 1, 4, 1], &[0, 0], &[]] {
            assert_eq!(maker(other), None, "{other:?}");
        }
    }
}
