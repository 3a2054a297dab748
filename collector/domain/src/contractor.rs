//! Maintenance contractors, by lot.

/// Who repairs the sites of one lot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contractor {
    /// The lot; `*` is the contractor of sites without one.
    pub lot: String,
    /// Company name.
    pub name: String,
    /// Role mailbox that gets the mails.
    pub email: String,
}
