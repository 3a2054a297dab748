//! Which machine and which operating system this is.

use std::fs;

/// Text that tells this machine from a copy of its disk, as far as this user may read it: the
/// system's id and the board's.
#[must_use]
pub fn machine_text() -> String {
    ["/etc/machine-id", "/sys/class/dmi/id/product_uuid"]
        .map(|path| fs::read_to_string(path).unwrap_or_default())
        .join("")
}

/// Name of this machine; empty where the kernel does not tell.
#[must_use]
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Name and version of the operating system, as its makers write them.
#[must_use]
pub fn os() -> String {
    fs::read_to_string("/etc/os-release")
        .ok()
        .and_then(|text| parse_os_release(&text))
        .unwrap_or_else(|| {
            let kernel = rustix::system::uname();
            let (name, release) = (kernel.sysname(), kernel.release());
            format!("{} {}", name.to_string_lossy(), release.to_string_lossy())
        })
}

/// `PRETTY_NAME` of os-release(5), without its quotes.
fn parse_os_release(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?.trim();
    let bare = value.trim_matches(|c| c == '"' || c == '\'');
    (!bare.is_empty()).then(|| bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_named_as_its_makers_write_it() {
        let text = "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(parse_os_release(text).unwrap(), "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(parse_os_release("PRETTY_NAME='Alpine'").unwrap(), "Alpine");
        assert_eq!(parse_os_release("PRETTY_NAME=\"\"\nNAME=x"), None);
    }
}
