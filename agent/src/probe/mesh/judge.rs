//! What a reflector does with a datagram. Pure: time and randomness are passed in.
//!
//! Cheap questions come before dear ones, and whoever has no key never changes anything but the count
//! of what was dropped: the check of tags has a rate of its own, so that a flood costs a bounded share
//! of a processor.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    bucket::Bucket,
    packet::{Kind, PACKET_LEN, Packet, Refused, Window},
};
use crate::plan::{LinkKey, Reflected};

/// Tags checked in a second, and at once: some microseconds each.
const CHECKS: Bucket = Bucket::new(2_000, 2_000);
/// Answers in a second over all senders, and at once: those of a few hundred sites, ten a minute each,
/// of which many may begin together.
const ANSWERS: Bucket = Bucket::new(500, 1_000);
/// Answers to one sender in a second, and at once: a round, and another that confirms it.
const LINK_ANSWERS: Bucket = Bucket::new(50, 100);
/// Challenges to one sender in a second, and at once. Apart from the answers, so that packets recorded
/// in an earlier session take nothing from the present one.
const LINK_CHALLENGES: Bucket = Bucket::new(2, 100);

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was answered.
    Answered,
    /// Its sender was told the session to name.
    Challenged,
    /// It is no request of ours.
    Malformed,
    /// Its link is not one that the collector named.
    Unknown,
    /// It came when more tags were to be checked than are.
    Flooded,
    /// Its tag is wrong.
    Forged,
    /// It was here before.
    Replayed,
    /// It is old.
    Stale,
    /// There were too many of its link, or in all.
    Limited,
}

impl Fate {
    /// Each with its name on the metrics page.
    pub const ALL: [(Self, &str); 9] = [
        (Self::Answered, "answered"),
        (Self::Challenged, "challenged"),
        (Self::Malformed, "malformed"),
        (Self::Unknown, "unknown_link"),
        (Self::Flooded, "flooded"),
        (Self::Forged, "forged"),
        (Self::Replayed, "replayed"),
        (Self::Stale, "stale"),
        (Self::Limited, "limited"),
    ];
}

static FATES: [AtomicU64; Fate::ALL.len()] = [const { AtomicU64::new(0) }; Fate::ALL.len()];

/// Counts one datagram.
pub(super) fn count(fate: Fate) {
    FATES[fate as usize].fetch_add(1, Relaxed);
}

/// Datagrams of this process's reflector that met this fate.
#[must_use]
pub fn counted(fate: Fate) -> u64 {
    FATES[fate as usize].load(Relaxed)
}

/// An answer, once the time in the reflector is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    packet: Packet,
    key: LinkKey,
}

impl Answer {
    /// The bytes to send, as many as were received. `held_ns`: since they were.
    #[must_use]
    pub fn seal(mut self, held_ns: u64) -> [u8; PACKET_LEN] {
        self.packet.held_ns = held_ns;
        self.packet.seal(&self.key)
    }
}

/// What is known of one sender.
#[derive(Debug)]
struct Link {
    key: LinkKey,
    session: Option<(u64, Window)>,
    /// Told by a challenge, named by nobody yet. The session in force stays until somebody does: what
    /// was recorded long ago, and is sent again, ends no session.
    offered: Option<u64>,
    answers: Bucket,
    challenges: Bucket,
}

/// The senders that a reflector answers. As many as the plan names, see
/// [`wire`](crate::wire::MAX_REFLECTED).
#[derive(Debug)]
pub struct Judge {
    links: HashMap<u32, Link>,
    checks: Bucket,
    answers: Bucket,
}

impl Default for Judge {
    fn default() -> Self {
        Self { links: HashMap::new(), checks: CHECKS, answers: ANSWERS }
    }
}

impl Judge {
    /// Answers these links from now on. One that stays, with its key, keeps its session.
    pub fn answer_only(&mut self, links: &[Reflected]) {
        let mut before = std::mem::take(&mut self.links);
        for Reflected { link, key } in links {
            let kept = before.remove(link).filter(|known| known.key == *key);
            let fresh = || Link {
                key: key.clone(),
                session: None,
                offered: None,
                answers: LINK_ANSWERS,
                challenges: LINK_CHALLENGES,
            };
            self.links.insert(*link, kept.unwrap_or_else(fresh));
        }
    }

