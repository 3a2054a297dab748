//! `vigie-agent inspect` and `vigie-agent profiles` as a technician runs them: what they print, and their exit
//! status.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    binaries,
    process::{self, Daemon, Said},
    wait,
};
use serde_json::Value;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_mins(1);
const COMMUNITY: &str = "community-canary";
const AUTH: &str = "authentication-canary";
const PRIVACY: &str = "privacy-canary";

fn run(words: &[&str]) -> Result<Said> {
    let mut command = Command::new(binaries::find("vigie-agent")?);
    command.args(words).env("LC_ALL", "C.UTF-8");
    process::run(&words.join(" "), command, LIMIT)
}

/// Debian's agent, which knows one community and one user.
struct Snmpd {
    address: SocketAddr,
    _daemon: Daemon,
    directory: TempDir,
}

impl Snmpd {
    fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        let configuration = directory.path().join("snmpd.conf");
        let text = format!(
            "rocommunity {COMMUNITY} 127.0.0.1\n\
             createUser ops SHA-256 \"{AUTH}\" AES-256 \"{PRIVACY}\"\n\
             rouser ops priv\n\
             sysName serveur-cdi\n\
             sysLocation local \\033[2JB12\n\
             sysServices 72\n"
        );
        fs::write(&configuration, text)?;
        let mut command = Command::new("/usr/sbin/snmpd");
        command
            .args(["-f", "-C", "-Lo", "-I", "-smux", "-c"])
            .arg(&configuration)
            .arg(format!("udp:{address}"))
            .env("SNMP_PERSISTENT_DIR", directory.path())
            .env("SNMPCONFPATH", directory.path())
            .stdin(Stdio::null());
        let daemon = Daemon::start("snmpd", command, &directory.path().join("log"))?;
        let agent = Self { address, _daemon: daemon, directory };
        wait::until_true("snmpd's first answer", LIMIT, || {
            Ok(agent.inspect(&["--community", COMMUNITY, "--json", "--timeout", "1"])?.code
                == Some(0))
        })?;
        Ok(agent)
    }

    fn inspect(&self, words: &[&str]) -> Result<Said> {
        run(&[&["inspect", &self.address.to_string()], words].concat())
    }

    /// A file with a password in it.
    fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.directory.path().join(name);
        fs::write(&path, format!("{text}\n"))?;
        Ok(path.to_str().context("a name in UTF-8")?.to_owned())
    }
}

#[test]
fn a_real_agent_tells_the_same_in_every_version() -> Result<()> {
    let agent = Snmpd::start()?;
    let (auth, privacy) = (agent.file("auth", AUTH)?, agent.file("priv", PRIVACY)?);
    let user = [
        "--v3-user",
        "ops",
        "--v3-auth-protocol",
        "sha256",
        "--v3-auth-password-file",
        &auth,
        "--v3-priv-protocol",
        "aes256",
        "--v3-priv-password-file",
        &privacy,
    ];
    let asked: [&[&str]; 3] =
        [&["--community", COMMUNITY], &["--v1", "--community", COMMUNITY], &user];
    for words in asked {
        let said = agent.inspect(&[words, &["--json", "--verbose"]].concat())?;
        ensure!(said.code == Some(0), "{said:?}");
        let told: Value = serde_json::from_str(&said.out).context("no JSON")?;
        assert_eq!(told["sysName"], "serveur-cdi");
        assert_eq!(told["partial"], false, "{words:?}");
        let ports = told["ports"].as_array().context("no ports")?;
        assert_eq!(ports.len(), fs::read_dir("/sys/class/net")?.count());
        let lo = ports.iter().find(|port| port["ifName"] == "lo").context("no loopback")?;
        assert_eq!(lo["ifType"], "softwareLoopback");
        assert_eq!(lo["ifOperStatus"], "up");
        assert!(lo["ifHCInOctets"].is_u64(), "{lo}");
        let memory = told["mempools"].as_array().context("no memory")?;
        assert!(memory.iter().any(|pool| pool["class"] == "system" && pool["used"].is_u64()));
        assert!(said.err.contains("requests="), "{said:?}");
        for secret in [COMMUNITY, AUTH, PRIVACY] {
            assert!(!said.out.contains(secret) && !said.err.contains(secret));
        }
    }
    Ok(())
}

#[test]
fn a_page_is_in_french_unless_asked_otherwise_and_moves_no_cursor() -> Result<()> {
    let agent = Snmpd::start()?;
    let community = agent.file("community", COMMUNITY)?;
    let french = agent.inspect(&["--community-file", &community])?;
    assert_eq!(french.code, Some(0));
    assert!(french.out.contains("serveur-cdi") && french.out.contains("Débit"), "{}", french.out);
    assert!(french.out.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", french.out);
    assert_eq!(french.err, "");
    let english = agent.inspect(&["--community-file", &community, "--lang", "en"])?;
    assert!(english.out.contains("Speed") && !english.out.contains("Débit"), "{}", english.out);
    Ok(())
}

#[test]
fn who_does_not_answer_is_told_apart_from_a_faulty_command() -> Result<()> {
    let silent = UdpSocket::bind("127.0.0.1:0")?;
    let address = silent.local_addr()?.to_string();
    let free = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let secret = ["--community", COMMUNITY];
    for (address, why) in [(&address, "délai dépassé"), (&free, "personne n'écoute")] {
        let said = run(&[&["inspect", address, "--timeout", "1"][..], &secret].concat())?;
        assert_eq!(said.code, Some(3), "{said:?}");
        assert!(said.err.contains(why) && said.err.contains(address.as_str()), "{said:?}");
        assert!(said.out.is_empty() && !said.err.contains(COMMUNITY), "{said:?}");
    }
    let missing = "/nowhere/password";
    let faulty: [&[&str]; 8] = [
        &["inspect"],
        &["inspect", &address],
        &["inspect", "a:b:c", "--community", COMMUNITY],
        &["inspect", &address, "--community-file", missing],
        &["inspect", &address, "--community", COMMUNITY, "--v3-user", "ops"],
        &["inspect", &address, "--v3-user", "ops", "--v3-auth-password", "short"],
        &[
            "inspect",
            &address,
            "--v3-user",
            "ops",
            "--v3-auth-protocol",
            "crc",
            "--v3-auth-password",
            AUTH,
        ],
        &["inspect", &address, "--community", COMMUNITY, "--profiles", "/nowhere"],
    ];
    for words in faulty {
        let said = run(words)?;
        assert_eq!(said.code, Some(2), "{words:?}: {said:?}");
        assert!(said.out.is_empty() && !said.err.is_empty(), "{said:?}");
        assert!(!said.err.contains(AUTH), "{said:?}");
    }
    Ok(())
}

#[test]
fn profiles_are_checked_before_they_are_used() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().to_str().context("a name in UTF-8")?;
    let file = directory.path().join("school.toml");
    fs::write(
        &file,
        "[[match]]\nsys_object_id = [\"1.3.6.1.4.1.99999.7\"]\n[identity]\nvendor = \"Ours\"\n",
    )?;
    let said = run(&["profiles", "check", path])?;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    fs::write(&file, "[[sensor]]\nclass = \"warmth\"\n")?;
    let said = run(&["profiles", "check", path])?;
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
    assert!(said.err.contains("school.toml"), "{said:?}");
    Ok(())
}
