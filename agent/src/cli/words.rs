//! Help in French, or in English on demand: `--lang`, else the locale's language, else French.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use super::Cli;

/// Language of help and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    French,
    English,
}

impl Language {
    /// Read before the command is, so that its help is in it.
    pub(super) fn choose(arguments: &[OsString], locale: &str) -> Self {
        let mut texts = arguments.iter().filter_map(|argument| argument.to_str());
        while let Some(text) = texts.next() {
            let value = match text.split_once('=') {
                Some(("--lang", value)) => Some(value),
                Some(_) => None,
                None => (text == "--lang").then(|| texts.next()).flatten(),
            };
            match value {
                Some("en") => return Self::English,
                Some("fr") => return Self::French,
                Some(_) | None => {}
            }
        }
        if locale.starts_with("en") { Self::English } else { Self::French }
    }

    /// One of two texts.
    pub(super) fn t(self, french: &'static str, english: &'static str) -> &'static str {
        match self {
            Self::French => french,
            Self::English => english,
        }
    }
}

/// Name of the locale in which words are wanted.
pub(super) fn locale() -> String {
    let names = ["LC_ALL", "LC_MESSAGES", "LANG"];
    let mut values = names.into_iter().filter_map(|name| std::env::var(name).ok());
    values.find(|value| !value.is_empty()).unwrap_or_default()
}

/// The command with its words.
pub(super) fn command(language: Language) -> Command {
    let t = |french, english| language.t(french, english);
    let helped = |command: Command, names: &[(&'static str, &'static str)]| {
        names.iter().fold(command, |command, (name, help)| command.mut_arg(name, |a| a.help(*help)))
    };
    let about = t(
        "Agent de mesure Vigie : mesure le réseau de l'école, garde et envoie",
        "Vigie measurement agent: measures a school's network, keeps and sends",
    );
    let command = helped(
        Cli::command(),
        &[
            ("config", t("Fichier de configuration locale", "Local configuration file")),
            (
                "data_dir",
                t("Répertoire des données (au lieu du fichier)", "Data directory (not the file's)"),
            ),
            (
                "check_config",
                t(
                    "Dit les fautes de la configuration et finit",
                    "Tells the faults of the configuration and ends",
                ),
            ),
            ("lang", t("Langue", "Language")),
        ],
    );
    let run = t("Mesure et envoie (par défaut)", "Measures and sends (default)");
    let status = t("Montre l'état de l'agent qui tourne", "Shows the running agent's state");
    let enrol = [
        ("collector", t("Adresse du collecteur, HÔTE:PORT", "Address of the collector, HOST:PORT")),
        (
            "token",
            t(
                "Jeton donné par `vigie agent token` ; `-` le lit sur l'entrée standard",
                "Token printed by `vigie agent token`; `-` reads it from standard input",
            ),
        ),
        ("replace", t("Remplace une identité existante", "Replaces an existing identity")),
        (
            "discard_backlog",
            t(
                "Abandonne les mesures de l'ancienne identité que le collecteur n'a pas encore",
                "Gives up the measurements of the former identity that the collector does not have yet",
            ),
        ),
    ];
    let inspect_about = t(
        "Lit tout ce qu'un appareil dit de lui-même par SNMP",
        "Reads all that a device tells of itself by SNMP",
    );
    let profiles_about = t("Profils d'appareils", "Device profiles");
    let check_about = t(
        "Dit ce qui ne va pas dans les profils d'un répertoire",
        "Tells what is wrong with the profiles of a directory",
    );
    let check = [("dir", t("Répertoire des fichiers `*.toml`", "Directory of the files `*.toml`"))];
    dress(command.about(about), language)
        .after_help(t(
            "VIGIE_LOG règle le détail du journal : error, warn, info, debug, trace.",
            "VIGIE_LOG sets the detail of the log: error, warn, info, debug, trace.",
        ))
        .arg(
            Arg::new("version")
                .short('V')
                .long("version")
                .action(ArgAction::Version)
                .help(t("Dit la version", "Says the version")),
        )
        .mut_subcommand("run", |command| dress(command.about(run), language))
        .mut_subcommand("status", |command| dress(command.about(status), language))
        .mut_subcommand("enrol", |command| {
            let about =
                t("Inscrit cette machine avec un jeton", "Enrols this machine with a token");
            dress(helped(command, &enrol).about(about), language)
        })
        .mut_subcommand("inspect", |command| {
            let after = t(
                "Fin : 0 l'appareil a répondu, 2 la commande est fautive, 3 pas de réponse.",
                "Exit status: 0 the device answered, 2 faulty command, 3 no answer.",
            );
            let command = helped(command, &inspect(language)).about(inspect_about);
            dress(command.after_help(after), language)
        })
        .mut_subcommand("profiles", |command| {
            let command = command.about(profiles_about).mut_subcommand("check", |command| {
                dress(helped(command, &check).about(check_about), language)
            });
            dress(command, language)
        })
}

