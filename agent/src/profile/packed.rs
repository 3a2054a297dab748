//! The built-in profiles as they stand in the program: the heads of all, and the texts of all, each
//! compressed as one. A head is some lines; fields are parted by tabs.
//!
//! Also compiled into the build script, which writes what the library reads.

use std::ops::Range;

use super::syntax::{self, Arcs};

/// What is known of a profile without reading it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Its file's name, without `.toml`.
    pub name: String,
    /// How many files one after the other it inherits.
    pub depth: usize,
    /// Where its text stands among all texts.
    pub text: Range<usize>,
    /// The devices that it is for.
    pub conditions: Vec<Condition>,
}

/// Conditions that must all hold, with OIDs for names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// sysObjectID is one of these or below; any when empty.
    pub families: Vec<Arcs>,
    /// sysDescr matches.
    pub sys_descr: Option<String>,
    /// sysDescr does not match.
    pub not_sys_descr: Option<String>,
    /// At or below each of these stands an instance.
    pub has: Vec<Arcs>,
    /// The first instance at each of these matches.
    pub values: Vec<(Arcs, String)>,
}

/// Writes heads as [`unpack`] reads them. Patterns hold neither tabs nor line breaks.
#[must_use]
pub fn pack(heads: &[Head]) -> String {
    let mut out = String::new();
    let mut line = |fields: &[&str]| {
        out.push_str(&fields.join("\t"));
        out.push('\n');
    };
    for Head { name, depth, text, conditions } in heads {
        let numbers = [*depth, text.start, text.end].map(|number| number.to_string());
        line(&["profile", name, &numbers[0], &numbers[1], &numbers[2]]);
        for condition in conditions {
            line(&["match"]);
            condition.families.iter().for_each(|oid| line(&["family", &syntax::dotted(oid)]));
            condition.sys_descr.iter().for_each(|pattern| line(&["descr", pattern]));
            condition.not_sys_descr.iter().for_each(|pattern| line(&["not", pattern]));
            condition.has.iter().for_each(|oid| line(&["has", &syntax::dotted(oid)]));
            for (oid, pattern) in &condition.values {
                line(&["value", &syntax::dotted(oid), pattern]);
            }
        }
    }
    out
}

/// Reads heads; `None` when they are not what [`pack`] writes.
#[must_use]
pub fn unpack(text: &str) -> Option<Vec<Head>> {
    let mut heads: Vec<Head> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        if let ["profile", name, depth, start, end] = *fields {
            let text = start.parse().ok()?..end.parse().ok()?;
            let (name, depth) = (name.to_owned(), depth.parse().ok()?);
            heads.push(Head { name, depth, text, conditions: Vec::new() });
            continue;
        }
        let conditions = &mut heads.last_mut()?.conditions;
        if let ["match"] = *fields {
            conditions.push(Condition::default());
            continue;
        }
        let condition = conditions.last_mut()?;
        match *fields {
            ["family", oid] => condition.families.push(syntax::oid(oid).ok()?),
            ["descr", pattern] => condition.sys_descr = Some(pattern.to_owned()),
            ["not", pattern] => condition.not_sys_descr = Some(pattern.to_owned()),
            ["has", oid] => condition.has.push(syntax::oid(oid).ok()?),
            ["value", oid, pattern] => {
                condition.values.push((syntax::oid(oid).ok()?, pattern.to_owned()));
            }
            _ => return None,
        }
    }
    Some(heads)
}

/// A file's text without comments and blank lines; whole where a text goes over several lines.
#[must_use]
pub fn stripped(text: &str) -> String {
    if text.contains("'''") || text.contains("\"\"\"") {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for line in
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        out.push_str(line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        let full = Condition {
            families: vec![[1, 3, 6].into(), [1, 3, 7].into()],
            sys_descr: Some(r"(?i)a\tb|c".into()),
            not_sys_descr: Some("x".into()),
            has: vec![[1, 3, 9].into()],
            values: vec![([1, 3, 8].into(), "^y$".into())],
        };
        let heads = [
            Head { name: "a".into(), depth: 2, text: 3..70, conditions: vec![full] },
            Head { name: "b".into(), text: 70..90, ..Head::default() },
        ];
        assert_eq!(unpack(&pack(&heads)).as_deref(), Some(&heads[..]));
        assert_eq!(unpack("nonsense\n"), None);
        assert_eq!(unpack("match\n"), None);
    }

    #[test]
    fn comments_are_stripped_but_not_within_texts() {
        assert_eq!(stripped("# a\n\na = '#b' # c\n"), "a = '#b' # c\n");
        assert_eq!(stripped("a = '''\n# b\n'''\n"), "a = '''\n# b\n'''\n");
    }
}
