//! From a batch of one stream to records that the store can commit.
//!
//! Everything is checked here that needs no transaction: the batch's limits and hashes (by the
//! stream's decoder), that a group is the site's, that rows are as wide as their layout, that times
//! lie where they can. What fails alone is refused alone, with its reason; what makes the stream
//! itself untrustworthy ends it.

use std::collections::HashMap;

use domain::{
    agent::Agent,
    id::{AgentId, GroupId, Layout, SiteId},
    sample::Span,
    target::Group,
};
use prost::Message as _;
use proto::{
    KIND_EVENT, KIND_SAMPLES, LANE_EVENTS, LANE_SAMPLES,
    records::{Decoder, Record, RecordsError},
    samples::{self, Columns},
    v1,
};
use store::{
    DeclaredGap, IncomingRecord, IngestStore, LaneKey, SeqRange, ServerTime, Store, StoreError,
};

use crate::{session::ClockMap, wire};
use losses::Declared;
use placing::Placing;

mod losses;
mod placing;

/// Layouts that a session remembers.
const MAX_LAYOUTS: usize = 4_096;
/// Layouts that are looked up for one batch: an agent has a few groups, and they change rarely.
const MAX_LOOKUPS: u32 = 64;
/// Epochs of one lane in one session: one, and one after a rollback; more are an agent gone wild.
pub const MAX_EPOCHS: usize = 4;
/// Records may be so much older than the agent's enrolment, milliseconds.
const BEFORE_ENROLMENT_MS: i64 = 86_400_000;
/// Records may be so far ahead of the server's clock, milliseconds.
const AHEAD_MS: i64 = 300_000;
/// A record is late when it is older than two periods and this, milliseconds.
const LATE_MS: i64 = 60_000;
/// Nanoseconds of a millisecond.
const NS_PER_MS: i64 = 1_000_000;

/// Why the stream must end.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Not what the contract says: the stream's state is lost.
    #[error("cannot read a batch")]
    Batch(#[from] RecordsError),
    /// A lane that does not exist, an epoch of zero or too many of them.
    #[error("the batch is of no lane of this stream")]
    Lane,
    /// The store failed: nothing is acknowledged.
    #[error("cannot look up what a batch refers to")]
    Store(#[from] StoreError),
}

/// Records of a lane that an event explains as lost.
type Explained = (LaneKey, SeqRange);

/// What is known of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    columns: usize,
    period_ms: i64,
}

/// The samples of a record, on their way to the evaluator.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// Server time of the first row, Unix milliseconds.
    pub time_ms: i64,
    /// Too old to raise an alert.
    pub late: bool,
    /// The values; empty for a late record, which only counts.
    pub columns: Option<Columns>,
}

/// A batch, ready to be committed.
#[derive(Debug, Default)]
pub struct Batch {
    /// For the store, in order.
    pub records: Vec<IncomingRecord>,
    /// For the evaluator, beside each record; `None` for what is not samples or is refused.
    pub fresh: Vec<Option<Fresh>>,
    /// Events beside each record, to be applied once it is stored; `None` for what is no event or is
    /// refused.
    pub events: Vec<Option<v1::Event>>,
    /// Server time of the newest record, Unix milliseconds.
    pub newest_ms: Option<i64>,
}

/// One stream's way in.
#[derive(Debug)]
pub struct Ingest {
    agent: AgentId,
    site: SiteId,
    earliest_ms: i64,
    /// When the agent was last heard before this session, Unix milliseconds.
    last_seen_ms: Option<i64>,
    placing: Placing,
    /// For losses of this batch that only their order places: when the record before was, Unix
    /// milliseconds, by the number of their own record.
    lost_after: HashMap<u64, i64>,
    decoder: Decoder,
    layouts: HashMap<(GroupId, Layout), Option<Known>>,
    periods: HashMap<GroupId, i64>,
    epochs: [Vec<u64>; 2],
}

/// A boot clock in milliseconds.
fn boot_ms(boot_ns: u64) -> i64 {
    i64::try_from(boot_ns).unwrap_or(i64::MAX) / NS_PER_MS
}

/// When the boot of the session began, Unix milliseconds: every other boot was before.
fn began_ms(clock: &ClockMap) -> i64 {
    clock.mapping().offset_ns.div_euclid(NS_PER_MS)
}

impl Ingest {
    /// A new stream of an agent, as the store knew it before.
    #[must_use]
    pub fn new(agent: &Agent) -> Self {
        let enrolled_ms = agent.enrolled_at.as_millisecond();
        Self {
            agent: agent.id,
            site: agent.site,
            earliest_ms: enrolled_ms.saturating_sub(BEFORE_ENROLMENT_MS),
            last_seen_ms: agent.last_seen.map(jiff::Timestamp::as_millisecond),
            placing: Placing::default(),
            lost_after: HashMap::new(),
            decoder: Decoder::new(),
            layouts: HashMap::new(),
            periods: HashMap::new(),
            epochs: [Vec::new(), Vec::new()],
        }
    }

