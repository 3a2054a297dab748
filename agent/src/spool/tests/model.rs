//! The law: what was reported durable is there, or acknowledged, or declared lost; nothing else is
//! there; nothing is there twice. Whatever happens to the machine.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Append {
        lane: u32,
        count: u8,
    },
    Commit,
    Maintain,
    Wait,
    FailSyncs(u8),
    Acknowledge {
        lane: u32,
        part: u8,
        above: bool,
    },
    NewEpoch {
        lane: u32,
    },
    Stop,
    /// The machine dies within so many steps of what follows.
    Crash {
        steps: u16,
        power: bool,
        seed: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..2_u32, 1..12_u8).prop_map(|(lane, count)| Op::Append { lane, count }),
        6 => Just(Op::Commit),
        1 => Just(Op::Maintain),
        2 => Just(Op::Wait),
        1 => (1..4_u8).prop_map(Op::FailSyncs),
        2 => (0..2_u32, any::<u8>(), any::<bool>())
            .prop_map(|(lane, part, above)| Op::Acknowledge { lane, part, above }),
        1 => (0..2_u32).prop_map(|lane| Op::NewEpoch { lane }),
        1 => Just(Op::Stop),
        4 => (0..4000_u16, any::<bool>(), any::<u64>())
            .prop_map(|(steps, power, seed)| Op::Crash { steps, power, seed }),
    ]
}

struct Model {
    bench: Bench,
    next_id: u64,
    /// Every record ever appended, by its id: its lane.
    appended: BTreeMap<u64, u32>,
    /// Appended, and not yet reported durable.
    open: Vec<u64>,
    durable: BTreeSet<u64>,
    /// What the collector has.
    collected: BTreeSet<u64>,
    /// Where each record was, under all numbers it had.
    places: BTreeMap<u64, Vec<(u64, u64)>>,
    losses: Vec<Loss>,
}

impl Model {
    fn new() -> Self {
        // Room for all events, little for samples.
        let bench = Bench::with(|config| config.caps = [64 << 20, 12 * SEGMENT]);
        Self {
            bench,
            next_id: 0,
            appended: BTreeMap::new(),
            open: Vec::new(),
            durable: BTreeSet::new(),
            collected: BTreeSet::new(),
            places: BTreeMap::new(),
            losses: Vec::new(),
        }
    }

    fn append(&mut self, lane: u32, count: u8) {
        for _ in 0..count {
            let id = self.next_id;
            self.next_id += 1;
            let place = self.bench.append(lane, id);
            self.appended.insert(id, lane);
            self.places.insert(id, vec![place]);
            self.open.push(id);
        }
    }

    fn commit(&mut self) {
        if !self.bench.spool().commit().degraded {
            self.durable.extend(self.open.drain(..));
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Append { lane, count } => self.append(*lane, *count),
            Op::Commit => self.commit(),
            Op::Maintain => self.bench.spool().maintain(),
            Op::Wait => self.bench.clock.advance(RETRY_AFTER),
            Op::FailSyncs(count) => self.bench.disk.fail_syncs(u64::from(*count)),
            Op::Acknowledge { lane, part, above } => self.acknowledge(*lane, *part, *above),
            Op::NewEpoch { lane } => {
                let epoch = current(self.bench.spool(), *lane);
                // A failing disk may refuse.
                let _ = self.bench.spool().new_epoch(*lane, epoch, 0, &[]);
            }
            Op::Stop => {
                self.bench.spool().record_stop("model");
            }
            Op::Crash { steps, power, seed } => {
                self.bench.disk.die_after(u64::from(*steps));
                self.append(1, 5);
                self.commit();
                self.append(0, 2);
                self.append(1, 3);
                self.commit();
                self.bench.spool().maintain();
                self.commit();
                self.bench.close();
                if *power {
                    let mut state = seed | 1;
                    self.bench.disk.cut_power(|| {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        state & 1 == 0
                    });
                } else {
                    self.bench.disk.kill();
                }
                self.bench.disk.fail_syncs(0);
                self.bench.open();
                self.open.clear();
                self.check();
            }
        }
    }

