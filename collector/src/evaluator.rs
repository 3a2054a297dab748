//! The evaluator: on each tick from what was measured to what is told.
//!
//! It hears of committed rounds through the feed, keeps the last few of each target in memory, asks
//! `domain::alert` what they mean and saves the decisions with their mails in one transaction; when
//! the store refuses that, each decision has one of its own, and a refused one waits alone. Late data
//! and data of unsure time never reach it: they rewrite history, not the present.

mod held;
mod world;

use std::{collections::BTreeSet, time::Duration};

use domain::chain::chain;
use domain::{
    alert::evaluate::{Decision, Settings, close_threshold, evaluate},
    contractor::Contractor,
    id::IncidentId,
    incident::Incident,
    site::Site,
};
use jiff::{SignedDuration, Timestamp};
use store::{Evaluation, NewIncident, NewMail, StoreError};
use tokio::{sync::watch, time};

use crate::{context::Context, feed::FeedReader};
use held::Held;
use world::World;

/// Time between two evaluations.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between two looks at every site: silence has no data to wake the evaluator.
const SWEEP_TICKS: u64 = 5;
/// Ticks between two readings of sites, agents and targets from the store.
const REFRESH_TICKS: u64 = 30;
/// Items taken from the feed in one go, so that a flood can not starve the ticks.
const FEED_BURST: usize = 4_096;
/// State that is written to learn whether the store takes anything at all.
const PROBE: &str = "probe";
/// Lot of the contractor of sites without one of their own.
const EVERY_LOT: &str = "*";

/// Evaluates until `stop` says so or ingest has ended.
pub async fn run(context: Context, mut feed: FeedReader, mut stop: watch::Receiver<bool>) {
    let grace = i64::try_from(context.config.alerts.start_grace.as_secs()).unwrap_or(i64::MAX);
    let mut world = World::new(context.clock.now() + SignedDuration::from_secs(grace));
    let mut held = Held::default();
    let mut tick = time::interval(TICK);
    tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let mut ticks = 0_u64;
    loop {
        tokio::select! {
            item = feed.next() => {
                let Some(item) = item else { return };
                world.hear(&context, item).await;
                for _ in 0..FEED_BURST {
                    let Some(item) = feed.try_next() else { break };
                    world.hear(&context, item).await;
                }
            }
            _ = tick.tick() => {
                let refresh = ticks.is_multiple_of(REFRESH_TICKS) || world.is_stale();
                if refresh {
                    world.refresh(&context).await;
                }
                let sweep = ticks.is_multiple_of(SWEEP_TICKS);
                if refresh || sweep {
                    // The store hears of life later than the sessions do.
                    world.notice_life(&context);
                }
                if feed.take_dropped() {
                    tracing::warn!("evaluator fell behind, rounds were skipped");
                }
                ticks += 1;
                if !world.is_ready() {
                    continue;
                }
                step(&context, &mut world, &mut held, sweep).await;
            }
            // A dropped sender means that the process is ending.
            _ = stop.changed() => return,
        }
    }
}

/// One evaluation: of every site in a sweep, else of the sites that were heard since the last.
async fn step(context: &Context, world: &mut World, held: &mut Held, sweep: bool) {
    let started = time::Instant::now();
    let now = context.clock.now();
    let alerts = &context.config.alerts;
    let silence = SignedDuration::try_from(alerts.silence).unwrap_or(SignedDuration::MAX);
    let settings = Settings { silence };
    let mut evaluation = Evaluation { at: Some(now), ..Evaluation::default() };
    for site in world.take_dirty(sweep) {
        let firing = world.firing(&alerts.rules, site);
        let Some(view) = world.view(site, &firing, now) else { continue };
        let mut decisions = evaluate(&view, settings, now);
        for (incident, alert) in world.cleared(&alerts.rules, site) {
            let (rule, reading) = (&alerts.rules[alert.rule], alert.reading);
            decisions.push(close_threshold(incident, view.site, rule, reading, alert.at));
        }
        for incident in world.without_rule(&alerts.rules, site) {
            decisions.push(withdrawn(incident.id, now));
        }
        let mut ended = BTreeSet::new();
        for decision in decisions {
            match decision {
                Decision::Open { ref key, .. } if held.holds(key, now) => {}
                Decision::Open { .. } => {
                    let recipient = contractor(view.site, world.contractors());
                    evaluation.open.extend(opening(view.site, recipient, decision));
                }
                // Two causes may end one incident in the same step; it ends once.
                Decision::Close { incident, restored_at, evidence } if ended.insert(incident) => {
                    if held.holds(&closing_key(incident), now) {
                        continue;
                    }
                    let Some(mails) = closing(context, incident).await else { continue };
                    evaluation.close.push((incident, restored_at, evidence, mails));
                }
                Decision::Close { .. } => {}
            }
        }
    }
    evaluation.states = world.take_states();
    if !evaluation.states.is_empty() || !evaluation.open.is_empty() || !evaluation.close.is_empty()
    {
        save(context, world, held, evaluation, now).await;
    }
    context.metrics.evaluation_seconds.observe(started.elapsed().as_secs_f64());
}

