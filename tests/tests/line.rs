//! The whole line, in a simulated school: measured, kept, sent, stored, told, mailed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    collector::Settings,
    process,
    school::{CENTRE, COMMUNITY, GATEWAY, HOP, School},
    wait,
    world::{CONTRACTOR, FIRST_DATA_WITHIN, World},
};
use serde_json::{Value, json};

/// Long enough for anything but a fault.
const LIMIT: Duration = Duration::from_mins(1);
/// From a cut to the mail: the promise is 25 s, a machine busy with other tests gets more.
const MAIL_WITHIN: Duration = Duration::from_secs(45);
/// How long nothing must happen where nothing should.
const QUIET: Duration = Duration::from_secs(12);

fn echo(number: u8, parent: Option<i64>) -> Value {
    json!({
        "method": "icmp", "address": School::switch(number).to_string(),
        "name": format!("commutateur {number}"), "period_s": 5, "count": 3, "parent": parent,
    })
}

fn kinds(incidents: &[Value]) -> Vec<&str> {
    incidents.iter().filter_map(|incident| incident["kind"].as_str()).collect()
}

#[test]
fn one_command_on_the_server_and_its_ladder_is_measured_within_a_minute() -> Result<()> {
    let mut world = World::build(0, &Settings::default())?;
    let started = Instant::now();
    world.agent.start()?;
    wait::until_true("the first data", FIRST_DATA_WITHIN, || {
        Ok(world.targets()?.iter().any(|target| target["state"] == "up"))
    })?;
    let first = started.elapsed();
    world.until_whole_ladder_answers(FIRST_DATA_WITHIN)?;
    let targets = world.targets()?;
    let up = |role: &str, address: &str| {
        targets.iter().any(|target| {
            target["role"] == role && target["address"] == address && target["state"] == "up"
        })
    };
    let collector = world.collector.agents_address().to_string();
    ensure!(up("host", ""), "{targets:#?}");
    ensure!(up("gateway", &GATEWAY.to_string()), "{targets:#?}");
    ensure!(up("hop", &HOP.to_string()), "{targets:#?}");
    ensure!(up("resolver", &CENTRE.to_string()), "{targets:#?}");
    ensure!(up("collector", &collector), "{targets:#?}");
    let loss = world.series("icmp_loss", None)?;
    ensure!(loss.len() >= 2, "{loss:#?}");
    eprintln!("first data {:.1} s after the start of the agent", first.as_secs_f64());
    ensure!(first < FIRST_DATA_WITHIN);
    Ok(())
}

/// Many networks have an IPv6 router only, which is known by its link-local address alone.
#[test]
fn a_gateway_without_any_other_address_is_the_ladders_gateway_on_its_interface() -> Result<()> {
    const ROUTER: &str = "fe80::1%eth0";
    let mut world = World::build(0, &Settings::default())?;
    let (server, gateway) = (world.school.server().clone(), world.school.gateway());
    for (namespace, address) in [(gateway, "fe80::1/64 dev lan0"), (&server, "fe80::a/64 dev eth0")]
    {
        namespace.set("/proc/sys/net/ipv6/conf/all/disable_ipv6", "0")?;
        namespace.ip(&format!("addr add {address} nodad"))?;
    }
    // As a router's advertisement would; to the centre there is a way by IPv4 all the same.
    server.ip("route add default via fe80::1 dev eth0 proto ra metric 1024")?;
    server.ip(&format!("route add 10.77.0.0/16 via {GATEWAY}"))?;
    server.ip("route del default")?;
    world.agent.start()?;
    let state_of = |world: &World, address: &str| -> Result<String> {
        let targets = world.targets()?;
        let known = targets.iter().find(|t| t["role"] == "gateway" && t["address"] == address);
        Ok(known.and_then(|target| target["state"].as_str()).unwrap_or("absent").to_owned())
    };
    wait::until_true("the router to answer", LIMIT, || Ok(state_of(&world, ROUTER)? == "up"))?;
    ensure!(state_of(&world, &GATEWAY.to_string())? == "absent", "{:#?}", world.targets()?);
    world.school.gateway().ip("addr del fe80::1/64 dev lan0")?;
    wait::until_true("the router to be down", LIMIT, || Ok(state_of(&world, ROUTER)? == "down"))?;
    // Where there is an IPv4 gateway, that one is the rung.
    server.default_route(&GATEWAY.to_string())?;
    wait::until_true("the IPv4 gateway to answer", LIMIT, || {
        Ok(state_of(&world, &GATEWAY.to_string())? == "up" && state_of(&world, ROUTER)? == "absent")
    })
}

