//! Which profile a device gets.

use super::{
    check::GENERIC,
    compiled::CompileError,
    library::LibraryError,
    packed::{Condition, Head},
    pattern::Pattern,
    syntax::Arcs,
    text,
};
use crate::snmp::{Tables, Wanted};

/// Numbers of agents that all makes use: they say nothing of the family (NET-SNMP-TC, UCD-SNMP-MIB).
const SHARED_AGENTS: [&[u32]; 2] = [&[1, 3, 6, 1, 4, 1, 8072], &[1, 3, 6, 1, 4, 1, 2021, 250]];

/// How specific a condition is: what is compared first stands first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Numbers of the sysObjectID that it knows.
    family: usize,
    /// Whether it asks the device.
    asks: bool,
    /// Whether it knows the sysDescr.
    describes: bool,
    /// How many files the profile inherits.
    depth: usize,
}

/// A profile that may be the device's.
#[derive(Debug)]
struct Candidate {
    rank: Rank,
    name: String,
    has: Vec<Arcs>,
    values: Vec<(Arcs, Pattern)>,
}

/// Profiles that may be the device's, most specific first.
#[derive(Debug)]
pub struct Candidates(Vec<Candidate>);

pub(super) fn candidates(
    heads: &[Head],
    sys_object_id: &[u32],
    sys_descr: &str,
) -> Result<Candidates, LibraryError> {
    let mut found = Vec::new();
    for head in heads {
        let failed = |source| LibraryError::Profile {
            name: head.name.clone(),
            source: CompileError::Pattern(source),
        };
        for condition in &head.conditions {
            let Some(family) = family(condition, sys_object_id) else { continue };
            let matches = |pattern: &String| Pattern::new(pattern).map(|it| it.is_match(sys_descr));
            let wanted = condition.sys_descr.as_ref().map(matches).transpose().map_err(failed)?;
            let barred =
                condition.not_sys_descr.as_ref().map(matches).transpose().map_err(failed)?;
            if wanted == Some(false) || barred == Some(true) {
                continue;
            }
            let mut values = Vec::with_capacity(condition.values.len());
            for (column, pattern) in &condition.values {
                values.push((column.clone(), Pattern::new(pattern).map_err(failed)?));
            }
            let rank = Rank {
                family,
                asks: !condition.has.is_empty() || !values.is_empty(),
                describes: wanted.is_some(),
                depth: head.depth,
            };
            let (name, has) = (head.name.clone(), condition.has.clone());
            found.push(Candidate { rank, name, has, values });
        }
    }
    found.sort_by(|one, other| other.rank.cmp(&one.rank).then_with(|| one.name.cmp(&other.name)));
    Ok(Candidates(found))
}

/// How much of the sysObjectID a condition knows; `None` when it is for others.
fn family(condition: &Condition, sys_object_id: &[u32]) -> Option<usize> {
    if condition.families.is_empty() {
        return Some(0);
    }
    let own = condition.families.iter().filter(|family| sys_object_id.starts_with(family));
    let longest = own.map(|family| family.len()).max()?;
    let shared = SHARED_AGENTS.iter().any(|agent| sys_object_id.starts_with(agent));
    Some(if shared { 0 } else { longest })
}

impl Candidates {
    /// What has to be read of the device before [`Self::choose`]; nothing where it is clear already.
    #[must_use]
    pub fn questions(&self) -> Vec<Wanted> {
        let mut questions = Vec::new();
        for candidate in &self.0 {
            questions.extend(candidate.has.iter().cloned());
            questions.extend(candidate.values.iter().map(|(column, _)| column.clone()));
            // Whatever comes behind one that surely holds is not asked for.
            if !candidate.rank.asks {
                break;
            }
        }
        questions.sort();
        questions.dedup();
        questions.into_iter().map(Wanted::First).collect()
    }

    /// The name of the most specific profile whose conditions hold.
    #[must_use]
    pub fn choose(&self, answers: &Tables) -> &str {
        let holds = |candidate: &&Candidate| {
            candidate.has.iter().all(|column| answers.rows(column).next().is_some())
                && candidate.values.iter().all(|(column, pattern)| {
                    let first = answers.rows(column).next();
                    let text = first.and_then(|(_, value)| text::text(value));
                    text.is_some_and(|text| pattern.is_match(&text))
                })
        };
        self.0.iter().find(holds).map_or(GENERIC, |candidate| &candidate.name)
    }

