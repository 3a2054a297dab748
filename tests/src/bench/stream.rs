//! An agent's side of the line, as the shipped agent opens it, with the messages in our hand.

use std::{path::Path, sync::Arc, time::Duration};

use agent::{
    identity::{Keyring, tls},
    uplink::link,
};
use anyhow::{Context, Result, bail};
use proto::{
    limits,
    v1::{self, agent_link_client::AgentLinkClient, down, up},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Longest wait for the collector.
pub const PATIENCE: Duration = Duration::from_mins(2);
/// Messages between us and the transport: as in the agent.
const OUTGOING: usize = 1;

/// A stream after its hello.
pub struct Stream {
    /// To the collector.
    pub up: mpsc::Sender<v1::Up>,
    down: Streaming<v1::Down>,
    /// What may be in flight.
    pub credit: v1::Credit,
}

/// Opens a stream with the identity kept in `home`.
pub async fn open(home: &Path, address: &str, hello: v1::Hello) -> Result<Stream> {
    let credentials = Keyring::new(home).load()?;
    let time = Arc::new(tls::TlsTime::load(home, credentials.current.not_before));
    let config = tls::client(&credentials.current, &credentials.trust, time)?;
    let connection = tls::connect(address, Arc::new(config), None).await?;
    let mut client = AgentLinkClient::new(link::channel(connection).await?)
        .max_decoding_message_size(limits::MAX_CONFIG_BYTES + limits::MAX_MESSAGE_BYTES);
    let (up, outgoing) = mpsc::channel(OUTGOING);
    up.send(v1::Up { message: Some(up::Message::Hello(hello)) }).await?;
    let answer = client.session(ReceiverStream::new(outgoing)).await?;
    let mut stream = Stream { up, down: answer.into_inner(), credit: v1::Credit::default() };
    let Some(down::Message::Ok(ok)) = stream.hear().await?.message else {
        bail!("the collector does not answer the hello");
    };
    stream.credit = ok.credit.context("an answer to the hello without credit")?;
    Ok(stream)
}

impl Stream {
    /// The collector's next message.
    pub async fn hear(&mut self) -> Result<v1::Down> {
        let message = timeout(PATIENCE, self.down.message()).await.context("no word in time")??;
        message.context("the collector ended the stream")
    }

    /// The next acknowledgement: all up to this number is committed. Its credit is kept; anything
    /// rejected is an error.
    pub async fn acked(&mut self) -> Result<u64> {
        loop {
            let Some(message) = self.hear().await?.message else { continue };
            match message {
                down::Message::Ack(ack) => {
                    if let Some(rejected) = ack.rejected.first() {
                        bail!("record {} was rejected: {}", rejected.seq, rejected.reason);
                    }
                    self.credit = ack.credit.unwrap_or(self.credit);
                    return Ok(ack.contig_upto);
                }
                down::Message::Credit(credit) => self.credit = credit,
                down::Message::Away(away) => bail!("sent away: {}", away.reason),
                down::Message::Time(_) | down::Message::Config(_) => {}
                down::Message::Ok(_) => bail!("a second answer to the hello"),
            }
        }
    }
}