#[test]
fn a_switch_shows_its_interfaces_and_their_rates() -> Result<()> {
    let mut world = World::build(1, &Settings::default())?;
    world.start()?;
    let target = json!({
        "method": "snmp", "address": School::switch(1).to_string(), "community": COMMUNITY,
        "name": "commutateur 1", "period_s": 5,
    });
    let id = world.collector.add_target(&world.uai, &target)?;
    let series = wait::until("the switch's interfaces", LIMIT, || {
        let series = world.series("if_hc_in_octets", Some(id))?;
        Ok(series.into_iter().find(|series| series["label"] == "eth0"))
    })?;
    let number = series["id"].as_i64().context("a series without an id")?;
    // Some traffic of a known direction: 1,000 octets and headers, each way, for a while.
    let mut command = process::command("fping".as_ref(), Some(world.school.server()));
    command.args(["-q", "-c", "300", "-p", "40", "-b", "1000", &School::switch(1).to_string()]);
    let traffic = std::thread::spawn(move || process::run("fping", command, LIMIT));
    let points = wait::until("three rounds", LIMIT, || {
        let points: Vec<_> = world.samples(number)?.into_iter().collect();
        Ok((points.iter().filter(|(_, value)| value.is_some()).count() >= 3).then_some(points))
    })?;
    let read: Vec<f64> = points.iter().filter_map(|(_, value)| *value).collect();
    let octets = world.school.received_octets(1)? as f64;
    ensure!(read.windows(2).all(|pair| pair[0] < pair[1]), "{read:?}");
    ensure!(read.iter().all(|value| *value <= octets), "{read:?} of {octets}");
    ensure!(read[read.len() - 1] - read[0] > 10_000.0, "{read:?}");
    let rate = format!("/series/{number}/samples?from=-10m&step=5m&aggregate=max");
    let rates = world.collector.get(&rate)?;
    ensure!(rates["unit"].as_str().is_some_and(|unit| unit.ends_with("/s")), "{rates:#}");
    let best = rates["points"].as_array().into_iter().flatten();
    let best = best.filter_map(|point| point["value"].as_f64()).fold(0.0, f64::max);
    ensure!((1_000.0..1_000_000.0).contains(&best), "{best} octets a second: {rates:#}");
    traffic.join().map_err(|_| anyhow::anyhow!("fping's thread panicked"))??;
    Ok(())
}

