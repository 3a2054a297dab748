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
