//! References, texts and patterns of a profile, read once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    model::Profile,
    pattern::{Pattern, PatternError},
    syntax::{self, Arcs, Piece, Reference, Row, SyntaxError},
    uses::{self, Use},
};
use crate::snmp::Wanted;

/// sysDescr (SNMPv2-MIB).
pub(super) const SYS_DESCR: [u32; 8] = [1, 3, 6, 1, 2, 1, 1, 1];
/// sysObjectID (SNMPv2-MIB).
pub(super) const SYS_OBJECT_ID: [u32; 8] = [1, 3, 6, 1, 2, 1, 1, 2];
/// ifDescr (IF-MIB).
pub(super) const IF_DESCR: [u32; 10] = [1, 3, 6, 1, 2, 1, 2, 2, 1, 2];

/// By the text that the profile has.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    references: HashMap<String, Reference>,
    texts: HashMap<String, Vec<Piece>>,
    patterns: HashMap<String, Pattern>,
    columns: BTreeSet<Arcs>,
    scalars: BTreeSet<Arcs>,
    firsts: BTreeSet<Arcs>,
}

/// Why a profile can not be used.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A reference or a text of it.
    #[error("cannot read {text:?}")]
    Syntax {
        /// As the file has it.
        text: String,
        /// What is wrong with it.
        source: SyntaxError,
    },
    /// A pattern of it.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl Compiled {
    /// Reads all that `profile` refers to, by the names that it has.
    pub(super) fn new(profile: &Profile) -> Result<Self, CompileError> {
        let mut names = BTreeMap::new();
        for (name, oid) in &profile.objects {
            let oid = syntax::oid(oid).map_err(|source| failed(oid, source))?;
            names.insert(name.as_str(), oid);
        }
        let mut compiled = Self::default();
        let mut first_error = None;
        uses::each(profile, &mut |_, what| {
            if first_error.is_none() {
                first_error = compiled.keep(what, &names).err();
            }
        });
        match first_error {
            Some(error) => Err(error),
            None => Ok(compiled),
        }
    }

    fn keep(&mut self, what: Use<'_>, names: &BTreeMap<&str, Arcs>) -> Result<(), CompileError> {
        let resolve = |name: &str| names.get(name).cloned();
        match what {
            Use::Reference(text) | Use::Existence(text) | Use::First(text) => {
                let reference =
                    syntax::reference(text, &resolve).map_err(|source| failed(text, source))?;
                match (what, &reference) {
                    // Of a column, whether it has a row is all that is asked.
                    (Use::Existence(_), Reference::Column(column, Row::Same)) => {
                        self.firsts.insert(column.clone());
                    }
                    _ => self.name(&reference),
                }
                // A source reads its reference as a text of one piece.
                let piece = Piece::Value { reference: reference.clone(), map: None };
                self.texts.insert(text.to_owned(), vec![piece]);
                self.references.insert(text.to_owned(), reference);
            }
            Use::Text(text) | Use::Term(text) => {
                let pieces = syntax::text(text, &resolve).map_err(|source| failed(text, source))?;
                for piece in &pieces {
                    if let Piece::Value { reference, .. } = piece {
                        self.name(reference);
                    }
                }
                self.texts.insert(text.to_owned(), pieces);
            }
            Use::Pattern(pattern) => {
                if !self.patterns.contains_key(pattern) {
                    self.patterns.insert(pattern.to_owned(), Pattern::new(pattern)?);
                }
            }
            Use::Format(_) | Use::Map(_) | Use::States(_) | Use::Oid(_) => {}
        }
        Ok(())
    }

    fn name(&mut self, reference: &Reference) {
        if let Reference::Column(column, row) = reference {
            match row {
                Row::Fixed(index) if **index == [0] => self.scalars.insert(column.clone()),
                Row::Same | Row::Fixed(_) | Row::Part(_) | Row::Pointer(_) => {
                    self.columns.insert(column.clone())
                }
            };
            if let Row::Pointer(pointer) = row {
                self.name(pointer);
            }
        }
    }

    pub(super) fn reference(&self, text: &str) -> Option<&Reference> {
        self.references.get(text)
    }

    pub(super) fn text(&self, text: &str) -> Option<&[Piece]> {
        self.texts.get(text).map(Vec::as_slice)
    }

    pub(super) fn pattern(&self, pattern: &str) -> Option<&Pattern> {
        self.patterns.get(pattern)
    }

    /// All that is read, each object once; what classes go by is among it.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let mut scalars = self.scalars.clone();
        scalars.extend([SYS_DESCR.into(), SYS_OBJECT_ID.into()]);
        scalars.retain(|scalar| !self.columns.contains(scalar));
        let firsts =
            self.firsts.difference(&self.columns).filter(|first| !scalars.contains(*first));
        let firsts = firsts.cloned().map(Wanted::First);
        let columns = self.columns.iter().cloned().map(Wanted::Column);
        firsts.chain(columns).chain(scalars.iter().cloned().map(Wanted::Scalar)).collect()
    }
}

fn failed(text: &str, source: SyntaxError) -> CompileError {
    CompileError::Syntax { text: text.to_owned(), source }
}