#[test]
fn a_cut_uplink_is_unknown_never_down_and_loses_nothing() -> Result<()> {
    let mut world = World::build(1, &Settings { silence_after_s: 10, ..Settings::default() })?;
    let id = world.collector.add_target(&world.uai, &echo(1, None))?;
    world.start()?;
    let series = wait::until("the series of the switch", LIMIT, || {
        Ok(world.series("icmp_rtt_mean", Some(id))?.first().and_then(|s| s["id"].as_i64()))
    })?;
    wait::until_true("samples", LIMIT, || Ok(world.samples(series)?.len() >= 2))?;

    world.school.cut_uplink()?;
    let cut = Instant::now();
    wait::until_true("the school to be unknown", LIMIT, || {
        let state = world.collector.site_state(&world.uai)?;
        ensure!(state != "down", "silence is no outage");
        Ok(state == "unknown")
    })?;
    wait::until_true("the incident", LIMIT, || Ok(!world.incidents()?.is_empty()))?;
    wait::throughout("nothing is called down", QUIET, || {
        let incidents = world.incidents()?;
        Ok(kinds(&incidents) == ["agent-silent"]
            && world.targets()?.iter().all(|target| target["state"] != "down"))
    })?;
    let out = cut.elapsed();
    world.school.mend_uplink()?;
    let mended = Instant::now();
    world.until_state("up", LIMIT)?;
    eprintln!("up {:.1} s after the repair", mended.elapsed().as_secs_f64());
    wait::until_true("the end of the incident", LIMIT, || {
        Ok(world.incidents()?.iter().all(|incident| incident["state"] == "closed"))
    })?;

    // Every round of the outage is there, as if nothing had happened.
    let hole = |points: &[(f64, Option<f64>)]| {
        points.windows(2).map(|pair| pair[1].0 - pair[0].0).fold(0.0, f64::max)
    };
    let points = wait::until("the backlog", LIMIT, || {
        let points = world.samples(series)?;
        Ok((hole(&points) < 7.5).then_some(points))
    })?;
    ensure!(points.iter().all(|(_, value)| value.is_some()), "{points:?}");
    let (first, last) = (points[0].0, points[points.len() - 1].0);
    let rounds = (last - first) / 5.0 + 1.0;
    ensure!(last - first > out.as_secs_f64(), "{points:?}");
    ensure!((points.len() as f64 - rounds).abs() < 1.5, "{} points, {rounds} rounds", points.len());
    let incidents = world.incidents()?;
    ensure!(kinds(&incidents) == ["agent-silent"], "late data opens nothing: {incidents:#?}");
    Ok(())
}

#[test]
fn a_switch_that_goes_down_is_one_incident_and_one_thread_of_two_mails() -> Result<()> {
    let mut world = World::build(2, &Settings::default())?;
    let down = world.collector.add_target(&world.uai, &echo(1, None))?;
    let fine = world.collector.add_target(&world.uai, &echo(2, None))?;
    world.start()?;
    wait::until_true("both switches", LIMIT, || {
        Ok(world.target_state(down)? == "up" && world.target_state(fine)? == "up")
    })?;

    let unplugged = Instant::now();
    world.school.unplug(1)?;
    let opened = world.sink.wait_for(1, MAIL_WITHIN)?;
    eprintln!("mail {:.1} s after the cut", (opened[0].at - unplugged).as_secs_f64());
    let incidents = world.incidents()?;
    ensure!(kinds(&incidents) == ["target-down"], "{incidents:#?}");
    ensure!(incidents[0]["target_id"] == down && incidents[0]["state"] == "open");
    ensure!(world.target_state(down)? == "down" && world.target_state(fine)? == "up");
    wait::throughout("one mail, one incident", QUIET, || {
        Ok(world.sink.mails().len() == 1 && world.incidents()?.len() == 1)
    })?;

    world.school.plug(1)?;
    let mails = world.sink.wait_for(2, MAIL_WITHIN)?;
    wait::until_true("the switch", LIMIT, || Ok(world.target_state(down)? == "up"))?;
    let header = |at: usize, name: &str| mails[at].header(name).with_context(|| name.to_owned());
    ensure!(mails.iter().all(|mail| mail.recipients == [CONTRACTOR]), "{mails:#?}");
    ensure!(header(0, "Subject")? == header(1, "Subject")?, "clients group by subject");
    ensure!(header(1, "In-Reply-To")? == header(0, "Message-ID")?);
    ensure!(header(1, "References")?.contains(&header(0, "Message-ID")?));
    ensure!(header(0, "Message-ID")? != header(1, "Message-ID")?);
    let (open, close) = (mails[0].body(), mails[1].body());
    for text in [&world.uai, "Collège des Essais", "commutateur 1", "INC-"] {
        ensure!(open.contains(text) && close.contains(text), "no {text} in:\n{open}\n{close}");
    }
    wait::throughout("no further mail", QUIET, || Ok(world.sink.mails().len() == 2))?;
    let incidents = world.incidents()?;
    ensure!(incidents.len() == 1 && incidents[0]["state"] == "closed", "{incidents:#?}");
    Ok(())
}

