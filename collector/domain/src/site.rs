//! Sites: the schools where agents stand.

use crate::{id::SiteId, uai::Uai};
use std::str::FromStr;

/// What the authority tells of a site.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteFacts {
    /// National key.
    pub uai: Uai,
    /// Name as people say it.
    pub name: String,
    /// Kind of school.
    pub kind: SiteKind,
    /// Zone of the school holidays.
    pub zone: Zone,
    /// Number of pupils, when known.
    pub pupils: Option<u32>,
    /// Maintenance lot; its contractor gets the mails.
    pub lot: Option<String>,
    /// Postal address.
    pub address: Option<String>,
    /// Latitude and longitude, WGS 84 degrees.
    pub position: Option<(f64, f64)>,
}

impl SiteFacts {
    /// What must be known; nothing else is.
    #[must_use]
    pub fn new(uai: Uai, name: String, kind: SiteKind, zone: Zone) -> Self {
        Self { uai, name, kind, zone, pupils: None, lot: None, address: None, position: None }
    }
}

/// A site as registered.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Internal id.
    pub id: SiteId,
    /// What is known of it.
    pub facts: SiteFacts,
}

macro_rules! coded {
    ($(#[$doc:meta])* $name:ident, $error:literal, $($(#[$vdoc:meta])* $variant:ident = $code:literal),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code used in files, the store and the API.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }
        }

        impl FromStr for $name {
            type Err = UnknownCode;

            fn from_str(text: &str) -> Result<Self, UnknownCode> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|value| value.code().eq_ignore_ascii_case(text.trim()))
                    .ok_or_else(|| UnknownCode {
                        what: $error,
                        found: text.trim().to_owned(),
                        expected: Self::ALL.iter().map(|v| v.code()).collect::<Vec<_>>().join(", "),
                    })
            }
        }
    };
}

/// A text is none of a closed list's codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {found:?}, expected one of {expected}")]
pub struct UnknownCode {
    what: &'static str,
    found: String,
    expected: String,
}

coded!(
    /// Kind of school.
    SiteKind, "type",
    /// École maternelle.
    Maternelle = "maternelle",
    /// École élémentaire.
    Elementaire = "elementaire",
    /// École primaire.
    Primaire = "primaire",
    /// Collège.
    College = "college",
    /// Lycée général, technologique or polyvalent.
    Lycee = "lycee",
    /// Lycée professionnel.
    LyceeProfessionnel = "lp",
    /// Établissement régional d'enseignement adapté.
    Erea = "erea",
    /// Several schools on one site.
    CiteScolaire = "cite-scolaire",
    /// Anything else that the authority supervises: shared centre, office.
    Autre = "autre",
);

coded!(
    /// Zone of the school holidays.
    Zone, "zone",
    /// Zone A.
    A = "A",
    /// Zone B.
    B = "B",
    /// Zone C.
    C = "C",
    /// Corse.
    Corse = "Corse",
    /// Guadeloupe.
    Guadeloupe = "Guadeloupe",
    /// Guyane.
    Guyane = "Guyane",
    /// Martinique.
    Martinique = "Martinique",
    /// Mayotte.
    Mayotte = "Mayotte",
    /// La Réunion.
    Reunion = "Reunion",
    /// Saint-Pierre-et-Miquelon.
    SaintPierreEtMiquelon = "SPM",
    /// Nouvelle-Calédonie.
    NouvelleCaledonie = "NC",
    /// Polynésie française.
    PolynesieFrancaise = "PF",
    /// Wallis-et-Futuna.
    WallisEtFutuna = "WF",
);

impl Zone {
    /// IANA name of the civil time that the zone's schools live by.
    #[must_use]
    pub fn time_zone(self) -> &'static str {
        match self {
            Self::A | Self::B | Self::C | Self::Corse => "Europe/Paris",
            Self::Guadeloupe => "America/Guadeloupe",
            Self::Guyane => "America/Cayenne",
            Self::Martinique => "America/Martinique",
            Self::Mayotte => "Indian/Mayotte",
            Self::Reunion => "Indian/Reunion",
            Self::SaintPierreEtMiquelon => "America/Miquelon",
            Self::NouvelleCaledonie => "Pacific/Noumea",
            Self::PolynesieFrancaise => "Pacific/Tahiti",
            Self::WallisEtFutuna => "Pacific/Wallis",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_has_a_civil_time() {
        for zone in Zone::ALL {
            assert!(jiff::tz::TimeZone::get(zone.time_zone()).is_ok(), "{zone:?}");
        }
    }

    #[test]
    fn an_unknown_code_is_answered_with_the_known_ones() {
        let error = "Z".parse::<Zone>().unwrap_err().to_string();
        assert!(error.starts_with("unknown zone \"Z\", expected one of A, B, C, Corse"), "{error}");
    }
}
