use proptest::prelude::*;
use proto::{LANE_SAMPLES, v1::lane_resume::Action};

use super::*;

const EPOCH: u64 = 0xE;

fn lane(lane: u32, oldest_seq: u64, live_from: u64, next_seq: u64) -> LaneStatus {
    LaneStatus {
        lane,
        epoch: EPOCH,
        current: true,
        oldest_seq,
        next_seq,
        head_hash: 1,
        run_first_seq: 1,
        live_from,
        contig_upto: 0,
        bytes: 0,
        evicted: 0,
    }
}

fn resume(lane: u32, contig_upto: u64, above: &[(u64, u64)]) -> LaneResume {
    LaneResume {
        lane,
        epoch: EPOCH,
        contig_upto,
        above: above.iter().map(|&(from, to)| Range { from, to }).collect(),
        action: Action::Continue as i32,
    }
}

fn credit(bytes: u64, records: u64) -> impl Into<Option<Credit>> {
    Credit { bytes, records }
}

fn ack(lane: u32, contig_upto: u64, above: &[(u64, u64)]) -> Ack {
    let above = above.iter().map(|&(from, to)| Range { from, to }).collect();
    Ack { lane, epoch: EPOCH, contig_upto, above, rejected: Vec::new(), credit: None }
}

/// Sends what is picked, `n` records at most, and says what it was.
fn send(sender: &mut Sender, n: u64) -> Option<(u32, u32, u64, u64)> {
    let pick = sender.next()?;
    let upto = pick.upto.min(pick.from + n - 1);
    sender.read(&pick, upto + 1);
    sender.sent(&pick, pick.from..=upto, 1_000);
    Some((pick.lane, pick.channel, pick.from, upto))
}

/// A sender with samples 1 to 100 in the spool of which the last ten are live.
fn sender(events: u64) -> Sender {
    let lanes = [lane(0, 1, 1, events + 1), lane(1, 1, 91, 101)];
    Sender::new(&lanes, &[resume(0, 0, &[]), resume(1, 0, &[])], credit(1 << 20, 1_000)).unwrap()
}

#[test]
fn events_go_first_then_live_samples_three_to_one_with_the_backlog() {
    let mut sender = sender(2);
    let sent: Vec<_> = std::iter::from_fn(|| send(&mut sender, 2)).take(10).collect();
    assert_eq!(
        sent,
        [
            (LANE_EVENTS, LIVE, 1, 2),
            (LANE_SAMPLES, LIVE, 91, 92),
            (LANE_SAMPLES, LIVE, 93, 94),
            (LANE_SAMPLES, LIVE, 95, 96),
            (LANE_SAMPLES, BACKLOG, 1, 2),
            (LANE_SAMPLES, LIVE, 97, 98),
            (LANE_SAMPLES, LIVE, 99, 100),
            (LANE_SAMPLES, BACKLOG, 3, 4),
            (LANE_SAMPLES, BACKLOG, 5, 6),
            (LANE_SAMPLES, BACKLOG, 7, 8),
        ]
    );
}

#[test]
fn a_new_record_overtakes_the_backlog() {
    let mut sender = sender(0);
    while send(&mut sender, 10).is_some_and(|(_, channel, ..)| channel == LIVE) {}
    sender.update(&[lane(0, 1, 1, 1), lane(1, 1, 91, 103)]);
    assert_eq!(send(&mut sender, 10), Some((LANE_SAMPLES, LIVE, 101, 102)));
}

#[test]
fn live_records_that_grew_old_go_on_as_backlog() {
    let mut sender = sender(0);
    sender.grant(Credit { bytes: 0, records: 0 });
    sender.update(&[lane(0, 1, 1, 1), lane(1, 1, 300, 310)]);
    sender.grant(Credit { bytes: 1 << 20, records: 10_000 });
    assert_eq!(send(&mut sender, 100), Some((LANE_SAMPLES, LIVE, 300, 309)));
    assert_eq!(send(&mut sender, 1_000), Some((LANE_SAMPLES, BACKLOG, 1, 299)));
}

#[test]
fn without_credit_nothing_is_sent_however_long() {
    let of = |bytes, records| Some(Credit { bytes, records });
    for none in [None, of(0, 0), of(0, 10), of(10_000, 0)] {
        let lanes = [lane(1, 1, 91, 101)];
        let sender = Sender::new(&lanes, &[resume(1, 0, &[])], none).unwrap();
        assert_eq!(sender.next(), None);
        assert!(sender.has_waiting());
    }
}

