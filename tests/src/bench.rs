//! What the benches share: figures beside their limits, the use of a process, schools.

pub mod figures;
pub mod school;
pub mod usage;