#[test]
fn what_stands_behind_a_dead_switch_is_unreachable_and_no_incident() -> Result<()> {
    let mut world = World::build(3, &Settings::default())?;
    let core = world.collector.add_target(&world.uai, &echo(1, None))?;
    let behind = [2, 3].map(|n| world.collector.add_target(&world.uai, &echo(n, Some(core))));
    let behind = [behind[0].as_ref(), behind[1].as_ref()].map(|id| id.map_or(0, |id| *id));
    ensure!(!behind.contains(&0));
    world.start()?;
    wait::until_true("the switches", LIMIT, || {
        Ok(world.target_state(core)? == "up" && world.target_state(behind[1])? == "up")
    })?;
    for number in 1..=3 {
        world.school.unplug(number)?;
    }
    world.sink.wait_for(1, MAIL_WITHIN)?;
    wait::until_true("what is behind to be unreachable", LIMIT, || {
        Ok(world.target_state(behind[0])? == "unreachable"
            && world.target_state(behind[1])? == "unreachable")
    })?;
    wait::throughout("one cause, one incident, one mail", QUIET, || {
        let incidents = world.incidents()?;
        Ok(incidents.len() == 1
            && incidents[0]["target_id"] == core
            && world.sink.mails().len() == 1)
    })
}

#[test]
fn an_agent_that_is_killed_is_silent_and_its_school_unknown() -> Result<()> {
    let mut world = World::build(0, &Settings { silence_after_s: 10, ..Settings::default() })?;
    world.start()?;
    world.agent.kill()?;
    let mails = world.sink.wait_for(1, LIMIT)?;
    ensure!(mails[0].body().contains("inconnu"), "{}", mails[0].body());
    ensure!(kinds(&world.incidents()?) == ["agent-silent"]);
    wait::until_true("the school to be unknown", LIMIT, || {
        let state = world.collector.site_state(&world.uai)?;
        ensure!(state != "down", "silence is no outage");
        Ok(state == "unknown")
    })?;
    world.agent.start()?;
    let mails = world.sink.wait_for(2, LIMIT)?;
    ensure!(mails[1].header("In-Reply-To") == mails[0].header("Message-ID"));
    wait::until_true("the end of the incident", LIMIT, || {
        Ok(world.incidents()?.iter().all(|incident| incident["state"] == "closed"))
    })?;
    // The stretch without a measure is declared, not a mystery.
    let series = world.series("uptime", None)?;
    let number = series[0]["id"].as_i64().context("a series without an id")?;
    wait::until_true("the declared gap", LIMIT, || {
        let answer = world.collector.get(&format!("/series/{number}/samples?from=-1h&step=raw"))?;
        let gaps = answer["gaps"].as_array().cloned().unwrap_or_default();
        Ok(gaps.iter().any(|gap| gap["reason"].as_str().is_some_and(|why| why.contains("crash"))))
    })
}

#[test]
fn a_revoked_agent_is_cut_off_and_nothing_more_of_it_is_kept() -> Result<()> {
    let mut world = World::build(0, &Settings::default())?;
    world.start()?;
    let agents = world.collector.get("/agents")?;
    let id = agents["items"][0]["id"].as_str().context("an agent without an id")?.to_owned();
    world.collector.post(&format!("/agents/{id}/revoke"), &Value::Null)?;
    wait::until_true("the end of its session", Duration::from_secs(3), || {
        let agents = world.collector.get("/agents")?;
        Ok(agents["items"][0]["connected"] == false && agents["items"][0]["status"] == "revoked")
    })?;
    let database = world.collector.data().join("vigie.db");
    let count = || -> Result<usize> { Ok(e2e::campaign::committed(&database)?.count()) };
    let kept = count()?;
    ensure!(kept > 0);
    wait::throughout("nothing more is kept", QUIET, || Ok(count()? == kept))?;
    world.agent.daemon()?.check().context("a revoked agent goes on measuring")?;
    Ok(())
}