    /// Judges a datagram at `now_ns`, a time that does not go back. `random` is for a new session.
    pub fn judge(&mut self, datagram: &[u8], now_ns: u64, random: u64) -> Result<Answer, Fate> {
        let claimed = Packet::read(datagram).ok_or(Fate::Malformed)?;
        if claimed.kind != Kind::Request {
            return Err(Fate::Malformed);
        }
        let link = self.links.get_mut(&claimed.link).ok_or(Fate::Unknown)?;
        if !self.checks.take(now_ns) {
            return Err(Fate::Flooded);
        }
        let packet = Packet::open(datagram, &link.key).ok_or(Fate::Forged)?;
        // The sender found the session that he was told of.
        if link.offered == Some(packet.session) {
            link.session = Some((packet.session, Window::default()));
            link.offered = None;
        }
        let session = link.session.as_mut().filter(|(named, _)| *named == packet.session);
        let Some((_, window)) = session else {
            if !(link.challenges.take(now_ns) && self.answers.take(now_ns)) {
                return Err(Fate::Limited);
            }
            // 0 is what a sender says that knows none.
            let offered = *link.offered.get_or_insert(random.max(1));
            let packet = Packet { kind: Kind::Challenge, session: offered, ..packet };
            return Ok(Answer { packet, key: link.key.clone() });
        };
        window.check(&packet).map_err(|refused| match refused {
            Refused::Replayed => Fate::Replayed,
            Refused::Stale => Fate::Stale,
        })?;
        if !(link.answers.take(now_ns) && self.answers.take(now_ns)) {
            return Err(Fate::Limited);
        }
        window.note(&packet);
        let packet = Packet { kind: Kind::Reply, ..packet };
        Ok(Answer { packet, key: link.key.clone() })
    }
}

