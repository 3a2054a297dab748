//! Relays that misbehave, and one that we did not write.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    agent::{self, Agent},
    collector::{self, Collector, Settings},
    process::Daemon,
    smtp_sink::{Behaviour, SmtpSink},
    wait,
};
use tempfile::TempDir;

/// Minutes pass between two attempts.
const LIMIT: Duration = Duration::from_mins(4);

/// A collector that has an incident to tell of: its only agent was killed.
fn with_incident(directory: &TempDir, settings: Settings) -> Result<Collector> {
    let settings = Settings { silence_after_s: 10, start_grace_s: 0, ..settings };
    let collector = Collector::start(&directory.path().join("collector"), &settings)?;
    let uai = collector::uai(4);
    collector.add_site(&uai, "Collège de l'Étang", "3")?;
    collector.set_contractor("3", "astreinte@mainteneur.example")?;
    let place = directory.path().join("agent");
    let mut agent = Agent::new(&place, agent::Settings::default(), None)?;
    agent.enrol(collector.agents_address(), &collector.token(&uai)?)?;
    agent.start()?;
    wait::until_true("the agent", LIMIT, || {
        Ok(collector.get("/agents")?["items"][0]["connected"] == true)
    })?;
    agent.kill()?;
    Ok(collector)
}

fn misbehaving(
    script: impl IntoIterator<Item = Behaviour>,
    mails: usize,
) -> Result<Vec<e2e::smtp_sink::Mail>> {
    let directory = tempfile::tempdir()?;
    let sink = SmtpSink::start()?;
    sink.script(script);
    let settings = Settings { smtp: Some(sink.address()), ..Settings::default() };
    let collector = with_incident(&directory, settings)?;
    let taken = sink.wait_for(mails, LIMIT)?;
    wait::until_true("the outbox to be empty", LIMIT, || {
        Ok(collector.get("/status")?["outbox"]["waiting"] == 0)
    })?;
    ensure!(sink.mails().len() == mails, "{:#?}", sink.mails());
    let ids: Vec<_> = taken.iter().map(|mail| mail.header("Message-ID")).collect();
    ensure!(ids.iter().all(|id| id.is_some() && *id == ids[0]), "one mail, one name: {ids:?}");
    Ok(taken)
}

#[test]
fn a_relay_that_is_busy_or_breaks_off_gets_the_mail_later() -> Result<()> {
    let script = [
        Behaviour::CutBeforeData,
        Behaviour::AnswerDot("451 4.3.0 later".to_owned()),
        Behaviour::Accept,
    ];
    let taken = misbehaving(script, 2)?;
    ensure!(!taken[0].is_confirmed() && taken[1].is_confirmed());
    Ok(())
}

#[test]
fn a_lost_last_answer_repeats_the_mail_once_under_its_name() -> Result<()> {
    let taken = misbehaving([Behaviour::CutAfterDot, Behaviour::Accept], 2)?;
    ensure!(taken[0].raw == taken[1].raw, "the very same mail");
    Ok(())
}

#[test]
fn a_slow_relay_is_waited_for() -> Result<()> {
    let taken = misbehaving([Behaviour::Slow(Duration::from_secs(4))], 1)?;
    ensure!(taken[0].is_confirmed());
    Ok(())
}

#[test]
fn an_unknown_recipient_is_not_tried_again() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let sink = SmtpSink::start()?;
    sink.script([Behaviour::AnswerRecipient("550 5.1.1 unknown".to_owned())]);
    let settings = Settings { smtp: Some(sink.address()), ..Settings::default() };
    let collector = with_incident(&directory, settings)?;
    wait::until_true("the refusal", LIMIT, || Ok(sink.connections() > 0))?;
    wait::until_true("the outbox to be empty", LIMIT, || {
        Ok(collector.get("/status")?["outbox"]["waiting"] == 0)
    })?;
    ensure!(sink.mails().is_empty());
    Ok(())
}

#[test]
fn a_relay_that_is_away_is_waited_for() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let sink = SmtpSink::start()?;
    let address = sink.address();
    // A port where nobody listens, and somebody will.
    let proxy = e2e::proxy::Proxy::start("127.0.0.1", address)?;
    proxy.cut();
    let settings = Settings { smtp: Some(proxy.address()), ..Settings::default() };
    let collector = with_incident(&directory, settings)?;
    wait::until_true("a mail to wait", LIMIT, || {
        Ok(collector.get("/status")?["outbox"]["waiting"] == 1)
    })?;
    ensure!(sink.mails().is_empty());
    proxy.restore();
    let mails = sink.wait_for(1, LIMIT)?;
    ensure!(mails[0].is_confirmed());
    Ok(())
}

#[test]
fn a_relay_of_another_make_takes_the_mail() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let box_ = directory.path().join("mails");
    let address = std::net::TcpListener::bind((collector::own_loopback(), 0))?.local_addr()?;
    let mut command = std::process::Command::new("/usr/bin/python3");
    command.args(["-m", "aiosmtpd", "--nosetuid", "--listen", &address.to_string()]);
    command.args(["--class", "aiosmtpd.handlers.Mailbox"]).arg(&box_);
    let mut relay = Daemon::start("aiosmtpd", command, &directory.path().join("relay.log"))?;
    wait::until_true("the relay", LIMIT, || {
        relay.check()?;
        Ok(std::net::TcpStream::connect(address).is_ok())
    })?;
    let settings = Settings { smtp: Some(address), ..Settings::default() };
    let collector = with_incident(&directory, settings)?;
    let file = wait::until("the mail", LIMIT, || {
        let mut entries = fs::read_dir(box_.join("new"))?;
        Ok(entries.next().transpose()?.map(|entry| entry.path()))
    })
    .with_context(|| relay.tail())?;
    let raw = fs::read_to_string(file)?.replace("\r\n", "\n").replace('\n', "\r\n");
    let subject = e2e::smtp_sink::text::header(&raw, "Subject").context("no subject")?;
    ensure!(subject.contains("Collège de l'Étang"), "{subject}");
    ensure!(e2e::smtp_sink::text::body(&raw).contains("inconnu"), "{raw}");
    drop(collector);
    Ok(())
}
