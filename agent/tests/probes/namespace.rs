//! Network namespaces of our own, gone with their value.

use std::{
    fs::File,
    future::Future,
    os::fd::AsFd as _,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let name = format!("vigie-test-{process}-{number}");
        run("ip", &["netns", "add", &name]);
        let namespace = Self { name };
        namespace.ip("link set lo up");
        // Addresses are usable at once.
        namespace.write("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
        namespace
    }

    /// Runs `ip` here.
    #[track_caller]
    pub(crate) fn ip(&self, arguments: &str) {
        let arguments: Vec<&str> =
            ["-n", &self.name].into_iter().chain(arguments.split(' ')).collect();
        run("ip", &arguments);
    }

    /// Sets a kernel parameter of this namespace.
    #[track_caller]
    pub(crate) fn write(&self, path: &str, value: &str) {
        let script = format!("echo '{value}' > {path}");
        run("ip", &["netns", "exec", &self.name, "sh", "-c", &script]);
    }

    /// Links this namespace's `near` to `other`'s `far`.
    #[track_caller]
    pub(crate) fn link(&self, near: &str, other: &Namespace, far: &str) {
        self.ip(&format!("link add {near} type veth peer name {far} netns {}", other.name));
        self.ip(&format!("link set {near} up"));
        other.ip(&format!("link set {far} up"));
    }

    #[track_caller]
    pub(crate) fn address(&self, device: &str, address: &str) {
        self.ip(&format!("addr add {address} dev {device}"));
    }

    #[track_caller]
    pub(crate) fn forward(&self) {
        self.write("/proc/sys/net/ipv4/ip_forward", "1");
        self.write("/proc/sys/net/ipv6/conf/all/forwarding", "1");
    }

    /// Runs what `work` makes on a thread of this namespace, with a runtime of its own.
    pub(crate) fn run<T, F>(&self, work: impl FnOnce() -> F + Send) -> T
    where
        T: Send,
        F: Future<Output = T>,
    {
        let link = File::open(format!("/run/netns/{}", self.name)).unwrap();
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                runtime.enable_all().build().unwrap().block_on(work())
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Not `run`: a panic while panicking would hide the first.
        let deleted = Command::new("ip").args(["netns", "del", &self.name]).status();
        if !deleted.is_ok_and(|status| status.success()) {
            eprintln!("the network namespace {} is left behind", self.name);
        }
    }
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {error}", arguments.join(" "));
}
