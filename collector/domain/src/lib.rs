//! The domain: values and rules, without socket, file, clock, SQL, async or serialization.
//!
//! Time is an argument, randomness and ids are passed in. Everything worth arguing about (is it
//! down? since when? what was the 95th percentile?) is a plain function here.

pub mod agent;
pub mod alert;
pub mod centre;
pub mod chain;
pub mod contractor;
pub mod health;
pub mod id;
pub mod incident;
pub mod inventory;
pub mod mesh;
pub mod metric;
pub mod percentile;
pub mod rate;
pub mod rollup;
pub mod sample;
pub mod site;
pub mod target;
pub mod topology;
pub mod uai;
