//! One connection to the relay, a step at a time, so that it is known which step failed.

use std::time::Duration;

use lettre::{
    Message,
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, TlsParameters},
        commands::{Data, Mail, Rcpt, Rset},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
    },
};
use store::StoreError;
use tokio::time::timeout;

use crate::config::{Smtp, SmtpTls};

const CONNECT: Duration = Duration::from_secs(10);
const REPLY: Duration = Duration::from_secs(30);
const FINAL_DOT: Duration = Duration::from_mins(2);
/// Longest text of a reply that is kept.
const REPLY_CHARS: usize = 500;

/// Why the relay could not be used at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChannelError {
    /// No connection, or no greeting.
    #[error("cannot connect to the mail relay {relay}")]
    Connect { relay: String, source: Error },
    /// Too slow.
    #[error("the mail relay did not answer {step} in time")]
    Slow { step: &'static str },
    /// It does not offer what the configuration demands.
    #[error("the mail relay does not offer STARTTLS, which the configuration demands")]
    NoTls,
    /// A dialogue failed.
    #[error("the mail relay failed at {step}")]
    Step { step: &'static str, source: Error },
    /// What is about to be sent could not be noted, so nothing was.
    #[error("cannot note that a mail is being handed over")]
    Mark(#[source] StoreError),
    /// A secret's file can not be read.
    #[error("cannot read {path}")]
    Secret { path: String, source: std::io::Error },
}

/// What became of one message.
#[derive(Debug)]
pub(super) enum Step {
    /// Taken; the relay's reply.
    Sent(String),
    /// Never for this recipient or content; the relay's reply.
    Refused(String),
    /// Not now; the relay's reply.
    PutOff(String),
    /// The relay broke off.
    Lost { at: Stage, error: ChannelError },
}

/// How far a message was when the relay broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Before anything of this message was said: every mail would fare alike.
    Channel,
    /// At its recipient or at the request to hand it over: the next message may pass.
    Envelope,
    /// Its text was on its way: the relay may have taken it.
    Text,
}

/// An open, greeted, protected and authenticated connection.
pub(super) struct Channel(AsyncSmtpConnection);

async fn within<T>(
    limit: Duration,
    step: &'static str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, ChannelError> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(|source| ChannelError::Step { step, source }),
        Err(_) => Err(ChannelError::Slow { step }),
    }
}

impl Channel {
    /// Connects as the configuration demands; never falls back to less protection.
    pub(super) async fn open(smtp: &Smtp) -> Result<Self, ChannelError> {
        let hello = smtp.helo.clone().map_or_else(ClientId::default, ClientId::Domain);
        let relay = format!("{}:{}", smtp.host, smtp.port);
        let tls = || {
            TlsParameters::new_rustls(smtp.host.clone())
                .map_err(|source| ChannelError::Step { step: "TLS", source })
        };
        let wrapped = if smtp.tls == SmtpTls::Tls { Some(tls()?) } else { None };
        let server = (smtp.host.as_str(), smtp.port);
        let connect =
            AsyncSmtpConnection::connect_tokio1(server, Some(REPLY), &hello, wrapped, None);
        let mut connection = match timeout(CONNECT + REPLY, connect).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(source)) => return Err(ChannelError::Connect { relay, source }),
            Err(_) => return Err(ChannelError::Slow { step: "the greeting" }),
        };
        if smtp.tls == SmtpTls::StartTls {
            if !connection.can_starttls() {
                connection.abort().await;
                return Err(ChannelError::NoTls);
            }
            within(REPLY, "STARTTLS", connection.starttls(tls()?, &hello)).await?;
        }
        if let Some((user, password)) = &smtp.credentials {
            let read = |path: &std::path::Path| {
                std::fs::read_to_string(path)
                    .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                    .map_err(|source| ChannelError::Secret {
                        path: path.display().to_string(),
                        source,
                    })
            };
            let credentials = Credentials::new(read(user)?, read(password)?);
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            within(REPLY, "AUTH", connection.auth(&mechanisms, &credentials)).await?;
        }
        Ok(Self(connection))
    }

    /// Sends one message; gives the connection back while it can be used. `mark` is awaited when the
    /// relay is ready for the text and before the first byte of it: once it is done, the message may
    /// be taken. Between the two lies only the writing of some kilobytes.
    pub(super) async fn send(
        mut self,
        message: &Message,
        mark: impl Future<Output = Result<(), StoreError>> + Send,
    ) -> (Step, Option<Self>) {
        match self.dialogue(message, mark).await {
            Ok((step, Next::Ready)) => (step, Some(self)),
            // A relay that refuses a recipient and hangs up has still answered.
            Ok((step, Next::Reset)) => match within(REPLY, "RSET", self.0.command(Rset)).await {
                Ok(_) => (step, Some(self)),
                Err(_) => (step, None),
            },
            Err((at, error)) => (Step::Lost { at, error }, None),
        }
    }

    async fn dialogue(
        &mut self,
        message: &Message,
        mark: impl Future<Output = Result<(), StoreError>> + Send,
    ) -> Result<(Step, Next), (Stage, ChannelError)> {
        let envelope = message.envelope();
        let mut parameters = Vec::new();
        if self.0.server_info().supports_feature(Extension::EightBitMime) {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let mail = Mail::new(envelope.from().cloned(), parameters);
        // A relay that refuses the sender refuses every mail alike: trouble of the channel.
        within(REPLY, "MAIL FROM", self.0.command(mail))
            .await
            .map_err(|error| (Stage::Channel, error))?;
        for recipient in envelope.to() {
            let rcpt = Rcpt::new(recipient.clone(), Vec::new());
            if let Err(error) = within(REPLY, "RCPT TO", self.0.command(rcpt)).await {
                let step = answered(error).map_err(|error| (Stage::Envelope, error))?;
                return Ok((step, Next::Reset));
            }
        }
        within(REPLY, "DATA", self.0.command(Data))
            .await
            .map_err(|error| (Stage::Envelope, error))?;
        mark.await.map_err(|error| (Stage::Channel, ChannelError::Mark(error)))?;
        match within(FINAL_DOT, "the message", self.0.message(&message.formatted())).await {
            Ok(reply) => {
                let lines: Vec<_> = reply.message().collect();
                let reply = short(&format!("{} {}", reply.code(), lines.join(" ")));
                Ok((Step::Sent(reply), Next::Ready))
            }
            // Silence after the final dot: the relay may have taken it.
            Err(error) => {
                let step = answered(error).map_err(|error| (Stage::Text, error))?;
                Ok((step, Next::Ready))
            }
        }
    }

    /// Says goodbye; a relay that does not answer is not waited for.
    pub(super) async fn close(mut self) {
        if timeout(REPLY, self.0.quit()).await.is_err() {
            self.0.abort().await;
        }
    }
}

/// What the dialogue leaves to do before the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing.
    Ready,
    /// Ending the transaction.
    Reset,
}

/// What the relay said against a message, if it said something.
fn answered(error: ChannelError) -> Result<Step, ChannelError> {
    if let ChannelError::Step { source, .. } = &error
        && source.status().is_some()
    {
        let reply = text(source);
        return Ok(if source.is_permanent() { Step::Refused(reply) } else { Step::PutOff(reply) });
    }
    Err(error)
}

fn text(error: &Error) -> String {
    short(&error.to_string())
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(REPLY_CHARS).collect()
}