    fn acknowledge(&mut self, lane: u32, part: u8, above: bool) {
        let epoch = current(self.bench.spool(), lane);
        let records: Vec<_> =
            all(self.bench.spool(), lane).into_iter().filter(|(e, _)| *e == epoch).collect();
        let cut = records.len() * usize::from(part) / 256;
        let Some((_, last)) = cut.checked_sub(1).map(|at| &records[at]) else { return };
        // The collector keeps what it acknowledges.
        let taken = if above { &records[cut / 2..cut] } else { &records[..cut] };
        for (_, record) in taken {
            self.collected.extend(id_of(record));
            if let Some(Kind::Loss(loss)) = event_of(record) {
                self.losses.push(loss);
            }
        }
        let Some((_, first)) = taken.first() else { return };
        let outcome = if above {
            let range = Range { from: first.seq, to: last.seq };
            self.bench.spool().acked(lane, epoch, 0, &[range])
        } else {
            self.bench.spool().acked(lane, epoch, last.seq, &[])
        };
        assert_eq!(outcome, AckOutcome::Applied);
    }

    fn check(&mut self) {
        // Reading may find damage and declare it.
        let mut seen = BTreeSet::new();
        for lane in [1, 0, 0] {
            if lane == 0 {
                seen.retain(|id| self.appended[id] == 1);
            }
            for (epoch, record) in all(self.bench.spool(), lane) {
                let Some(id) = id_of(&record) else { continue };
                assert_eq!(self.appended.get(&id), Some(&lane), "phantom {id}");
                assert!(seen.insert(id), "{id} is there twice");
                let places = self.places.get_mut(&id).unwrap();
                if !places.contains(&(epoch, record.seq)) {
                    places.push((epoch, record.seq));
                }
            }
        }
        for loss in self.bench.losses() {
            if !self.losses.contains(&loss) {
                self.losses.push(loss);
            }
        }
        for id in &self.durable {
            let lane = self.appended[id];
            let declared =
                self.places[id].iter().any(|(epoch, seq)| covers(&self.losses, lane, *epoch, *seq));
            assert!(
                seen.contains(id) || self.collected.contains(id) || declared,
                "record {id} of lane {lane} is gone: {:?}",
                self.places[id]
            );
        }
    }
}

proptest! {
    #[test]
    fn what_was_durable_is_there_or_declared_and_nothing_else(
        ops in prop::collection::vec(op(), 1..40)
    ) {
        let mut model = Model::new();
        for op in &ops {
            model.apply(op);
        }
        model.apply(&Op::Crash { steps: u16::MAX, power: true, seed: 77 });
        // The process lived through it: the commits before the cut were real.
        model.check();
    }
}

#[test]
fn a_power_cut_at_every_step_loses_nothing_durable() {
    for steps in 0..1500 {
        let mut model = Model::new();
        model.apply(&Op::Append { lane: 1, count: 9 });
        model.apply(&Op::Commit);
        model.apply(&Op::Crash { steps, power: true, seed: u64::from(steps) * 7919 });
    }
}

#[test]
fn a_kill_during_recovery_converges() {
    for steps in 0..400 {
        let mut model = Model::new();
        model.apply(&Op::Append { lane: 1, count: 60 });
        model.apply(&Op::Commit);
        model.bench.close();
        let name = model.bench.segments(1).pop().unwrap();
        let mut bytes = model.bench.disk.files()[&name].clone();
        bytes[150] ^= 0xFF;
        model.bench.disk.put(&name, bytes);
        for round in 0..3_u64 {
            model.bench.disk.die_after(steps * (round + 1));
            model.bench.open();
            model.bench.close();
            model.bench.disk.cut_power(|| steps % 2 == 0);
        }
        model.bench.open();
        model.check();
    }
}
