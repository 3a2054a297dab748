//! File systems of this machine.

/// File systems without a disk of their own, or whose disk is another machine's.
const UNREAL: [&str; 20] = [
    "tmpfs",
    "ramfs",
    "overlay",
    "aufs",
    "devtmpfs",
    "efivarfs",
    "tracefs",
    "debugfs",
    "securityfs",
    "configfs",
    "fusectl",
    "bpf",
    "binfmt_misc",
    "nsfs",
    "squashfs",
    "9p",
    "virtiofs",
    "nfs",
    "nfs4",
    "cifs",
];

/// Whether a file system of this kind has a disk of this machine under it.
#[must_use]
pub fn is_local_disk(kind: &str) -> bool {
    !UNREAL.contains(&kind) && !kind.starts_with("fuse.")
}
