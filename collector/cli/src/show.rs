//! Documents as tables of at most 100 columns. The last line is the coverage: how much the answer
//! speaks for, and when it was made.

mod agents;
mod devices;
mod measure;
mod table;

use std::fmt::Write as _;

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    ALL_WELL, SOMETHING,
    client::Answer,
    command::{Invocation, Output, View},
    document::{
        self, Contractor, Contractors, Device, Enrolment, Facts, Imported, Incident, List,
        RemovedTarget, Series, Site, SiteCoverage, SiteDetail, Status, Target,
    },
    failure::Failure,
    language::Language,
    terminal::escape,
};
use table::Table;

/// Evidence lines of an incident that a site's page shows.
const SHOWN_EVIDENCE: usize = 5;

/// A text with its exit code.
#[derive(Debug)]
pub(crate) struct Shown {
    text: String,
    /// Words of the first line that say that something is wrong.
    pub(crate) code: u8,
}

impl Shown {
    /// The text; with colour its first line tells by colour too whether something is wrong.
    pub(crate) fn text(&self, colour: bool) -> String {
        match self.text.split_once('\n') {
            Some((first, rest)) if colour && self.code == SOMETHING => {
                format!("\u{1b}[1;31m{first}\u{1b}[0m\n{rest}")
            }
            Some(_) | None => self.text.clone(),
        }
    }
}

/// Characters of an agent's id that a table shows: enough to name it to `agent revoke`.
const SHORT_ID: usize = 12;

/// How things are written for one reader.
pub(crate) struct Scribe {
    language: Language,
    zone: TimeZone,
}

/// Shows an answer. CSV has no table; its exit code is that of an answer.
pub(crate) fn show(
    invocation: &Invocation,
    answer: &Answer,
    zone: TimeZone,
) -> Result<Shown, Failure> {
    if invocation.output == Output::Csv {
        return Ok(Shown { text: String::new(), code: ALL_WELL });
    }
    let scribe = Scribe { language: invocation.language, zone };
    scribe.show(invocation.view, &answer.body)
}

impl Scribe {
    fn show(&self, view: View, body: &str) -> Result<Shown, Failure> {
        let (text, wrong) = match view {
            View::Status => self.status(&document::read(body)?),
            View::Sites => self.sites(&document::read(body)?),
            View::Site => self.site(&document::read(body)?),
            View::Devices => (self.devices(&document::read(body)?), false),
            View::Topology => (self.topology(&document::read(body)?), false),
            View::DeviceConfirmed => (self.device_confirmed(&document::read(body)?), false),
            View::SiteAdded => (self.site_added(&document::read(body)?), false),
            View::Imported => (self.imported(&document::read(body)?), false),
            View::Enrolment => (self.enrolment(&document::read(body)?), false),
            View::Agents => (self.agents(&document::read(body)?), false),
            View::Revoked => (self.revoked(), false),
            View::Contractors => (self.contractors(&document::read(body)?), false),
            View::ContractorSet => (self.contractor_set(&document::read(body)?), false),
            View::Targets => (self.targets(&document::read(body)?), false),
            View::TargetAdded => (self.target_added(&document::read(body)?), false),
            View::TargetRemoved => (self.target_removed(&document::read(body)?), false),
            View::Series => (self.series(&document::read(body)?), false),
            View::Samples => (self.samples(&document::read(body)?), false),
            View::Ranking => (self.ranking(&document::read(body)?), false),
            View::Incidents => self.incidents(&document::read(body)?),
            View::Completions(_) => (String::new(), false),
        };
        Ok(Shown { text, code: if wrong { SOMETHING } else { ALL_WELL } })
    }

