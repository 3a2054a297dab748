//! Notes in the store when each agent was last heard, many at once: a row per message would cost
//! more than the messages.

use std::time::Duration;

use domain::chain::chain;
use jiff::Timestamp;
use tokio::sync::watch;

use super::Turns;
use crate::context::Context;

const PERIOD: Duration = Duration::from_secs(10);

/// Runs until `stop`.
pub async fn note_presence(context: Context, stop: watch::Receiver<bool>) {
    let mut noted = Timestamp::MIN;
    let mut turns = Turns::new(PERIOD, stop);
    while turns.next().await {
        let agents = context.live.all();
        let newest = agents.iter().map(|(_, live)| live.last_message).max();
        let heard = agents.into_iter().filter(|(_, live)| live.last_message > noted);
        let heard: Vec<_> =
            heard.map(|(agent, live)| (agent, live.last_message, live.version)).collect();
        if heard.is_empty() {
            continue;
        }
        match context.store.touch_agents(heard).await {
            Ok(()) => noted = newest.unwrap_or(noted),
            Err(error) => {
                tracing::warn!(error = chain(&error), "life signs of agents could not be noted");
            }
        }
    }
}