#[test]
fn a_boundless_credit_is_taken_with_measure() {
    let lanes = [lane(1, 1, 1, u64::MAX)];
    let mut sender = Sender::new(&lanes, &[resume(1, 0, &[])], credit(u64::MAX, u64::MAX)).unwrap();
    while let Some(pick) = sender.next() {
        let upto = pick.from + pick.max_records as u64 - 1;
        sender.read(&pick, upto + 1);
        sender.sent(&pick, pick.from..=upto, pick.max_bytes);
    }
    let (bytes, records) = sender.in_flight();
    assert!(bytes <= MAX_CREDIT_BYTES && records <= MAX_CREDIT_RECORDS, "{bytes} {records}");
}

#[test]
fn a_tiny_credit_lets_one_record_through_at_a_time() {
    let lanes = [lane(1, 1, 1, 11)];
    let mut sender = Sender::new(&lanes, &[resume(1, 0, &[])], credit(1, 1)).unwrap();
    for seq in 1..=10 {
        assert_eq!(send(&mut sender, 1), Some((LANE_SAMPLES, LIVE, seq, seq)));
        assert_eq!(sender.next(), None);
        assert_eq!(sender.acked(&ack(1, seq, &[])), Verdict::Taken);
    }
}

#[test]
fn the_backlog_leaves_half_of_the_credit_to_live_records() {
    let lanes = [lane(1, 1, 1_000_000, 1_000_000)];
    let mut sender = Sender::new(&lanes, &[resume(1, 0, &[])], credit(1 << 20, 65_536)).unwrap();
    let mut sent = 0;
    while let Some(pick) = sender.next() {
        sender.read(&pick, pick.from + 100);
        sender.sent(&pick, pick.from..pick.from + 100, 64 << 10);
        sent += 64 << 10;
    }
    assert!((1 << 19..(1 << 19) + (64 << 10)).contains(&sent), "{sent}");
    sender.update(&[lane(1, 1, 1_000_000, 1_000_001)]);
    assert_eq!(sender.next().unwrap().channel, LIVE);
}

#[test]
fn an_acknowledgement_that_can_not_be_true_is_ignored() {
    let mut sender = sender(0);
    assert_eq!(send(&mut sender, 5), Some((1, LIVE, 91, 95)));
    let in_flight = sender.in_flight();
    for (ack, why) in [
        (ack(1, 1, &[]), "of records that were not sent"),
        (ack(1, u64::MAX, &[]), "of records that were not sent"),
        (ack(1, 0, &[(91, 96)]), "of records that were not sent"),
        (ack(1, 0, &[(95, 91)]), "with ranges out of order"),
        (ack(1, 0, &[(91, 92), (92, 93)]), "with ranges out of order"),
        (ack(7, 0, &[]), "of a lane that was not sent"),
        (Ack { epoch: 1, ..ack(1, 0, &[]) }, "of a lane that was not sent"),
    ] {
        assert_eq!(sender.acked(&ack), Verdict::Ignored(why), "{ack:?}");
        assert_eq!(sender.in_flight(), in_flight);
    }
    assert_eq!(sender.acked(&ack(1, 0, &[(91, 95)])), Verdict::Taken);
    assert_eq!(sender.in_flight(), (0, 0));
}

#[test]
fn an_acknowledgement_never_goes_backwards() {
    let lanes = [lane(1, 1, 1, 101)];
    let mut sender = Sender::new(&lanes, &[resume(1, 50, &[])], credit(1 << 20, 1_000)).unwrap();
    assert_eq!(send(&mut sender, 10), Some((1, LIVE, 51, 60)));
    assert_eq!(sender.acked(&ack(1, 60, &[])), Verdict::Taken);
    assert_eq!(sender.acked(&ack(1, 55, &[])), Verdict::Ignored("going backwards"));
    assert_eq!(sender.acked(&ack(1, 60, &[])), Verdict::Taken);
}

#[test]
fn a_rejected_record_is_no_longer_in_flight() {
    let lanes = [lane(1, 1, 1, 4)];
    let mut sender = Sender::new(&lanes, &[resume(1, 0, &[])], credit(1 << 20, 1_000)).unwrap();
    send(&mut sender, 3);
    let rejected = vec![proto::v1::Rejection { seq: 2, reason: String::new() }];
    let ack = Ack { rejected, ..ack(1, 1, &[(3, 3)]) };
    assert_eq!(sender.acked(&ack), Verdict::Taken);
    assert_eq!(sender.in_flight(), (0, 0));
}