    /// Learns the groups in force.
    pub fn learn(&mut self, groups: &[Group]) {
        // A layout that was unknown may exist by now.
        self.layouts.retain(|_, known| known.is_some());
        for group in groups {
            let period_ms = i64::from(group.period_s) * 1_000;
            let known = Known { columns: group.columns.len(), period_ms };
            self.periods.insert(group.id, period_ms);
            self.remember((group.id, group.layout), Some(known));
        }
    }

    /// Whether a time, Unix milliseconds, is one that this agent can have measured at.
    fn accepts(&self, time_ms: i64, now_ms: i64) -> bool {
        time_ms >= self.earliest_ms && time_ms <= now_ms.saturating_add(AHEAD_MS)
    }

    fn remember(&mut self, key: (GroupId, Layout), known: Option<Known>) {
        if self.layouts.len() >= MAX_LAYOUTS {
            self.layouts.clear();
        }
        self.layouts.insert(key, known);
    }

    /// Reads a batch.
    ///
    /// # Errors
    /// [`IngestError`]: the stream must end.
    pub async fn take(
        &mut self,
        store: &dyn Store,
        clock: &mut ClockMap,
        message: &v1::Records,
        now_ms: i64,
    ) -> Result<Batch, IngestError> {
        let lane = self.lane(message)?;
        let records = self.decoder.decode(message)?;
        self.look_up(store, clock, lane, &records, now_ms).await?;
        let mut batch = Batch {
            records: Vec::with_capacity(records.len()),
            fresh: Vec::with_capacity(records.len()),
            events: Vec::with_capacity(records.len()),
            ..Batch::default()
        };
        for record in records {
            self.judge(lane, record, clock, now_ms, &mut batch);
        }
        Ok(batch)
    }

    fn lane(&mut self, message: &v1::Records) -> Result<LaneKey, IngestError> {
        let lane = match message.lane {
            LANE_EVENTS => 0_u8,
            LANE_SAMPLES => 1,
            _ => return Err(IngestError::Lane),
        };
        let epochs = &mut self.epochs[usize::from(lane)];
        if !epochs.contains(&message.epoch) {
            if message.epoch == 0 || epochs.len() >= MAX_EPOCHS {
                return Err(IngestError::Lane);
            }
            epochs.push(message.epoch);
        }
        Ok(LaneKey { agent: self.agent, lane, epoch: message.epoch })
    }

    /// Asks the store for the layouts and earlier boots that are not known yet.
    async fn look_up(
        &mut self,
        store: &dyn Store,
        clock: &mut ClockMap,
        lane: LaneKey,
        records: &[Record],
        now_ms: i64,
    ) -> Result<(), IngestError> {
        let mut asked = 0_u32;
        self.lost_after.clear();
        for record in records {
            if clock.is_unknown(record.boot_tag) && asked < MAX_LOOKUPS {
                asked += 1;
                let known = IngestStore::clock(store, self.agent, record.boot_tag).await?;
                clock.learn(record.boot_tag, known);
            }
            let nowhere = clock.map(record.boot_tag, record.boot_ns).is_none()
                && !self.accepts(record.wall_ns.div_euclid(NS_PER_MS), now_ms);
            if nowhere && self.placing.is_new(lane.lane, record.boot_tag) && asked < MAX_LOOKUPS {
                asked += 1;
                let before = store.time_before(lane, record.seq).await?;
                let before = before.or(self.seen_before(clock)).unwrap_or(self.earliest_ms);
                self.placing.after(lane.lane, record.boot_tag, before);
            }
            if record.kind == KIND_EVENT && asked < MAX_LOOKUPS {
                asked += u32::from(self.look_up_loss(store, clock, lane, record, now_ms).await?);
            }
            if record.kind != KIND_SAMPLES {
                continue;
            }
            let Ok(header) = samples::header(&record.payload) else { continue };
            let key = (GroupId(header.group), Layout(header.layout));
            if self.layouts.contains_key(&key) || asked >= MAX_LOOKUPS {
                continue;
            }
            asked += 1;
            let columns = store.layout(key.0, key.1).await?;
            let known = columns
                .filter(|columns| columns.iter().all(|column| column.site == self.site))
                .filter(|columns| !columns.is_empty())
                .map(|columns| Known {
                    columns: columns.len(),
                    period_ms: self.periods.get(&key.0).copied().unwrap_or(0),
                });
            self.remember(key, known);
        }
        Ok(())
    }

