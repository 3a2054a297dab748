//! The notifier: from the outbox to the relay, each mail once.
//!
//! A mail is leased, sent step by step and settled by what the relay said. The `Message-ID` of a
//! transition to a recipient never changes, so the one repeat that SMTP can not avoid (the reply to
//! the final dot was lost, RFC 1047) is recognisable. Trouble with the relay itself burns no attempt
//! of any mail: the channel waits, the mails stay. A relay that breaks off at one mail's recipient puts
//! off that mail and what else goes to the recipient; the others go on by a new connection.

mod message;
mod smtp;
mod stalled;

use std::time::Duration;

use domain::chain::chain;
use jiff::{SignedDuration, Timestamp};
use store::{OutboxMail, SendOutcome};
use tokio::{sync::watch, time};

use crate::{config::Smtp, context::Context};
use message::compose;
use smtp::{Channel, Stage, Step};
use stalled::Stalled;

/// Time between two looks at the outbox.
const POLL: Duration = Duration::from_millis(500);
/// Mails taken at once.
const BATCH: u32 = 20;
/// A mail leased for longer was in a notifier that died.
const LEASE_S: u32 = 180;
/// Pause of the channel after trouble with the relay: the first, and the longest.
const CHANNEL_PAUSE: Duration = Duration::from_secs(2);
const CHANNEL_PAUSE_MAX: Duration = Duration::from_mins(1);
/// Seconds before the next attempt of a mail that the relay put off; the last one repeats.
const BACKOFF_S: [i64; 5] = [60, 120, 300, 900, 1800];
/// The same after the relay broke off at the mail: a relay that restarts is back soon.
const LOST_BACKOFF_S: [i64; 5] = [5, 60, 300, 900, 1800];
/// Mails in a row at which the relay broke off before it counts as trouble of the relay.
const LOST_IN_A_ROW: u32 = 3;
/// Age at which a mail that is always put off fails.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(48);

type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// The connection to the relay and what was learnt on it.
#[derive(Default)]
struct Line {
    channel: Option<Channel>,
    stalled: Stalled,
    /// Mails in a row at which the relay broke off.
    lost: u32,
}

/// Sends until `stop` says so. Without a relay in the configuration the mails stay in the outbox.
pub async fn run(context: Context, mut stop: watch::Receiver<bool>) {
    let mut line = Line::default();
    let mut pause = CHANNEL_PAUSE;
    loop {
        let wait = match &context.config.smtp {
            None => CHANNEL_PAUSE_MAX,
            Some(smtp) => match drain(&context, smtp, &mut line).await {
                Ok(()) => {
                    pause = CHANNEL_PAUSE;
                    POLL
                }
                Err(error) => {
                    (line.channel, line.lost) = (None, 0);
                    context.metrics.mail_channel_failures.inc();
                    let error = chain(&*error);
                    tracing::warn!(error, relay = smtp.host, "mails wait for the relay");
                    let now = pause;
                    pause = (pause * 2).min(CHANNEL_PAUSE_MAX);
                    now
                }
            },
        };
        note_depth(&context).await;
        tokio::select! {
            () = time::sleep(wait) => {}
            _ = stop.changed() => return,
        }
    }
}

async fn note_depth(context: &Context) {
    match context.store.outbox_depth(context.clock.now()).await {
        Ok((mails, oldest_s)) => {
            context.metrics.outbox_depth.set(i64::try_from(mails).unwrap_or(i64::MAX));
            context.metrics.outbox_oldest_seconds.set(i64::try_from(oldest_s).unwrap_or(i64::MAX));
        }
        Err(error) => {
            tracing::error!(error = chain(&error), "cannot read the outbox");
        }
    }
}

/// Sends what is due. An error is trouble of the channel; the mails it met stay due.
async fn drain(context: &Context, smtp: &Smtp, line: &mut Line) -> Result<(), Trouble> {
    loop {
        let now = context.clock.now();
        let mails = context.store.lease_mails(now, LEASE_S, BATCH).await?;
        if mails.is_empty() {
            // The relay must not keep a connection for mails that may come in an hour.
            if let Some(idle) = line.channel.take() {
                idle.close().await;
            }
            return Ok(());
        }
        let sites = context.store.sites().await?;
        let targets = context.store.targets(None).await?;
        let mut trouble = None;
        for mail in mails {
            let now = context.clock.now();
            let outcome = if trouble.is_some() {
                SendOutcome::Waits(now, "the relay is in trouble".to_owned())
            } else if let Some(until) = line.stalled.until(&mail.recipient, now) {
                SendOutcome::Waits(until, "the relay broke off at this recipient".to_owned())
            } else {
                let site = sites.iter().find(|site| site.id == mail.incident.site);
                let target = targets.iter().find(|target| Some(target.id) == mail.incident.target);
                let (outcome, broken) = send(context, smtp, line, &mail, site, target).await;
                trouble = broken;
                outcome
            };
            count(context, &outcome);
            context.store.settle_mail(mail.id, context.clock.now(), outcome).await?;
        }
        if let Some(error) = trouble {
            return Err(error);
        }
    }
}

