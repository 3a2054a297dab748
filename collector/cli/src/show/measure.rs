//! Series over time, and rankings of series.

use std::fmt::Write as _;

use super::{Scribe, table::Table};
use crate::{
    document::{Gap, Ranking, Samples, Series},
    language::Language,
    terminal::escape,
};

/// Gaps that a table tells.
const SHOWN_GAPS: usize = 20;

impl Scribe {
    /// Declared gaps, one a line.
    pub(super) fn gaps(&self, gaps: &[Gap]) -> String {
        let mut text = String::new();
        for gap in gaps.iter().take(SHOWN_GAPS) {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{} {} → {} : {}",
                self.t("sans mesure :", "no measure:"),
                self.instant(&gap.from),
                self.instant(&gap.to),
                self.reason(&gap.reason)
            );
        }
        text
    }

    /// Why there is a gap; a newer collector's reasons as they are.
    fn reason(&self, code: &str) -> String {
        let (french, english) = match code {
            "crash" => ("arrêt brutal", "crash"),
            "stopped" => ("agent arrêté", "agent stopped"),
            "suspended" => ("machine en veille", "machine suspended"),
            "overload" => ("machine surchargée", "machine overloaded"),
            "config_off" => ("plus au programme", "not configured"),
            "maintenance" => ("maintenance", "maintenance"),
            "device_skipped" => ("équipement laissé au repos", "device left at rest"),
            "spool_degraded" => ("disque en panne, mémoire pleine", "disk failing, memory full"),
            "evicted" => ("file d'attente pleine", "spool full"),
            "corrupt" => ("file d'attente abîmée", "spool damaged"),
            "clock_unknown" => ("heure inconnue", "clock unknown"),
            "unspecified" => ("sans raison donnée", "no reason given"),
            other => return escape(other),
        };
        self.t(french, english).to_owned()
    }

    pub(super) fn samples(&self, samples: &Samples) -> String {
        let mut text = format!(
            "{} {} ({})\n",
            escape(samples.series.uai.as_deref().unwrap_or("-")),
            name(&samples.series),
            match &samples.aggregate {
                Some(aggregate) => format!("{}, {}", escape(aggregate), escape(&samples.step)),
                None => escape(&samples.step),
            }
        );
        let mut table = Table::new(&[
            self.t("Début", "Time"),
            self.t("Valeur", "Value"),
            self.t("Couverture", "Coverage"),
        ]);
        for point in &samples.points {
            let value = match point.value.as_ref().and_then(serde_json::Number::as_f64) {
                Some(value) => self.language.value(value, &samples.unit),
                None => self.t("inconnu", "unknown").to_owned(),
            };
            let coverage = point.coverage.map(|ratio| self.language.percent(ratio));
            table.row([self.instant(&point.time), value, coverage.unwrap_or_default()]);
        }
        text += &table.text(self.t("(aucune mesure)", "(no measures)"));
        text += &self.gaps(&samples.gaps);
        let hidden = samples.gaps.len().saturating_sub(SHOWN_GAPS);
        if hidden > 0 {
            let more = self.t(
                "autres trous déclarés ; --json les donne tous",
                "more declared gaps; --json tells all",
            );
            let _ = writeln!(text, "… {hidden} {more}");
        }
        let coverage = &samples.coverage;
        if let Some(unsure @ 1..) = coverage.unsure {
            let note = self.t("mesures à l'heure incertaine", "measures of uncertain time");
            let _ = writeln!(text, "{unsure} {note}");
        }
        let ratio = match coverage.ratio {
            Some(ratio) => self.language.percent(ratio),
            None => self.t("rien encore", "nothing yet").to_owned(),
        };
        let (rows, expected) = (coverage.rows, coverage.expected_rows);
        let at = self.instant(&samples.at);
        let (from, to) = (self.minute(&samples.from), self.minute(&samples.to));
        text + &match self.language {
            Language::French => {
                format!("couverture {ratio} ({rows}/{expected}) du {from} au {to}, le {at}\n")
            }
            Language::English => {
                format!("coverage {ratio} ({rows}/{expected}) from {from} to {to}, at {at}\n")
            }
        }
    }

    pub(super) fn ranking(&self, ranking: &Ranking) -> String {
        let mut table = Table::new(&[
            self.t("Série", "Series"),
            "UAI",
            self.t("Cible", "Target"),
            self.t("Métrique", "Metric"),
            self.t("Étiquette", "Label"),
            &format!("p{}", self.language.number(ranking.p * 100.0, 2)),
            self.t("Couverture", "Coverage"),
        ]);
        for ranked in &ranking.items {
            let series = &ranked.series;
            table.row([
                series.id.to_string(),
                escape(series.uai.as_deref().unwrap_or("-")),
                escape(series.target.as_deref().unwrap_or("-")),
                escape(&series.metric),
                escape(&series.label),
                self.language.value(ranked.value, &ranking.unit),
                self.language.percent(ranked.coverage),
            ]);
        }
        let (measured, all) = (ranking.coverage.measured, ranking.coverage.series);
        let (from, to) = (self.minute(&ranking.from), self.minute(&ranking.to));
        let at = self.instant(&ranking.at);
        table.text(self.t("(aucune mesure)", "(no measures)"))
            + &match self.language {
                Language::French => {
                    format!("séries mesurées : {measured} sur {all} du {from} au {to}, le {at}\n")
                }
                Language::English => {
                    format!("series measured: {measured} of {all} from {from} to {to}, at {at}\n")
                }
            }
    }
}

fn name(series: &Series) -> String {
    let target = series.target.as_deref().unwrap_or("-");
    escape(format!("{} {target} {}", series.metric, series.label).trim_end())
}
