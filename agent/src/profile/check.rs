//! What is wrong with a set of profiles: everything that can be known without a device.
//!
//! Also compiled into the build script, which refuses to build with a fault.

// Named, because the build script reads this file from elsewhere.
#[path = "check/rules.rs"]
mod rules;
#[cfg(test)]
#[path = "check/tests.rs"]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use serde::Deserialize as _;
use toml::de::{DeTable, DeValue};

use super::{
    heads,
    model::{Match, Profile, States},
    packed::{Condition, Head},
    pattern::Pattern,
    syntax::{self, Arcs, Joined, Piece, Reference, Row},
    uses::{self, Step, Use},
};

/// The file whose names every other file has.
pub const STANDARD: &str = "standard";
/// The profile of devices that no other is for.
pub const GENERIC: &str = "generic";
/// Longest name of a file, without `.toml`.
const MAX_NAME: usize = 64;

/// One thing wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What would be right; may be empty.
    pub hint: String,
}

impl Fault {
    /// One line: file, line and column from 1, what is wrong, what would be right.
    #[must_use]
    pub fn line(&self, path: &str, text: &str) -> String {
        let before = &text[..text.floor_char_boundary(self.span.start)];
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let (line, column) =
            (before.matches('\n').count() + 1, before[start..].chars().count() + 1);
        let hint = if self.hint.is_empty() { String::new() } else { format!(" ({})", self.hint) };
        format!("{path}:{line}:{column}: {}{hint}", self.message)
    }
}

/// A file that was read.
#[derive(Debug, Clone)]
pub struct File {
    /// As it is on the disk.
    pub text: String,
    /// What it says.
    pub profile: Profile,
}

/// By name, without `.toml`.
pub type Files = BTreeMap<String, File>;

/// Reads a file. On failure, all faults that can be told apart, in the text's order.
pub fn parse(text: String) -> Result<File, Vec<Fault>> {
    let (table, errors) = DeTable::parse_recoverable(&text);
    if !errors.is_empty() {
        return Err(errors.iter().map(|error| unreadable(&text, error)).collect());
    }
    match Profile::deserialize(toml::Deserializer::from(table)) {
        Ok(profile) => Ok(File { text, profile }),
        Err(error) => Err(vec![unreadable(&text, &error)]),
    }
}

fn unreadable(text: &str, error: &toml::de::Error) -> Fault {
    let end = text.len();
    let span = error.span().map_or(end..end, |span| span.start.min(end)..span.end.min(end));
    // The parser's message may go on with the alternatives, on lines of their own.
    let mut lines = error.message().lines();
    let message = lines.next().unwrap_or_default().to_owned();
    Fault { span, message, hint: lines.collect::<Vec<_>>().join("; ") }
}

/// The file and those that it inherits, heirs first; what is missing or goes round is left out.
#[must_use]
pub fn chain<'f>(files: &'f Files, name: &'f str) -> Vec<&'f str> {
    let mut chain: Vec<&str> = Vec::new();
    let mut waiting = vec![name];
    while let Some(name) = waiting.pop() {
        if let Some(file) = files.get(name).filter(|_| !chain.contains(&name)) {
            chain.push(name);
            waiting.extend(file.profile.inherits.iter().rev().map(String::as_str));
        }
    }
    chain
}

/// All that is wrong, by file, in the order of its text.
#[must_use]
pub fn check(files: &Files) -> Vec<(String, Fault)> {
    let used: BTreeMap<&str, BTreeSet<String>> =
        files.iter().map(|(name, file)| (name.as_str(), names_used(&file.profile))).collect();
    // What can not be read is told where it stands.
    let heads: Vec<Head> = files.keys().filter_map(|name| heads::head(files, name).ok()).collect();
    let mut faults = Vec::new();
    for (name, file) in files {
        let chain = chain(files, name);
        let mut checker = Checker { files, name, file, chain, heads: &heads, faults: vec![] };
        checker.file();
        checker.inheritance();
        checker.objects(&used);
        checker.tables();
        checker.uses();
        checker.conditions();
        let names = checker.names();
        let resolve = |name: &str| names.get(name).cloned();
        for (path, message, hint) in rules::faults(&file.profile, &resolve) {
            checker.fault(&path, message, hint);
        }
        checker.faults.sort_by_key(|fault| fault.span.start);
        faults.extend(checker.faults.into_iter().map(|fault| (name.clone(), fault)));
    }
    faults
}