async fn send(
    context: &Context,
    smtp: &Smtp,
    line: &mut Line,
    mail: &OutboxMail,
    site: Option<&domain::site::Site>,
    target: Option<&domain::target::Target>,
) -> (SendOutcome, Option<Trouble>) {
    let message = match compose(smtp, mail, site, target) {
        Ok(message) => message,
        // An address or a text that can not be written: another attempt would be the same.
        Err(error) => return (SendOutcome::Failed(error.to_string()), None),
    };
    let open = match line.channel.take() {
        Some(open) => open,
        None => match Channel::open(smtp).await {
            Ok(open) => open,
            Err(error) => {
                let now = context.clock.now();
                return (SendOutcome::Waits(now, error.to_string()), Some(error.into()));
            }
        },
    };
    let (step, kept) = open.send(&message, context.store.mark_handed_over(mail.id)).await;
    line.channel = kept;
    // How long the relay took counts: a pause begins at its end.
    let now = context.clock.now();
    let old = now.duration_since(mail.created_at) > MAX_AGE;
    if !matches!(step, Step::Lost { .. }) {
        line.lost = 0;
    }
    match step {
        Step::Sent(reply) => {
            let incident = mail.incident.reference.as_str();
            tracing::info!(incident, transition = mail.transition, "mail taken by the relay");
            (SendOutcome::Sent(reply), None)
        }
        Step::Refused(reply) => (SendOutcome::Failed(reply), None),
        Step::PutOff(reply) if old => (SendOutcome::Failed(reply), None),
        Step::PutOff(reply) => {
            (SendOutcome::Retry(after(&BACKOFF_S, mail.attempts, now), reply), None)
        }
        Step::Lost { at: Stage::Channel, error } => {
            (SendOutcome::Waits(now, error.to_string()), Some(error.into()))
        }
        Step::Lost { at: Stage::Text, error } => {
            let due = after(&BACKOFF_S, 0, now);
            (SendOutcome::Ambiguous(due, error.to_string()), broke_off(context, line, mail, error))
        }
        Step::Lost { at: Stage::Envelope, error } => {
            let due = after(&LOST_BACKOFF_S, mail.attempts, now);
            line.stalled.note(&mail.recipient, due, now);
            let reason = error.to_string();
            let outcome =
                if old { SendOutcome::Failed(reason) } else { SendOutcome::Retry(due, reason) };
            (outcome, broke_off(context, line, mail, error))
        }
    }
}

/// Whether a relay that broke off at a mail is in trouble itself.
fn broke_off(
    context: &Context,
    line: &mut Line,
    mail: &OutboxMail,
    error: smtp::ChannelError,
) -> Option<Trouble> {
    line.lost += 1;
    if line.lost >= LOST_IN_A_ROW {
        return Some(error.into());
    }
    context.metrics.mail_channel_failures.inc();
    let incident = mail.incident.reference.as_str();
    let error = chain(&error);
    tracing::warn!(error, incident, "the relay broke off at a mail; the others go on");
    None
}

fn after(pauses: &[i64; 5], attempts: u32, now: Timestamp) -> Timestamp {
    let index = usize::try_from(attempts).unwrap_or(usize::MAX).min(pauses.len() - 1);
    now + SignedDuration::from_secs(pauses[index])
}

fn count(context: &Context, outcome: &SendOutcome) {
    let metrics = &context.metrics;
    match outcome {
        SendOutcome::Sent(_) => metrics.mails_sent.inc(),
        SendOutcome::Failed(reason) => {
            tracing::error!(reason, "a mail can not be delivered");
            metrics.mails_failed.inc()
        }
        SendOutcome::Retry(..) | SendOutcome::Ambiguous(..) => metrics.mails_put_off.inc(),
        SendOutcome::Waits(..) => 0,
    };
}
