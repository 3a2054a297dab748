//! The harness itself: what it says it does to lines, mails and namespaces, it does.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    netns::Namespace,
    process,
    proxy::Proxy,
    school::{CENTRE, GATEWAY, HOP, NAME, School},
    smtp_sink::{Behaviour, SmtpSink},
    wait,
};

const LIMIT: Duration = Duration::from_secs(20);

fn inside(namespace: &Namespace, words: &[&str]) -> Result<bool> {
    let mut command = process::command(Path::new(words[0]), Some(namespace));
    command.args(&words[1..]);
    Ok(process::run(&words.join(" "), command, LIMIT)?.code == Some(0))
}

fn pings(namespace: &Namespace, address: &str) -> Result<bool> {
    inside(namespace, &["fping", "-q", "-r", "1", "-t", "200", address])
}

#[test]
fn a_school_reaches_the_centre_over_its_uplink_and_only_over_it() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let school = School::build(directory.path(), 2)?;
    let server = school.server();
    let (centre, hop, gateway) = (CENTRE.to_string(), HOP.to_string(), GATEWAY.to_string());
    let switch = School::switch(2).to_string();
    ensure!(pings(server, &centre)? && pings(server, &hop)? && pings(server, &gateway)?);
    ensure!(pings(server, &switch)?);
    ensure!(inside(server, &["getent", "hosts", NAME])?, "names are found");

    school.cut_uplink()?;
    ensure!(!pings(server, &centre)? && !pings(server, &hop)?, "the line is cut");
    ensure!(pings(server, &gateway)? && pings(server, &switch)?, "the LAN is whole");
    school.mend_uplink()?;
    wait::until_true("the mended line", LIMIT, || pings(server, &centre))?;

    school.unplug(2)?;
    ensure!(!pings(server, &switch)?);
    ensure!(pings(server, &School::switch(1).to_string())?);
    school.plug(2)?;
    wait::until_true("the plugged switch", LIMIT, || pings(server, &switch))?;

    school.unplug_gateway()?;
    ensure!(!pings(server, &gateway)? && !pings(server, &centre)? && pings(server, &switch)?);
    school.plug_gateway()?;
    wait::until_true("the plugged gateway", LIMIT, || pings(server, &centre))
}

#[test]
fn namespaces_are_gone_with_their_value() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let school = School::build(directory.path(), 1)?;
    let name = school.server().name().to_owned();
    ensure!(Path::new("/run/netns").join(&name).exists());
    drop(school);
    ensure!(!Path::new("/run/netns").join(&name).exists());
    ensure!(!Path::new("/etc/netns").join(&name).exists());
    Ok(())
}

/// A peer that says back what it hears.
fn echo() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

fn said_back(stream: &mut TcpStream) -> Result<bool> {
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    stream.write_all(b"hello")?;
    let mut buffer = [0; 5];
    Ok(stream.read_exact(&mut buffer).is_ok())
}

#[test]
fn a_line_carries_is_cut_and_loses_answers() -> Result<()> {
    let proxy = Proxy::start("127.0.0.1", echo()?)?;
    let mut stream = TcpStream::connect(proxy.address())?;
    ensure!(said_back(&mut stream)?);
    ensure!(proxy.bytes_up() == 5);
    wait::until_true("the count of what came back", LIMIT, || Ok(proxy.bytes_down() == 5))?;

    proxy.lose_answers();
    ensure!(!said_back(&mut stream)?, "the answer is lost");
    ensure!(proxy.bytes_up() == 10, "the question is not");
    wait::until_true("the count of what was lost", LIMIT, || Ok(proxy.bytes_lost() == 5))?;

    proxy.cut();
    ensure!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "the connection ended");
    let mut refused = TcpStream::connect(proxy.address())?;
    ensure!(matches!(said_back(&mut refused), Ok(false) | Err(_)), "no new one");
    proxy.restore();
    let mut again = TcpStream::connect(proxy.address())?;
    ensure!(said_back(&mut again)?);
    Ok(())
}

fn mail(sink: &SmtpSink) -> Result<String> {
    let mut stream = TcpStream::connect(sink.address())?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut said = String::new();
    for line in [
        "EHLO client",
        "MAIL FROM:<a@example.org>",
        "RCPT TO:<b@example.org>",
        "DATA",
        "Subject: =?utf-8?q?r=C3=A9seau?=\r\n\r\n..stuffed\r\n.",
    ] {
        let mut buffer = [0; 512];
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return Ok(said),
            Ok(count) => said.push_str(&String::from_utf8_lossy(&buffer[..count])),
        }
        if stream.write_all(format!("{line}\r\n").as_bytes()).is_err() {
            return Ok(said);
        }
    }
    let mut rest = [0; 512];
    let count = stream.read(&mut rest).unwrap_or(0);
    said.push_str(&String::from_utf8_lossy(&rest[..count]));
    Ok(said)
}

#[test]
fn the_relay_keeps_mails_and_misbehaves_as_told() -> Result<()> {
    let sink = SmtpSink::start()?;
    sink.script([
        Behaviour::Accept,
        Behaviour::AnswerDot("451 4.3.0 later".to_owned()),
        Behaviour::CutAfterDot,
        Behaviour::CutBeforeData,
        Behaviour::AnswerRecipient("550 5.1.1 unknown".to_owned()),
    ]);
    ensure!(mail(&sink)?.ends_with("250 taken\r\n"));
    let first = sink.wait_for(1, LIMIT)?.pop().context("one mail")?;
    ensure!(first.is_confirmed() && first.body() == ".stuffed\n");
    ensure!(first.header("Subject").as_deref() == Some("réseau"));
    ensure!(first.recipients == ["b@example.org"] && first.sender == "a@example.org");
    ensure!(mail(&sink)?.ends_with("451 4.3.0 later\r\n"));
    ensure!(mail(&sink)?.ends_with("354 go on\r\n"), "cut after the dot");
    ensure!(sink.mails().len() == 3 && !sink.mails()[2].is_confirmed());
    ensure!(!mail(&sink)?.contains("354"), "cut before the mail");
    ensure!(mail(&sink)?.contains("550 5.1.1"));
    ensure!(sink.wait_for(9, Duration::from_millis(50)).is_err());
    Ok(())
}

#[test]
fn a_command_that_hangs_is_ended() {
    let mut command = Command::new("sleep");
    command.arg("60");
    let started = std::time::Instant::now();
    assert!(process::run("sleep", command, Duration::from_millis(200)).is_err());
    assert!(started.elapsed() < LIMIT);
}