    fn t(&self, french: &'static str, english: &'static str) -> &'static str {
        self.language.pick(french, english)
    }

    /// An instant in the reader's zone; as it came when it is none.
    fn instant(&self, text: &str) -> String {
        match text.parse::<Timestamp>() {
            Ok(at) => {
                let format = self.t("%d/%m/%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S");
                at.to_zoned_datetime(self.zone.clone()).strftime(format).to_string()
            }
            Err(_) => escape(text),
        }
    }

    fn day(&self, text: &str) -> String {
        let length = "00/00/0000".len();
        self.instant(text).chars().take(length).collect()
    }

    fn ago(&self, age_s: Option<i64>) -> String {
        age_s
            .map_or_else(|| self.t("jamais", "never").to_owned(), |age| self.language.duration(age))
    }

    /// Words for the codes of states, roles and outcomes; a newer collector's codes as they are.
    fn word(&self, code: &str) -> String {
        let french = match code {
            "up" => "en service",
            "degraded" => "dégradé",
            "down" => "coupé",
            "unknown" => "inconnu",
            "failing" => "en échec",
            "unreachable" => "injoignable",
            "host" => "serveur",
            "gateway" => "passerelle",
            "equipment" => "équipement",
            "hop" => "opérateur",
            "resolver" => "résolveur",
            "collector" => "collecteur",
            "reference" => "référence",
            "service" => "service",
            "ok" => "répond",
            "timeout" => "sans réponse",
            "refused" => "refusé",
            "malformed" => "réponse fautive",
            "tls" => "TLS refusé",
            "name" => "nom introuvable",
            "not-asked" => "non sondé",
            "failed" => "échec annoncé",
            "open" => "ouvert",
            "closed" => "clos",
            "active" => "actif",
            "revoked" => "retiré",
            other => return escape(other),
        };
        self.language.pick(french.to_owned(), escape(code))
    }

    /// To the minute: for the ends of a stretch.
    fn minute(&self, text: &str) -> String {
        let length = "00/00/0000 00:00".len();
        self.instant(text).chars().take(length).collect()
    }

    fn coverage(&self, at: &str, coverage: &SiteCoverage) -> String {
        let minutes = coverage.window_s / 60;
        let (heard, sites, at) = (coverage.heard, coverage.sites, self.instant(at));
        // Heard is not measured: an agent that reaches nothing still hears its own machine.
        let measured = coverage.measured.map_or_else(String::new, |measured| {
            format!("{} {measured}, ", self.t("mesurés :", "measured:"))
        });
        match self.language {
            Language::French => {
                format!(
                    "sites entendus ces {minutes} dernières minutes : {heard} sur {sites}, {measured}le {at}\n"
                )
            }
            Language::English => {
                format!(
                    "sites heard in the last {minutes} minutes: {heard} of {sites}, {measured}at {at}\n"
                )
            }
        }
    }

    /// A table, a line that says when rows are left out, and the coverage.
    fn list<T>(&self, list: &List<T>, table: &Table) -> String {
        let mut text = table.text(self.t("(aucune ligne)", "(no rows)"));
        if list.next.is_some() {
            text += more(self.language);
        }
        text + &self.coverage(&list.at, &list.coverage)
    }

    /// `label number`, so that no number needs its plural.
    fn counts(&self, counts: &[(u64, &'static str, &'static str)]) -> String {
        let each =
            counts.iter().map(|(n, french, english)| format!("{} {n}", self.t(french, english)));
        each.collect::<Vec<_>>().join(", ")
    }

    fn status(&self, status: &Status) -> (String, bool) {
        let (sites, open) = (&status.sites, &status.open_incidents);
        let mut text = String::new();
        let mut line = |label: &str, value: String| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{label:<22}{value}");
        };
        line(
            "Sites",
            self.counts(&[
                (sites.up, "en service", "up"),
                (sites.degraded, "dégradés", "degraded"),
                (sites.down, "coupés", "down"),
                (sites.unknown, "inconnus", "unknown"),
            ]),
        );
        line(
            "Agents",
            self.counts(&[
                (status.agents.active, "actifs", "active"),
                (status.agents.connected, "connectés", "connected"),
                (status.agents.faulty, "en défaut", "faulty"),
                (status.agents.revoked, "retirés", "revoked"),
            ]),
        );
        line(
            self.t("Incidents ouverts", "Open incidents"),
            self.counts(&[
                (open.total, "en tout", "in all"),
                (open.target_down, "coupures", "down"),
                (open.agent_silent, "silences", "silent"),
                (open.threshold, "seuils", "thresholds"),
            ]),
        );
        let waiting = match status.outbox.waiting {
            0 => self.t("aucun", "none").to_owned(),
            waiting => format!(
                "{waiting} ({} {})",
                self.t("le plus vieux :", "oldest:"),
                self.language.duration(status.outbox.oldest_s)
            ),
        };
        line(self.t("Courriels en attente", "Mails waiting"), waiting);
        text += &self.coverage(&status.at, &status.coverage);
        let wrong =
            sites.degraded + sites.down + sites.unknown + open.total + status.agents.faulty > 0;
        (text, wrong)
    }

    fn sites(&self, list: &List<Site>) -> (String, bool) {
        let mut table = Table::new(&[
            "UAI",
            self.t("Nom", "Name"),
            "Lot",
            self.t("État", "State"),
            self.t("Entendu", "Heard"),
            self.t("Cibles", "Targets"),
            "Incidents",
        ]);
        for site in &list.items {
            table.row([
                escape(&site.facts.uai),
                escape(&site.facts.name),
                escape(site.facts.lot.as_deref().unwrap_or("-")),
                self.word(&site.state),
                self.ago(age(&list.at, site.last_heard.as_deref())),
                format!("{}/{}", site.targets.up, site.targets.total()),
                site.open_incidents.to_string(),
            ]);
        }
        (self.list(list, &table), false)
    }

    fn site(&self, detail: &SiteDetail) -> (String, bool) {
        let facts = &detail.site;
        let mut text = format!(
            "{} {} : {}\n",
            escape(&facts.uai),
            escape(&facts.name),
            self.word(&detail.state)
        );
        let mut about = vec![escape(&facts.r#type), format!("zone {}", escape(&facts.zone))];
        about.extend(facts.lot.as_ref().map(|lot| format!("lot {}", escape(lot))));
        about.extend(facts.pupils.map(|n| format!("{n} {}", self.t("élèves", "pupils"))));
        about.extend(facts.address.as_ref().map(|address| escape(address)));
        about.push(format!("{} {}", detail.series, self.t("séries", "series")));
        let heard = self.ago(age(&detail.at, detail.last_heard.as_deref()));
        about.push(format!("{} {heard}", self.t("entendu :", "heard:")));
        text += &table::wrap(&about.join(", "));
        text.push('\n');
        if !detail.ladder.is_empty() {
            let rungs = detail.ladder.iter().map(|rung| {
                format!(
                    "{} {} ({}/{})",
                    self.word(&rung.role),
                    self.word(&rung.state),
                    rung.targets.up,
                    rung.targets.total()
                )
            });
            text += &table::wrap(&rungs.collect::<Vec<_>>().join(" > "));
            text.push('\n');
        }
        text += &self.target_table(&detail.targets).text(self.t("(aucune cible)", "(no targets)"));
        for device in &detail.devices {
            text += &table::wrap(&self.device(device));
        }
        for incident in &detail.incidents {
            text.push('\n');
            text += &table::wrap(&format!(
                "{} {} : {}",
                escape(&incident.reference),
                self.instant(&incident.started_at),
                escape(&incident.title)
            ));
            for evidence in incident.evidence.iter().take(SHOWN_EVIDENCE) {
                text += &table::wrap(&format!("  {}", escape(evidence)));
            }
        }
        if !detail.gaps.is_empty() {
            text.push('\n');
            text += &self.gaps(&detail.gaps);
        }
        if !detail.agents.is_empty() {
            text.push('\n');
            text += &self.agent_table(&detail.agents).text("");
        }
        text += &self.coverage(&detail.at, &detail.coverage);
        (text, detail.state != "up")
    }

    /// What a device says it is, and a warning where its list was cut.
    fn device(&self, device: &Device) -> String {
        let said = [&device.name, &device.descr, &device.location, &device.object_id];
        let said = said.into_iter().filter(|text| !text.is_empty()).map(|text| escape(text));
        let mut said: Vec<_> = said.collect();
        if device.truncated {
            let cut = self.t("ATTENTION interfaces incomplètes", "WARNING interfaces incomplete");
            said.push(cut.to_owned());
        } else if said.is_empty() {
            said.push("-".to_owned());
        }
        format!("{} {} : {}", device.target, escape(&device.target_name), said.join(", "))
    }

    fn target_table(&self, targets: &[Target]) -> Table {
        let mut table = Table::new(&[
            "N°",
            self.t("Rôle", "Role"),
            self.t("Nom", "Name"),
            self.t("Sonde", "Probe"),
            self.t("Adresse", "Address"),
            self.t("Tour", "Period"),
            self.t("État", "State"),
            self.t("Dernier", "Last"),
            "Âge",
        ]);
        for target in targets {
            let outcome = target.outcome.as_deref().map(|code| self.word(code));
            table.row([
                target.id.to_string(),
                self.word(&target.role),
                escape(&target.name),
                escape(&target.method),
                escape(&target.address),
                format!("{} s", target.period_s),
                self.word(&target.state),
                outcome.unwrap_or_else(|| "-".to_owned()),
                self.ago(target.age_s),
            ]);
        }
        table
    }

    fn targets(&self, list: &List<Target>) -> String {
        self.list(list, &self.target_table(&list.items))
    }

    fn contractors(&self, contractors: &Contractors) -> String {
        let mut table = Table::new(&[
            "Lot",
            self.t("Entreprise", "Company"),
            self.t("Courriel", "Mail"),
            "Sites",
        ]);
        for line in &contractors.items {
            table.row([
                escape(&line.lot),
                escape(&line.name),
                escape(&line.email),
                line.sites.to_string(),
            ]);
        }
        let covered = contractors.sites.saturating_sub(contractors.sites_without);
        let (sites, at) = (contractors.sites, self.instant(&contractors.at));
        table.text(self.t("(aucun mainteneur)", "(no contractors)"))
            + &match self.language {
                Language::French => {
                    format!("sites avec mainteneur : {covered} sur {sites}, le {at}\n")
                }
                Language::English => {
                    format!("sites with a contractor: {covered} of {sites}, at {at}\n")
                }
            }
    }

    fn series(&self, list: &List<Series>) -> String {
        let mut table = Table::new(&[
            "N°",
            "UAI",
            self.t("Cible", "Target"),
            self.t("Métrique", "Metric"),
            self.t("Étiquette", "Label"),
            self.t("Unité", "Unit"),
            self.t("Nature", "Kind"),
        ]);
        for series in &list.items {
            table.row([
                series.id.to_string(),
                escape(series.uai.as_deref().unwrap_or("-")),
                escape(series.target.as_deref().unwrap_or("-")),
                escape(&series.metric),
                escape(&series.label),
                escape(&series.unit),
                escape(&series.kind),
            ]);
        }
        self.list(list, &table)
    }

    fn incidents(&self, list: &List<Incident>) -> (String, bool) {
        let mut table = Table::new(&[
            self.t("Référence", "Reference"),
            "UAI",
            self.t("État", "State"),
            self.t("Début", "Start"),
            self.t("Durée", "Length"),
            self.t("Constat", "Finding"),
        ])
        .tall();
        for incident in &list.items {
            table.row([
                escape(&incident.reference),
                escape(incident.uai.as_deref().unwrap_or("-")),
                self.word(&incident.state),
                self.instant(&incident.started_at),
                self.language.duration(incident.duration_s),
                escape(&incident.title),
            ]);
        }
        let open = list.items.iter().any(|incident| incident.state == "open");
        (self.list(list, &table), open)
    }

    fn site_added(&self, facts: &Facts) -> String {
        format!(
            "{} {} {}\n  → vigie agent token {}\n",
            self.t("Site inscrit :", "Site registered:"),
            escape(&facts.uai),
            escape(&facts.name),
            escape(&facts.uai)
        )
    }

    fn imported(&self, imported: &Imported) -> String {
        let counts = self.counts(&[
            (imported.sites, "sites", "sites"),
            (imported.added, "ajoutés", "added"),
            (imported.updated, "mis à jour", "updated"),
            (imported.unchanged, "inchangés", "unchanged"),
        ]);
        let next = if imported.dry_run {
            self.t(
                "À blanc, rien n'a été gardé.\n  → la même commande sans --dry-run\n",
                "Dry run, nothing was kept.\n  → the same command without --dry-run\n",
            )
        } else {
            ""
        };
        format!("{counts}\n{next}")
    }

    /// The command alone on its line, ready to copy.
    fn enrolment(&self, enrolment: &Enrolment) -> String {
        let until = self.instant(&enrolment.expires_at);
        let introduction = match self.language {
            Language::French => format!(
                "À taper sur le serveur du site {}, une seule fois, avant le {until} :",
                escape(&enrolment.uai)
            ),
            Language::English => format!(
                "To type on the server of site {}, once, before {until}:",
                escape(&enrolment.uai)
            ),
        };
        format!("{introduction}\n\n{}\n", escape(&enrolment.command))
    }

    fn revoked(&self) -> String {
        self.t(
            "Agent retiré : plus rien de lui n'est pris.\n",
            "Agent revoked: nothing of it is taken any more.\n",
        )
        .to_owned()
    }

    fn contractor_set(&self, contractor: &Contractor) -> String {
        format!(
            "{} {} : {} <{}>\n",
            self.t("Mainteneur du lot", "Contractor of lot"),
            escape(&contractor.lot),
            escape(&contractor.name),
            escape(&contractor.email)
        )
    }

    fn target_added(&self, target: &Target) -> String {
        format!(
            "{} {} ({} {}, {} {} s)\n",
            self.t("Cible", "Target"),
            target.id,
            escape(&target.method),
            escape(&target.address),
            self.t("toutes les", "every"),
            target.period_s
        )
    }

    fn target_removed(&self, target: &RemovedTarget) -> String {
        format!(
            "{} {} ({}, {}) {}\n",
            self.t("Cible", "Target"),
            target.id,
            escape(&target.name),
            escape(&target.address),
            self.t(
                "retirée.\nL'agent ne la sonde plus, ses mesures restent, son incident se ferme.",
                "removed.\nThe agent probes it no more, its measures stay, its incident closes.",
            )
        )
    }
}

/// The line that says that rows are left out.
pub(crate) fn more(language: Language) -> &'static str {
    language.pick(
        "… la suite manque : précisez la question, ou augmentez --limit\n",
        "… rows are left out: narrow the question, or raise --limit\n",
    )
}

/// Seconds from one instant to another.
fn age(at: &str, since: Option<&str>) -> Option<i64> {
    let at: Timestamp = at.parse().ok()?;
    Some(at.as_second() - since?.parse::<Timestamp>().ok()?.as_second())
}

#[cfg(test)]
mod tests;
