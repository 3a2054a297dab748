//! The API's documents, as far as tables show them. Unknown members are passed over, so that an
//! older command line reads a newer collector.

use serde::{Deserialize, de::DeserializeOwned};

use crate::failure::Failure;

/// Reads a document.
pub(crate) fn read<T: DeserializeOwned>(body: &str) -> Result<T, Failure> {
    serde_json::from_str(body).map_err(|error| Failure::Senseless(error.into()))
}

#[derive(Debug, Deserialize)]
pub(crate) struct SiteCoverage {
    pub(crate) sites: u64,
    pub(crate) heard: u64,
    pub(crate) measured: Option<u64>,
    pub(crate) window_s: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct List<T> {
    pub(crate) at: String,
    pub(crate) coverage: SiteCoverage,
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<String>,
}

/// The end of a list, whatever its items.
#[derive(Debug, Deserialize)]
pub(crate) struct Next {
    pub(crate) next: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) at: String,
    pub(crate) coverage: SiteCoverage,
    pub(crate) sites: SiteCounts,
    pub(crate) agents: AgentCounts,
    pub(crate) open_incidents: IncidentCounts,
    pub(crate) outbox: Outbox,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SiteCounts {
    pub(crate) up: u64,
    pub(crate) degraded: u64,
    pub(crate) down: u64,
    pub(crate) unknown: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AgentCounts {
    pub(crate) active: u64,
    pub(crate) connected: u64,
    #[serde(default)]
    pub(crate) faulty: u64,
    pub(crate) revoked: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct IncidentCounts {
    pub(crate) total: u64,
    pub(crate) target_down: u64,
    pub(crate) agent_silent: u64,
    pub(crate) threshold: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Outbox {
    pub(crate) waiting: u64,
    pub(crate) oldest_s: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Facts {
    pub(crate) uai: String,
    pub(crate) name: String,
    pub(crate) r#type: String,
    pub(crate) zone: String,
    pub(crate) pupils: Option<u64>,
    pub(crate) lot: Option<String>,
    pub(crate) address: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TargetCounts {
    pub(crate) up: u64,
    pub(crate) failing: u64,
    pub(crate) unreachable: u64,
    pub(crate) down: u64,
    pub(crate) unknown: u64,
}

impl TargetCounts {
    pub(crate) fn total(&self) -> u64 {
        self.up + self.failing + self.unreachable + self.down + self.unknown
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Site {
    #[serde(flatten)]
    pub(crate) facts: Facts,
    pub(crate) state: String,
    pub(crate) last_heard: Option<String>,
    pub(crate) targets: TargetCounts,
    pub(crate) open_incidents: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SiteDetail {
    pub(crate) at: String,
    pub(crate) coverage: SiteCoverage,
    pub(crate) site: Facts,
    pub(crate) state: String,
    pub(crate) last_heard: Option<String>,
    pub(crate) ladder: Vec<Rung>,
    pub(crate) targets: Vec<Target>,
    #[serde(default)]
    pub(crate) devices: Vec<Device>,
    pub(crate) series: u64,
    pub(crate) incidents: Vec<Incident>,
    #[serde(default)]
    pub(crate) gaps: Vec<Gap>,
    pub(crate) agents: Vec<Agent>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Device {
    pub(crate) target: i64,
    pub(crate) target_name: String,
    pub(crate) name: String,
    pub(crate) descr: String,
    pub(crate) object_id: String,
    pub(crate) location: String,
    pub(crate) truncated: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Rung {
    pub(crate) role: String,
    pub(crate) state: String,
    pub(crate) targets: TargetCounts,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) id: i64,
    pub(crate) role: String,
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) address: String,
    pub(crate) period_s: u64,
    pub(crate) state: String,
    pub(crate) outcome: Option<String>,
    pub(crate) age_s: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RemovedTarget {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) address: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) uai: Option<String>,
    pub(crate) hostname: String,
    pub(crate) version: String,
    pub(crate) status: String,
    pub(crate) connected: bool,
    pub(crate) age_s: Option<i64>,
    pub(crate) certificate_expires_at: String,
    pub(crate) live: Option<AgentNow>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AgentNow {
    #[serde(default)]
    pub(crate) faults: Vec<String>,
    pub(crate) spool_records: u64,
    pub(crate) config_offered: u64,
    pub(crate) config_applied: u64,
    pub(crate) config_failed: Option<u64>,
    /// Absent from the answers of earlier collectors.
    #[serde(default)]
    pub(crate) held: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Incident {
    pub(crate) reference: String,
    pub(crate) uai: Option<String>,
    pub(crate) state: String,
    pub(crate) title: String,
    pub(crate) evidence: Vec<String>,
    pub(crate) started_at: String,
    pub(crate) duration_s: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Series {
    pub(crate) id: i64,
    pub(crate) uai: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) metric: String,
    pub(crate) unit: String,
    pub(crate) kind: String,
    pub(crate) label: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Samples {
    pub(crate) at: String,
    pub(crate) series: Series,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) step: String,
    pub(crate) aggregate: Option<String>,
    pub(crate) unit: String,
    pub(crate) coverage: SampleCoverage,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) points: Vec<Point>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SampleCoverage {
    pub(crate) ratio: Option<f64>,
    pub(crate) rows: u64,
    pub(crate) expected_rows: u64,
    pub(crate) unsure: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Gap {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) reason: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Point {
    pub(crate) time: String,
    pub(crate) value: Option<serde_json::Number>,
    pub(crate) coverage: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Ranking {
    pub(crate) at: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) p: f64,
    pub(crate) unit: String,
    pub(crate) coverage: RankingCoverage,
    pub(crate) items: Vec<Ranked>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RankingCoverage {
    pub(crate) series: u64,
    pub(crate) measured: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Ranked {
    pub(crate) series: Series,
    pub(crate) value: f64,
    pub(crate) coverage: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Contractors {
    pub(crate) at: String,
    pub(crate) sites: u64,
    pub(crate) sites_without: u64,
    pub(crate) items: Vec<Contractor>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Contractor {
    pub(crate) lot: String,
    pub(crate) name: String,
    pub(crate) email: String,
    #[serde(default)]
    pub(crate) sites: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Imported {
    pub(crate) dry_run: bool,
    pub(crate) sites: u64,
    pub(crate) added: u64,
    pub(crate) updated: u64,
    pub(crate) unchanged: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct DiscoveryRound {
    pub(crate) ended_at: String,
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    pub(crate) identified: u64,
    pub(crate) refused: Vec<String>,
    pub(crate) complete: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AssetPart {
    pub(crate) class: String,
    pub(crate) name: String,
    pub(crate) model: String,
    pub(crate) serial: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Asset {
    pub(crate) no: i64,
    pub(crate) state: String,
    pub(crate) class: Option<String>,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) vendor: String,
    pub(crate) model: String,
    pub(crate) serial: String,
    pub(crate) version: String,
    pub(crate) snmp: Option<String>,
    pub(crate) missing_since: Option<String>,
    pub(crate) parts: Vec<AssetPart>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Assets {
    pub(crate) at: String,
    pub(crate) round: Option<DiscoveryRound>,
    pub(crate) items: Vec<Asset>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) no: i64,
    pub(crate) name: String,
    pub(crate) class: Option<String>,
    pub(crate) model: String,
    pub(crate) depth: usize,
    pub(crate) parent_ports: Vec<String>,
    pub(crate) ports: Vec<String>,
    pub(crate) source: Option<String>,
    pub(crate) confidence: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SpareLine {
    pub(crate) no: i64,
    pub(crate) ports: Vec<String>,
    pub(crate) other: i64,
    pub(crate) other_ports: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Unplaced {
    pub(crate) no: i64,
    pub(crate) name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Topology {
    pub(crate) at: String,
    pub(crate) round: Option<DiscoveryRound>,
    pub(crate) top: Option<String>,
    pub(crate) items: Vec<Node>,
    pub(crate) spare: Vec<SpareLine>,
    pub(crate) unplaced: Vec<Unplaced>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ConfirmedDevice {
    pub(crate) uai: String,
    pub(crate) no: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Enrolment {
    pub(crate) uai: String,
    pub(crate) expires_at: String,
    pub(crate) command: String,
}

/// The id of the one series of a list.
pub(crate) fn only_series(body: &str) -> Result<i64, Failure> {
    let found: List<Series> = read(body)?;
    match found.items.as_slice() {
        [one] => Ok(one.id),
        several => Err(Failure::Series(
            several
                .iter()
                .map(|series| {
                    let target = series.target.as_deref().unwrap_or("?");
                    (series.id, format!("{} {target} {}", series.metric, series.label))
                })
                .collect(),
        )),
    }
}

/// The id of the one agent of a list whose id starts so.
pub(crate) fn only_agent(body: &str, start: &str) -> Result<String, Failure> {
    let all: List<Agent> = read(body)?;
    let start = start.to_ascii_lowercase();
    let found: Vec<Agent> =
        all.items.into_iter().filter(|agent| agent.id.starts_with(&start)).collect();
    match <[Agent; 1]>::try_from(found) {
        Ok([agent]) => Ok(agent.id),
        Err(found) => Err(Failure::Agents(found.len())),
    }
}
