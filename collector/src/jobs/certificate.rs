//! Renews the server's certificate long before it ends.

use std::{sync::Arc, time::Duration};

use domain::chain::chain;
use tokio::sync::watch;

use super::Turns;
use crate::{clock::Clock, tls::ServerIdentity};

const PERIOD: Duration = Duration::from_hours(1);

/// Runs until `stop`.
pub async fn renew_certificate(
    identity: Arc<ServerIdentity>,
    clock: Arc<dyn Clock>,
    stop: watch::Receiver<bool>,
) {
    let mut turns = Turns::new(PERIOD, stop);
    while turns.next().await {
        match identity.renew_if_due(clock.now()) {
            Ok(true) => tracing::info!("the server's certificate was renewed"),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(error = chain(&error), "the server's certificate was not renewed");
            }
        }
    }
}
