//! What stands on the stage: programs, lines and devices.

use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result};
use e2e::{
    agent::{self, Agent},
    collector::{self, Collector, Settings},
    netns::Namespace,
    process::Daemon,
    proxy::Proxy,
    school::{CENTRE, COMMUNITY, Centre, NAME, School},
    smtp_sink::SmtpSink,
    world::{CONTRACTOR, LOT},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Seconds of silence that are an incident here; 300 as shipped.
pub(crate) const SILENCE_S: u32 = 10;
/// Switches of the school.
const SWITCHES: u8 = 2;

/// What this machine lets us do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Make network namespaces.
    Namespaces,
    /// Use loopback only.
    Loopback,
}

impl Permission {
    pub(crate) fn of_this_machine() -> Self {
        match Namespace::new(&e2e::netns::next_tag(), "probe") {
            Ok(_) => Self::Namespaces,
            Err(_) => Self::Loopback,
        }
    }
}

enum Network {
    Namespaces(School),
    /// The school's line, and its switches with what they are started from.
    Loopback {
        line: Proxy,
        switches: Vec<Switch>,
    },
}

struct Switch {
    address: SocketAddr,
    daemon: Option<Daemon>,
}

/// Everything, gone with its value.
pub(crate) struct Stage {
    agents: Vec<Agent>,
    pub(crate) collector: Collector,
    pub(crate) sink: SmtpSink,
    network: Network,
    pub(crate) uai: String,
    own_uai: String,
    directory: TempDir,
}

impl Stage {
    pub(crate) fn set(permission: Permission) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("vigie-demo-").tempdir()?;
        let place = |name: &str| directory.path().join(name);
        let more = format!("[references]\ndns_name = \"{NAME}\"\n");
        let settings = |smtp: &SmtpSink| Settings {
            smtp: Some(smtp.address()),
            silence_after_s: SILENCE_S,
            start_grace_s: SILENCE_S,
            more: more.clone(),
            ..Settings::default()
        };
        let (network, sink, collector) = match permission {
            Permission::Namespaces => {
                let school = School::build_with(&place("school"), SWITCHES, Centre::Here)?;
                let sink = SmtpSink::on(school.listen_in_centre()?)?;
                let collector = Collector::start_inside(
                    &place("collector"),
                    &settings(&sink),
                    None,
                    CENTRE.into(),
                )?;
                (Network::Namespaces(school), sink, collector)
            }
            Permission::Loopback => {
                let sink = SmtpSink::start()?;
                let collector = Collector::start(&place("collector"), &settings(&sink))?;
                let line = Proxy::start("127.0.0.1", collector.agents_address())?;
                let switches = (1..=SWITCHES).map(|number| {
                    let mut switch = Switch { address: free_udp_port()?, daemon: None };
                    switch.start(&place(&format!("switch{number}")), number)?;
                    Ok(switch)
                });
                let switches = switches.collect::<Result<_>>()?;
                (Network::Loopback { line, switches }, sink, collector)
            }
        };
        let (uai, own_uai) = (collector::uai(1), collector::uai(2));
        collector.add_site(&uai, "Collège des Essais", LOT)?;
        collector.add_site(&own_uai, "Cette machine", "1")?;
        collector.set_contractor(LOT, CONTRACTOR)?;