/// Names of objects that a profile refers to.
fn names_used(profile: &Profile) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    uses::each(profile, &mut |_, what| match what {
        Use::Reference(text) | Use::Existence(text) | Use::First(text) => {
            names.extend(syntax::names_in(text).map(str::to_owned));
        }
        Use::Text(text) | Use::Term(text) => {
            let parts = text.split(['{', '}', '|']);
            names.extend(parts.flat_map(syntax::names_in).map(str::to_owned));
        }
        Use::Pattern(_) | Use::Format(_) | Use::Map(_) | Use::States(_) | Use::Oid(_) => {}
    });
    names
}

struct Checker<'f> {
    files: &'f Files,
    name: &'f str,
    file: &'f File,
    chain: Vec<&'f str>,
    heads: &'f [Head],
    faults: Vec<Fault>,
}

impl<'f> Checker<'f> {
    fn fault(&mut self, path: &[Step<'_>], message: impl Into<String>, hint: impl Into<String>) {
        let span = locate(&self.file.text, path, None);
        self.faults.push(Fault { span, message: message.into(), hint: hint.into() });
    }

    fn fault_of(&mut self, path: &[Step<'_>], text: &str, message: String, hint: &str) {
        let span = locate(&self.file.text, path, Some(text));
        self.faults.push(Fault { span, message, hint: hint.to_owned() });
    }

    fn is_heir_of(&self, heir: &str, ancestor: &str) -> bool {
        chain(self.files, heir).contains(&ancestor)
    }

    fn file(&mut self) {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.name.is_empty() || self.name.len() > MAX_NAME || !self.name.bytes().all(letters) {
            let hint = "lower-case letters, digits and dashes";
            self.fault(&[], format!("{:?} cannot name a profile", self.name), hint);
        }
        let found = |files: &Files| {
            files.values().any(|file| file.profile.inherits.iter().any(|name| name == self.name))
        };
        let special = [STANDARD, GENERIC].contains(&self.name);
        if !special && self.file.profile.r#match.is_empty() && !found(self.files) {
            let hint = "give it a [[match]], or inherit it in a file that has one";
            self.fault(&[], "no device gets this profile", hint);
        }
    }

    fn inheritance(&mut self) {
        for (at, parent) in self.file.profile.inherits.iter().enumerate() {
            let path = [Step::Key("inherits"), Step::Item(at)];
            if !self.files.contains_key(parent) {
                self.fault(&path, format!("there is no profile {parent:?}"), "");
            } else if self.is_heir_of(parent, self.name) {
                self.fault(&path, format!("{parent:?} inherits this file itself"), "");
            }
        }
    }

    /// The names that count in this file: its own before those that it inherits.
    fn names(&self) -> BTreeMap<&'f str, Arcs> {
        let mut names = BTreeMap::new();
        for name in self.chain.iter().copied().chain([STANDARD]) {
            for (object, oid) in self.files.get(name).iter().flat_map(|file| &file.profile.objects)
            {
                if let Ok(oid) = syntax::oid(oid) {
                    names.entry(object.as_str()).or_insert(oid);
                }
            }
        }
        names
    }

    fn objects(&mut self, used: &BTreeMap<&str, BTreeSet<String>>) {
        let is_standard = self.name == STANDARD;
        for (object, oid) in &self.file.profile.objects {
            let path = [Step::Key("objects"), Step::Key(object)];
            if !syntax::is_name(object) || object == "index" {
                let hint = "letters, digits, - and _, a letter first; not \"index\"";
                self.fault(&path, format!("{object:?} cannot name an object"), hint);
            }
            match syntax::oid(oid) {
                Err(error) => self.fault(&path, error.to_string(), "numbers with dots between"),
                Ok(arcs) if arcs.ends_with(&[0]) => {
                    let hint = format!("name the object, and write {object}.0 where it is read");
                    self.fault(&path, "this is an instance, not an object", hint);
                }
                Ok(_) => {}
            }
            // Of this file, of an heir, or of a rule that is inherited and reads it by this name.
            let is_used = used.iter().any(|(other, names)| {
                names.contains(object)
                    && (self.chain.contains(other) || self.is_heir_of(other, self.name))
            });
            if !is_standard && !is_used {
                self.fault(&path, format!("{object} is not used"), "");
            }
        }
        self.siblings();
    }

