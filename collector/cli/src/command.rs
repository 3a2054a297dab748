//! What can be typed: `noun verb`, the same words in both languages, explained in the reader's.

mod words;

use std::{
    ffi::OsString,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, error::ErrorKind};
use clap_complete::Shell;
use http::Method;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::{
    ALL_WELL, BAD_QUESTION, Environment,
    client::{LookUp, Request, segment},
    failure::Failure,
    language::Language,
};

/// Rows that a table asks for: all that one answer can have.
pub(crate) const TABLE_ROWS: &str = "10000";
/// Largest file that is sent, bytes; the collector's own limit says more.
const MAX_UPLOAD_BYTES: u64 = 11 << 20;
/// Longest file with an SNMP community, bytes.
const MAX_COMMUNITY_BYTES: u64 = 1 << 10;
/// Hexadecimal digits of an agent's whole id.
const AGENT_ID_DIGITS: usize = 32;
/// Zone of times in tables unless `--timezone` or `TZ` says otherwise.
const TIME_ZONE: &str = "Europe/Paris";

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Table,
    Json,
    Csv,
}

/// Which document the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Status,
    Sites,
    Site,
    SiteAdded,
    Devices,
    Topology,
    DeviceConfirmed,
    Imported,
    Enrolment,
    Agents,
    Revoked,
    Contractors,
    ContractorSet,
    Targets,
    TargetAdded,
    TargetRemoved,
    Series,
    Samples,
    Ranking,
    Incidents,
    Completions(Shell),
}

/// One command, read.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) language: Language,
    pub(crate) output: Output,
    pub(crate) server: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    time_zone: Option<String>,
    pub(crate) view: View,
    request: Request,
    upload: Option<PathBuf>,
    community: Option<PathBuf>,
}

/// Why nothing is asked: help and version go to standard output, faults to standard error.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) code: u8,
    pub(crate) text: Result<String, String>,
}

/// Reads the command line.
pub(crate) fn read(arguments: &[OsString], language: Language) -> Result<Invocation, Stop> {
    let mut command = words::command(language);
    let matches =
        command.try_get_matches_from_mut(arguments).map_err(|error| stop(&error, language))?;
    let mut path = Vec::new();
    let mut leaf = &matches;
    while let Some((name, below)) = leaf.subcommand() {
        path.push(name);
        leaf = below;
    }
    let mut invocation = Invocation {
        language,
        output: if leaf.get_flag("json") {
            Output::Json
        } else if leaf.get_flag("csv") {
            Output::Csv
        } else {
            Output::Table
        },
        server: text(leaf, "server"),
        token_file: leaf.get_one::<PathBuf>("token-file").cloned(),
        time_zone: text(leaf, "timezone"),
        view: View::Status,
        request: Request::get("/status", Vec::new()),
        upload: None,
        community: None,
    };
    fill(&mut invocation, &path, leaf);
    Ok(invocation)
}

fn stop(error: &clap::Error, language: Language) -> Stop {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        Stop { code: ALL_WELL, text: Ok(error.to_string()) }
    } else {
        Stop { code: BAD_QUESTION, text: Err(words::fault(error, language)) }
    }
}

/// Writes the completion script of a shell.
pub(crate) fn completions(shell: Shell, into: &mut Vec<u8>) {
    clap_complete::generate(shell, &mut words::command(Language::French), "vigie", into);
}

fn text(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.try_get_one::<String>(name).ok().flatten().cloned()
}

