//! The commands, their arguments and their faults, in words.

use clap::{
    Arg, ArgAction, ArgGroup, Command, builder::PossibleValuesParser, error::ContextKind,
    error::ContextValue, error::ErrorKind, value_parser,
};
use clap_complete::Shell;
use std::path::PathBuf;

use crate::{language::Language, terminal::escape};

/// Widest line of help.
const HELP_COLUMNS: usize = 100;

/// Every command, explained in one language.
pub(super) fn command(language: Language) -> Command {
    Words(language).command()
}

struct Words(Language);

impl Words {
    fn t(&self, french: &'static str, english: &'static str) -> &'static str {
        self.0.pick(french, english)
    }

    /// A command; its help has an example.
    fn leaf(&self, name: &'static str, about: &'static str, example: &'static str) -> Command {
        let heading = self.t("Exemple :", "Example:");
        self.dress(Command::new(name).about(about)).after_help(format!("{heading}\n  {example}"))
    }

    /// Words that clap would say in English.
    fn dress(&self, command: Command) -> Command {
        let template = self.t(
            "{about}\n\nUtilisation : {usage}\n\n{all-args}{after-help}\n",
            "{about}\n\nUsage: {usage}\n\n{all-args}{after-help}\n",
        );
        command
            .help_template(template)
            .subcommand_help_heading(self.t("Commandes", "Commands"))
            .disable_help_flag(true)
            .disable_help_subcommand(true)
            .term_width(HELP_COLUMNS)
            .arg(
                Arg::new("help")
                    .short('h')
                    .long("help")
                    .action(ArgAction::Help)
                    .help(self.t("Dit comment s'en servir", "Says how to use it"))
                    .help_heading(self.options()),
            )
    }

    fn options(&self) -> &'static str {
        self.t("Options", "Options")
    }

    fn group(&self, name: &'static str, about: &'static str, leaves: Vec<Command>) -> Command {
        self.dress(Command::new(name).about(about))
            .subcommand_required(true)
            .arg_required_else_help(false)
            .subcommands(leaves)
    }

    fn option(&self, name: &'static str, value: &'static str, help: &'static str) -> Arg {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help(help)
            .help_heading(self.options())
            .allow_hyphen_values(true)
    }

    fn flag(&self, name: &'static str, help: &'static str) -> Arg {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help).help_heading(self.options())
    }

    fn place(name: &'static str, help: &'static str) -> Arg {
        Arg::new(name).help(help).required(true).help_heading("Arguments")
    }

    fn uai(&self) -> Arg {
        Self::place(
            "UAI",
            self.t("UAI du site, comme 0999001W", "UAI of the site, such as 0999001W"),
        )
    }

    fn uai_option(&self) -> Arg {
        self.option("uai", "UAI", self.t("Ce site seulement", "This site only"))
    }

    fn limit(&self) -> Arg {
        self.option("limit", "N", self.t("Lignes au plus", "Most rows"))
    }

    fn choices(&self) -> [Arg; 3] {
        [
            self.option(
                "metric",
                "METRIC",
                self.t("Métrique, comme icmp_rtt_mean", "Metric, such as icmp_rtt_mean"),
            ),
            self.option("target", "ID", self.t("Cible, par son numéro", "Target, by its number")),
            self.option(
                "label",
                "LABEL",
                self.t("Interface, disque ou capteur", "Interface, disk or sensor"),
            ),
        ]
    }

    fn range(&self) -> [Arg; 2] {
        [
            self.option(
                "from",
                "WHEN",
                self.t("Début : -24h, -30m, -7d ou RFC 3339", "Start: -24h, -30m, -7d or RFC 3339"),
            ),
            self.option("to", "WHEN", self.t("Fin, maintenant par défaut", "End, now by default")),
        ]
    }

    fn command(&self) -> Command {
        let about = self.t(
            "Vigie : les réseaux des écoles, vus du collecteur",
            "Vigie: the networks of schools, seen from the collector",
        );
        self.dress(Command::new("vigie").version(env!("CARGO_PKG_VERSION")).about(about))
            .disable_version_flag(true)
            .subcommand_required(true)
            .arg(
                Arg::new("version")
                    .short('V')
                    .long("version")
                    .action(ArgAction::Version)
                    .help(self.t("Dit la version", "Says the version"))
                    .help_heading(self.options()),
            )
            .args(self.everywhere())
            .subcommands([
                self.leaf(
                    "status",
                    self.t("L'ensemble d'un coup d'œil", "The whole at a glance"),
                    "vigie status",
                ),
                self.leaf("sites", self.t("Les sites et leur état", "Sites and their state"), "vigie sites --state down")
                    .arg(
                        self.option("state", "STATE", self.t("up, degraded, down ou unknown seulement", "up, degraded, down or unknown only"))
                            .value_parser(PossibleValuesParser::new(["up", "degraded", "down", "unknown"])).hide_possible_values(true),
                    )
                    .arg(self.option("lot", "LOT", self.t("Ce lot seulement", "This lot only")))
                    .arg(self.limit()),
                self.site(),
                self.agent(),
                self.leaf("agents", self.t("Les agents, leur version, leur retard", "Agents, their version, their lag"), "vigie agents")
                    .arg(self.uai_option())
                    .arg(self.limit()),
                self.contractor(),
                self.leaf("contractors", self.t("Qui reçoit les courriels de quel lot", "Who gets the mails of which lot"), "vigie contractors"),
                self.target(),
                self.leaf("targets", self.t("Ce qui est sondé sur un site", "What is probed at a site"), "vigie targets 0999001W")
                    .arg(self.uai())
                    .arg(self.limit()),
                self.series(),
                self.leaf(
                    "top",
                    self.t("Les séries les plus fortes, par leur centile", "The largest series, by their percentile"),
                    "vigie top --metric if_hc_in_octets --from -7d",
                )
                .args(self.choices().map(|arg| {
                    if arg.get_id() == "metric" { arg.default_value("if_hc_in_octets") } else { arg }
                }))
                .arg(self.uai_option())
                .arg(self.option("p", "P", self.t("Centile, 0.95 par défaut", "Percentile, 0.95 by default")))
                .args(self.range())
                .arg(self.limit()),
                self.leaf(
                    "incidents",
                    self.t("Les incidents ; 1 en sortie s'il en est d'ouverts", "Incidents; exit status 1 when some are open"),
                    "vigie incidents --open",
                )
                .arg(self.flag("open", self.t("Ouverts seulement", "Open ones only")))
                .arg(self.uai_option())
                .arg(self.limit()),
                self.leaf(
                    "completions",
                    self.t("Script de complétion d'un shell", "Completion script of a shell"),
                    "vigie completions bash > /etc/bash_completion.d/vigie",
                )
                .arg(Self::place("SHELL", "bash, zsh, fish…").value_parser(value_parser!(Shell))),
            ])
            .after_help(self.t(
                "Sortie : 0 rien à signaler, 1 quelque chose correspond, 2 question fautive, 3 pas de réponse.",
                "Exit status: 0 nothing wrong, 1 something matches, 2 bad question, 3 no answer.",
            ))
    }

    /// Options that every command has.
    fn everywhere(&self) -> Vec<Arg> {
        let heading = self.t("Options communes", "Common options");
        [
            self.option(
                "server",
                "URL",
                self.t(
                    "Collecteur (VIGIE_SERVER ; http://127.0.0.1:7480)",
                    "Collector (VIGIE_SERVER; http://127.0.0.1:7480)",
                ),
            ),
            self.option(
                "token-file",
                "FILE",
                self.t(
                    "Fichier du jeton (VIGIE_TOKEN_FILE)",
                    "File of the token (VIGIE_TOKEN_FILE)",
                ),
            )
            .value_parser(value_parser!(PathBuf)),
            self.option(
                "timezone",
                "ZONE",
                self.t(
                    "Fuseau des tableaux (TZ ; Europe/Paris)",
                    "Time zone of tables (TZ; Europe/Paris)",
                ),
            ),
            self.option("lang", "LANG", self.t("Langue : fr, en", "Language: fr, en"))
                .value_parser(PossibleValuesParser::new(["fr", "en"]))
                .hide_possible_values(true),
            self.flag("json", self.t("Le document de l'API", "The API's document"))
                .conflicts_with("csv"),
            self.flag(
                "csv",
                self.t(
                    "CSV ; la couverture va sur l'erreur standard",
                    "CSV; the coverage goes to standard error",
                ),
            ),
        ]
        .map(|arg| arg.global(true).help_heading(heading))
        .into()
    }

    fn site(&self) -> Command {
        let add = self
            .leaf(
                "add",
                self.t("Inscrit un site", "Registers a site"),
                "vigie site add 0999001W --name \"Collège J. Moulin\" --type college --zone A --lot 2",
            )
            .arg(self.uai())
            .arg(self.option("name", "NAME", self.t("Nom d'usage", "Name")).required(true))
            .arg(
                self.option("type", "TYPE", self.t(
                    "maternelle, elementaire, primaire, college, lycee, lp, erea, cite-scolaire, autre",
                    "maternelle, elementaire, primaire, college, lycee, lp, erea, cite-scolaire, autre",
                ))
                .required(true),
            )
            .arg(self.option("zone", "ZONE", self.t("A, B, C, Corse, Reunion…", "A, B, C, Corse, Reunion…")).required(true))
            .arg(self.option("pupils", "N", self.t("Nombre d'élèves", "Number of pupils")))
            .arg(self.option("lot", "LOT", self.t("Lot de maintenance", "Maintenance lot")))
            .arg(self.option("address", "TEXT", self.t("Adresse postale", "Postal address")))
            .arg(self.option("lat", "DEGREES", "Latitude (WGS 84)"))
            .arg(self.option("lon", "DEGREES", "Longitude (WGS 84)"));
        let import = self
            .leaf(
                "import",
                self.t(
                    "Inscrit ou met à jour les sites d'un fichier CSV : tous, ou aucun",
                    "Registers or updates the sites of a CSV file: all, or none",
                ),
                "vigie site import sites.csv --dry-run",
            )
            .arg(
                Self::place("FILE", self.t(
                    "Colonnes uai, name, type, zone [, pupils, lot, address, latitude, longitude]",
                    "Columns uai, name, type, zone [, pupils, lot, address, latitude, longitude]",
                ))
                .value_parser(value_parser!(PathBuf)),
            )
            .arg(self.flag("dry-run", self.t("Dit ce qui changerait, ne garde rien", "Tells what would change, keeps nothing")));
        let show = self
            .leaf("show", self.t("Tout d'un site", "All of a site"), "vigie site show 0999001W")
            .arg(self.uai());
        let devices = self
            .leaf(
                "devices",
                self.t(
                    "Son équipement, tel que l'agent l'a trouvé",
                    "Its equipment, as the agent found it",
                ),
                "vigie site devices 0999001W --csv",
            )
            .arg(self.uai());
        let topology = self
            .leaf(
                "topology",
                self.t(
                    "Qui est branché derrière qui, par quel port",
                    "What hangs behind what, through which port",
                ),
                "vigie site topology 0999001W",
            )
            .arg(self.uai());
        let confirm = self
            .leaf(
                "confirm",
                self.t("Confirme un appareil observé", "Confirms a device that was observed"),
                "vigie site confirm 0999001W 7",
            )
            .arg(self.uai())
            .arg(Self::place("NO", self.t("Numéro de l'appareil", "Number of the device")));
        self.group(
            "site",
            self.t(
                "Un site : voir, inscrire, importer, son équipement",
                "A site: show, add, import, its equipment",
            ),
            vec![show, add, import, devices, topology, confirm],
        )
    }

    fn agent(&self) -> Command {
        let token = self
            .leaf(
                "token",
                self.t(
                    "Jeton d'enrôlement, et la ligne à taper sur le serveur de l'école",
                    "Enrolment token, and the line to type on the school's server",
                ),
                "vigie agent token 0999001W",
            )
            .arg(self.uai());
        let revoke = self
            .leaf(
                "revoke",
                self.t(
                    "Retire un agent : plus rien de lui n'est pris",
                    "Withdraws an agent: nothing of it is taken any more",
                ),
                "vigie agent revoke 0123456789ab",
            )
            .arg(Self::place(
                "ID",
                self.t(
                    "Numéro de l'agent, ou ses premiers chiffres",
                    "Id of the agent, or its first digits",
                ),
            ));
        self.group(
            "agent",
            self.t("Un agent : enrôler, retirer", "An agent: enrol, revoke"),
            vec![token, revoke],
        )
    }

    fn contractor(&self) -> Command {
        let set = self
            .leaf(
                "set",
                self.t("Dit qui répare les sites d'un lot", "Says who repairs the sites of a lot"),
                "vigie contractor set 2 --name \"Réseaux du Rhône\" --email support@example.fr",
            )
            .arg(Self::place(
                "LOT",
                self.t("Lot ; * pour les sites sans lot", "Lot; * for sites without one"),
            ))
            .arg(self.option("name", "NAME", self.t("Entreprise", "Company")).required(true))
            .arg(
                self.option(
                    "email",
                    "EMAIL",
                    self.t(
                        "Boîte de service qui reçoit les courriels",
                        "Role mailbox that gets the mails",
                    ),
                )
                .required(true),
            );
        self.group("contractor", self.t("Un mainteneur", "A contractor"), vec![set])
    }

    fn target(&self) -> Command {
        let add = self
            .leaf(
                "add",
                self.t(
                    "Fait sonder une cible par l'agent du site",
                    "Has the site's agent probe a target",
                ),
                "vigie target add 0999001W snmp 192.0.2.2 --community-file /etc/vigie/community",
            )
            .arg(self.uai())
            .arg(
                Self::place("METHOD", "icmp, tcp, dns, http, snmp")
                    .value_parser(PossibleValuesParser::new(["icmp", "tcp", "dns", "http", "snmp"]))
                    .hide_possible_values(true),
            )
            .arg(Self::place("ADDRESS", self.t("IP, hôte:port ou URL", "IP, host:port or URL")))
            .arg(self.option("name", "NAME", self.t("Nom d'usage", "Name")))
            .arg(self.option("role", "ROLE", "equipment, reference, service"))
            .arg(self.option(
                "parent",
                "ID",
                self.t("Cible derrière laquelle elle se trouve", "Target that it stands behind"),
            ))
            .arg(
                self.option(
                    "community-file",
                    "FILE",
                    self.t("Fichier de la communauté SNMP", "File of the SNMP community"),
                )
                .value_parser(value_parser!(PathBuf)),
            )
            .arg(self.option(
                "query-name",
                "NAME",
                self.t("Nom demandé au résolveur", "Name that the resolver is asked for"),
            ))
            .arg(self.option(
                "period",
                "SECONDS",
                self.t("Secondes entre deux tours", "Seconds between two rounds"),
            ));
        let remove = self
            .leaf(
                "remove",
                self.t(
                    "Ne fait plus sonder une cible ; ses mesures restent",
                    "Has a target probed no more; its measures stay",
                ),
                "vigie target remove 0999001W 12",
            )
            .arg(self.uai())
            .arg(Self::place(
                "ID",
                self.t(
                    "Numéro de la cible, comme « vigie targets » le montre",
                    "Number of the target, as `vigie targets` shows it",
                ),
            ));
        self.group(
            "target",
            self.t("Une cible : ajouter, retirer", "A target: add, remove"),
            vec![add, remove],
        )
    }

    fn series(&self) -> Command {
        let list = self
            .leaf(
                "list",
                self.t("Ce qui est mesuré", "What is measured"),
                "vigie series list --uai 0999001W --metric icmp_loss",
            )
            .arg(self.uai_option())
            .args(self.choices())
            .arg(self.limit());
        let get = self
            .leaf(
                "get",
                self.t("Les valeurs d'une série", "The values of a series"),
                "vigie series get --uai 0999001W --metric if_hc_in_octets --label Gi0/1 --from -24h --step 1h",
            )
            .arg(Self::place("ID", self.t("Numéro de la série (vigie series list)", "Id of the series (vigie series list)")).required(false))
            .arg(self.uai_option())
            .args(self.choices())
            .group(ArgGroup::new("which").args(["ID", "metric"]).required(true))
            .args(self.range())
            .arg(self.option("step", "STEP", self.t("raw, 5m, 1h, 1d ; selon la durée par défaut", "raw, 5m, 1h, 1d; by the length by default")))
            .arg(self.option("aggregate", "HOW", "mean, min, max, last, count"));
        self.group(
            "series",
            self.t("Les séries : lister, lire", "Series: list, get"),
            vec![list, get],
        )
    }
}

