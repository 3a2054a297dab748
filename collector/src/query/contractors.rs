//! `contractors`: who gets the mails of which lot, and how many sites that is.

use domain::contractor::Contractor;
use serde::Serialize;

use super::{Result, Sources, Time};

/// A contractor.
#[derive(Debug, Clone, Serialize)]
pub struct ContractorLine {
    /// The lot; `*` for sites without one.
    pub lot: String,
    /// Company name.
    pub name: String,
    /// Role mailbox.
    pub email: String,
    /// Sites of the lot.
    pub sites: usize,
}

impl ContractorLine {
    fn new(contractor: Contractor, sites: usize) -> Self {
        Self { lot: contractor.lot, name: contractor.name, email: contractor.email, sites }
    }
}

/// Every contractor.
#[derive(Debug, Clone, Serialize)]
pub struct Contractors {
    /// When the answer was made.
    pub at: Time,
    /// Sites in all.
    pub sites: usize,
    /// Sites whose incidents are mailed to nobody.
    pub sites_without: usize,
    /// By lot.
    pub items: Vec<ContractorLine>,
}

/// Answers `contractors`.
pub async fn contractors(sources: Sources<'_>) -> Result<Contractors> {
    let sites = sources.store.sites().await?;
    let contractors = sources.store.contractors().await?;
    let lots: Vec<&str> =
        sites.iter().map(|site| site.facts.lot.as_deref().unwrap_or("*")).collect();
    let of = |lot: &str| lots.iter().filter(|other| **other == lot).count();
    let sites_without = lots
        .iter()
        .filter(|lot| !contractors.iter().any(|contractor| contractor.lot == **lot))
        .count();
    let items = contractors
        .into_iter()
        .map(|contractor| {
            let sites = of(&contractor.lot);
            ContractorLine::new(contractor, sites)
        })
        .collect();
    Ok(Contractors { at: Time(sources.now), sites: sites.len(), sites_without, items })
}