    /// Two files that are inherited both, of which neither inherits the other, must not differ.
    fn siblings(&mut self) {
        let mut seen: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
        for ancestor in self.chain.clone().into_iter().skip(1) {
            let Some(file) = self.files.get(ancestor) else { continue };
            for (object, oid) in &file.profile.objects {
                let (first, other) = *seen.entry(object).or_insert((ancestor, oid));
                let differ = syntax::oid(other) != syntax::oid(oid);
                let own = self.file.profile.objects.contains_key(object);
                if differ && !own && !self.is_heir_of(first, ancestor) {
                    let message = format!("{object} differs between {first} and {ancestor}");
                    self.fault(&[Step::Key("inherits")], message, "give it here");
                }
            }
        }
    }

    /// States and maps are used, and a raw value has one meaning.
    fn tables(&mut self) {
        let mut used = BTreeSet::new();
        for (other, file) in self.files {
            if self.chain.contains(&other.as_str()) || self.is_heir_of(other, self.name) {
                uses::each(&file.profile, &mut |_, what| {
                    let _ = match what {
                        Use::Map(map) => used.insert(("maps", map.to_owned())),
                        Use::States(states) => used.insert(("states", states.to_owned())),
                        Use::Text(text) | Use::Term(text) => {
                            for part in text.split('}') {
                                if let Some((_, map)) = part.split_once('|') {
                                    used.insert(("maps", map.to_owned()));
                                }
                            }
                            true
                        }
                        Use::Reference(_)
                        | Use::Existence(_)
                        | Use::First(_)
                        | Use::Pattern(_)
                        | Use::Format(_)
                        | Use::Oid(_) => true,
                    };
                });
            }
        }
        let profile = &self.file.profile;
        let maps = profile.maps.keys().map(|name| ("maps", name));
        for (table, name) in maps.chain(profile.states.keys().map(|name| ("states", name))) {
            if !used.contains(&(table, name.clone())) {
                self.fault(&[Step::Key(table), Step::Key(name)], format!("{name} is not used"), "");
            }
        }
        for (name, states) in &profile.states {
            let mut seen = BTreeSet::new();
            let States { unknown, critical, warning, ok } = states;
            for raw in [unknown, critical, warning, ok].into_iter().flat_map(BTreeMap::keys) {
                if !seen.insert(raw) {
                    let path = [Step::Key("states"), Step::Key(name)];
                    self.fault(&path, format!("{raw:?} has two meanings"), "");
                }
            }
        }
    }

    fn has_table(&self, has: impl Fn(&Profile) -> bool) -> bool {
        self.chain.iter().any(|name| self.files.get(*name).is_some_and(|file| has(&file.profile)))
    }

    fn uses(&mut self) {
        let names = self.names();
        let resolve = |name: &str| names.get(name).cloned();
        let profile = &self.file.profile;
        uses::each(profile, &mut |path, what| match what {
            Use::Reference(text) => {
                if let Err(error) = syntax::reference(text, &resolve) {
                    self.fault_of(path, text, error.to_string(), "");
                }
            }
            Use::Existence(text) | Use::First(text) => match syntax::reference(text, &resolve) {
                Err(error) => self.fault_of(path, text, error.to_string(), ""),
                Ok(Reference::Column(_, Row::Same)) => {}
                Ok(Reference::Column(_, Row::Fixed(index))) if *index == [0] => {}
                Ok(_) => {
                    let message = format!("{text:?} is not a scalar or a column");
                    self.fault_of(path, text, message, "there is no row that it could go by");
                }
            },
            Use::Text(text) => self.text(path, text, syntax::is_stray_name(text), &resolve),
            Use::Term(text) => self.text(path, text, false, &resolve),
            Use::Pattern(pattern) => {
                if let Err(error) = Pattern::new(pattern) {
                    self.fault_of(path, pattern, error.to_string(), &error.reason());
                }
            }
            Use::Format(format) => match syntax::format(format) {
                Err(error) => self.fault_of(path, format, error.to_string(), ""),
                Ok(parts) if !parts.iter().any(|part| matches!(part, Joined::Group(_))) => {
                    self.fault_of(path, format, "the format joins no group".to_owned(), "");
                }
                Ok(_) => {}
            },
            Use::Map(map) => {
                if !self.has_table(|profile| profile.maps.contains_key(map)) {
                    self.fault_of(path, map, format!("there is no [maps.{map}]"), "");
                }
            }
            Use::States(states) => {
                if !self.has_table(|profile| profile.states.contains_key(states)) {
                    self.fault_of(path, states, format!("there is no [states.{states}]"), "");
                }
            }
            Use::Oid(oid) => {
                if let Err(error) = syntax::oid(oid) {
                    self.fault_of(path, oid, error.to_string(), "");
                }
            }
        });
    }