/// A fault of the command line, with what to type next.
pub(super) fn fault(error: &clap::Error, language: Language) -> String {
    let t = |french, english| language.pick(french, english);
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        Some(_) | None => None,
    };
    let argument = context(ContextKind::InvalidArg).unwrap_or_default();
    let value = context(ContextKind::InvalidValue).unwrap_or_default();
    let valid = context(ContextKind::ValidValue).unwrap_or_default();
    #[expect(clippy::wildcard_enum_match_arm, reason = "clap's kinds are many, and grow")]
    let what = match error.kind() {
        ErrorKind::UnknownArgument => {
            format!("{} {argument}", t("argument inconnu :", "unknown argument:"))
        }
        ErrorKind::InvalidSubcommand => {
            let given = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("{} {given}", t("commande inconnue :", "unknown command:"))
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let list = context(ContextKind::ValidSubcommand).unwrap_or_default();
            format!("{} {list}", t("il manque une commande :", "a command is missing:"))
        }
        ErrorKind::MissingRequiredArgument => format!("{} {argument}", t("il manque", "missing")),
        ErrorKind::InvalidValue if value.is_empty() => {
            format!("{argument} {}", t("veut une valeur", "needs a value"))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if !valid.is_empty() => {
            format!("{argument} : {value} ; {} {valid}", t("attendu :", "expected"))
        }
        ErrorKind::ArgumentConflict => {
            let prior = context(ContextKind::PriorArg).unwrap_or_default();
            format!("{argument} {} {prior}", t("ne va pas avec", "does not go with"))
        }
        _ => format!("{} {argument} {value}", t("commande incomprise", "senseless command")),
    };
    let near = context(ContextKind::SuggestedSubcommand)
        .or_else(|| context(ContextKind::SuggestedArg))
        .map(|near| format!(" ; {} {near} ?", t("vouliez-vous", "did you mean")))
        .unwrap_or_default();
    let prefix = t("vigie :", "vigie:");
    let next = t("  → ajoutez --help à la commande", "  → add --help to the command");
    format!("{prefix} {}\n{next}\n", escape(&format!("{}{near}", what.trim_end())))
}
