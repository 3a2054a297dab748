//! From files to heads, with names resolved.
//!
//! Also compiled into the build script.

use std::collections::BTreeMap;

use super::{
    check::{Files, STANDARD, chain},
    model::Match,
    packed::{Condition, Head},
    syntax::{self, Arcs, Reference, SyntaxError},
};

/// The head of the file `name`, whose text stands nowhere yet.
pub fn head(files: &Files, name: &str) -> Result<Head, SyntaxError> {
    let Some(file) = files.get(name) else { return Ok(Head::default()) };
    let mut names: BTreeMap<&str, Arcs> = BTreeMap::new();
    let chain = chain(files, name);
    for ancestor in chain.iter().copied().chain([STANDARD]) {
        for (object, oid) in files.get(ancestor).iter().flat_map(|file| &file.profile.objects) {
            if !names.contains_key(object.as_str()) {
                names.insert(object, syntax::oid(oid)?);
            }
        }
    }
    let conditions = file.profile.r#match.iter().map(|one| condition(one, &names));
    Ok(Head {
        name: name.to_owned(),
        depth: chain.len(),
        text: 0..0,
        conditions: conditions.collect::<Result<_, _>>()?,
    })
}

fn condition(one: &Match, names: &BTreeMap<&str, Arcs>) -> Result<Condition, SyntaxError> {
    let resolve = |name: &str| names.get(name).cloned();
    let column = |text: &String| match syntax::reference(text, &resolve)? {
        Reference::Column(column, _) => Ok(column),
        Reference::Index(_) | Reference::IndexText(_) => Err(SyntaxError::Unknown(text.clone())),
    };
    let values = one.value.iter().map(|(text, pattern)| Ok((column(text)?, pattern.clone())));
    Ok(Condition {
        families: one
            .sys_object_id
            .iter()
            .map(|text| syntax::oid(text))
            .collect::<Result<_, _>>()?,
        sys_descr: one.sys_descr.clone(),
        not_sys_descr: one.not_sys_descr.clone(),
        has: one.has.iter().map(column).collect::<Result<_, _>>()?,
        values: values.collect::<Result<_, _>>()?,
    })
}
