//! The store: what the collector keeps, behind one small trait per noun.
//!
//! [`Store`] is their sum. Each method is one transaction and speaks the domain, not the table.
//! [`sqlite`] is the embedded backend; [`contract`] is the suite that every backend must pass.

pub mod contract;
pub mod inventory;
pub mod sqlite;

#[doc(hidden)]
pub mod planted;

mod error;
mod ingest;
mod mesh;
mod nouns;
mod samples;

pub use error::StoreError;
pub use ingest::{
    Commit, CommittedRecord, DeclaredGap, Disposition, IncomingRecord, IngestStore, LaneKey,
    LaneProgress, LaneResume, MAX_SITE_GAPS, SeqRange, ServerTime,
};
pub use inventory::InventoryStore;
pub use mesh::{MeshLink, MeshPlan, MeshSite, MeshStore};
pub use nouns::{
    AgentStore, Certificate, Evaluation, ImportReport, IncidentFilter, IncidentStore, NewAgent,
    NewIncident, NewMail, NewSeries, NewSeriesSpec, NewToken, OutboxMail, OutboxStore, Redeemed,
    SendOutcome, SiteStore, TargetStore, TokenRefusal,
};
pub use samples::{
    Aggregate, Bucket, EdgeSpec, FileCheck, MaintenanceReport, ReadPayload, Retention, Rounds,
    SampleOptions, SampleStore, SeriesData, Step, StoreFigures,
};

/// Result of every method of the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Everything that the collector keeps.
pub trait Store:
    SiteStore
    + AgentStore
    + TargetStore
    + InventoryStore
    + MeshStore
    + IngestStore
    + SampleStore
    + IncidentStore
    + OutboxStore
{
}

impl<T> Store for T where
    T: SiteStore
        + AgentStore
        + TargetStore
        + InventoryStore
        + MeshStore
        + IngestStore
        + SampleStore
        + IncidentStore
        + OutboxStore
{
}