    /// Asks the store what stands before a loss that has no other time; true when it was asked.
    async fn look_up_loss(
        &mut self,
        store: &dyn Store,
        clock: &ClockMap,
        lane: LaneKey,
        record: &Record,
        now_ms: i64,
    ) -> Result<bool, IngestError> {
        let Ok((v1::Event { event: Some(v1::event::Event::Loss(loss)) }, Some(explained))) =
            self.event(lane, &record.payload)
        else {
            return Ok(false);
        };
        let declared = Declared::new(record, clock);
        if !self.is_timeless(&loss, declared, now_ms) {
            return Ok(false);
        }
        let before = store.time_before(explained.0, explained.1.from).await?;
        if let Some(before_ms) = before.or(self.seen_before(clock)) {
            self.lost_after(declared, before_ms);
        }
        Ok(true)
    }

    /// When the agent was last heard before the boot of this session, Unix milliseconds.
    fn seen_before(&self, clock: &ClockMap) -> Option<i64> {
        self.last_seen_ms.filter(|seen| *seen < began_ms(clock))
    }

    fn judge(
        &mut self,
        lane: LaneKey,
        record: Record,
        clock: &ClockMap,
        now_ms: i64,
        batch: &mut Batch,
    ) {
        let (boot_tag, boot_ns) = (record.boot_tag, record.boot_ns);
        let declared = Declared::new(&record, clock);
        let mut time = self.time(lane, &record, clock, now_ms);
        if u32::from(lane.lane) == LANE_EVENTS && !self.accepts(time.ms(), now_ms) {
            // An event is too precious to be refused for its clock: a loss moves the watermark.
            let latest_ms = now_ms.saturating_add(AHEAD_MS).max(self.earliest_ms);
            time = ServerTime::Unsure(time.ms().clamp(self.earliest_ms, latest_ms));
        }
        let mut incoming = IncomingRecord {
            lane,
            seq: record.seq,
            kind: record.kind,
            hash: record.hash,
            time,
            boot_ns,
            items: 0,
            payload: record.payload,
            group: None,
            explains: None,
            gap: None,
            refused: None,
        };
        let (mut fresh, mut applied) = (None, None);
        let mut end_ms = time.ms();
        if !self.accepts(time.ms(), now_ms) {
            incoming.refused = Some("time");
        } else if record.kind == KIND_SAMPLES {
            match self.samples(lane, &mut incoming, clock, now_ms) {
                Ok((columns, known)) => {
                    incoming.group = Some((GroupId(columns.group), Layout(columns.layout)));
                    incoming.items = u32::try_from(columns.cells.len()).unwrap_or(u32::MAX);
                    let rows_ms = columns.times_ms.iter().copied().max().unwrap_or(0);
                    end_ms = incoming.time.ms().saturating_add(rows_ms);
                    fresh = Some(self.fresh(columns, known, incoming.time, now_ms));
                }
                Err(reason) => incoming.refused = Some(reason),
            }
        } else if record.kind == KIND_EVENT {
            match self.event(lane, &incoming.payload) {
                Ok((event, explains)) => {
                    incoming.explains = explains;
                    incoming.gap = match &event.event {
                        Some(v1::event::Event::Gap(gap)) => self.gap(gap, clock, now_ms),
                        Some(v1::event::Event::Loss(loss)) => self.hole(loss, declared, now_ms),
                        _ => None,
                    };
                    applied = Some(event);
                }
                Err(reason) => incoming.refused = Some(reason),
            }
        }
        // Any other kind is a newer agent's: kept as it is.
        if incoming.refused.is_none() {
            batch.newest_ms = batch.newest_ms.max(Some(incoming.time.ms()));
            if boot_tag != clock.boot_tag() {
                self.placing.saw(lane.lane, end_ms);
            }
        }
        batch.records.push(incoming);
        batch.fresh.push(fresh);
        batch.events.push(applied);
    }

    /// Server time of a record: by its boot, else by its wall clock where that can be, else by its
    /// order.
    fn time(
        &mut self,
        lane: LaneKey,
        record: &Record,
        clock: &ClockMap,
        now_ms: i64,
    ) -> ServerTime {
        if let Some(ns) = clock.map(record.boot_tag, record.boot_ns) {
            return ServerTime::Known(ns.div_euclid(NS_PER_MS));
        }
        let wall_ms = record.wall_ns.div_euclid(NS_PER_MS);
        if record.boot_tag == clock.boot_tag() || self.accepts(wall_ms, now_ms) {
            return ServerTime::Unsure(wall_ms);
        }
        let boot_ms = boot_ms(record.boot_ns);
        let placed_ms = self.placing.place(lane.lane, record.boot_tag, boot_ms);
        // A boot without place is one too many for one batch: at the edge of what can be.
        let placed_ms = placed_ms.unwrap_or(self.earliest_ms).min(began_ms(clock));
        ServerTime::Unsure(placed_ms.max(self.earliest_ms))
    }

