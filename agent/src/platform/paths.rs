//! Where this system keeps things.

/// The local configuration file, when the command line does not say.
pub const CONFIG: &str = "/etc/vigie/agent.toml";
/// Data, when neither the file nor the command line says.
pub const DATA: &str = "/var/lib/vigie-agent";
