//! What happens on the stage.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use e2e::{api::items, smtp_sink::Mail, wait};
use serde_json::Value;

use crate::stage::{SILENCE_S, Stage};

/// Longest wait for one step.
const STEP_WITHIN: Duration = Duration::from_mins(1);
/// Longest time of the whole: it is to be watched.
const PLAY_WITHIN: Duration = Duration::from_secs(90);
/// Longest stretch between two rounds of 5 s that is no hole.
const NO_HOLE_S: f64 = 7.5;

/// A line of the table at the end.
struct Step {
    what: &'static str,
    seconds: f64,
    result: Result<String>,
}

struct Play {
    started: Instant,
    steps: Vec<Step>,
}

impl Play {
    /// Does a step, tells how it went; `None` when it failed.
    fn step<T>(
        &mut self,
        what: &'static str,
        work: impl FnOnce() -> Result<(T, String)>,
    ) -> Option<T> {
        println!("[{:5.1} s] {what} …", self.started.elapsed().as_secs_f64());
        let started = Instant::now();
        let (value, result) = match work() {
            Ok((value, told)) => {
                println!("          {told}");
                (Some(value), Ok(told))
            }
            Err(error) => {
                println!("          FAILED: {error:#}");
                (None, Err(error))
            }
        };
        self.steps.push(Step { what, seconds: started.elapsed().as_secs_f64(), result });
        value
    }

    fn table(&self) -> bool {
        println!("\n{:<46} {:>7}  result", "what happened", "seconds");
        for step in &self.steps {
            let (word, told) = match &step.result {
                Ok(told) => ("ok  ", told.clone()),
                Err(error) => ("FAIL", format!("{error}")),
            };
            println!("{:<46} {:>7.1}  {word} {told}", step.what, step.seconds);
        }
        let right = self.steps.iter().all(|step| step.result.is_ok());
        let took = self.started.elapsed();
        println!(
            "\n{} in {:.0} s; {} s are allowed",
            if right { "all as it should be" } else { "NOT as it should be" },
            took.as_secs_f64(),
            PLAY_WITHIN.as_secs()
        );
        right && took <= PLAY_WITHIN
    }
}

/// Waits until both the ladder and the switches answer.
pub(crate) fn first_data(stage: &mut Stage) -> Result<()> {
    println!("On this machine: a collector, an agent, and {}.", stage.describe());
    let mut play = Play { started: Instant::now(), steps: Vec::new() };
    play.step("first data, with nothing but the enrolment", || ladder(stage)).context("no data")?;
    let switches = register(stage)?;
    play.step("interfaces of a switch", || interfaces(stage, switches[0])).context("no data")?;
    Ok(())
}

/// Plays the outage. False when something did not happen.
pub(crate) fn run(stage: &mut Stage) -> Result<bool> {
    println!("On this machine: a collector, an agent, and {}.", stage.describe());
    let mut play = Play { started: Instant::now(), steps: Vec::new() };
    let shown = (|| {
        play.step("first data, with nothing but the enrolment", || ladder(stage))?;
        let switches = register(stage).ok()?;
        let series = play.step("interfaces of a switch", || interfaces(stage, switches[0]))?;
        println!("\n{}", vigie(stage, &["site", "show", &stage.uai]).ok()?);
        let opened = play.step("a switch is unplugged: one mail", || {
            stage.unplug(2)?;
            let mail = mail(stage, 1)?;
            Ok((mail.clone(), told(&mail)))
        })?;
        show(&opened);
        play.step("it is plugged in again: the same thread", || {
            stage.plug(2)?;
            let mail = mail(stage, 2)?;
            anyhow::ensure!(
                mail.header("In-Reply-To") == opened.header("Message-ID"),
                "the second mail is in another thread"
            );
            Ok(((), "a reply to the first".to_owned()))
        })?;
        play.step("the uplink is cut: unknown, never down", || {
            stage.cut_uplink()?;
            silent(stage)
        })?;
        let silence = play.step("the mail about the silence", || {
            let mail = mail(stage, 3)?;
            let told = format!("{} (after {SILENCE_S} s here, 300 s as shipped)", told(&mail));
            Ok((mail, told))
        })?;
        show(&silence);
        play.step("the uplink is mended: live values first", || {
            stage.mend_uplink()?;
            back(stage)
        })?;
        play.step("the backlog, without a hole", || backlog(stage, series))?;
        play.step("every incident closed, by mail", || {
            let mails = stage.sink.wait_for(4, STEP_WITHIN)?;
            let open = stage.collector.get("/incidents?open=true")?;
            anyhow::ensure!(items(&open).is_empty(), "still open: {open:#}");
            Ok(((), format!("{} mails in 2 threads", mails.len())))
        })
    })();
    println!("\n{}", vigie(stage, &["incidents"])?);
    stage.check()?;
    Ok(play.table() && shown.is_some())
}

