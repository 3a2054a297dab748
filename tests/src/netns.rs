//! Network namespaces of our own, gone with their value.

use std::{
    fs::{self, File},
    os::fd::AsFd as _,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// First letters of the names of all our namespaces.
pub const PREFIX: &str = "vg-";

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

/// A number for namespaces that belong together, unique on this machine while we run.
#[must_use]
pub fn next_tag() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Namespace {
    /// Makes `vg-TAG-ROLE`, its loopback up. Needs root.
    pub fn new(tag: &str, role: &str) -> Result<Self> {
        let name = format!("{PREFIX}{tag}-{role}");
        run("ip", &["netns", "add", &name])
            .context("network namespaces need root and the capability to make them")?;
        let namespace = Self { name };
        namespace.ip("link set dev lo up")?;
        // Addresses are usable at once, and nothing but ours is on the wires.
        namespace.set("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1")?;
        namespace.set("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")?;
        Ok(namespace)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` here; words are separated by single spaces.
    pub fn ip(&self, words: &str) -> Result<()> {
        let words: Vec<&str> = ["-n", &self.name].into_iter().chain(words.split(' ')).collect();
        run("ip", &words)
    }

    /// Runs a batch of `ip` commands here, one a line.
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), lines)?;
        run("ip", &["-n", &self.name, "-batch", &file.path().to_string_lossy()])
    }

    /// Sets a kernel parameter of this namespace.
    pub fn set(&self, path: &str, value: &str) -> Result<()> {
        self.enter(|| fs::write(path, value).with_context(|| format!("cannot set {path}")))?
    }

    /// Loads an nftables script here.
    pub fn nft(&self, script: &str) -> Result<()> {
        run("ip", &["netns", "exec", &self.name, "nft", script])
    }

    /// Links this namespace's `near` to `other`'s `far`, both up.
    pub fn link(&self, near: &str, other: &Self, far: &str) -> Result<()> {
        self.ip(&format!("link add {near} type veth peer name {far} netns {}", other.name))?;
        self.ip(&format!("link set dev {near} up"))?;
        other.ip(&format!("link set dev {far} up"))
    }

    /// Links this namespace's `near` to `far` of the namespace that this program is in, both up.
    pub fn link_here(&self, near: &str, far: &str) -> Result<()> {
        let here = std::process::id();
        self.ip(&format!("link add {near} type veth peer name {far} netns {here}"))?;
        self.ip(&format!("link set dev {near} up"))?;
        ip_here(&format!("link set dev {far} up"))
    }

    /// Gives a device an address with its prefix length.
    pub fn address(&self, device: &str, address: &str) -> Result<()> {
        self.ip(&format!("addr add {address} dev {device}"))
    }

    /// Sends what it knows no better way for to `via`.
    pub fn default_route(&self, via: &str) -> Result<()> {
        self.ip(&format!("route add default via {via}"))
    }

    /// Makes it a router.
    pub fn forward(&self) -> Result<()> {
        self.set("/proc/sys/net/ipv4/ip_forward", "1")
    }

    /// The resolver that programs started here find in `/etc/resolv.conf`.
    pub fn resolver(&self, address: &str) -> Result<()> {
        let directory = self.etc();
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        fs::write(directory.join("resolv.conf"), format!("nameserver {address}\n"))?;
        Ok(())
    }

    /// Does `work` on a thread of this namespace: sockets made there belong to it for ever.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.name);
        let link = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))
                    .with_context(|| format!("cannot enter {path}"))?;
                Ok(work())
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn etc(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["netns", "del", &self.name]).status();
        if !deleted.is_ok_and(|status| status.success()) {
            eprintln!("the network namespace {} is left behind", self.name);
        }
        let etc = self.etc();
        if etc.exists()
            && let Err(error) = fs::remove_dir_all(&etc)
        {
            eprintln!("{} is left behind: {error}", etc.display());
        }
    }
}

/// Runs `ip` in the namespace that this program is in; words are separated by single spaces.
pub fn ip_here(words: &str) -> Result<()> {
    run("ip", &words.split(' ').collect::<Vec<_>>())
}

/// Removes what runs that were killed left behind: namespaces of processes that are no more.
pub fn sweep() -> Result<usize> {
    let mut removed = 0;
    let Ok(entries) = fs::read_dir("/run/netns") else { return Ok(0) };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let Some(owner) = owner.and_then(|text| text.parse::<u32>().ok()) else { continue };
        if !std::path::Path::new(&format!("/proc/{owner}")).exists() {
            drop(Namespace { name });
            removed += 1;
        }
    }
    Ok(removed)
}

fn run(program: &str, words: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(words)
        .output()
        .with_context(|| format!("cannot run {program}: is it installed?"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", words.join(" "), error.trim());
    }
    Ok(())
}