        let mut own = Agent::new(&place("agent-here"), agent::Settings::default(), None)?;
        own.enrol(collector.agents_address(), &collector.token(&own_uai)?)?;
        own.start()?;
        let token = collector.token(&uai)?;
        let mut agent = match &network {
            Network::Namespaces(school) => {
                let settings = agent::Settings::default();
                let agent = Agent::new(&place("agent-school"), settings, Some(school.server()))?;
                agent.enrol(collector.agents_address(), &token)?;
                agent
            }
            Network::Loopback { line, .. } => {
                let networks = Some(vec!["127.0.0.0/8".to_owned()]);
                let settings = agent::Settings { allow_networks: networks, ..Default::default() };
                let agent = Agent::new(&place("agent-school"), settings, None)?;
                agent.enrol(line.address(), &token)?;
                agent
            }
        };
        agent.start()?;
        let agents = vec![agent, own];
        Ok(Self { agents, collector, sink, network, uai, own_uai, directory })
    }

    /// What the operator tells the collector about a switch, counted from 1.
    pub(crate) fn switch(&self, number: u8) -> Value {
        let address = match &self.network {
            Network::Namespaces(_) => School::switch(number).to_string(),
            Network::Loopback { switches, .. } => {
                switches[usize::from(number) - 1].address.to_string()
            }
        };
        json!({
            "method": "snmp", "address": address, "community": COMMUNITY,
            "name": format!("commutateur {number}"), "period_s": 5,
        })
    }

    pub(crate) fn unplug(&mut self, number: u8) -> Result<()> {
        match &mut self.network {
            Network::Namespaces(school) => school.unplug(number),
            Network::Loopback { switches, .. } => {
                switches[usize::from(number) - 1].daemon = None;
                Ok(())
            }
        }
    }

    pub(crate) fn plug(&mut self, number: u8) -> Result<()> {
        let place = self.directory.path().join(format!("switch{number}"));
        match &mut self.network {
            Network::Namespaces(school) => school.plug(number),
            Network::Loopback { switches, .. } => {
                switches[usize::from(number) - 1].start(&place, number)
            }
        }
    }

    pub(crate) fn cut_uplink(&self) -> Result<()> {
        match &self.network {
            Network::Namespaces(school) => school.cut_uplink(),
            Network::Loopback { line, .. } => {
                line.cut();
                Ok(())
            }
        }
    }

    pub(crate) fn mend_uplink(&self) -> Result<()> {
        match &self.network {
            Network::Namespaces(school) => school.mend_uplink(),
            Network::Loopback { line, .. } => {
                line.restore();
                Ok(())
            }
        }
    }

    /// Rungs of the ladder that this school must show.
    pub(crate) fn rungs(&self) -> &'static [&'static str] {
        match self.network {
            Network::Namespaces(_) => &["host", "gateway", "hop", "resolver", "collector"],
            Network::Loopback { .. } => &["host"],
        }
    }

    /// An error when a program of the stage ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.collector.daemon()?.check()?;
        self.agents.iter_mut().try_for_each(|agent| agent.daemon()?.check())
    }

    pub(crate) fn describe(&self) -> String {
        match &self.network {
            Network::Namespaces(_) => format!(
                "a school with a gateway, a server and {SWITCHES} switches (net-snmp), an operator's \
                 router and a name server, in network namespaces"
            ),
            Network::Loopback { .. } => format!(
                "a school with {SWITCHES} switches (net-snmp) on loopback: this machine does not let \
                 us make network namespaces"
            ),
        }
    }

    pub(crate) fn where_to_look(&self) -> String {
        let (uai, own) = (&self.uai, &self.own_uai);
        let program = e2e::binaries::find("vigie").unwrap_or_else(|_| "vigie".into());
        let spoil = match &self.network {
            Network::Namespaces(school) => format!(
                "  ip -n {lan} link set switch1 down     # unplug a switch; `up` plugs it in again\n  \
                 ip -n {lan} link set gateway down     # unplug the gateway\n",
                lan = school.lan().name()
            ),
            Network::Loopback { .. } => String::new(),
        };
        format!(
            "\nLook here:\n  API      http://{api}/api/v1/status (bearer token in {token})\n  \
             metrics  http://{api}/metrics\n  logs     {logs}/*/*.log\n  \
             mails    are shown by `deploy/demo --once`; here {relay} takes them\n\n\
             Try, in another terminal:\n  export VIGIE_SERVER=http://{api} \
             VIGIE_TOKEN_FILE={token}\n  alias vigie={program}\n  vigie status\n  \
             vigie site show {uai}\n  vigie site show {own}\n  vigie incidents\n  \
             vigie series list --uai {uai}\n{spoil}\nCtrl-C ends everything and cleans up.",
            api = self.collector.api_address(),
            token = self.collector.data().join("operator.token").display(),
            logs = self.directory.path().display(),
            relay = self.sink.address(),
            program = program.display(),
        )
    }
}

impl Switch {
    fn start(&mut self, place: &Path, number: u8) -> Result<()> {
        std::fs::create_dir_all(place)?;
        let configuration = place.join("snmpd.conf");
        let text = format!("rocommunity {COMMUNITY} 127.0.0.1\nsysName switch-{number}\n");
        std::fs::write(&configuration, text)?;
        let mut command = Command::new("snmpd");
        command.args(["-f", "-C", "-Lf", "/dev/null", "-I", "-smux", "-c"]).arg(&configuration);
        command.arg(format!("udp:{}", self.address));
        command.env("SNMP_PERSISTENT_DIR", place).env("SNMPCONFPATH", place);
        self.daemon = Some(Daemon::start("snmpd", command, &place.join("snmpd.log"))?);
        Ok(())
    }
}

fn free_udp_port() -> Result<SocketAddr> {
    let socket = UdpSocket::bind("127.0.0.1:0").context("cannot find a free port")?;
    Ok(socket.local_addr()?)
}
