//! What went wrong, in words, with the next command to type.

mod french;

use std::{fmt::Write as _, io, path::PathBuf};

use serde::Deserialize;

use crate::{BAD_QUESTION, COULD_NOT_ANSWER, language::Language, terminal::escape};

/// Most series that are shown where one is meant.
const SHOWN_SERIES: usize = 50;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A file can not be read.
    #[error("cannot read {path}")]
    File { path: PathBuf, source: io::Error },
    /// The token file holds no token.
    #[error("{path} holds no token")]
    Token { path: PathBuf },
    /// The server's address makes no sense.
    #[error("bad server address {0}")]
    Server(String),
    /// No time zone of this name.
    #[error("no time zone {0}")]
    TimeZone(String),
    /// Nobody answers.
    #[error("cannot reach {server}")]
    Reach { server: String, source: Box<dyn std::error::Error + Send + Sync> },
    /// No answer in time.
    #[error("{0} did not answer in time")]
    TimedOut(String),
    /// An answer that is no answer.
    #[error("senseless answer")]
    Senseless(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The collector says why not.
    #[error("refused")]
    Problem(Box<Problem>),
    /// No series, or several, where one is meant.
    #[error("{} series", .0.len())]
    Series(Vec<(i64, String)>),
    /// No agent, or several, where one is meant.
    #[error("{0} agents")]
    Agents(usize),
    /// The answer can not be written.
    #[error("cannot write")]
    Write(#[source] io::Error),
}

/// A problem document (RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    pub(crate) r#type: String,
    pub(crate) title: String,
    pub(crate) status: u16,
    pub(crate) detail: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) parameter: Option<String>,
    /// Kind of fault of the parameter.
    pub(crate) code: Option<String>,
    pub(crate) found: Option<String>,
    pub(crate) expected: Option<String>,
    pub(crate) errors: Vec<Fault>,
}

/// One fault of what was sent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Fault {
    pub(crate) pointer: Option<String>,
    pub(crate) line: Option<u64>,
    pub(crate) column: Option<String>,
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) found: Option<String>,
    pub(crate) expected: Option<String>,
}

impl Problem {
    fn code(&self) -> &str {
        self.r#type.rsplit('/').next().unwrap_or_default()
    }

    /// The detail in French.
    fn french(&self) -> Option<String> {
        let (found, expected) = (self.found.as_deref(), self.expected.as_deref());
        match (self.code(), &self.code, &self.parameter) {
            ("bad-question", Some(code), Some(parameter)) => {
                Some(format!("{parameter} : {}", french::fault(code, found, expected)?))
            }
            ("not-found" | "conflict", ..) => found.map(french::thing),
            ("media-type", ..) => expected.map(|expected| format!("attendu : {expected}")),
            _ => None,
        }
    }
}

