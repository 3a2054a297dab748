//! Looks at what is around the agent, and tells when it changes.

use std::{net::IpAddr, sync::Arc, time::Duration};

use proto::v1::{self, event::Event};
use tokio::{
    net::lookup_host,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    clock::Clock, logs::chain, plan::Zoned, platform, probe::ladder, spool::SpoolHandle, wire,
};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_mins(10);
/// Time between two looks at the default route, which cost next to nothing.
const ROUTE_EVERY: Duration = Duration::from_secs(10);
/// Longest wait for the collector's address.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks around for ever.
pub struct Watcher {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where changes are recorded.
    pub spool: SpoolHandle,
    /// `host:port`.
    pub collector: String,
    /// Addresses to find the way to, when the collector is this very machine.
    pub references: watch::Receiver<Vec<String>>,
    /// Gets what was found; `None` before the first look.
    pub found: watch::Sender<Option<v1::Surroundings>>,
}

impl Watcher {
    /// Looks at once, then every ten minutes, and when the default route or the references change.
    pub async fn run(mut self) {
        loop {
            let references = self.references.borrow_and_update().clone();
            let seen = look(&self.collector, &references).await;
            self.tell(&seen);
            let gateways = platform::default_gateways();
            let again = Instant::now() + LOOK_EVERY;
            while Instant::now() < again && gateways == platform::default_gateways() {
                tokio::select! {
                    () = sleep(ROUTE_EVERY) => {}
                    changed = self.references.changed() => match changed {
                        Ok(()) => break,
                        // Nobody will name references any more.
                        Err(_) => sleep(ROUTE_EVERY).await,
                    }
                }
            }
        }
    }

    fn tell(&self, seen: &v1::Surroundings) {
        let before = self.found.borrow().clone();
        let now = before.as_ref().map_or_else(|| seen.clone(), |before| settle(before, seen));
        if before.as_ref() == Some(&now) {
            return;
        }
        // The Hello tells what was found first.
        if before.is_some() {
            let event = Event::Surroundings(now.clone());
            if let Err(error) = self.spool.try_append(wire::event_record(event, &*self.clock)) {
                tracing::warn!(
                    error = chain(&error),
                    "a change of the surroundings is told with the next look"
                );
                return;
            }
        }
        self.found.send_replace(Some(now));
    }
}

/// What this machine sees around it on the way to `collector` (`host:port`).
pub async fn look(collector: &str, references: &[String]) -> v1::Surroundings {
    let reference: Option<IpAddr> = references.iter().find_map(|text| text.parse().ok());
    let address = match timeout(LOOKUP_TIMEOUT, lookup_host(collector)).await {
        Ok(Ok(mut addresses)) => addresses.next().map(|address| address.ip()),
        Ok(Err(_)) | Err(_) => None,
    };
    match (address, reference) {
        (Some(address), reference) => ladder::surroundings(address, reference).await,
        (None, Some(reference)) => {
            let seen = ladder::surroundings(reference, None).await;
            v1::Surroundings { collector: String::new(), ..seen }
        }
        (None, None) => v1::Surroundings {
            gateways: platform::default_gateways().iter().map(Zoned::to_string).collect(),
            resolvers: platform::resolvers().iter().map(IpAddr::to_string).collect(),
            hops: Vec::new(),
            hostname: platform::hostname(),
            os: platform::os(),
            collector: String::new(),
        },
    }
}

/// What is new in `seen`. Silence is no news: behind the same gateways, a hop or a collector that was
/// not found this time stays what it was.
fn settle(before: &v1::Surroundings, seen: &v1::Surroundings) -> v1::Surroundings {
    let mut now = seen.clone();
    if now.gateways != before.gateways {
        return now;
    }
    if now.collector.is_empty() {
        now.collector.clone_from(&before.collector);
    }
    for (at, known) in before.hops.iter().enumerate() {
        match now.hops.get_mut(at) {
            Some(hop) if hop.is_empty() => hop.clone_from(known),
            Some(_) => {}
            None => now.hops.push(known.clone()),
        }
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(gateway: &str, hops: &[&str], collector: &str) -> v1::Surroundings {
        v1::Surroundings {
            gateways: vec![gateway.to_owned()],
            hops: hops.iter().map(|&hop| hop.to_owned()).collect(),
            collector: collector.to_owned(),
            ..v1::Surroundings::default()
        }
    }

    #[test]
    fn silence_is_no_news() {
        let before = seen("10.0.0.1", &["1.1.1.1", "2.2.2.2"], "9.9.9.9");
        for now in [
            seen("10.0.0.1", &[], ""),
            seen("10.0.0.1", &["", "2.2.2.2"], "9.9.9.9"),
            seen("10.0.0.1", &["1.1.1.1"], "9.9.9.9"),
        ] {
            assert_eq!(settle(&before, &now), before);
        }
    }

    #[test]
    fn another_answer_is_news_and_so_is_another_gateway() {
        let before = seen("10.0.0.1", &["1.1.1.1", "2.2.2.2"], "9.9.9.9");
        let other = seen("10.0.0.1", &["1.1.1.1", "3.3.3.3"], "9.9.9.9");
        assert_eq!(settle(&before, &other), other);
        let moved = seen("10.0.0.254", &[], "");
        assert_eq!(settle(&before, &moved), moved);
    }
}
