//! What `vigie-agent inspect --json` says of each device, over version 2c and over version 3: the same, byte
//! for byte, in few requests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{process::Command, task::JoinSet, time::timeout};

use e2e::binaries;

/// Devices that are asked at a time; the simulator answers them one after the other.
const AT_A_TIME: usize = 3;
/// Longest inspection of one device.
const LONGEST: Duration = Duration::from_mins(5);
/// Requests that any device may be asked.
const MAX_REQUESTS: usize = 200;

/// The user that the simulator knows.
const USER: [&str; 12] = [
    "--v3-user",
    "sim",
    "--v3-auth-protocol",
    "sha1",
    "--v3-auth-password",
    "simauth123",
    "--v3-priv-protocol",
    "aes128",
    "--v3-priv-password",
    "simpriv123",
    "--v3-context",
    // The device's name follows.
    "",
];

/// One inspection.
struct Said {
    json: Vec<u8>,
    requests: usize,
    /// What was read, in dotted names.
    read: Vec<String>,
}

/// Inspects every device twice and keeps in `out` what was said; true when all went well.
pub(crate) async fn check(paths: &[PathBuf], address: SocketAddr, out: &Path) -> Result<bool> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let mut all = JoinSet::new();
    let mut left = paths.iter().cloned();
    let mut lines = BTreeMap::new();
    let mut is_good = true;
    loop {
        while all.len() < AT_A_TIME
            && let Some(path) = left.next()
        {
            let out = out.to_owned();
            all.spawn(async move {
                let done = device(&path, address, &out).await;
                (path, done)
            });
        }
        let Some(done) = all.join_next().await else { break };
        let (path, done) = done?;
        let name = name(&path);
        let line = match done {
            Ok(requests) => format!("  ok    {name:<32} {requests}"),
            Err(error) => {
                is_good = false;
                format!("  FAIL  {name:<32} {error:#}")
            }
        };
        lines.insert(name, line);
    }
    for line in lines.values() {
        println!("{line}");
    }
    Ok(is_good)
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Inspects one device; what to say of its requests.
async fn device(path: &Path, address: SocketAddr, out: &Path) -> Result<String> {
    let name = name(path);
    let v2c = inspect(address, &["--community", &name]).await.context("version 2c")?;
    let kept = out.join(format!("{name}.json"));
    fs::write(&kept, &v2c.json).with_context(|| format!("cannot write {}", kept.display()))?;
    let mut user = USER;
    user[11] = &name;
    let v3 = inspect(address, &user).await.context("version 3")?;
    ensure!(v2c.json == v3.json, "over version 3, the same device says something else");
    let said = format!("{:>4} requests", v2c.requests);
    if v2c.requests <= MAX_REQUESTS {
        return Ok(said);
    }
    let walk = bulkwalk(address, &name, &v2c.read).await?;
    ensure!(v2c.requests * 2 <= walk * 3, "{said}, snmpbulkwalk {walk}");
    Ok(format!("{said}, snmpbulkwalk {walk}"))
}

async fn inspect(address: SocketAddr, credentials: &[&str]) -> Result<Said> {
    let mut command = Command::new(binaries::find("vigie-agent")?);
    command.arg("inspect").arg(address.to_string()).args(credentials).args(["--json", "--verbose"]);
    let output =
        timeout(LONGEST, command.kill_on_drop(true).output()).await.context("no end")??;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", output.status, told.trim());
    let field = |key: &str| {
        told.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    };
    let requests = field("requests").context("no number of requests")?.parse()?;
    let read = field("read").context("no list of what was read")?.split(',').map(str::to_owned);
    Ok(Said { json: output.stdout, requests, read: read.collect() })
}

/// Requests that snmpbulkwalk sends for the tables that hold these columns, as it comes from its makers.
async fn bulkwalk(address: SocketAddr, community: &str, columns: &[String]) -> Result<usize> {
    // Each name without its last number, but for those that lie within another.
    let tables: BTreeSet<&str> =
        columns.iter().filter_map(|column| Some(column.rsplit_once('.')?.0)).collect();
    let is_within = |table: &str, other: &str| {
        table.strip_prefix(other).is_some_and(|rest| rest.starts_with('.'))
    };
    let mut requests = 0;
    for table in &tables {
        if tables.iter().any(|other| is_within(table, other)) {
            continue;
        }
        let mut command = Command::new("snmpbulkwalk");
        command.args(["-v2c", "-c", community, "-On", "-d", "-t", "5"]);
        command.arg(address.to_string()).arg(table);
        let output =
            timeout(LONGEST, command.kill_on_drop(true).output()).await.context("no end")?;
        let output = output.context("cannot run snmpbulkwalk")?;
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        requests += told.lines().filter(|line| line.starts_with("Sending ")).count();
    }
    ensure!(requests >= tables.len() / 2, "snmpbulkwalk did not say what it sent");
    Ok(requests)
}
