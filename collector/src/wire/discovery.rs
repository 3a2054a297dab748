//! What an agent tells of a site's equipment, as values of the domain: bounded, and without control
//! characters.

use std::net::IpAddr;

use domain::inventory::{Class, Facts, Mac, Part, Sighting, SnmpVersion};
use jiff::{SignedDuration, Timestamp};
use proto::v1;
use store::inventory::{Edge, MAX_EDGES, MAX_PARTS, MAX_PORTS, Round, Stations};

use super::text;

/// Own addresses of a device's interfaces that are kept.
const MAX_MACS: usize = 512;
/// Networks of a round that are told as not searched.
const MAX_REFUSED: usize = 256;

/// A device that was seen; `None` when the address is none.
#[must_use]
pub fn sighting(seen: &v1::Sighting) -> Option<Sighting> {
    let facts = Facts {
        class: Class::from_code(&seen.class),
        vendor: text(&seen.vendor),
        model: text(&seen.model),
        serial: text(&seen.serial),
        version: text(&seen.version),
        name: text(&seen.name),
        descr: text(&seen.descr),
        object_id: text(&seen.object_id),
        location: text(&seen.location),
        snmp: match seen.snmp_version {
            1 => Some(SnmpVersion::V1),
            2 => Some(SnmpVersion::V2c),
            3 => Some(SnmpVersion::V3),
            _ => None,
        },
        profile: text(&seen.profile),
        interfaces: seen.interfaces,
    };
    let macs = seen.macs.iter().take(MAX_MACS);
    let macs = macs.filter_map(|mac| Some(Mac(mac.as_slice().try_into().ok()?))).collect();
    let parts = seen.parts.iter().take(MAX_PARTS).map(|part| Part {
        index: text(&part.index),
        class: text(&part.class),
        name: text(&part.name),
        model: text(&part.model),
        serial: text(&part.serial),
        version: text(&part.version),
    });
    Some(Sighting { address: seen.address.parse().ok()?, macs, facts, parts: parts.collect() })
}

/// A round whose end has this server time, with what it told of how devices hang together.
#[must_use]
pub fn round(
    told: &v1::DiscoveryRound,
    ended_at: Timestamp,
) -> (Round, Vec<Edge<IpAddr>>, Vec<Stations<IpAddr>>) {
    let took = i64::try_from(told.ended_boot_ns.saturating_sub(told.round)).unwrap_or(i64::MAX);
    let started_at = ended_at.checked_sub(SignedDuration::from_nanos(took));
    let round = Round {
        started_at: started_at.unwrap_or(Timestamp::MIN),
        ended_at,
        request: told.request,
        asked: told.asked,
        answered: told.answered,
        identified: told.identified,
        refused: told.refused.iter().take(MAX_REFUSED).map(|network| text(network)).collect(),
        complete: told.complete,
    };
    let known = |number: u32| (number != 0).then_some(number);
    let edges = told.edges.iter().take(MAX_EDGES).filter_map(|edge| {
        Some(Edge {
            device: edge.device.parse().ok()?,
            if_index: known(edge.if_index),
            port: text(&edge.port),
            other: edge.other.parse().ok()?,
            other_if_index: known(edge.other_if_index),
            other_port: text(&edge.other_port),
            source: text(&edge.source),
        })
    });
    let stations = told.stations.iter().take(MAX_PORTS).filter_map(|of| {
        let device = of.device.parse().ok()?;
        Some(Stations { device, if_index: of.if_index, count: of.count })
    });
    (round, edges.collect(), stations.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sighting_is_bounded_and_harmless() {
        let seen = v1::Sighting {
            address: "2001:db8::7".to_owned(),
            macs: vec![vec![0, 1, 2, 3, 4, 5], vec![1], vec![0; 7]],
            snmp_version: 2,
            class: "wifi-ap".to_owned(),
            name: "ap\u{1b}[2J".to_owned(),
            parts: vec![v1::Part::default(); MAX_PARTS + 1],
            ..v1::Sighting::default()
        };
        let kept = sighting(&seen).unwrap();
        assert_eq!(kept.macs.into_iter().collect::<Vec<_>>(), [Mac([0, 1, 2, 3, 4, 5])]);
        assert_eq!(
            (kept.facts.class, kept.facts.snmp),
            (Some(Class::WifiAp), Some(SnmpVersion::V2c))
        );
        assert_eq!((kept.facts.name.as_str(), kept.parts.len()), ("ap\u{fffd}[2J", MAX_PARTS));
        assert!(sighting(&v1::Sighting { address: "here".to_owned(), ..seen }).is_none());
    }

    #[test]
    fn a_round_began_as_long_before_its_end_as_it_took() {
        let told = v1::DiscoveryRound {
            round: 5_000_000_000,
            ended_boot_ns: 65_000_000_000,
            edges: vec![
                v1::Edge {
                    device: "10.0.0.1".into(),
                    other: "10.0.0.2".into(),
                    ..v1::Edge::default()
                },
                v1::Edge {
                    device: "10.0.0.1".into(),
                    other: "nowhere".into(),
                    ..v1::Edge::default()
                },
            ],
            ..v1::DiscoveryRound::default()
        };
        let end = Timestamp::from_second(1_795_000_000).unwrap();
        let (round, edges, _) = super::round(&told, end);
        assert_eq!(round.started_at.as_second(), 1_795_000_000 - 60);
        assert_eq!((edges.len(), edges[0].if_index), (1, None));
        let odd = v1::DiscoveryRound { round: 9, ended_boot_ns: 1, ..told };
        assert_eq!(super::round(&odd, end).0.started_at, end);
    }
}
