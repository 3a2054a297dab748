//! What can go wrong in the store, named by what the caller can do about it.

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database file can not be opened or used: an operator must act.
    #[error("cannot use the database {path}")]
    Unusable {
        /// The file.
        path: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A statement failed; nothing of its transaction was kept.
    #[error("cannot {action} in the database")]
    Failed {
        /// What was attempted.
        action: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something of this identity exists already.
    #[error("{0} already exists")]
    Duplicate(String),
    /// Nothing of this identity exists.
    #[error("{0} does not exist")]
    NotFound(String),
    /// There are as many as there may be; nothing of the transaction was kept.
    #[error("cannot {action}: the limit of {most} {what} is reached")]
    Limit {
        /// What was attempted.
        action: &'static str,
        /// Of what there are too many.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// Stored bytes do not decode: they are left as they are and reported.
    #[error("stored {what} is damaged")]
    Damaged {
        /// Which bytes.
        what: String,
    },
    /// The store was closed, or its queue is full beyond the deadline.
    #[error("the store is closed")]
    Closed,
}