fn contractor<'a>(site: &Site, contractors: &'a [Contractor]) -> Option<&'a Contractor> {
    let of = |lot: &str| contractors.iter().find(|contractor| contractor.lot == lot);
    site.facts.lot.as_deref().and_then(of).or_else(|| of(EVERY_LOT))
}

/// An incident and its mail to whoever owes the repair.
fn opening(
    site: &Site,
    contractor: Option<&Contractor>,
    decision: Decision,
) -> Option<(NewIncident, Vec<NewMail>)> {
    let Decision::Open { key, target, kind, title, mut evidence, started_at } = decision else {
        return None;
    };
    if contractor.is_none() {
        let lot = site.facts.lot.as_deref().unwrap_or("sans lot");
        evidence.push(format!("Aucun courriel : pas de mainteneur déclaré ({lot})"));
    }
    let mails = contractor.into_iter().map(|contractor| mail("open", &contractor.email)).collect();
    Some((NewIncident { key, site: site.id, target, kind, title, evidence, started_at }, mails))
}

/// The closing mails: to those who were told of the opening, whoever the contractor is today.
/// `None` when that can not be known now; the next step asks again.
async fn closing(context: &Context, incident: IncidentId) -> Option<Vec<NewMail>> {
    match context.store.recipients(incident).await {
        Ok(recipients) => Some(recipients.iter().map(|to| mail("close", to)).collect()),
        Err(error) => {
            let error = chain(&error);
            tracing::error!(
                error,
                incident = incident.0,
                "cannot find whom an incident was told to"
            );
            None
        }
    }
}

fn mail(transition: &str, recipient: &str) -> NewMail {
    NewMail { transition: transition.to_owned(), recipient: recipient.to_owned() }
}

fn withdrawn(incident: IncidentId, now: Timestamp) -> Decision {
    let evidence = vec!["Seuil retiré de la configuration : état non mesuré".to_owned()];
    Decision::Close { incident, restored_at: now, evidence }
}

/// What identifies a closing, as its key does an opening.
fn closing_key(incident: IncidentId) -> String {
    format!("close:{}", incident.0)
}

async fn save(
    context: &Context,
    world: &mut World,
    held: &mut Held,
    evaluation: Evaluation,
    now: Timestamp,
) {
    match context.store.save_evaluation(evaluation.clone()).await {
        Ok(opened) => kept(context, world, held, &evaluation, opened, now),
        Err(error) => {
            tracing::error!(error = chain(&error), "cannot save an evaluation");
            if matches!(error, StoreError::Closed) {
                world.states_not_saved(evaluation.states);
                time::sleep(TICK).await;
            } else {
                save_one_by_one(context, world, held, evaluation, now).await;
            }
        }
    }
}

/// Saves each decision by itself, so that one that the store refuses takes no other with it.
async fn save_one_by_one(
    context: &Context,
    world: &mut World,
    held: &mut Held,
    evaluation: Evaluation,
    now: Timestamp,
) {
    let Evaluation { mut states, open, append, close, at } = evaluation;
    let alone = || Evaluation { at, ..Evaluation::default() };
    // A write of our own tells a refused decision from a store that takes nothing: then nothing was
    // kept, and the same decisions come again with the next step.
    let saved = states.clone();
    states.push((PROBE.to_owned(), Some(now.as_second().to_string())));
    if context.store.save_evaluation(Evaluation { states, append, ..alone() }).await.is_err() {
        world.states_not_saved(saved);
        return;
    }
    let opening = open.into_iter().map(|open| {
        let (decision, site) = (open.0.key.clone(), Some(open.0.site.0));
        (decision, site, Evaluation { open: vec![open], ..alone() })
    });
    let closing = close
        .into_iter()
        .map(|close| (closing_key(close.0), None, Evaluation { close: vec![close], ..alone() }));
    for (decision, site, evaluation) in opening.chain(closing) {
        match context.store.save_evaluation(evaluation.clone()).await {
            Ok(opened) => kept(context, world, held, &evaluation, opened, now),
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, decision, site, "the store refused a decision");
                context.metrics.decisions_refused.inc();
                held.refused(decision, now);
            }
        }
    }
}

fn kept(
    context: &Context,
    world: &mut World,
    held: &mut Held,
    evaluation: &Evaluation,
    opened: Vec<Incident>,
    now: Timestamp,
) {
    for incident in &opened {
        tracing::info!(
            incident = incident.reference,
            site = incident.site.0,
            kind = incident.kind.code(),
            delay_ms = now.duration_since(incident.started_at).as_millis(),
            "incident opened"
        );
    }
    let closed: Vec<_> = evaluation.close.iter().map(|(id, ..)| *id).collect();
    for id in &closed {
        tracing::info!(incident = id.0, "incident closed");
    }
    context.metrics.incidents_opened.inc_by(opened.len() as u64);
    context.metrics.incidents_closed.inc_by(closed.len() as u64);
    for (incident, _) in &evaluation.open {
        if !opened.iter().any(|opened| opened.key == incident.key) {
            // Its saving was answered by an error once, or it was ended from elsewhere.
            tracing::warn!(key = incident.key, "an incident was opened before");
            held.known(incident.key.clone(), now);
            world.reload_incidents();
        }
    }
    world.saved(opened, &closed, now);
}