    /// The names of all, most specific first; a profile can stand there more than once.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|candidate| candidate.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snmp::Value;

    const NET_SNMP_LINUX: [u32; 10] = [1, 3, 6, 1, 4, 1, 8072, 3, 2, 10];

    fn head(name: &str, depth: usize, condition: Condition) -> Head {
        Head { name: name.into(), depth, text: 0..0, conditions: vec![condition] }
    }

    fn family(oids: &[&[u32]]) -> Condition {
        let families = oids.iter().map(|oid| Arcs::from(*oid)).collect();
        Condition { families, ..Condition::default() }
    }

    fn names(heads: &[Head], sys_object_id: &[u32], sys_descr: &str) -> String {
        let candidates = candidates(heads, sys_object_id, sys_descr).unwrap();
        candidates.names().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_longest_family_comes_first_then_what_asks_then_what_describes_then_heirs() {
        let own = || family(&[&[1, 3, 9]]);
        let describes = Condition { sys_descr: Some("(?i)switch".into()), ..own() };
        let heads = [
            head("base", 1, own()),
            head("heir", 2, own()),
            head("describes", 1, describes.clone()),
            head("asks", 1, Condition { has: vec![[1, 3, 9, 9].into()], ..own() }),
            head("longest", 1, family(&[&[1, 3], &[1, 3, 9, 1]])),
            head("other", 3, family(&[&[1, 3, 8]])),
            head("any", 3, Condition { sys_descr: Some("Switch".into()), ..Condition::default() }),
            head("barred", 3, Condition { not_sys_descr: Some("Sw".into()), ..own() }),
        ];
        let order = "longest asks describes heir base any";
        assert_eq!(names(&heads, &[1, 3, 9, 1, 7], "A Switch"), order);
        assert_eq!(names(&heads, &[1, 3, 9], "none"), "asks barred heir base longest");
        assert_eq!(names(&heads, &[], ""), "");
    }

    #[test]
    fn the_number_of_a_shared_agent_is_no_family() {
        let heads = [
            head("linux", 1, family(&[&NET_SNMP_LINUX])),
            head("nas", 1, Condition { has: vec![[1, 3, 7].into()], ..Condition::default() }),
        ];
        assert_eq!(names(&heads, &NET_SNMP_LINUX, ""), "nas linux");
        let candidates = candidates(&heads, &NET_SNMP_LINUX, "").unwrap();
        assert_eq!(candidates.questions(), [Wanted::First([1, 3, 7].into())]);
        let mut answers = Tables::default();
        assert_eq!(candidates.choose(&answers), "linux");
        answers.insert(&[1, 3, 7], &[1, 0], Value::Integer(1));
        assert_eq!(candidates.choose(&answers), "nas");
    }

    #[test]
    fn a_value_counts_only_where_its_text_matches() {
        let values = vec![([1, 3, 7].into(), "^QTS".into())];
        let heads = [head("qnap", 1, Condition { values, ..Condition::default() })];
        let candidates = candidates(&heads, &[1, 3], "").unwrap();
        let with = |text: &str| {
            let mut answers = Tables::default();
            answers.insert(&[1, 3, 7], &[0], Value::Bytes(text.as_bytes().into()));
            candidates.choose(&answers).to_owned()
        };
        assert_eq!(with("QTS 5"), "qnap");
        assert_eq!(with("DSM"), GENERIC);
        assert_eq!(candidates.choose(&Tables::default()), GENERIC);
    }

    #[test]
    fn nothing_is_asked_behind_a_profile_that_surely_holds() {
        let heads = [
            head("sure", 1, family(&[&[1, 3, 9]])),
            head("asks", 1, Condition { has: vec![[1, 3, 7].into()], ..Condition::default() }),
        ];
        assert_eq!(candidates(&heads, &[1, 3, 9], "").unwrap().questions(), []);
    }
}