impl Answer {
    /// How it counts.
    #[must_use]
    pub fn fate(&self) -> Fate {
        if self.packet.kind == Kind::Challenge { Fate::Challenged } else { Fate::Answered }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: LinkKey = LinkKey([5; 32]);
    const SECOND_NS: u64 = 1_000_000_000;

    fn judge() -> Judge {
        let mut judge = Judge::default();
        judge.answer_only(&[
            Reflected { link: 1, key: KEY },
            Reflected { link: 2, key: LinkKey([6; 32]) },
        ]);
        judge
    }

    fn request(session: u64, sequence: u64) -> Packet {
        Packet { kind: Kind::Request, link: 1, session, sequence, sent_ns: sequence, held_ns: 0 }
    }

    fn ask(judge: &mut Judge, packet: &Packet, now_ns: u64, random: u64) -> Result<Packet, Fate> {
        let answer = judge.judge(&packet.seal(&KEY), now_ns, random)?;
        Ok(Packet::open(&answer.seal(3), &KEY).unwrap())
    }

    /// Opens a session and answers its number.
    fn open(judge: &mut Judge, now_ns: u64, random: u64) -> u64 {
        let challenge = ask(judge, &request(0, 1), now_ns, random).unwrap();
        assert_eq!(challenge.kind, Kind::Challenge);
        challenge.session
    }

    #[test]
    fn a_sender_learns_the_session_and_is_answered_in_it() {
        let mut judge = judge();
        let session = open(&mut judge, 0, 42);
        assert_eq!(session, 42);
        let reply = ask(&mut judge, &request(42, 2), 0, 43).unwrap();
        assert_eq!(reply, Packet { kind: Kind::Reply, held_ns: 3, ..request(42, 2) });
        assert_eq!(ask(&mut judge, &request(42, 2), 0, 43), Err(Fate::Replayed));
    }

    #[test]
    fn what_was_recorded_in_an_earlier_session_or_life_is_not_answered() {
        let mut first = judge();
        let session = open(&mut first, 0, 42);
        assert!(ask(&mut first, &request(session, 2), 0, 43).is_ok());
        // The sender starts again: another session, and its packets are answered.
        let next = open(&mut first, 0, 99);
        assert_ne!(next, session);
        // The old session stands until the new one is named: a replay ends nothing.
        assert_eq!(ask(&mut first, &request(session, 3), 0, 1).unwrap().kind, Kind::Reply);
        assert_eq!(ask(&mut first, &request(next, 2), 0, 1).unwrap().kind, Kind::Reply);
        assert_eq!(ask(&mut first, &request(session, 4), 0, 1).unwrap().kind, Kind::Challenge);
        // The reflector starts again.
        let mut second = judge();
        assert_eq!(ask(&mut second, &request(next, 9), 0, 7).unwrap().kind, Kind::Challenge);
    }

    #[test]
    fn only_requests_of_known_links_with_the_right_tag_are_answered() {
        let mut judge = judge();
        let session = open(&mut judge, 0, 42);
        let forged = request(session, 2).seal(&LinkKey([6; 32]));
        assert_eq!(judge.judge(&forged, 0, 1), Err(Fate::Forged));
        let foreign = Packet { link: 3, ..request(session, 2) };
        assert_eq!(ask(&mut judge, &foreign, 0, 1), Err(Fate::Unknown));
        // The key of another link does not help.
        let other = Packet { link: 2, ..request(session, 2) };
        assert_eq!(ask(&mut judge, &other, 0, 1), Err(Fate::Forged));
        // Its own answers are no questions: two reflectors never talk to each other for ever.
        for kind in [Kind::Reply, Kind::Challenge] {
            let echo = Packet { kind, ..request(session, 2) };
            assert_eq!(ask(&mut judge, &echo, 0, 1), Err(Fate::Malformed));
        }
        assert_eq!(judge.judge(b"", 0, 1), Err(Fate::Malformed));
    }

    #[test]
    fn a_link_that_stays_keeps_its_session_and_a_new_key_ends_it() {
        let mut judge = judge();
        let session = open(&mut judge, 0, 42);
        assert!(ask(&mut judge, &request(session, 2), 0, 1).is_ok());
        judge.answer_only(&[Reflected { link: 1, key: KEY }]);
        assert_eq!(ask(&mut judge, &request(session, 3), 0, 1).unwrap().kind, Kind::Reply);
        judge.answer_only(&[Reflected { link: 1, key: LinkKey([8; 32]) }]);
        assert_eq!(ask(&mut judge, &request(session, 4), 0, 1), Err(Fate::Forged));
        judge.answer_only(&[]);
        assert_eq!(ask(&mut judge, &request(session, 5), 0, 1), Err(Fate::Unknown));
    }

    #[test]
    fn each_sender_and_all_together_are_limited() {
        let mut judge = judge();
        let session = open(&mut judge, 0, 42);
        let answered = |judge: &mut Judge, from: u64, now| {
            (from..from + 1_000)
                .filter(|n| ask(judge, &request(session, *n), now, 1).is_ok())
                .count()
        };
        assert_eq!(answered(&mut judge, 10, SECOND_NS), 100);
        assert_eq!(answered(&mut judge, 2_000, 2 * SECOND_NS), 50);
        // Packets of an old session do not use up the answers of the present one.
        let challenged =
            (0..1_000).filter(|n| ask(&mut judge, &request(77, *n), 3 * SECOND_NS, 1).is_ok());
        assert_eq!(challenged.count(), 99 + 1);
        assert_eq!(answered(&mut judge, 4_000, 4 * SECOND_NS), 100);

        let links: Vec<Reflected> = (1..=50).map(|link| Reflected { link, key: KEY }).collect();
        judge.answer_only(&links);
        let of_all =
            (1..=50).flat_map(|link| (0..100).map(move |n| Packet { link, ..request(0, n) }));
        let now = 100 * SECOND_NS;
        let answers = of_all.filter(|packet| ask(&mut judge, packet, now, 1).is_ok()).count();
        assert_eq!(answers, 1_000);
    }

    #[test]
    fn a_flood_of_forgeries_is_not_even_checked() {
        let mut judge = judge();
        let forged = request(1, 2).seal(&LinkKey([6; 32]));
        let fates: Vec<_> = (0..3_000).map(|_| judge.judge(&forged, SECOND_NS, 1)).collect();
        assert_eq!(fates.iter().filter(|fate| **fate == Err(Fate::Forged)).count(), 2_000);
        assert_eq!(fates.iter().filter(|fate| **fate == Err(Fate::Flooded)).count(), 1_000);
        // One second later there is room again.
        assert!(ask(&mut judge, &request(0, 1), 2 * SECOND_NS, 1).is_ok());
    }

    #[test]
    fn every_fate_has_its_count() {
        for (place, (fate, _)) in Fate::ALL.into_iter().enumerate() {
            assert_eq!(fate as usize, place);
            let before = counted(fate);
            count(fate);
            assert!(counted(fate) > before);
        }
    }

    proptest! {
        #[test]
        fn nobody_without_a_key_is_answered(datagram in prop::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(judge().judge(&datagram, 0, 1).is_err());
        }

        #[test]
        fn an_answer_is_as_long_as_its_request_and_comes_once(
            sequences in prop::collection::vec(0_u64..300, 1..200),
        ) {
            let mut judge = judge();
            let session = open(&mut judge, 0, 42);
            let mut answered = std::collections::BTreeSet::new();
            for (second, sequence) in (1_u64..).zip(sequences) {
                let datagram = request(session, sequence).seal(&KEY);
                if let Ok(answer) = judge.judge(&datagram, second * SECOND_NS, 1) {
                    prop_assert_eq!(answer.seal(1).len(), datagram.len());
                    prop_assert!(answered.insert(sequence), "{} was answered twice", sequence);
                }
            }
            prop_assert!(!answered.is_empty());
        }
    }
}
