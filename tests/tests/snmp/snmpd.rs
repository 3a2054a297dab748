//! Debian's own agent, with a configuration of a test's own.

use std::{
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use agent::snmp::{Credentials, Fault, Session};

/// Longest wait for the agent to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running `snmpd`, stopped when dropped.
pub(crate) struct Snmpd {
    child: Option<Child>,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Snmpd {
    /// Starts one on a free port of the loopback.
    pub(crate) fn start(configuration: &str) -> Self {
        Self::start_on("127.0.0.1:0", configuration)
    }

    /// Starts one at an address; port 0 stands for a free one.
    pub(crate) fn start_on(address: &str, configuration: &str) -> Self {
        let address = UdpSocket::bind(address).expect("a port").local_addr().expect("bound");
        let directory = tempfile::tempdir().expect("a directory");
        let mut agent = Self { child: None, address, directory };
        agent.restart(configuration, |_| ());
        agent
    }

    /// Kills it and starts it again at the same address, with what `prepare` makes of the file in
    /// which it keeps its engine's state.
    pub(crate) fn restart(&mut self, configuration: &str, prepare: impl FnOnce(PathBuf)) {
        self.stop();
        let kept = self.directory.path().join("kept");
        std::fs::create_dir_all(&kept).expect("a directory");
        prepare(kept.join("snmpd.conf"));
        let file = self.directory.path().join("given.conf");
        std::fs::write(&file, configuration).expect("written");
        let transport = if self.address.is_ipv4() { "udp" } else { "udp6" };
        let child = Command::new("/usr/sbin/snmpd")
            .args(["-f", "-C", "-Lf", "/dev/null", "-I", "-smux", "-c"])
            .arg(&file)
            .arg(format!("{transport}:{}", self.address))
            .env("SNMP_PERSISTENT_DIR", &kept)
            .env("SNMPCONFPATH", self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's snmpd is installed");
        self.child = Some(child);
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it listens: until then the socket says that nobody does.
    pub(crate) async fn listens(&self) {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            // Nobody's community: silence is a sign of life.
            let nobody = Arc::new(Credentials::v2c("nobody"));
            let limit = Duration::from_millis(100);
            let mut session =
                Session::new(self.address, nobody, limit, tokio::time::Instant::now() + limit);
            match session.get(&[&[1, 3, 6, 1, 2, 1, 1, 3, 0]]).await {
                Err(Fault::Refused) => {}
                Err(Fault::Timeout | Fault::OutOfTime) => return,
                other => panic!("snmpd answers a stranger: {other:?}"),
            }
            assert!(Instant::now() < deadline, "snmpd listens");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; either way it is gone afterwards.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Snmpd {
    fn drop(&mut self) {
        self.stop();
    }
}
