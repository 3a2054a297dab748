//! Backups: the newest file below a directory. Names, ages and lengths are looked at, contents never;
//! which directories may be looked into is the local file's to say.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    time::SystemTime,
};

/// Entries that are looked at; beyond it the newest can not be told.
pub const MAX_ENTRIES: usize = 50_000;
/// Directories below the first: backups are kept by machine and day.
const MAX_DEPTH: usize = 4;

/// Where backups are, and what their names are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    directory: PathBuf,
    /// May have `*` and `?`.
    pattern: String,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// When the newest file was last written to.
    pub newest: SystemTime,
    /// Its length, bytes.
    pub bytes: u64,
    /// Of all files that match, bytes.
    pub total: u64,
}

/// Why nothing can be said of the backups.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The local file does not allow it.
    #[error("the local configuration does not allow to look into {}", .0.display())]
    Denied(PathBuf),
    /// More entries than are looked at.
    #[error("more than {MAX_ENTRIES} entries below {}", .0.display())]
    TooMany(PathBuf),
    /// The system does not show it.
    #[error("cannot look into {}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

impl Place {
    /// Reads an absolute path: a directory, all of whose files count, or one whose last part is a
    /// pattern. `None` when it is none, or leads back upwards.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let path = Path::new(text);
        let plain = path.components().all(|part| {
            matches!(part, Component::RootDir | Component::Normal(_))
                && !is_pattern_above(path, part)
        });
        if !path.is_absolute() || !plain || text.contains(char::is_control) {
            return None;
        }
        let last = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Some(match path.parent() {
            Some(directory) if is_pattern(last) => {
                Self { directory: directory.to_owned(), pattern: last.to_owned() }
            }
            Some(_) | None => Self { directory: path.to_owned(), pattern: "*".to_owned() },
        })
    }

    /// Looks for the files, wherever links lead but not outside `allowed`; nothing when none matches.
    /// Links below the directory are not followed. Blocks.
    pub fn look(&self, allowed: &[PathBuf]) -> Result<Option<Found>, BackupError> {
        let denied = || BackupError::Denied(self.directory.clone());
        // Denied before it is looked at, so that nobody learns what exists.
        if !allowed.iter().any(|allowed| self.directory.starts_with(allowed)) {
            return Err(denied());
        }
        let real = |path: &Path| {
            let failed = |source| BackupError::Read { path: path.to_owned(), source };
            path.canonicalize().map_err(failed)
        };
        let directory = real(&self.directory)?;
        let within = |allowed: &PathBuf| {
            allowed.canonicalize().is_ok_and(|allowed| directory.starts_with(allowed))
        };
        if !allowed.iter().any(within) {
            return Err(denied());
        }
        let mut walk = Walk { pattern: self.pattern.as_bytes(), entries: 0, found: None };
        walk.directory(&directory, 0)?;
        Ok(walk.found)
    }
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Patterns stand in the last part only.
fn is_pattern_above(path: &Path, part: Component<'_>) -> bool {
    let Component::Normal(name) = part else { return false };
    name.to_str().is_none_or(|name| is_pattern(name) && path.file_name() != Some(name.as_ref()))
}

struct Walk<'a> {
    pattern: &'a [u8],
    entries: usize,
    found: Option<Found>,
}

impl Walk<'_> {
    fn directory(&mut self, path: &Path, depth: usize) -> Result<(), BackupError> {
        let failed = |source| BackupError::Read { path: path.to_owned(), source };
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(BackupError::TooMany(path.to_owned()));
            }
            // Of the link itself, where it is one. What went meanwhile is not there any more.
            let meta = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                meta => meta.map_err(failed)?,
            };
            if meta.is_dir() {
                if depth < MAX_DEPTH {
                    self.directory(&entry.path(), depth + 1)?;
                }
            } else if meta.is_file() && matches(self.pattern, entry.file_name().as_encoded_bytes())
            {
                self.file(meta.modified().map_err(failed)?, meta.len());
            }
        }
        Ok(())
    }

    fn file(&mut self, modified: SystemTime, bytes: u64) {
        let found = self.found.get_or_insert(Found { newest: modified, bytes, total: 0 });
        found.total = found.total.saturating_add(bytes);
        if modified > found.newest {
            (found.newest, found.bytes) = (modified, bytes);
        }
    }
}

