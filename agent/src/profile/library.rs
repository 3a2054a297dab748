//! All profiles: those that are built in, and those of a directory.
//!
//! Texts are unpacked and read for one lookup and dropped after it: an agent asks some times a day.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{
    check::{self, Fault, Files, GENERIC, STANDARD},
    compiled::{CompileError, Compiled},
    heads,
    matching::{self, Candidates},
    model::{Profile, Standard},
    packed::{self, Head},
};
use crate::{config, snmp::Wanted};

#[cfg(test)]
mod tests;

static HEADS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/heads.zst"));
static HEADS_LEN: &str = include_str!(concat!(env!("OUT_DIR"), "/heads.len"));
static TEXTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/texts.zst"));
static TEXTS_LEN: &str = include_str!(concat!(env!("OUT_DIR"), "/texts.len"));

/// Most files of a directory.
pub const MAX_FILES: usize = 1024;
/// Largest file, in bytes.
pub const MAX_FILE_BYTES: u64 = 256 << 10;

/// All profiles that can be had.
#[derive(Debug)]
pub struct Library {
    heads: Vec<Head>,
    /// Texts that are not built in, by name.
    own: BTreeMap<String, String>,
}

/// Why there is no library, or no profile of it.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The built-in profiles are not what was built in.
    #[error("cannot unpack the built-in profiles")]
    Unpack(#[source] io::Error),
    /// A directory or a file gave no text.
    #[error("cannot read profiles from {}", path.display())]
    Read {
        /// The directory or file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Files of a directory are wrong; a report for people, whose lines end.
    #[error("{0}")]
    Faulty(String),
    /// No file has this name.
    #[error("there is no profile {0:?}")]
    Unknown(String),
    /// A profile can not be used.
    #[error("cannot use the profile {name:?}")]
    Profile {
        /// Its name.
        name: String,
        /// What is wrong with it.
        source: CompileError,
    },
}

/// What a check of a directory found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Files that were read.
    pub files: usize,
    /// Things that are wrong with them, or with built-in ones beside them.
    pub faults: usize,
    /// The faults, for people: file, line, caret, reason. Empty without faults.
    pub report: String,
}

impl Library {
    /// The built-in profiles.
    pub fn built_in() -> Result<Self, LibraryError> {
        let unreadable = || io::Error::from(io::ErrorKind::InvalidData);
        let text = unpack(HEADS, HEADS_LEN).map_err(LibraryError::Unpack)?;
        let heads = packed::unpack(&text).ok_or_else(|| LibraryError::Unpack(unreadable()))?;
        Ok(Self { heads, own: BTreeMap::new() })
    }

    /// The built-in profiles and those of a directory; of two with one name the directory's.
    pub fn with_directory(directory: &Path) -> Result<Self, LibraryError> {
        let mut library = Self::built_in()?;
        let own = read(directory)?;
        let (files, report) = library.combined(directory, &own)?;
        if report.faults > 0 {
            return Err(LibraryError::Faulty(report.report));
        }
        // The heads of built-in profiles can change too, where they inherit from one of the directory.
        let texts: BTreeMap<String, _> =
            library.heads.drain(..).map(|head| (head.name, head.text)).collect();
        for name in files.keys() {
            let head = heads::head(&files, name);
            let mut head = head.map_err(|source| LibraryError::Profile {
                name: name.clone(),
                source: CompileError::Syntax { text: name.clone(), source },
            })?;
            head.text = texts.get(name).cloned().unwrap_or_default();
            library.heads.push(head);
        }
        library.own = own;
        Ok(library)
    }