    /// The stretch that a gap names; `None` when it can not be one of this site.
    fn gap(&self, gap: &v1::Gap, clock: &ClockMap, now_ms: i64) -> Option<DeclaredGap> {
        let at = |boot_ns: u64, wall_ns: i64| {
            let mapped = (boot_ns > 0).then(|| clock.map(gap.boot_tag, boot_ns)).flatten();
            let wall_ms = mapped.unwrap_or(wall_ns).div_euclid(NS_PER_MS);
            if mapped.is_some() || self.accepts(wall_ms, now_ms) {
                return wall_ms;
            }
            let placed = self.placing.at(0, gap.boot_tag, boot_ms(boot_ns));
            placed.filter(|_| boot_ns > 0).unwrap_or(wall_ms)
        };
        let span = Span {
            from_ms: at(gap.from_boot_ns, gap.from_wall_ns),
            to_ms: at(gap.to_boot_ns, gap.to_wall_ns),
        };
        let group = (gap.group != 0).then_some(GroupId(gap.group));
        let reason = wire::gap_reason(gap.reason());
        let plausible = span.from_ms < span.to_ms
            && self.accepts(span.from_ms, now_ms)
            && self.accepts(span.to_ms, now_ms)
            && group.is_none_or(|group| self.periods.contains_key(&group));
        if !plausible {
            tracing::warn!(
                site = self.site.0,
                agent = %self.agent,
                reason,
                "a gap names no stretch of this site"
            );
        }
        plausible.then_some(DeclaredGap { group, span, reason })
    }

    fn fresh(&self, columns: Columns, known: Known, time: ServerTime, now_ms: i64) -> Fresh {
        let first = columns.times_ms.first().copied().unwrap_or(0);
        let time_ms = time.ms().saturating_add(first);
        let period_ms =
            self.periods.get(&GroupId(columns.group)).copied().unwrap_or(known.period_ms);
        let late = now_ms.saturating_sub(time_ms) > 2 * period_ms + LATE_MS;
        Fresh { time_ms, late, columns: (!late).then_some(columns) }
    }

    fn samples(
        &self,
        lane: LaneKey,
        record: &mut IncomingRecord,
        clock: &ClockMap,
        now_ms: i64,
    ) -> Result<(Columns, Known), &'static str> {
        if u32::from(lane.lane) != LANE_SAMPLES {
            return Err("lane");
        }
        let columns = samples::decode(&record.payload).map_err(|_| "payload")?;
        let key = (GroupId(columns.group), Layout(columns.layout));
        let known = self.layouts.get(&key).copied().flatten().ok_or("group")?;
        if columns.columns != known.columns {
            return Err("columns");
        }
        if let ServerTime::Unsure(placed_ms) = record.time {
            // All its rows are of before this boot.
            let rows_ms = columns.times_ms.iter().copied().max().unwrap_or(0);
            let latest_ms = began_ms(clock).saturating_sub(rows_ms).max(self.earliest_ms);
            record.time = ServerTime::Unsure(placed_ms.min(latest_ms));
        }
        let base_ms = record.time.ms();
        let in_window = |row: &i64| {
            base_ms.checked_add(*row).is_some_and(|time_ms| self.accepts(time_ms, now_ms))
        };
        if !columns.times_ms.iter().all(in_window) {
            return Err("time");
        }
        Ok((columns, known))
    }

    fn event(
        &self,
        lane: LaneKey,
        payload: &[u8],
    ) -> Result<(v1::Event, Option<Explained>), &'static str> {
        if u32::from(lane.lane) != LANE_EVENTS {
            return Err("lane");
        }
        let event = v1::Event::decode(payload).map_err(|_| "payload")?;
        let explains = match &event.event {
            Some(v1::event::Event::Loss(loss)) => Some(self.loss(loss).ok_or("loss")?),
            _ => None,
        };
        Ok((event, explains))
    }

    /// The records that a loss names: of a lane of this agent, and not backwards.
    fn loss(&self, loss: &v1::Loss) -> Option<Explained> {
        let lane = u8::try_from(loss.lane).ok().filter(|lane| *lane <= 1)?;
        let whole = loss.epoch != 0 && loss.from_seq >= 1 && loss.from_seq <= loss.to_seq;
        whole.then_some((
            LaneKey { agent: self.agent, lane, epoch: loss.epoch },
            SeqRange { from: loss.from_seq, to: loss.to_seq },
        ))
    }
}