/// Whether `name` is like `pattern`: `*` is any text, `?` any byte.
#[must_use]
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut rest) = (0, 0);
    // Where to go on when what follows the last star does not fit.
    let mut star = None;
    while rest < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, rest));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[rest] => {
                at += 1;
                rest += 1;
            }
            Some(_) | None => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    (at, rest) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_are_absolute_and_lead_nowhere_else() {
        let place = |text: &str| {
            Place::parse(text).map(|place| (place.directory.display().to_string(), place.pattern))
        };
        let is = |directory: &str, pattern: &str| Some((directory.to_owned(), pattern.to_owned()));
        assert_eq!(place("/srv/sauvegardes"), is("/srv/sauvegardes", "*"));
        assert_eq!(place("/srv/s/base-*.sql.gz"), is("/srv/s", "base-*.sql.gz"));
        for text in ["", "srv", "/srv/../etc", "/srv/*/x", "/srv/?a/b*", "/a\n", "./a", "/a/.."] {
            assert_eq!(place(text), None, "{text:?}");
        }
    }

    #[test]
    fn names_are_matched_whole() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "a", true),
            ("base-*.gz", "base-2026-11-24.gz", true),
            ("base-*.gz", "base-2026.gz.part", false),
            ("*.gz", "a.gz.gz", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-", false),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    fn write(path: &Path, bytes: usize, age_s: u64) -> SystemTime {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![0; bytes]).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 - age_s);
        fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
        at
    }

    #[test]
    fn the_newest_file_counts_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("backups");
        let newest = write(&root.join("monday/base.gz"), 10, 100);
        write(&root.join("sunday/base.gz"), 7, 200);
        write(&root.join("monday/base.log"), 1_000, 1);
        write(&root.join("1/2/3/4/5/base.gz"), 5, 0);
        write(&directory.path().join("elsewhere/base.gz"), 3, 0);
        std::os::unix::fs::symlink(directory.path().join("elsewhere"), root.join("link")).unwrap();
        let allowed = [root.clone()];
        let place =
            |path: &Path, rest: &str| Place::parse(&format!("{}{rest}", path.display())).unwrap();
        let found = place(&root, "/*.gz").look(&allowed).unwrap();
        assert_eq!(found, Some(Found { newest, bytes: 10, total: 17 }), "and not five levels down");
        assert_eq!(place(&root, "/*.tar").look(&allowed).unwrap(), None);
        let elsewhere = place(&root.join("link"), "").look(&allowed).unwrap_err();
        assert!(matches!(elsewhere, BackupError::Denied(_)), "{elsewhere}");
        let absent = place(&root.join("absent"), "").look(&allowed).unwrap_err();
        assert!(matches!(absent, BackupError::Read { .. }), "{absent}");
    }

    #[test]
    fn what_the_local_file_does_not_name_is_denied_whether_it_exists_or_not() {
        for text in ["/etc", "/nowhere", "/srv/saves-too"] {
            let refused = Place::parse(text).unwrap().look(&["/srv/saves".into()]).unwrap_err();
            assert!(matches!(refused, BackupError::Denied(_)), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_of_a_name_with_a_part_cut_out_matches_it(name in "[a-c]{0,12}", from in 0..13_usize, to in 0..13_usize) {
            let (from, to) = (from.min(name.len()), to.min(name.len()));
            let pattern = format!("{}*{}", &name[..from.min(to)], &name[from.max(to)..]);
            prop_assert!(matches(pattern.as_bytes(), name.as_bytes()));
            let longer = format!("{name}d");
            prop_assert!(!matches(name.as_bytes(), longer.as_bytes()));
        }
    }
}
