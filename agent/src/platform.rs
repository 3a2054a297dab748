//! What is specific to an operating system, one module per concern. Linux is the supported host.
//!
//! Nothing else in this crate names a system's files, calls, error numbers or signals: an agent for
//! another system brings its own of these modules. Every reader has its parser beside it, a pure
//! function of the file's text.

pub mod alarm;
mod clock;
pub mod directory;
pub mod interfaces;
mod machine;
pub mod network;
pub mod network_errors;
pub mod paths;
pub mod private;
mod process;
pub mod signals;
pub mod volumes;

pub use clock::{boot_ns, boot_tag};
pub use interfaces::{
    Card, InterfaceOctets, card, default_interface, interface_octets, is_internal_interface,
    raw_udp,
};
pub use machine::{hostname, machine_text, os};
pub use network::{
    RESOLV_CONF, default_gateways, first_resolver, has_route, interface_index, is_own, is_own_on,
    resolvers,
};
pub use process::{cpu_time, process_count, resident_bytes};