    /// The names of all profiles, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.heads.iter().map(|head| head.name.as_str())
    }

    /// The profiles whose conditions on sysObjectID and sysDescr hold, most specific first.
    pub fn candidates(
        &self,
        sys_object_id: &[u32],
        sys_descr: &str,
    ) -> Result<Candidates, LibraryError> {
        matching::candidates(&self.heads, sys_object_id, sys_descr)
    }

    /// A profile with all that it inherits. [`GENERIC`] is there without a file too, and says nothing.
    pub fn resolve(&self, name: &str) -> Result<Resolved, LibraryError> {
        let texts = unpack(TEXTS, TEXTS_LEN).map_err(LibraryError::Unpack)?;
        let known = self.heads.iter().any(|head| head.name == name);
        let mut profile = if known || name != GENERIC {
            self.gather(name, &texts, &mut BTreeSet::new())?
        } else {
            Profile::default()
        };
        drop(texts);
        // Which devices it is for is not read from the device any more.
        profile.r#match.clear();
        Resolved::new(name, profile)
            .map_err(|source| LibraryError::Profile { name: name.to_owned(), source })
    }

    fn gather(
        &self,
        name: &str,
        texts: &str,
        seen: &mut BTreeSet<String>,
    ) -> Result<Profile, LibraryError> {
        seen.insert(name.to_owned());
        let text = self.text(name, texts).ok_or_else(|| LibraryError::Unknown(name.to_owned()))?;
        let mut profile = parsed(name, text)?;
        for parent in profile.inherits.clone() {
            // What two parents both inherit is there once.
            if !seen.contains(&parent) {
                profile.inherit(self.gather(&parent, texts, seen)?);
            }
        }
        if seen.insert(STANDARD.to_owned())
            && let Some(text) = self.text(STANDARD, texts)
        {
            profile.inherit(parsed(STANDARD, text)?);
        }
        Ok(profile)
    }

    fn text<'t>(&'t self, name: &str, texts: &'t str) -> Option<&'t str> {
        if let Some(text) = self.own.get(name) {
            return Some(text);
        }
        let head = self.heads.iter().find(|head| head.name == name)?;
        texts.get(head.text.clone())
    }

    /// Built-in files and those of `own`, and what is wrong with all of them together.
    fn combined(
        &self,
        directory: &Path,
        own: &BTreeMap<String, String>,
    ) -> Result<(Files, Checked), LibraryError> {
        let texts = unpack(TEXTS, TEXTS_LEN).map_err(LibraryError::Unpack)?;
        let mut files = Files::new();
        let mut report = Report { directory, own, out: String::new(), faults: 0 };
        let built_in = self.heads.iter().filter(|head| !own.contains_key(&head.name));
        let built_in = built_in
            .map(|head| (&head.name, texts.get(head.text.clone()).unwrap_or_default().to_owned()));
        for (name, text) in built_in.chain(own.iter().map(|(name, text)| (name, text.clone()))) {
            match check::parse(text.clone()) {
                Ok(file) => drop(files.insert(name.clone(), file)),
                Err(faults) => report.add(name, &text, &faults),
            }
        }
        if report.faults == 0 {
            for (name, fault) in check::check(&files) {
                let text = files.get(&name).map(|file| file.text.as_str()).unwrap_or_default();
                report.add(&name, text, &[fault]);
            }
        }
        let checked = Checked { files: own.len(), faults: report.faults, report: report.out };
        Ok((files, checked))
    }
}

/// Checks the files of a directory, beside the built-in ones.
pub fn check_directory(directory: &Path) -> Result<Checked, LibraryError> {
    let own = read(directory)?;
    Library::built_in()?.combined(directory, &own).map(|(_, checked)| checked)
}

struct Report<'r> {
    directory: &'r Path,
    own: &'r BTreeMap<String, String>,
    out: String,
    faults: usize,
}

impl Report<'_> {
    fn add(&mut self, name: &str, text: &str, faults: &[Fault]) {
        let path = if self.own.contains_key(name) {
            self.directory.join(format!("{name}.toml")).display().to_string()
        } else {
            format!("built-in {name}.toml")
        };
        let faults: Vec<config::Fault> = faults
            .iter()
            .map(|Fault { span, message, hint }| config::Fault {
                span: span.clone(),
                message: message.clone(),
                hint: hint.clone(),
            })
            .collect();
        self.out.push_str(&config::render(&path, text, &faults));
        self.faults += faults.len();
    }
}

fn parsed(name: &str, text: &str) -> Result<Profile, LibraryError> {
    match check::parse(text.to_owned()) {
        Ok(file) => Ok(file.profile),
        Err(faults) => {
            let messages: Vec<String> = faults.into_iter().map(|fault| fault.message).collect();
            Err(LibraryError::Faulty(format!("error: {name}.toml: {}\n", messages.join("; "))))
        }
    }
}

fn read(directory: &Path) -> Result<BTreeMap<String, String>, LibraryError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LibraryError::Read { path, source }
    };
    let refused = |path: &Path, why: String| {
        Err(LibraryError::Faulty(format!("error: {}: {why}\n", path.display())))
    };
    let mut own = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let path = entry.map_err(failed(directory))?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        if own.len() >= MAX_FILES {
            return refused(directory, format!("it has more than {MAX_FILES} profiles"));
        }
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(failed(&path))?;
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed(&path))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return refused(&path, format!("it is larger than {MAX_FILE_BYTES} bytes"));
        }
        let (Ok(text), Some(name)) =
            (String::from_utf8(bytes), path.file_stem().and_then(|stem| stem.to_str()))
        else {
            return refused(&path, "its name or its text is not UTF-8".to_owned());
        };
        own.insert(name.to_owned(), text);
    }
    Ok(own)
}

fn unpack(packed: &[u8], len: &str) -> Result<String, io::Error> {
    let len = len.parse().map_err(io::Error::other)?;
    let bytes = zstd::bulk::decompress(packed, len)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// A profile with all that it inherits, ready to be evaluated.
#[derive(Debug)]
pub struct Resolved {
    name: String,
    profile: Profile,
    compiled: Compiled,
}

impl Resolved {
    pub(super) fn new(name: &str, profile: Profile) -> Result<Self, CompileError> {
        let compiled = Compiled::new(&profile)?;
        Ok(Self { name: name.to_owned(), profile, compiled })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its rules read, each object once.
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted> {
        self.compiled.wanted()
    }

    /// Whether a reading of the standard MIBs is left out.
    #[must_use]
    pub fn is_without(&self, standard: Standard) -> bool {
        self.profile.without.contains(&standard)
    }

    pub(super) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(super) fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// What a map says of a value.
    pub(super) fn lookup(&self, map: &str, key: &str) -> Option<&str> {
        self.profile.maps.get(map)?.get(key).map(String::as_str)
    }
}