    fn text(
        &mut self,
        path: &[Step<'_>],
        text: &str,
        looks_stray: bool,
        resolve: &dyn Fn(&str) -> Option<Arcs>,
    ) {
        let pieces = match syntax::text(text, resolve) {
            Err(error) => return self.fault_of(path, text, error.to_string(), ""),
            Ok(pieces) => pieces,
        };
        if let [Piece::Literal(literal)] = &*pieces
            && looks_stray
        {
            let message = format!("{literal:?} is not a name in [objects]");
            self.fault_of(path, text, message, "a text for people has a space or a capital");
        }
        for piece in &pieces {
            if let Piece::Value { map: Some(map), .. } = piece
                && !self.has_table(|profile| profile.maps.contains_key(map))
            {
                self.fault_of(path, text, format!("there is no [maps.{map}]"), "");
            }
        }
    }

    /// A condition says something, and is of one file only.
    fn conditions(&mut self) {
        for (at, condition) in self.file.profile.r#match.iter().enumerate() {
            let path = [Step::Key("match"), Step::Item(at)];
            let Match { sys_object_id, sys_descr, not_sys_descr: _, has, value } = condition;
            if sys_object_id.is_empty() && sys_descr.is_none() && has.is_empty() && value.is_empty()
            {
                self.fault(&path, "nearly every device would match", "say what only these have");
            }
            // Of two files the one that comes first by name is told.
            let heads = self.heads;
            let own = heads.iter().find(|head| head.name == self.name);
            let Some(own) = own.and_then(|head| head.conditions.get(at)) else { continue };
            let double = heads.iter().find(|other| {
                *other.name > *self.name
                    && other.conditions.iter().any(|other| is_shadowed(own, other))
            });
            if let Some(Head { name, .. }) = double {
                let hint = "say what tells their devices apart";
                self.fault(&path, format!("{name:?} matches the same devices"), hint);
            }
        }
    }
}

/// Whether the same devices match both, and nothing says which of them counts.
fn is_shadowed(one: &Condition, other: &Condition) -> bool {
    let common = one.families.iter().any(|family| other.families.contains(family));
    let without = one.families.is_empty() && other.families.is_empty();
    (common || without)
        && one.sys_descr == other.sys_descr
        && one.not_sys_descr == other.not_sys_descr
        && one.has == other.has
        && one.values == other.values
}

/// Where `path` leads in `text`: to `exact` there, where that stands in a list or is a key.
fn locate(text: &str, path: &[Step<'_>], exact: Option<&str>) -> Range<usize> {
    let nowhere = 0..text.len().min(1);
    let Ok(table) = DeTable::parse(text) else { return nowhere };
    let mut span = nowhere;
    let mut value: Option<&DeValue<'_>> = None;
    for (at, step) in path.iter().enumerate() {
        let next = match (step, value) {
            (Step::Key(key), None) => table.get_ref().get_key_value(*key),
            (Step::Key(key), Some(DeValue::Table(table))) => table.get_key_value(*key),
            (Step::Item(at), Some(DeValue::Array(items))) => match items.get(*at) {
                Some(item) => {
                    (span, value) = (item.span(), Some(item.get_ref()));
                    continue;
                }
                None => return span,
            },
            _ => return span,
        };
        let Some((key, inner)) = next else { return span };
        let is_last = at + 1 == path.len();
        // The value of a key that is a reference is not what is wrong with the reference.
        let is_key = exact.is_some_and(|exact| key.get_ref() == exact);
        span = if is_last && is_key { key.span() } else { inner.span() };
        value = Some(inner.get_ref());
    }
    if let (Some(exact), Some(DeValue::Array(items))) = (exact, value) {
        let item = items
            .iter()
            .find(|item| matches!(item.get_ref(), DeValue::String(text) if text == exact));
        return item.map_or(span, toml::Spanned::span);
    }
    span
}