/// Help of the arguments of `inspect`.
fn inspect(language: Language) -> [(&'static str, &'static str); 16] {
    let t = |french, english| language.t(french, english);
    [
        (
            "address",
            t(
                "Adresse ou nom, avec un port s'il n'est pas 161",
                "Address or name, with a port if it is not 161",
            ),
        ),
        ("community", t("Communauté (SNMP v2c)", "Community (SNMP v2c)")),
        (
            "community_file",
            t(
                "Fichier de la communauté : elle n'est pas dans la liste des processus",
                "File of the community, which keeps it out of the list of processes",
            ),
        ),
        ("v1", t("SNMP v1 au lieu de v2c", "SNMP v1 rather than v2c")),
        ("v3_user", t("Utilisateur (SNMP v3)", "User (SNMP v3)")),
        ("v3_auth_protocol", "md5, sha1, sha224, sha256, sha384, sha512"),
        ("v3_auth_password", t("Mot de passe d'authentification", "Authentication password")),
        (
            "v3_auth_password_file",
            t("Fichier du mot de passe d'authentification", "File of the authentication password"),
        ),
        ("v3_priv_protocol", "des, aes128, aes192, aes256"),
        ("v3_priv_password", t("Mot de passe de chiffrement", "Privacy password")),
        (
            "v3_priv_password_file",
            t("Fichier du mot de passe de chiffrement", "File of the privacy password"),
        ),
        ("v3_context", t("Contexte (SNMP v3)", "Context (SNMP v3)")),
        (
            "profiles",
            t(
                "Répertoire de profils à lire en plus de ceux du programme",
                "Directory of profiles to read beside the built-in ones",
            ),
        ),
        ("timeout", t("Attente d'une réponse, en secondes", "Wait for one answer, in seconds")),
        ("json", t("Une ligne de JSON au lieu d'une page", "A line of JSON rather than a page")),
        (
            "verbose",
            t(
                "Dit aussi le nombre de requêtes et la durée",
                "Tells the number of requests and the time too",
            ),
        ),
    ]
}

/// What clap would say in English.
fn dress(command: Command, language: Language) -> Command {
    let t = |french, english| language.t(french, english);
    command
        .help_template(t(
            "{about}\n\nUtilisation : {usage}\n\n{all-args}{after-help}\n",
            "{about}\n\nUsage: {usage}\n\n{all-args}{after-help}\n",
        ))
        .subcommand_help_heading(t("Commandes", "Commands"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .arg(
            Arg::new("help")
                .short('h')
                .long("help")
                .action(ArgAction::Help)
                .help(t("Dit comment s'en servir", "Says how to use it")),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_explained_in_both_languages() {
        for (language, usage) in
            [(Language::French, "Utilisation : "), (Language::English, "Usage: ")]
        {
            let mut command = command(language);
            let mut texts = vec![command.render_help().to_string()];
            for leaf in command.get_subcommands_mut() {
                for arg in leaf.get_arguments() {
                    assert!(arg.get_help().is_some() || arg.is_hide_set(), "{arg}");
                }
                texts.push(leaf.render_help().to_string());
            }
            assert!(texts.len() > 3 && texts.iter().all(|text| text.contains(usage)), "{texts:?}");
        }
    }

    #[test]
    fn french_unless_asked_otherwise() {
        let chosen = |words: &[&str], locale| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            Language::choose(&words, locale)
        };
        assert_eq!(chosen(&["vigie-agent", "enrol"], "C.UTF-8"), Language::French);
        assert_eq!(chosen(&["vigie-agent"], "en_GB.UTF-8"), Language::English);
        assert_eq!(chosen(&["vigie-agent", "--lang", "fr"], "en_GB"), Language::French);
        assert_eq!(chosen(&["vigie-agent", "--lang=en"], ""), Language::English);
    }
}
