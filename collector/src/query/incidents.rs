//! `incidents`: causes, open and closed, newest first.

use std::collections::HashMap;

use domain::{
    id::{IncidentId, SiteId},
    incident::Incident,
    site::Site,
};
use jiff::Timestamp;
use serde::Serialize;
use store::IncidentFilter;

use super::{List, Page, Result, Sources, Time, picture, site_if, targets::TargetNames};

/// An incident.
#[derive(Debug, Clone, Serialize)]
pub struct IncidentLine {
    /// Number.
    pub id: i64,
    /// Reference shown to people.
    pub reference: String,
    /// Site.
    pub uai: Option<String>,
    /// Name of that site.
    pub site: Option<String>,
    /// Target, unless the whole site is meant.
    pub target_id: Option<i64>,
    /// Its name: untrusted text.
    pub target: Option<String>,
    /// `target-down`, `agent-silent` or `threshold`.
    pub kind: &'static str,
    /// `open` or `closed`.
    pub state: &'static str,
    /// One line for people, in French.
    pub title: String,
    /// What was seen, when, in French.
    pub evidence: Vec<String>,
    /// When the fault began, by the measure.
    pub started_at: Time,
    /// When the incident was opened.
    pub opened_at: Time,
    /// When the measure showed the end.
    pub restored_at: Option<Time>,
    /// When it was closed.
    pub closed_at: Option<Time>,
    /// From the start of the fault to its end, or to now.
    pub duration_s: i64,
}

impl IncidentLine {
    pub(super) fn new(
        site: Option<&Site>,
        names: &TargetNames,
        incident: &Incident,
        now: Timestamp,
    ) -> Self {
        let end = incident.restored_at.or(incident.closed_at).unwrap_or(now);
        Self {
            id: incident.id.0,
            reference: incident.reference.clone(),
            uai: site.map(|site| site.facts.uai.to_string()),
            site: site.map(|site| site.facts.name.clone()),
            target_id: incident.target.map(|target| target.0),
            target: incident.target.and_then(|target| names.get(target)),
            kind: incident.kind.code(),
            state: if incident.closed_at.is_none() { "open" } else { "closed" },
            title: incident.title.clone(),
            evidence: incident.evidence.clone(),
            started_at: Time(incident.started_at),
            opened_at: Time(incident.opened_at),
            restored_at: incident.restored_at.map(Time),
            closed_at: incident.closed_at.map(Time),
            duration_s: Time(incident.started_at).age_s(end),
        }
    }
}

/// Answers `incidents`, newest first. Pages follow the order of opening, which never changes: one
/// opened or closed meanwhile moves no other to another page.
pub async fn incidents(
    sources: Sources<'_>,
    uai: Option<&str>,
    open_only: bool,
    page: &Page,
) -> Result<List<IncidentLine>> {
    let rows = page.rows()?;
    let before = match &page.after {
        Some(cursor) => Some(read_cursor(cursor).ok_or_else(Page::bad_key)?),
        None => None,
    };
    let only = site_if(sources.store, uai).await?;
    let site = only.as_ref().map(|site| site.id);
    // One more tells whether there are more.
    let limit = u32::try_from(rows + 1).unwrap_or(u32::MAX);
    let filter = IncidentFilter { site, open_only, before, limit };
    let mut incidents = sources.store.incidents(filter).await?;
    let next = incidents.get(rows).map(|_| cursor(incidents[rows - 1].id));
    incidents.truncate(rows);
    let names = TargetNames::new(&sources.store.targets(site).await?);
    let sites = match only {
        Some(site) => vec![site],
        None => sources.store.sites().await?,
    };
    let by_id: HashMap<SiteId, &Site> = sites.iter().map(|site| (site.id, site)).collect();
    let heard = picture::heard(&picture::agents(sources).await?, sources);
    let items = incidents
        .iter()
        .map(|incident| {
            let site = by_id.get(&incident.site).copied();
            IncidentLine::new(site, &names, incident, sources.now)
        })
        .collect();
    let coverage = picture::coverage(&sites, &heard);
    Ok(List { at: Time(sources.now), coverage, items, next })
}

/// The key of the page behind an incident: no number of another list is one.
fn cursor(last: IncidentId) -> String {
    format!("i{:x}", last.0)
}

/// Reads a key, as `cursor` writes it and not otherwise.
fn read_cursor(text: &str) -> Option<IncidentId> {
    let id = i64::from_str_radix(text.strip_prefix('i')?, 16).ok().map(IncidentId)?;
    (id.0 > 0 && cursor(id) == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_were_given_are_read() {
        for id in [1, 9, 255, i64::MAX].map(IncidentId) {
            assert_eq!(read_cursor(&cursor(id)), Some(id));
        }
        let long = format!("i{}", "f".repeat(400));
        for text in
            ["", "1", "i", "i0", "i-1", "i+1", "i01", "iFF", "i g", "i8000000000000000", &long]
        {
            assert_eq!(read_cursor(text), None, "{text}");
        }
    }
}
