//! Agents: who measures, and what is wrong with them.

use super::{SHORT_ID, Scribe, table::Table};
use crate::{
    document::{Agent, List},
    terminal::escape,
};

impl Scribe {
    pub(super) fn agent_table(&self, agents: &[Agent]) -> Table {
        let mut table = Table::new(&[
            "Agent",
            "UAI",
            self.t("Machine", "Host"),
            "Version",
            self.t("État", "State"),
            self.t("Entendu", "Heard"),
            self.t("En attente", "Waiting"),
            "Config.",
            self.t("Certificat", "Certificate"),
        ]);
        for agent in agents {
            let state = match (agent.status.as_str(), agent.connected) {
                ("active", true) if agent.live.as_ref().is_some_and(|live| live.held) => {
                    self.t("EN DOUBLE", "DUPLICATE").to_owned()
                }
                ("active", true) => {
                    self.fault(agent).unwrap_or_else(|| self.t("connecté", "connected").to_owned())
                }
                ("active", false) => self.t("absent", "absent").to_owned(),
                (other, _) => self.word(other),
            };
            let config = agent.live.as_ref().map(|live| match live.config_failed {
                Some(version) => format!("{version} {}", self.t("refusée", "refused")),
                None if live.config_applied < live.config_offered => {
                    format!("{} < {}", live.config_applied, live.config_offered)
                }
                None => live.config_applied.to_string(),
            });
            let waiting = agent.live.as_ref().map(|live| live.spool_records.to_string());
            table.row([
                escape(&agent.id.chars().take(SHORT_ID).collect::<String>()),
                escape(agent.uai.as_deref().unwrap_or("-")),
                escape(&agent.hostname),
                escape(&agent.version),
                state,
                self.ago(agent.age_s),
                waiting.unwrap_or_else(|| "-".to_owned()),
                config.unwrap_or_else(|| "-".to_owned()),
                self.day(&agent.certificate_expires_at),
            ]);
        }
        table
    }

    /// What is wrong with a connected agent, in the place of its state: the first fault, and how many
    /// more. A refused configuration has a column of its own.
    fn fault(&self, agent: &Agent) -> Option<String> {
        let mut faults = agent.live.iter().flat_map(|live| &live.faults).filter(|f| *f != "config");
        let first = match faults.next()?.as_str() {
            "clone" => self.t("double", "cloned").to_owned(),
            "spool" => self.t("disque !", "disk!").to_owned(),
            "clock" => self.t("heure ?", "clock?").to_owned(),
            other => escape(other),
        };
        Some(match faults.count() {
            0 => first,
            more => format!("{first} +{more}"),
        })
    }

    pub(super) fn agents(&self, list: &List<Agent>) -> String {
        self.list(list, &self.agent_table(&list.items))
    }
}