impl Failure {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Server(_) | Self::TimeZone(_) | Self::Series(_) | Self::Agents(_) => BAD_QUESTION,
            Self::Problem(problem) => match problem.status {
                401 | 403 | 429 | 500.. => COULD_NOT_ANSWER,
                _ => BAD_QUESTION,
            },
            Self::File { .. }
            | Self::Token { .. }
            | Self::Reach { .. }
            | Self::TimedOut(_)
            | Self::Senseless(_)
            | Self::Write(_) => COULD_NOT_ANSWER,
        }
    }

    /// Lines for standard error.
    pub(crate) fn text(&self, language: Language) -> String {
        let t = |french: &'static str, english: &'static str| language.pick(french, english);
        let (what, next) = match self {
            Self::File { path, source } => (
                format!(
                    "{} {} : {source}",
                    t("lecture impossible :", "cannot read"),
                    path.display()
                ),
                t(
                    "sudo vigie …, ou --token-file FICHIER pour un autre jeton",
                    "sudo vigie …, or --token-file FILE for another token",
                ),
            ),
            Self::Token { path } => (
                format!("{} {}", path.display(), t("ne contient pas de jeton", "holds no token")),
                t("--token-file FICHIER", "--token-file FILE"),
            ),
            Self::Server(server) => (
                format!(
                    "{} {}",
                    t("adresse de collecteur incomprise :", "bad collector address:"),
                    escape(server)
                ),
                "--server http://127.0.0.1:7480",
            ),
            Self::TimeZone(name) => (
                format!("{} {}", t("fuseau inconnu :", "unknown time zone:"), escape(name)),
                "--timezone Europe/Paris",
            ),
            Self::Reach { server, source } => (
                format!(
                    "{} {server} : {}",
                    t("impossible de joindre", "cannot reach"),
                    root(&**source)
                ),
                t(
                    "systemctl status vigie-collector, ou --server URL",
                    "systemctl status vigie-collector, or --server URL",
                ),
            ),
            Self::TimedOut(server) => (
                format!("{server} {}", t("n'a pas répondu à temps", "did not answer in time")),
                "systemctl status vigie-collector",
            ),
            Self::Senseless(source) => (
                format!(
                    "{} : {}",
                    t("réponse incompréhensible", "senseless answer"),
                    escape(&root(&**source))
                ),
                t(
                    "vérifiez que --server est un collecteur Vigie de même version",
                    "check that --server is a Vigie collector of the same version",
                ),
            ),
            Self::Problem(problem) => return told(problem, language),
            Self::Series(found) => return several(found, language),
            Self::Agents(0) => {
                (t("aucun agent de ce numéro", "no agent has this id").to_owned(), "vigie agents")
            }
            Self::Agents(count) => (
                format!(
                    "{} : {count}",
                    t("agents de ce début de numéro", "agents whose id starts so")
                ),
                t("donnez plus de chiffres", "give more digits"),
            ),
            Self::Write(source) => {
                (format!("{} : {source}", t("écriture impossible", "cannot write")), "")
            }
        };
        lines(&what, next, language)
    }
}

/// A problem with its faults, one a line.
fn told(problem: &Problem, language: Language) -> String {
    let t = |french, english| language.pick(french, english);
    let code = problem.code();
    // What a newer collector says, and this command has no word for, is told as it came.
    let (title, detail) = match language {
        Language::French => (french::title(code), problem.french()),
        Language::English => (None, None),
    };
    let title = title.map_or_else(|| escape(&problem.title), str::to_owned);
    let what = match (detail.as_ref().or(problem.detail.as_ref()), &problem.instance) {
        _ if !problem.errors.is_empty() => title,
        (Some(detail), _) => format!("{title} : {}", escape(detail)),
        (None, Some(instance)) => format!("{title} ({})", escape(instance)),
        (None, None) => title,
    };
    let next = match code {
        "unauthorised" => t(
            "sudo vigie …, ou --token-file FICHIER (copie de operator.token, sur le collecteur)",
            "sudo vigie …, or --token-file FILE (a copy of the collector's operator.token)",
        ),
        "not-found" if problem.detail.as_deref().is_some_and(|what| what.starts_with("agent")) => {
            "vigie agents"
        }
        "not-found" if problem.detail.as_deref().is_some_and(|what| what.starts_with("series")) => {
            "vigie series list"
        }
        "not-found" => "vigie sites",
        "conflict" => t("vigie site show UAI", "vigie site show UAI"),
        "bad-question" | "invalid" => {
            t("ajoutez --help à la commande", "add --help to the command")
        }
        "internal" | "unavailable" => "journalctl -u vigie-collector -n 50",
        "busy" | "timed-out" => t("recommencez dans un instant", "try again in a moment"),
        _ => "",
    };
    let mut text = String::new();
    for fault in &problem.errors {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", fault.text(language));
    }
    let next = if code == "invalid" && problem.errors.iter().any(|fault| fault.line.is_some()) {
        t(
            "corrigez le fichier, puis vigie site import FICHIER --dry-run",
            "mend the file, then vigie site import FILE --dry-run",
        )
    } else {
        next
    };
    text + &lines(&what, next, language)
}

fn lines(what: &str, next: &str, language: Language) -> String {
    let mut text = format!("{} {what}\n", language.pick("vigie :", "vigie:"));
    if !next.is_empty() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  → {next}");
    }
    text
}

