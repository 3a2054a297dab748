//! The operators' command line: a client of the HTTP API and of nothing else.
//!
//! - `command`: what can be typed, in French or English. `client`: one request, one answer.
//! - `pages`: the pages of a list as one answer.
//! - `show`: documents as tables of at most 100 columns, each with its coverage as the last line.
//! - `terminal`: what devices call themselves never reaches a terminal as it is.
//!
//! Exit codes: 0 answered and nothing wrong, 1 answered and something is (an open incident, a site
//! that is not up), 2 bad question, 3 could not answer.

mod client;
mod command;
mod document;
mod failure;
mod language;
mod pages;
mod show;
mod terminal;

use std::{
    collections::HashMap,
    ffi::OsString,
    io::{self, Write},
};

use client::{Answer, Client, LookUp, Request};
use command::{Invocation, Output, View};
use failure::Failure;
use language::Language;
use show::Shown;

/// Answered, and nothing is wrong.
pub const ALL_WELL: u8 = 0;
/// Answered, and something matches or is wrong.
pub const SOMETHING: u8 = 1;
/// The question makes no sense.
pub const BAD_QUESTION: u8 = 2;
/// There is no answer.
pub const COULD_NOT_ANSWER: u8 = 3;

/// What surrounds the process.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Its variables.
    pub variables: HashMap<OsString, OsString>,
    /// True when standard output is a terminal.
    pub terminal: bool,
}

impl Environment {
    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(&OsString::from(name))?.to_str().filter(|text| !text.is_empty())
    }
}

/// Runs one command; the exit code.
pub async fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    mut out: impl Write,
    mut err: impl Write,
) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let language = Language::choose(&arguments, environment);
    let done = match command::read(&arguments, language) {
        Ok(invocation) => answer(&invocation, environment, &mut out, &mut err).await,
        Err(stop) => {
            let told = match &stop.text {
                Ok(text) => out.write_all(text.as_bytes()),
                Err(text) => err.write_all(text.as_bytes()),
            };
            return told.map_or(COULD_NOT_ANSWER, |()| stop.code);
        }
    };
    let flushed = out.flush();
    match (done, flushed) {
        (Ok(code), Ok(())) => code,
        (Err(failure), _) => {
            let text = failure.text(language);
            // Nothing is left to do when even this can not be written.
            let _ = err.write_all(text.as_bytes());
            failure.code()
        }
        // A reader that has seen enough, such as `head`, is no failure.
        (Ok(code), Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => code,
        (Ok(_), Err(_)) => COULD_NOT_ANSWER,
    }
}

async fn answer(
    invocation: &Invocation,
    environment: &Environment,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Result<u8, Failure> {
    if let View::Completions(shell) = invocation.view {
        let mut script = Vec::new();
        command::completions(shell, &mut script);
        return put(out, &script).map(|()| ALL_WELL);
    }
    let zone = invocation.zone(environment)?;
    let client = Client::new(invocation, environment)?;
    if client.is_exposed() {
        let warning = invocation.language.pick(
            "vigie : attention, le jeton passe en clair sur le réseau vers",
            "vigie: warning, the token crosses the network in clear to",
        );
        put(err, format!("{warning} {}\n", client.server()).as_bytes())?;
    }
    let answer = ask(&client, invocation).await?;
    let shown = show::show(invocation, &answer, zone)?;
    write(invocation, environment, &answer, &shown, out, err)?;
    Ok(shown.code)
}

/// Asks; what is not named by its whole id is looked up first.
async fn ask(client: &Client, invocation: &Invocation) -> Result<Answer, Failure> {
    let mut request = invocation.request()?;
    match &request.look_up {
        Some(LookUp::Series(query)) => {
            let found = Request::get("/series", query.clone());
            let found = client.ask(&found, Output::Table).await?;
            let id = document::only_series(&found.body)?;
            request.path = format!("/series/{id}/samples");
        }
        Some(LookUp::Agent(start)) => {
            let all = Request::get("/agents", vec![("limit", command::TABLE_ROWS.to_owned())]);
            let all = client.ask(&all, Output::Table).await?;
            let id = document::only_agent(&all.body, start)?;
            request.path = format!("/agents/{id}/revoke");
        }
        None => {}
    }
    pages::ask(client, &request, invocation.output).await
}

fn write(
    invocation: &Invocation,
    environment: &Environment,
    answer: &Answer,
    shown: &Shown,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Result<(), Failure> {
    match invocation.output {
        Output::Table => {
            let colour = environment.terminal && environment.get("NO_COLOR").is_none();
            put(out, shown.text(colour).as_bytes())
        }
        Output::Json => {
            let mut body = safe(&answer.body, environment.terminal);
            body.push('\n');
            put(out, body.as_bytes())
        }
        Output::Csv => {
            put(out, safe(&answer.body, environment.terminal).as_bytes())?;
            let coverage = answer.coverage.as_deref().unwrap_or_default();
            put(err, format!("{}\n", terminal::escape(coverage)).as_bytes())?;
            let more = answer.next.as_ref().map_or("", |_| show::more(invocation.language));
            put(err, more.as_bytes())
        }
    }
}

/// A document for a file or a pipe is as it came; on a terminal its controls are shown.
fn safe(body: &str, terminal: bool) -> String {
    if terminal { terminal::escape_lines(body) } else { body.to_owned() }
}

fn put(to: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    match to.write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Write(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