#[test]
fn a_lane_that_the_answer_leaves_out_stays_where_it_is() {
    let lanes = [lane(0, 1, 1, 11), lane(1, 1, 1, 11)];
    let sender = Sender::new(&lanes, &[resume(1, 0, &[])], credit(10_000, 10)).unwrap();
    assert_eq!(sender.next().unwrap().lane, LANE_SAMPLES);
    let sender = Sender::new(&lanes, &[], credit(10_000, 10)).unwrap();
    assert_eq!(sender.next(), None);
}

#[test]
fn an_answer_that_can_not_be_true_is_told() {
    let lanes = [lane(1, 1, 1, 11)];
    let new = |resumes: &[LaneResume]| Sender::new(&lanes, resumes, credit(1, 1)).map(|_| ());
    assert_eq!(new(&[resume(1, 11, &[])]), Err(ResumeError::Beyond));
    assert_eq!(new(&[resume(1, u64::MAX, &[])]), Err(ResumeError::Beyond));
    assert_eq!(new(&[resume(1, 2, &[(5, 11)])]), Err(ResumeError::Beyond));
    assert_eq!(new(&[resume(1, 5, &[(5, 6)])]), Err(ResumeError::Disorder));
    assert_eq!(new(&[resume(1, 10, &[])]), Ok(()));
    assert_eq!(new(&[resume(1, 2, &[(5, 10)])]), Ok(()));
}

/// A step of the model below.
#[derive(Debug, Clone)]
enum Step {
    Append(u64),
    Send(u64),
    Commit,
    Age(u64),
}

proptest! {
    #[test]
    fn everything_is_sent_once_and_acknowledged(
        old in 0..200_u64,
        contig in 0..50_u64,
        steps in prop::collection::vec(
            prop_oneof![
                (1..9_u64).prop_map(Step::Append),
                (1..40_u64).prop_map(Step::Send),
                Just(Step::Commit),
                (0..60_u64).prop_map(Step::Age),
            ],
            0..80,
        ),
    ) {
        let contig = contig.min(old);
        let mut next = old + 1;
        let mut live_from = next;
        let mut sender =
            Sender::new(&[lane(1, 1, live_from, next)], &[resume(1, contig, &[])], credit(50_000, 200))
                .unwrap();
        let mut there: std::collections::BTreeSet<u64> = (1..=contig).collect();
        let mut wire: Vec<u64> = Vec::new();
        let mut commit = |sender: &mut Sender, wire: &mut Vec<u64>| {
            for seq in wire.drain(..) {
                assert!(there.insert(seq), "{seq} was sent twice");
            }
            let upto = there.iter().zip(1..).take_while(|&(&seq, n)| seq == n).count() as u64;
            let mut above = Ranges::default();
            there.range(upto + 1..).for_each(|&seq| above.insert(seq, seq));
            let mut ranges: Vec<(u64, u64)> = Vec::new();
            for &seq in there.range(upto + 1..) {
                match ranges.last_mut() {
                    Some(last) if last.1 + 1 == seq => last.1 = seq,
                    _ => ranges.push((seq, seq)),
                }
            }
            assert_eq!(sender.acked(&ack(1, upto, &ranges)), Verdict::Taken);
            upto
        };
        let transmit = |sender: &mut Sender, wire: &mut Vec<u64>, n: u64| {
            let Some(pick) = sender.next() else { return false };
            let n = n.min(pick.max_records as u64);
            let upto = pick.upto.min(pick.from + n - 1);
            sender.read(&pick, upto + 1);
            sender.sent(&pick, pick.from..=upto, usize::try_from(n).unwrap() * 100);
            wire.extend(pick.from..=upto);
            true
        };
        for step in steps {
            match step {
                Step::Append(n) => next += n,
                Step::Send(n) => {
                    transmit(&mut sender, &mut wire, n);
                }
                Step::Commit => {
                    commit(&mut sender, &mut wire);
                }
                Step::Age(n) => live_from = (live_from + n).min(next),
            }
            sender.update(&[lane(1, 1, live_from, next)]);
            let (bytes, records) = sender.in_flight();
            prop_assert!(bytes <= 50_000 && records <= 200);
        }
        loop {
            while transmit(&mut sender, &mut wire, 64) {}
            if commit(&mut sender, &mut wire) + 1 == next {
                break;
            }
        }
        prop_assert!(!sender.has_waiting());
        prop_assert_eq!(sender.in_flight(), (0, 0));
    }
}
