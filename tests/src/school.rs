//! A school, its operator and the centre, in network namespaces:
//!
//! ```text
//! centre 10.77.0.1 -- operator -- gateway 10.78.0.1 -- LAN -- agent 10.78.0.10
//!                                                       +---- switches 10.78.0.21, .22, ...
//! ```
//!
//! The centre has a name server (dnsmasq) and room for a collector and a mail relay; switches are
//! real net-snmp agents.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    netns::{self, Namespace},
    process::{self, Daemon},
    wait,
};

/// Address of the centre.
pub const CENTRE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The operator's router as seen from the school.
pub const HOP: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
/// The school's gateway.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
/// The school's server.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 10);
/// A name that the centre's name server knows.
pub const NAME: &str = "www.ecole.example";
/// The centre's interface when the centre is this machine.
const HERE: &str = "vg-centre";
/// Community of the switches.
pub const COMMUNITY: &str = "lecture";
/// How long a name server or an SNMP agent may take to answer.
const PEER_WITHIN: Duration = Duration::from_secs(20);

/// Where the centre is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Centre {
    /// In a namespace of its own.
    Apart,
    /// On this very machine, which gets an interface and two routes for as long as the school lives.
    Here,
}

/// The simulated world of one school.
#[derive(Debug)]
pub struct School {
    daemons: Vec<Daemon>,
    directory: PathBuf,
    centre: Option<Arc<Namespace>>,
    _operator: Namespace,
    gateway: Namespace,
    lan: Namespace,
    server: Arc<Namespace>,
    switches: Vec<Namespace>,
}

impl School {
    /// Builds one with this many switches, the centre in a namespace. Needs root.
    pub fn build(directory: &Path, switches: u8) -> Result<Self> {
        Self::build_with(directory, switches, Centre::Apart)
    }

    /// Builds one with this many switches. Needs root.
    pub fn build_with(directory: &Path, switches: u8, centre: Centre) -> Result<Self> {
        netns::sweep()?;
        let tag = netns::next_tag();
        let new = |role: &str| Namespace::new(&tag, role);
        let (operator, gateway) = (new("operator")?, new("gateway")?);
        let (lan, server) = (new("lan")?, new("server")?);
        let centre = match centre {
            Centre::Apart => {
                let centre = new("centre")?;
                operator.link("c0", &centre, "eth0")?;
                centre.address("eth0", &format!("{CENTRE}/24"))?;
                centre.default_route("10.77.0.2")?;
                Some(Arc::new(centre))
            }
            Centre::Here => {
                operator.link_here("c0", HERE)?;
                netns::ip_here(&format!("addr add {CENTRE}/24 dev {HERE}"))?;
                netns::ip_here(&format!("route add 10.77.1.0/24 via 10.77.0.2 dev {HERE}"))?;
                netns::ip_here(&format!("route add 10.78.0.0/24 via 10.77.0.2 dev {HERE}"))?;
                None
            }
        };
        operator.link("s0", &gateway, "wan0")?;
        operator.address("c0", "10.77.0.2/24")?;
        operator.address("s0", &format!("{HOP}/24"))?;
        operator.ip("route add 10.78.0.0/24 via 10.77.1.2")?;
        operator.forward()?;

        lan.ip("link add br0 type bridge")?;
        lan.ip("link set br0 up")?;
        let plug = |to: &Namespace, port: &str, near: &str| -> Result<()> {
            lan.link(port, to, near)?;
            lan.ip(&format!("link set {port} master br0"))
        };
        plug(&gateway, "gateway", "lan0")?;
        gateway.address("wan0", "10.77.1.2/24")?;
        gateway.address("lan0", &format!("{GATEWAY}/24"))?;
        gateway.default_route(&HOP.to_string())?;
        gateway.forward()?;
        plug(&server, "server", "eth0")?;
        server.address("eth0", &format!("{SERVER}/24"))?;
        server.default_route(&GATEWAY.to_string())?;
        server.resolver(&CENTRE.to_string())?;

        let mut school = Self {
            daemons: Vec::new(),
            directory: directory.to_owned(),
            centre,
            _operator: operator,
            gateway,
            server: Arc::new(server),
            lan,
            switches: Vec::new(),
        };
        fs::create_dir_all(directory)?;
        school.start_name_server()?;
        for number in 1..=switches {
            let switch = Namespace::new(&tag, &format!("switch{number}"))?;
            let port = Self::port(number);
            school.lan.link(&port, &switch, "eth0")?;
            school.lan.ip(&format!("link set {port} master br0"))?;
            switch.address("eth0", &format!("{}/24", Self::switch(number)))?;
            switch.default_route(&GATEWAY.to_string())?;
            school.switches.push(switch);
            school.start_snmp(number)?;
        }
        Ok(school)
    }

    /// Where the collector lives; `None` is this machine.
    #[must_use]
    pub fn centre(&self) -> Option<&Arc<Namespace>> {
        self.centre.as_ref()
    }

    /// The namespace with the LAN's cables: its interfaces are the ports.
    #[must_use]
    pub fn lan(&self) -> &Namespace {
        &self.lan
    }

    /// The gateway's namespace.
    #[must_use]
    pub fn gateway(&self) -> &Namespace {
        &self.gateway
    }

    /// Where the agent lives.
    #[must_use]
    pub fn server(&self) -> &Arc<Namespace> {
        &self.server
    }