/// The innermost cause says most: `connection refused`.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn several(found: &[(i64, String)], language: Language) -> String {
    if found.is_empty() {
        let what = language.pick("aucune série ne correspond", "no series matches");
        return lines(what, "vigie series list --uai UAI", language);
    }
    let mut text = String::new();
    for (id, label) in found.iter().take(SHOWN_SERIES) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {id}  {}", escape(label));
    }
    let what = format!("{} {}", found.len(), language.pick("séries correspondent", "series match"));
    text + &lines(
        &what,
        language.pick("vigie series get ID, ou --label", "vigie series get ID, or --label"),
        language,
    )
}

impl Fault {
    fn text(&self, language: Language) -> String {
        let t = |french, english| language.pick(french, english);
        let place = match (self.line, &self.column, &self.pointer) {
            (Some(line), Some(column), _) => {
                format!(
                    "{} {line}, {} {} : ",
                    t("ligne", "line"),
                    t("colonne", "column"),
                    escape(column)
                )
            }
            (Some(line), None, _) => format!("{} {line} : ", t("ligne", "line")),
            (None, _, Some(pointer)) => format!("{} : ", escape(pointer.trim_start_matches('/'))),
            (None, _, None) => String::new(),
        };
        let (found, expected) = (self.found.as_deref(), self.expected.as_deref());
        let reason = match language {
            Language::French => {
                french::fault(&self.code, found, expected).unwrap_or_else(|| self.reason.clone())
            }
            Language::English => self.reason.clone(),
        };
        format!("{place}{}", escape(&reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str, language: Language) -> (u8, String) {
        let failure = Failure::Problem(serde_json::from_str(json).unwrap());
        (failure.code(), failure.text(language))
    }

    #[test]
    fn failures_name_the_next_command() {
        let reach = Failure::Reach {
            server: "http://127.0.0.1:7480".to_owned(),
            source: Box::new(io::Error::from(io::ErrorKind::ConnectionRefused)),
        };
        insta::assert_snapshot!(reach.text(Language::French), @r"
        vigie : impossible de joindre http://127.0.0.1:7480 : connection refused
          → systemctl status vigie-collector, ou --server URL
        ");
        assert_eq!(reach.code(), COULD_NOT_ANSWER);
        let (code, text) = problem(
            r#"{"type":"/problems/not-found","status":404,"detail":"site 0999001W does not exist"}"#,
            Language::French,
        );
        // An older collector does not say what it is in a word of its own.
        insta::assert_snapshot!(text, @r"
        vigie : introuvable : site 0999001W does not exist
          → vigie sites
        ");
        assert_eq!(code, BAD_QUESTION);
        let (code, text) = problem(
            r#"{"type":"/problems/internal","title":"the collector failed","status":500,"instance":"urn:vigie:error:0a"}"#,
            Language::English,
        );
        insta::assert_snapshot!(text, @r"
        vigie: the collector failed (urn:vigie:error:0a)
          → journalctl -u vigie-collector -n 50
        ");
        assert_eq!(code, COULD_NOT_ANSWER);
    }

    #[test]
    fn faults_of_a_file_are_told_line_by_line() {
        let json = r#"{"type":"/problems/invalid","status":422,"detail":"2 fault(s)","errors":[
            {"line":2,"column":"uai","code":"uai-key","reason":"r","found":"E","expected":"D"},
            {"line":3,"column":"type","code":"unknown-code","reason":"r","found":"\u001b[2J","expected":"college"},
            {"line":4,"code":"brand-new","reason":"something new"}]}"#;
        let (code, text) = problem(json, Language::French);
        insta::assert_snapshot!(text, @r"
        ligne 2, colonne uai : la lettre clé de l'UAI doit être D, pas E
        ligne 3, colonne type : valeur inconnue « \x{1b}[2J » ; attendu : college
        ligne 4 : something new
        vigie : des fautes, rien n'a été gardé
          → corrigez le fichier, puis vigie site import FICHIER --dry-run
        ");
        assert_eq!(code, BAD_QUESTION);
    }
}
