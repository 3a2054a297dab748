//! Equipment, and how it hangs together.

use std::fmt::Write as _;

use super::{Scribe, table::Table};
use crate::{
    document::{Asset, Assets, ConfirmedDevice, DiscoveryRound, Node, Topology},
    language::Language,
    terminal::escape,
};

/// Below this, a link is told with its confidence in words.
const SURE: f64 = 0.9;

impl Scribe {
    pub(super) fn devices(&self, list: &Assets) -> String {
        let mut table = Table::new(&[
            self.t("N°", "No"),
            self.t("État", "State"),
            self.t("Genre", "Class"),
            self.t("Nom", "Name"),
            self.t("Adresse", "Address"),
            self.t("Modèle", "Model"),
            self.t("N° de série", "Serial"),
            "Version",
            "SNMP",
        ])
        .tall();
        for device in &list.items {
            table.row([
                device.no.to_string(),
                self.presence(device),
                self.class(device.class.as_deref()),
                escape(&device.name),
                escape(&device.address),
                escape(format!("{} {}", device.vendor, device.model).trim()),
                escape(&device.serial),
                escape(&device.version),
                device.snmp.as_deref().map_or_else(|| "-".to_owned(), escape),
            ]);
            for part in device.parts.iter().filter(|part| part.class == "chassis") {
                table.row([
                    String::new(),
                    String::new(),
                    self.t("  élément", "  member").to_owned(),
                    escape(&part.name),
                    String::new(),
                    escape(&part.model),
                    escape(&part.serial),
                    String::new(),
                    String::new(),
                ]);
            }
        }
        table.text(self.t("(aucun appareil)", "(no device)"))
            + &self.round(&list.at, list.round.as_ref())
    }

    fn presence(&self, device: &Asset) -> String {
        match (device.state.as_str(), &device.missing_since) {
            ("missing", Some(since)) => {
                format!("{} {}", self.t("absent depuis", "missing since"), self.day(since))
            }
            ("observed", _) => self.t("à confirmer", "to confirm").to_owned(),
            ("confirmed", _) => self.t("confirmé", "confirmed").to_owned(),
            (other, _) => escape(other),
        }
    }

    /// The kind of a device in words; a newer collector's as it is.
    fn class(&self, class: Option<&str>) -> String {
        let (french, english) = match class {
            None => return "?".to_owned(),
            Some("switch") => ("commutateur", "switch"),
            Some("router") => ("routeur", "router"),
            Some("firewall") => ("pare-feu", "firewall"),
            Some("wifi-ap") => ("borne Wi-Fi", "Wi-Fi AP"),
            Some("wifi-controller") => ("contrôleur Wi-Fi", "Wi-Fi controller"),
            Some("ups") => ("onduleur", "UPS"),
            Some("printer") => ("imprimante", "printer"),
            Some("nas") => ("stockage", "NAS"),
            Some("server") => ("serveur", "server"),
            Some("nte") => ("raccordement opérateur", "operator's NTE"),
            Some(other) => return escape(other),
        };
        self.t(french, english).to_owned()
    }

    /// What the answer stands on.
    fn round(&self, at: &str, round: Option<&DiscoveryRound>) -> String {
        let at = self.instant(at);
        let Some(round) = round else {
            return format!(
                "{}, {} {at}\n",
                self.t("le site n'a jamais été exploré", "the site was never searched"),
                self.t("le", "at")
            );
        };
        let DiscoveryRound { asked, answered, identified, refused, complete, ended_at } = round;
        let ended = self.minute(ended_at);
        let mut text = match self.language {
            Language::French => format!(
                "exploré le {ended} : {asked} adresses, {answered} répondent, {identified} par SNMP, le {at}\n"
            ),
            Language::English => format!(
                "searched {ended}: {asked} addresses, {answered} answer, {identified} by SNMP, at {at}\n"
            ),
        };
        if !complete {
            text += self.t(
                "(exploration interrompue : d'autres appareils peuvent exister)\n",
                "(the search was cut short: there may be other devices)\n",
            );
        }
        for network in refused {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{} {}",
                self.t("réseau non exploré :", "network not searched:"),
                escape(network)
            );
        }
        text
    }

    pub(super) fn topology(&self, tree: &Topology) -> String {
        let mut text = String::new();
        // For each depth, whether something of that depth still follows below.
        let depths: Vec<usize> = tree.items.iter().map(|node| node.depth).collect();
        for (at, node) in tree.items.iter().enumerate() {
            let follows = |depth: usize| {
                let below = depths[at + 1..].iter().take_while(|of| **of >= depth);
                below.into_iter().any(|of| *of == depth)
            };
            for depth in 1..node.depth {
                text += if follows(depth) { "│  " } else { "   " };
            }
            if node.depth > 0 {
                text += if follows(node.depth) { "├─ " } else { "└─ " };
            }
            text += &self.node(node);
            text.push('\n');
        }
        if tree.top.as_deref() == Some("busiest") {
            text += self.t(
                "(passerelle inconnue : l'arbre part de l'appareil le mieux raccordé)\n",
                "(unknown gateway: the tree starts at the best connected device)\n",
            );
        }
        for spare in &tree.spare {
            let ports = |ports: &[String]| escape(&ports.join(", "));
            let _ = writeln!(
                text,
                "{} n° {} {} - n° {} {}",
                self.t("lien de secours :", "spare line:"),
                spare.no,
                ports(&spare.ports),
                spare.other,
                ports(&spare.other_ports)
            );
        }
        for device in &tree.unplaced {
            let _ = writeln!(
                text,
                "{} n° {} {}",
                self.t("place inconnue :", "place unknown:"),
                device.no,
                escape(&device.name)
            );
        }
        if tree.items.is_empty() && tree.unplaced.is_empty() {
            text += self.t("(aucun appareil)\n", "(no device)\n");
        }
        text + &self.round(&tree.at, tree.round.as_ref())
    }

    /// `port > own port  name  class, model  (how sure)`.
    fn node(&self, node: &Node) -> String {
        let mut text = String::new();
        let ports = |ports: &[String]| match ports {
            [] => "?".to_owned(),
            ports => escape(&ports.join("+")),
        };
        if node.depth > 0 {
            let _ = write!(text, "[{} → {}] ", ports(&node.parent_ports), ports(&node.ports));
        }
        let _ = write!(text, "{} (n° {}", escape(&node.name), node.no);
        if let Some(class) = node.class.as_deref() {
            let _ = write!(text, ", {}", self.class(Some(class)));
        }
        if !node.model.is_empty() {
            let _ = write!(text, ", {}", escape(&node.model));
        }
        text.push(')');
        if let Some(confidence) = node.confidence.filter(|confidence| *confidence < SURE) {
            let by = match node.source.as_deref() {
                Some("bridge") => self.t("d'après les adresses vues", "by addresses seen"),
                _ => self.t("annoncé d'un seul côté", "told by one side"),
            };
            let _ = write!(text, "  ~ {:.0} %, {by}", confidence * 100.0);
        }
        text
    }

    pub(super) fn device_confirmed(&self, device: &ConfirmedDevice) -> String {
        format!(
            "{} {} {} {}\n",
            self.t("Appareil n°", "Device no"),
            device.no,
            self.t("confirmé au site", "confirmed at site"),
            escape(&device.uai)
        )
    }
}
