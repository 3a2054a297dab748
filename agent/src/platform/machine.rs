//! Which machine and which operating system this is.

use std::{collections::BTreeSet, fs, path::Path};

/// Text that tells this machine from a copy of its disk, as far as this user may read it: the
/// system's id, which a copy shares, the board's, which only root may read, and the addresses of its
/// network cards. A machine of which none can be read has no such text.
///
/// It need not last: a new card makes another machine of it, which is held no longer than the session
/// of the former one stands.
#[must_use]
pub fn machine_text() -> String {
    let mut text = ["/etc/machine-id", "/sys/class/dmi/id/product_uuid"]
        .map(|path| fs::read_to_string(path).unwrap_or_default())
        .join("");
    for address in card_addresses(Path::new("/sys/class/net")) {
        text.push_str(&address);
    }
    text
}

/// Addresses that the makers gave to this machine's network cards, in order.
fn card_addresses(interfaces: &Path) -> BTreeSet<String> {
    // NET_ADDR_PERM: neither random nor set by an administrator or a bond.
    const PERMANENT: &str = "0";
    let Ok(entries) = fs::read_dir(interfaces) else { return BTreeSet::new() };
    let cards = entries.flatten().map(|entry| entry.path()).filter(|card| {
        let kind = fs::read_to_string(card.join("addr_assign_type")).unwrap_or_default();
        card.join("device").exists() && kind.trim() == PERMANENT
    });
    cards.filter_map(|card| fs::read_to_string(card.join("address")).ok()).collect()
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
    fn a_machine_is_known_by_the_cards_that_its_makers_gave_an_address() {
        let dir = tempfile::tempdir().unwrap();
        for (name, kind, address, is_hardware) in [
            ("eno2", "0\n", "00:16:3e:00:00:02\n", true),
            ("eno1", "0\n", "00:16:3e:00:00:01\n", true),
            ("docker0", "0\n", "02:42:ac:11:00:02\n", false),
            ("wlan0", "1\n", "da:a1:19:00:00:09\n", true),
            ("enslaved", "2\n", "00:16:3e:00:00:01\n", true),
        ] {
            let card = dir.path().join(name);
            fs::create_dir(&card).unwrap();
            fs::write(card.join("addr_assign_type"), kind).unwrap();
            fs::write(card.join("address"), address).unwrap();
            if is_hardware {
                fs::create_dir(card.join("device")).unwrap();
            }
        }
        let found: Vec<_> = card_addresses(dir.path()).into_iter().collect();
        assert_eq!(found, ["00:16:3e:00:00:01\n", "00:16:3e:00:00:02\n"]);
        assert!(card_addresses(&dir.path().join("absent")).is_empty());
    }

    #[test]
    fn the_system_is_named_as_its_makers_write_it() {
        let text = "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(parse_os_release(text).unwrap(), "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(parse_os_release("PRETTY_NAME='Alpine'").unwrap(), "Alpine");
        assert_eq!(parse_os_release("PRETTY_NAME=\"\"\nNAME=x"), None);
    }
}