    /// Address of a switch, counted from 1.
    #[must_use]
    pub fn switch(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 78, 0, 20 + number)
    }

    fn port(number: u8) -> String {
        format!("switch{number}")
    }

    /// A listener in the centre.
    pub fn listen_in_centre(&self) -> Result<TcpListener> {
        let bind = || TcpListener::bind((CENTRE, 0));
        let listener = match &self.centre {
            Some(centre) => centre.enter(bind)?,
            None => bind(),
        };
        listener.context("cannot listen in the centre")
    }

    /// Cuts the line between gateway and operator, both ways.
    pub fn cut_uplink(&self) -> Result<()> {
        self.gateway.nft(
            "add table inet cut; \
             add chain inet cut in { type filter hook prerouting priority -300; }; \
             add rule inet cut in iifname wan0 drop; \
             add chain inet cut out { type filter hook postrouting priority 300; }; \
             add rule inet cut out oifname wan0 drop",
        )
    }

    /// Mends it.
    pub fn mend_uplink(&self) -> Result<()> {
        self.gateway.nft("delete table inet cut")
    }

    /// Drops this share of the packets on the line, per cent.
    pub fn lossy_uplink(&self, percent: u8) -> Result<()> {
        self.gateway.nft(&format!(
            "add table inet lossy; \
             add chain inet lossy in {{ type filter hook prerouting priority -300; }}; \
             add rule inet lossy in iifname wan0 numgen random mod 100 < {percent} drop"
        ))
    }

    /// Unplugs a switch, counted from 1.
    pub fn unplug(&self, number: u8) -> Result<()> {
        self.lan.ip(&format!("link set {} down", Self::port(number)))
    }

    /// Plugs it in again.
    pub fn plug(&self, number: u8) -> Result<()> {
        self.lan.ip(&format!("link set {} up", Self::port(number)))
    }

    /// Unplugs the gateway from the LAN.
    pub fn unplug_gateway(&self) -> Result<()> {
        self.lan.ip("link set gateway down")
    }

    /// Plugs it in again.
    pub fn plug_gateway(&self) -> Result<()> {
        self.lan.ip("link set gateway up")
    }

    /// Octets that a switch's `eth0` has received, as its own kernel counts them.
    pub fn received_octets(&self, number: u8) -> Result<u64> {
        let switch = &self.switches[usize::from(number) - 1];
        let output = Command::new("ip")
            .args([
                "netns",
                "exec",
                switch.name(),
                "cat",
                "/sys/class/net/eth0/statistics/rx_bytes",
            ])
            .output()?;
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    }

    fn start_name_server(&mut self) -> Result<()> {
        let mut command = process::command(Path::new("dnsmasq"), self.centre.as_deref());
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
        ]);
        command.args(["--bind-interfaces", "--pid-file", "--user=root", "--local=/example/"]);
        command.arg(format!("--listen-address={CENTRE}"));
        command.arg(format!("--address=/{NAME}/{CENTRE}"));
        let mut daemon = Daemon::start("dnsmasq", command, &self.directory.join("dnsmasq.log"))?;
        // A question for the root's name: any answer will do.
        let question = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1];
        let asked = SocketAddr::new(IpAddr::V4(CENTRE), 53);
        until_answered(self.centre.as_deref(), &mut daemon, asked, &question)?;
        self.daemons.push(daemon);
        Ok(())
    }

    fn start_snmp(&mut self, number: u8) -> Result<()> {
        let directory = self.directory.join(format!("switch{number}"));
        fs::create_dir_all(&directory)?;
        let configuration = directory.join("snmpd.conf");
        let text = format!(
            "rocommunity {COMMUNITY}\nsysName switch-{number}\nsysLocation local technique\n\
             sysContact postmaster@ecole.example\n"
        );
        fs::write(&configuration, text)?;
        let switch = self.switches.last().context("no switch to start")?;
        let mut command = process::command(Path::new("snmpd"), Some(switch));
        command.args(["-f", "-C", "-Lf", "/dev/null", "-I", "-smux", "-c"]).arg(&configuration);
        command.arg("udp:161");
        command.env("SNMP_PERSISTENT_DIR", &directory).env("SNMPCONFPATH", &directory);
        let mut daemon = Daemon::start("snmpd", command, &directory.join("snmpd.log"))?;
        // GET sysUpTime.0, written out: the probe under test must not judge its own peer.
        let mut question = vec![0x30, 0x26 + 1, 0x02, 1, 1, 0x04, 7];
        question.extend_from_slice(COMMUNITY.as_bytes());
        question.extend([0xa0, 0x19, 0x02, 1, 1, 0x02, 1, 0, 0x02, 1, 0, 0x30, 0x0e]);
        question.extend([0x30, 0x0c, 0x06, 8, 0x2b, 6, 1, 2, 1, 1, 3, 0, 0x05, 0]);
        question[1] = u8::try_from(question.len() - 2)?;
        let asked = SocketAddr::new(IpAddr::V4(Self::switch(number)), 161);
        until_answered(Some(switch), &mut daemon, asked, &question)?;
        self.daemons.push(daemon);
        Ok(())
    }
}

fn until_answered(
    inside: Option<&Namespace>,
    daemon: &mut Daemon,
    asked: SocketAddr,
    question: &[u8],
) -> Result<()> {
    let bind = || UdpSocket::bind((asked.ip(), 0));
    let socket = match inside {
        Some(inside) => inside.enter(bind)??,
        None => bind()?,
    };
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    socket.connect(asked)?;
    wait::until("a peer to answer", PEER_WITHIN, || {
        daemon.check()?;
        socket.send(question)?;
        let mut answer = [0; 1500];
        Ok(socket.recv(&mut answer).is_ok().then_some(()))
    })
    .with_context(|| daemon.tail())
}