/// The keys of a question, for the arguments of the same name that were given.
fn keys(matches: &ArgMatches, names: &[&'static str]) -> Vec<(&'static str, String)> {
    names.iter().filter_map(|name| Some((*name, text(matches, name)?))).collect()
}

/// A list, in as many pages as its limit takes.
fn list(path: impl Into<String>, matches: &ArgMatches, names: &[&'static str]) -> Request {
    let mut keys = keys(matches, names);
    let limit = text(matches, "limit").unwrap_or_else(|| TABLE_ROWS.to_owned());
    // One that is no number is for the collector to refuse.
    let rows = limit.parse().ok();
    keys.push(("limit", limit));
    Request { rows, ..Request::get(path, keys) }
}

/// A JSON body of the arguments that were given: `(member, argument)`.
fn body(matches: &ArgMatches, members: &[(&str, &str)]) -> Map<String, Value> {
    members
        .iter()
        .filter_map(|(member, argument)| {
            Some(((*member).to_owned(), Value::from(text(matches, argument)?)))
        })
        .collect()
}

/// A member as a number, when it is one; the collector tells what is wrong with it otherwise.
fn numbers(body: &mut Map<String, Value>, members: &[&str]) {
    for member in members {
        if let Some(value) = body.get_mut(*member)
            && let Some(number) = value.as_str().and_then(|text| serde_json::from_str(text).ok())
        {
            *value = Value::Number(number);
        }
    }
}

/// A site as typed.
fn new_site(leaf: &ArgMatches) -> Map<String, Value> {
    let mut site = body(
        leaf,
        &[
            ("uai", "UAI"),
            ("name", "name"),
            ("type", "type"),
            ("zone", "zone"),
            ("pupils", "pupils"),
            ("lot", "lot"),
            ("address", "address"),
            ("latitude", "lat"),
            ("longitude", "lon"),
        ],
    );
    numbers(&mut site, &["pupils", "latitude", "longitude"]);
    site
}

/// The samples of a series, named by its id or by what finds it.
fn samples(leaf: &ArgMatches) -> Request {
    let query = keys(leaf, &["from", "to", "step", "aggregate"]);
    if let Some(id) = text(leaf, "ID") {
        return Request::get(format!("/series/{}/samples", segment(&id)), query);
    }
    let look_up = LookUp::Series(keys(leaf, &["uai", "metric", "target", "label"]));
    Request { look_up: Some(look_up), ..Request::get(String::new(), query) }
}

fn fill(invocation: &mut Invocation, path: &[&str], leaf: &ArgMatches) {
    let uai = || segment(&text(leaf, "UAI").unwrap_or_default());
    let (view, request) = match path {
        ["sites"] => (View::Sites, list("/sites", leaf, &["state", "lot"])),
        ["site", "show"] => (View::Site, Request::get(format!("/sites/{}", uai()), Vec::new())),
        ["site", "devices"] => {
            (View::Devices, Request::get(format!("/sites/{}/devices", uai()), Vec::new()))
        }
        ["site", "topology"] => {
            (View::Topology, Request::get(format!("/sites/{}/topology", uai()), Vec::new()))
        }
        ["site", "confirm"] => {
            let no = segment(&text(leaf, "NO").unwrap_or_default());
            let path = format!("/sites/{}/devices/{no}/confirm", uai());
            (View::DeviceConfirmed, Request { method: Method::POST, path, ..Request::default() })
        }
        ["site", "add"] => {
            let site = new_site(leaf).into();
            (View::SiteAdded, Request::json(Method::POST, "/sites", &site))
        }
        ["site", "import"] => {
            invocation.upload = leaf.get_one::<PathBuf>("FILE").cloned();
            let query = vec![("dry_run", leaf.get_flag("dry-run").to_string())];
            let request = Request::get("/sites/import", query);
            (View::Imported, Request { method: Method::POST, ..request })
        }
        ["agent", "token"] => {
            let path = format!("/sites/{}/tokens", uai());
            (View::Enrolment, Request { method: Method::POST, path, ..Request::default() })
        }
        ["agent", "revoke"] => {
            let id = text(leaf, "ID").unwrap_or_default();
            let path = format!("/agents/{}/revoke", segment(&id));
            let look_up = (id.len() < AGENT_ID_DIGITS).then_some(LookUp::Agent(id));
            (View::Revoked, Request { method: Method::POST, path, look_up, ..Request::default() })
        }
        ["agents"] => (View::Agents, list("/agents", leaf, &["uai"])),
        ["contractor", "set"] => {
            let body = body(leaf, &[("lot", "LOT"), ("name", "name"), ("email", "email")]);
            (View::ContractorSet, Request::json(Method::PUT, "/contractors", &body.into()))
        }
        ["contractors"] => (View::Contractors, Request::get("/contractors", Vec::new())),
        ["target", "add"] => {
            invocation.community = leaf.get_one::<PathBuf>("community-file").cloned();
            let mut body = body(
                leaf,
                &[
                    ("method", "METHOD"),
                    ("address", "ADDRESS"),
                    ("name", "name"),
                    ("role", "role"),
                    ("parent", "parent"),
                    ("query_name", "query-name"),
                    ("period_s", "period"),
                ],
            );
            numbers(&mut body, &["parent", "period_s"]);
            let path = format!("/sites/{}/targets", uai());
            (View::TargetAdded, Request::json(Method::POST, path, &body.into()))
        }
        ["target", "remove"] => {
            let id = segment(&text(leaf, "ID").unwrap_or_default());
            let path = format!("/sites/{}/targets/{id}", uai());
            let request = Request { method: Method::DELETE, path, ..Request::default() };
            (View::TargetRemoved, request)
        }
        ["targets"] => {
            let path = format!("/sites/{}/targets", uai());
            (View::Targets, list(path, leaf, &[]))
        }
        ["series", "list"] => {
            (View::Series, list("/series", leaf, &["uai", "metric", "target", "label"]))
        }
        ["series", "get"] => (View::Samples, samples(leaf)),
        ["top"] => {
            let names = ["metric", "uai", "target", "label", "p", "from", "to", "limit"];
            (View::Ranking, Request::get("/percentiles", keys(leaf, &names)))
        }
        ["incidents"] => {
            let mut request = list("/incidents", leaf, &["uai"]);
            if leaf.get_flag("open") {
                request.query.push(("open", "true".to_owned()));
            }
            (View::Incidents, request)
        }
        ["completions"] => {
            let shell = leaf.get_one::<Shell>("SHELL").copied().unwrap_or(Shell::Bash);
            (View::Completions(shell), Request::default())
        }
        // `status`, and nothing else: every other command stands above.
        _ => (View::Status, Request::get("/status", Vec::new())),
    };
    invocation.view = view;
    invocation.request = request;
}

impl Invocation {
    /// What to ask, with the files that the command names.
    pub(crate) fn request(&self) -> Result<Request, Failure> {
        let mut request = self.request.clone();
        if let Some(path) = &self.upload {
            request.body = Some(("text/csv", read_file(path, MAX_UPLOAD_BYTES)?));
        }
        if let (Some(path), Some((_, bytes))) = (&self.community, &mut request.body) {
            let community = read_file(path, MAX_COMMUNITY_BYTES)?;
            let community = String::from_utf8_lossy(&community).trim_end().to_owned();
            let mut body: Value =
                serde_json::from_slice(bytes).map_err(|error| Failure::Senseless(error.into()))?;
            body["community"] = json!(community);
            *bytes = body.to_string().into_bytes();
        }
        Ok(request)
    }

    /// Zone of the times in tables.
    pub(crate) fn zone(&self, environment: &Environment) -> Result<TimeZone, Failure> {
        if let Some(name) = &self.time_zone {
            return TimeZone::get(name).map_err(|_| Failure::TimeZone(name.clone()));
        }
        // `TZ` is for all programs, so one that we can not read is no fault of this command.
        let name = environment.get("TZ").map(|name| name.trim_start_matches(':'));
        name.and_then(|name| TimeZone::get(name).ok())
            .map_or_else(|| TimeZone::get(TIME_ZONE), Ok)
            .map_err(|_| Failure::TimeZone(TIME_ZONE.to_owned()))
    }
}

fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let fail = |source| Failure::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(fail)?.take(limit).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Invocation, Stop> {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        read(&arguments, Language::French)
    }

    fn asked(line: &str) -> String {
        let request = typed(line).unwrap().request().unwrap();
        let body = request.body.map(|(_, bytes)| String::from_utf8(bytes).unwrap());
        let query: Vec<_> =
            request.query.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!(
            "{} {}?{} {}",
            request.method,
            request.path,
            query.join("&"),
            body.unwrap_or_default()
        )
    }

    #[test]
    fn the_definition_is_sound_in_both_languages() {
        words::command(Language::French).debug_assert();
        words::command(Language::English).debug_assert();
    }

    #[test]
    fn commands_become_requests() {
        for (line, expected) in [
            ("vigie status", "GET /status? "),
            ("vigie sites --state down", "GET /sites?state=down&limit=10000 "),
            ("vigie site show 0999001w", "GET /sites/0999001w? "),
            ("vigie site show ../x", "GET /sites/..%2Fx? "),
            ("vigie site devices 0999001W", "GET /sites/0999001W/devices? "),
            ("vigie site topology 0999001W", "GET /sites/0999001W/topology? "),
            ("vigie site confirm 0999001W 7", "POST /sites/0999001W/devices/7/confirm? "),
            (
                "vigie site add 0999001W --name X --type college --zone A --pupils 612 --lat -1.5 --lon 2",
                r#"POST /sites? {"latitude":-1.5,"longitude":2,"name":"X","pupils":612,"type":"college","uai":"0999001W","zone":"A"}"#,
            ),
            ("vigie agent token 0999001W", "POST /sites/0999001W/tokens? "),
            ("vigie agents --uai 0999001W --limit 5", "GET /agents?uai=0999001W&limit=5 "),
            ("vigie agent revoke abc", "POST /agents/abc/revoke? "),
            (
                "vigie contractor set 2 --name N --email a@b.fr",
                r#"PUT /contractors? {"email":"a@b.fr","lot":"2","name":"N"}"#,
            ),
            (
                "vigie target add 0999001W icmp 192.0.2.1 --role reference --period 10",
                r#"POST /sites/0999001W/targets? {"address":"192.0.2.1","method":"icmp","period_s":10,"role":"reference"}"#,
            ),
            ("vigie target remove 0999001W 12", "DELETE /sites/0999001W/targets/12? "),
            ("vigie target remove 0999001W ../x", "DELETE /sites/0999001W/targets/..%2Fx? "),
            (
                "vigie series get 7 --from -24h --step 1h",
                "GET /series/7/samples?from=-24h&step=1h ",
            ),
            (
                "vigie top --metric if_hc_in_octets --p 0.95",
                "GET /percentiles?metric=if_hc_in_octets&p=0.95 ",
            ),
            ("vigie incidents --open", "GET /incidents?limit=10000&open=true "),
        ] {
            assert_eq!(asked(line), expected, "{line}");
        }
        let looked_up = typed("vigie series get --uai U --metric icmp_loss --json").unwrap();
        assert_eq!(looked_up.output, Output::Json);
        let expected = [("uai", "U".to_owned()), ("metric", "icmp_loss".to_owned())];
        assert!(
            matches!(looked_up.request.look_up, Some(LookUp::Series(query)) if query == expected)
        );
        let agent = typed("vigie agent revoke 00ff").unwrap().request.look_up;
        assert!(matches!(agent, Some(LookUp::Agent(prefix)) if prefix == "00ff"));
        let whole = format!("vigie agent revoke {}", "0".repeat(AGENT_ID_DIGITS));
        assert!(typed(&whole).unwrap().request.look_up.is_none());
    }

    #[test]
    fn an_snmp_community_comes_from_a_file_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("community");
        std::fs::write(&path, "s3cret\n").unwrap();
        let line =
            format!("vigie target add 0999001W snmp 192.0.2.2 --community-file {}", path.display());
        assert!(asked(&line).contains(r#""community":"s3cret""#));
        assert!(typed("vigie target add 0999001W snmp 192.0.2.2 --community s3cret").is_err());
    }

    #[test]
    fn faults_of_the_command_say_how_to_go_on() {
        let told = |line, language| {
            let arguments: Vec<OsString> = str::split(line, ' ').map(OsString::from).collect();
            let stop = read(&arguments, language).unwrap_err();
            assert_eq!(stop.code, BAD_QUESTION);
            stop.text.unwrap_err()
        };
        let french = |line| told(line, Language::French);
        insta::assert_snapshot!(french("vigie stauts"));
        insta::assert_snapshot!(french("vigie sites --stat up"));
        insta::assert_snapshot!(french("vigie site show"));
        insta::assert_snapshot!(french("vigie target add 0999001W ssh host"));
        insta::assert_snapshot!(french("vigie"));
        insta::assert_snapshot!(told("vigie sites --stat up", Language::English));
    }

    #[test]
    fn help_is_in_the_readers_language() {
        let help = |line| typed(line).unwrap_err().text.unwrap();
        insta::assert_snapshot!(help("vigie --help"));
        insta::assert_snapshot!(help("vigie series get --help"));
    }
}
