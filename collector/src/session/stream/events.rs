//! What events of an agent change beyond being stored.
//!
//! Applied once their records are durable and before these are acknowledged; applying one again
//! changes nothing. A gap is declared by the commit itself.

use domain::chain::chain;
use domain::id::GroupId;
use jiff::Timestamp;
use prost::Message as _;
use proto::{KIND_EVENT, LANE_EVENTS, v1};
use store::{LaneKey, StoreError};

use super::{Away, Session};
use crate::{ingest::MAX_EPOCHS, metrics::Reason, targets::TargetError, wire};

/// Events of a lane that are looked at again after a start of the collector.
const MAX_AGAIN: u32 = 64;

impl Session {
    /// Applies an event of server time `at_ms`, Unix milliseconds.
    pub(super) async fn apply(&mut self, event: v1::Event, at_ms: i64) -> Result<(), Away> {
        let (site, agent) = (self.site.0, self.identity.agent);
        match event.event {
            Some(v1::event::Event::Surroundings(seen)) => self.surroundings(&seen).await,
            Some(v1::event::Event::SnmpInventory(_) | v1::event::Event::HostInventory(_))
                if !self.may_plan() =>
            {
                Ok(())
            }
            Some(v1::event::Event::SnmpInventory(inventory)) => {
                let ports = wire::ports(&inventory);
                let group = GroupId(inventory.group);
                let changed = self.context.targets.ports(self.site, group, &ports).await;
                self.planned(changed)?;
                let device = wire::device(&inventory);
                // Beyond the calendar nothing is newer than what is kept.
                let told_at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MIN);
                let kept = self.context.targets.device(self.site, group, told_at, device).await;
                self.planned(kept)
            }
            Some(v1::event::Event::HostInventory(inventory)) => {
                let parts = wire::host_parts(&inventory);
                let changed = self.context.targets.host(self.site, &parts).await;
                self.planned(changed)
            }
            Some(v1::event::Event::Sighting(seen)) => self.sighting(&seen, at_ms).await,
            Some(v1::event::Event::DiscoveryRound(told)) => {
                let ended_at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MIN);
                let (round, edges, stations) = wire::discovery::round(&told, ended_at);
                let ended = self.context.store.end_round(self.site, round, edges, stations).await;
                ended.map_err(|error| self.failed(&error))
            }
            Some(v1::event::Event::Loss(loss)) => {
                tracing::warn!(
                    site,
                    %agent,
                    sequence = loss.from_seq,
                    records = loss.records,
                    samples = loss.samples,
                    reason = wire::gap_reason(loss.reason()),
                    "an agent lost records"
                );
                Ok(())
            }
            Some(v1::event::Event::Interception(interception)) => {
                let detail = wire::text(&interception.detail);
                tracing::warn!(site, %agent, detail, "something intercepts an agent's traffic");
                Ok(())
            }
            // Kept with their records for whoever asks.
            Some(
                v1::event::Event::Gap(_)
                | v1::event::Event::ClockStep(_)
                | v1::event::Event::Started(_)
                | v1::event::Event::Stopped(_),
            )
            | None => Ok(()),
        }
    }

    /// Applies the newest inventories again, in the first session of an agent since the collector
    /// started: a crash may have come between their commit and their effect.
    pub(super) async fn catch_up(&mut self, lanes: &[v1::LaneState]) -> Result<(), Away> {
        let lanes = lanes.iter().filter(|state| state.lane == LANE_EVENTS && state.epoch != 0);
        for state in lanes.take(MAX_EPOCHS) {
            let lane = LaneKey { agent: self.identity.agent, lane: 0, epoch: state.epoch };
            let newest = self.context.store.newest(lane, KIND_EVENT, MAX_AGAIN).await;
            for (at_ms, payload) in newest.map_err(|error| self.failed(&error))? {
                // What does not decode was refused, or is a newer agent's.
                let Ok(event) = v1::Event::decode(payload.as_slice()) else { continue };
                if let Some(
                    v1::event::Event::SnmpInventory(_)
                    | v1::event::Event::HostInventory(_)
                    | v1::event::Event::Sighting(_)
                    | v1::event::Event::DiscoveryRound(_),
                ) = &event.event
                {
                    self.apply(event, at_ms).await?;
                }
            }
        }
        Ok(())
    }

    /// A site that has all the devices that it may have keeps them; the records go on.
    async fn sighting(&mut self, seen: &v1::Sighting, at_ms: i64) -> Result<(), Away> {
        let Some(sighting) = wire::discovery::sighting(seen) else { return Ok(()) };
        let seen_at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MIN);
        match self.context.store.keep_sighting(self.site, seen_at, sighting).await {
            Ok(_) => Ok(()),
            Err(error @ StoreError::Limit { .. }) => {
                let reason = Reason { reason: "inventory" };
                self.context.metrics.refused_calls.get_or_create(&reason).inc();
                tracing::warn!(
                    site = self.site.0,
                    error = chain(&error),
                    "a device that was seen is not kept"
                );
                Ok(())
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    pub(super) async fn surroundings(&mut self, seen: &v1::Surroundings) -> Result<(), Away> {
        if !self.may_plan() {
            return Ok(());
        }
        let changed = self.context.targets.ladder(self.site, &wire::seen(seen)).await;
        self.planned(changed)
    }

    /// A plan that could not be changed for a reason of its own does not stop the records: whatever
    /// an agent reports, what it measured is taken.
    fn planned(&self, changed: Result<bool, TargetError>) -> Result<(), Away> {
        match changed {
            Ok(_) => Ok(()),
            Err(TargetError::Store(error)) => Err(self.failed(&error)),
            Err(
                error @ (TargetError::Full(..)
                | TargetError::Plan { .. }
                | TargetError::Rung
                | TargetError::Pair),
            ) => {
                let reason = Reason { reason: "plan" };
                self.context.metrics.refused_calls.get_or_create(&reason).inc();
                tracing::warn!(
                    site = self.site.0,
                    agent = %self.identity.agent,
                    error = chain(&error),
                    "the plan of a site was not changed"
                );
                Ok(())
            }
        }
    }
}
