//! The notifier: from the outbox to the relay, each mail once.
//!
//! A mail is leased, sent step by step and settled by what the relay said. The `Message-ID` of a
//! transition to a recipient never changes, so the one repeat that SMTP can not avoid (the reply to
//! the final dot was lost, RFC 1047) is recognisable. Trouble with the relay itself burns no attempt
//! of any mail: the channel waits, the mails stay.

mod message;
mod smtp;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use store::{OutboxMail, SendOutcome};
use tokio::{sync::watch, time};

use crate::{config::Smtp, context::Context};
use message::compose;
use smtp::{Channel, Step};

/// Time between two looks at the outbox.
const POLL: Duration = Duration::from_millis(500);
/// Mails taken at once.
const BATCH: u32 = 20;
/// A mail leased for longer was in a notifier that died.
const LEASE_S: u32 = 180;
/// Pause of the channel after trouble with the relay: the first, and the longest.
const CHANNEL_PAUSE: Duration = Duration::from_secs(2);
const CHANNEL_PAUSE_MAX: Duration = Duration::from_mins(1);
/// Minutes before the next attempt of a mail that was put off; the last one repeats.
const BACKOFF_MINUTES: [i64; 5] = [1, 2, 5, 15, 30];
/// Age at which a mail that is always put off fails.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(48);

/// Sends until `stop` says so. Without a relay in the configuration the mails stay in the outbox.
pub async fn run(context: Context, mut stop: watch::Receiver<bool>) {
    let mut channel = None;
    let mut pause = CHANNEL_PAUSE;
    loop {
        let wait = match &context.config.smtp {
            None => CHANNEL_PAUSE_MAX,
            Some(smtp) => match drain(&context, smtp, &mut channel).await {
                Ok(()) => {
                    pause = CHANNEL_PAUSE;
                    POLL
                }
                Err(error) => {
                    channel = None;
                    context.metrics.mail_channel_failures.inc();
                    let error = &*error as &dyn std::error::Error;
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
            tracing::error!(error = &error as &dyn std::error::Error, "cannot read the outbox");
        }
    }
}

/// Sends what is due. An error is trouble of the channel; the mails it met stay due.
async fn drain(
    context: &Context,
    smtp: &Smtp,
    channel: &mut Option<Channel>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    loop {
        let now = context.clock.now();
        let mails = context.store.lease_mails(now, LEASE_S, BATCH).await?;
        if mails.is_empty() {
            // The relay must not keep a connection for mails that may come in an hour.
            if let Some(idle) = channel.take() {
                idle.close().await;
            }
            return Ok(());
        }
        let sites = context.store.sites().await?;
        let targets = context.store.targets(None).await?;
        let mut trouble = None;
        for mail in mails {
            let outcome = if trouble.is_some() {
                SendOutcome::Waits("the relay is in trouble".to_owned())
            } else {
                let site = sites.iter().find(|site| site.id == mail.incident.site);
                let target = targets.iter().find(|target| Some(target.id) == mail.incident.target);
                let (outcome, broken) = send(context, smtp, channel, &mail, site, target).await;
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

type Trouble = Option<Box<dyn std::error::Error + Send + Sync>>;

async fn send(
    context: &Context,
    smtp: &Smtp,
    channel: &mut Option<Channel>,
    mail: &OutboxMail,
    site: Option<&domain::site::Site>,
    target: Option<&domain::target::Target>,
) -> (SendOutcome, Trouble) {
    let message = match compose(smtp, mail, site, target) {
        Ok(message) => message,
        // An address or a text that can not be written: another attempt would be the same.
        Err(error) => return (SendOutcome::Failed(error.to_string()), None),
    };
    let open = match channel.take() {
        Some(open) => open,
        None => match Channel::open(smtp).await {
            Ok(open) => open,
            Err(error) => {
                return (SendOutcome::Waits(error.to_string()), Some(error.into()));
            }
        },
    };
    let now = context.clock.now();
    let (step, kept) = open.send(&message).await;
    *channel = kept;
    match step {
        Step::Sent(reply) => {
            let incident = mail.incident.reference.as_str();
            tracing::info!(incident, transition = mail.transition, "mail taken by the relay");
            (SendOutcome::Sent(reply), None)
        }
        Step::Refused(reply) => (SendOutcome::Failed(reply), None),
        Step::PutOff(reply) if now.duration_since(mail.created_at) > MAX_AGE => {
            (SendOutcome::Failed(reply), None)
        }
        Step::PutOff(reply) => (SendOutcome::Retry(after(mail.attempts, now), reply), None),
        Step::Lost { after_dot: true, error } => {
            (SendOutcome::Ambiguous(after(0, now), error.to_string()), Some(error.into()))
        }
        Step::Lost { after_dot: false, error } => {
            (SendOutcome::Waits(error.to_string()), Some(error.into()))
        }
    }
}

fn after(attempts: u32, now: Timestamp) -> Timestamp {
    let index = usize::try_from(attempts).unwrap_or(usize::MAX).min(BACKOFF_MINUTES.len() - 1);
    now + SignedDuration::from_mins(BACKOFF_MINUTES[index])
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
        SendOutcome::Waits(_) => 0,
    };
}