fn vigie(stage: &Stage, words: &[&str]) -> Result<String> {
    let said = stage.collector.vigie(words)?;
    anyhow::ensure!(said.code < Some(2), "vigie {}: {}", words.join(" "), said.err);
    Ok(format!("$ vigie {}\n{}", words.join(" "), said.out))
}

fn targets(stage: &Stage) -> Result<Vec<Value>> {
    let list = stage.collector.get(&format!("/sites/{}/targets", stage.uai))?;
    Ok(items(&list).to_vec())
}

fn ladder(stage: &mut Stage) -> Result<((), String)> {
    let started = Instant::now();
    let mut first = None;
    let rungs = stage.rungs();
    wait::until_true("every rung of the ladder", STEP_WITHIN, || {
        stage.check()?;
        let targets = targets(stage)?;
        let up = |role: &str| targets.iter().any(|t| t["role"] == role && t["state"] == "up");
        if targets.iter().any(|target| target["state"] == "up") {
            first.get_or_insert_with(|| started.elapsed());
        }
        Ok(rungs.iter().all(|role| up(role)))
    })?;
    let first = first.unwrap_or_default().as_secs_f64();
    Ok(((), format!("after {first:.1} s; {} answer", rungs.join(", "))))
}

fn register(stage: &Stage) -> Result<[i64; 2]> {
    let add = |number| stage.collector.add_target(&stage.uai, &stage.switch(number));
    Ok([add(1)?, add(2)?])
}

/// The series of the received octets of the first switch's last interface.
fn interfaces(stage: &mut Stage, switch: i64) -> Result<(i64, String)> {
    let path = format!("/series?uai={}&metric=if_hc_in_octets&target={switch}", stage.uai);
    let series = wait::until("interfaces", STEP_WITHIN, || {
        let list = stage.collector.get(&path)?;
        let up = targets(stage)?
            .iter()
            .filter(|target| target["method"] == "snmp")
            .all(|target| target["state"] == "up");
        Ok((up && !items(&list).is_empty()).then(|| items(&list).to_vec()))
    })?;
    let last = series.last().context("no series")?;
    let id = last["id"].as_i64().context("a series without an id")?;
    let labels: Vec<_> = series.iter().filter_map(|series| series["label"].as_str()).collect();
    Ok((id, format!("{}: octets in and out, errors, state", labels.join(", "))))
}

fn mail(stage: &Stage, number: usize) -> Result<Mail> {
    let mails = stage.sink.wait_for(number, STEP_WITHIN)?;
    Ok(mails[number - 1].clone())
}

fn told(mail: &Mail) -> String {
    let ticket = mail.header("X-MCO-Ticket").unwrap_or_default();
    format!("{ticket}, to {}", mail.recipients.join(", "))
}

/// The mail as the relay received it, decoded.
fn show(mail: &Mail) {
    println!("\n  ┌─ received by the relay");
    for name in ["From", "To", "Subject", "Date", "Message-ID"] {
        println!("  │ {name}: {}", mail.header(name).unwrap_or_default());
    }
    println!("  │");
    for line in mail.body().lines() {
        println!("  │ {line}");
    }
    println!("  └─\n");
}

fn silent(stage: &Stage) -> Result<((), String)> {
    wait::until_true("the school to be unknown", STEP_WITHIN, || {
        let state = stage.collector.site_state(&stage.uai)?;
        anyhow::ensure!(state != "down", "silence is no outage");
        Ok(state == "unknown")
    })?;
    Ok(((), "the school is unknown".to_owned()))
}

fn back(stage: &Stage) -> Result<((), String)> {
    let started = Instant::now();
    wait::until_true("the school to be up", STEP_WITHIN, || {
        Ok(stage.collector.site_state(&stage.uai)? == "up")
    })?;
    Ok(((), format!("up {:.1} s after the repair", started.elapsed().as_secs_f64())))
}

fn backlog(stage: &Stage, series: i64) -> Result<((), String)> {
    let told = wait::until("a series without a hole", STEP_WITHIN, || {
        let path = format!("/series/{series}/samples?from=-1h&step=raw");
        let answer = stage.collector.get(&path)?;
        let points = answer["points"].as_array().context("no points")?;
        let mut times = Vec::with_capacity(points.len());
        for point in points.iter().filter(|point| !point["value"].is_null()) {
            let time: jiff::Timestamp = point["time"].as_str().context("no time")?.parse()?;
            times.push(time.as_millisecond() as f64 / 1e3);
        }
        let hole = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        let span = times.last().zip(times.first()).map_or(0.0, |(last, first)| last - first);
        let whole = hole < NO_HOLE_S && times.len() > 5;
        Ok(whole.then(|| format!("{} rounds of 5 s over {span:.0} s, none missing", times.len())))
    })?;
    Ok(((), told))
}
