use proptest::prelude::*;

use super::*;
use crate::{
    clock::SystemClock,
    spool::{NewRecord, Spool, SpoolConfig},
};

const PIN: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

#[test]
fn a_token_is_read_with_its_secret_in_either_form() {
    let bytes: Vec<u8> = (0..32).collect();
    let hexadecimal = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    for secret in [hexadecimal, base64] {
        let token: Token = format!(" k3-A_9.{secret}.{PIN}\n").parse().unwrap();
        assert_eq!(token.id, "k3-A_9");
        assert_eq!(token.secret, bytes);
        assert_eq!(token.pin[..3], [0x00, 0x11, 0x22]);
    }
}

#[test]
fn what_is_wrong_with_a_token_is_told_without_repeating_it() {
    let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    for (text, error) in [
        (String::new(), TokenError::Parts),
        (format!("id.{secret}"), TokenError::Parts),
        (format!("id.{secret}.{PIN}.more"), TokenError::Parts),
        (format!("{}.{secret}.{PIN}", "i".repeat(500)), TokenError::Parts),
        (format!(".{secret}.{PIN}"), TokenError::Id),
        (format!("é.{secret}.{PIN}"), TokenError::Id),
        (format!("id.{}.{PIN}", "A".repeat(20)), TokenError::Secret),
        (format!("id.{secret}=.{PIN}"), TokenError::Secret),
        (format!("id.{}.{PIN}", "zz".repeat(32)), TokenError::Secret),
        (format!("id.{secret}.{}", &PIN[1..]), TokenError::Pin),
        (format!("id.{secret}.{}zz", &PIN[2..]), TokenError::Pin),
    ] {
        let found = text.parse::<Token>().unwrap_err();
        assert_eq!(found, error, "{text}");
        assert!(!found.to_string().contains(secret));
    }
}

#[test]
fn a_token_shows_only_its_identifier() {
    let token: Token = format!("id.{}.{PIN}", "41".repeat(32)).parse().unwrap();
    assert_eq!(format!("{token:?}"), "Token { id: \"id\", .. }");
}

/// The spool of `agent` with so many records, stopped.
fn filled(dir: &Path, agent: [u8; 16], records: u64) {
    let config = SpoolConfig {
        caps: [1 << 20, 1 << 20],
        segment_bytes: 64 << 10,
        reserve: crate::spool::Reserve { bytes: 0, percent: 0 },
        ..SpoolConfig::new(dir.to_owned(), agent)
    };
    let (mut spool, recovery) = Spool::open(config, Arc::new(SystemClock::new())).unwrap();
    spool.record_start(&recovery);
    for n in 0..records {
        let record = NewRecord {
            lane: proto::LANE_SAMPLES,
            kind: proto::KIND_SAMPLES,
            boot_ns: 1,
            wall_ns: 1_700_000_000_000_000_000 + i64::try_from(n).unwrap() * 10_000_000_000,
            boot_tag: 1,
            n_items: 1,
            urgent: false,
            payload: n.to_le_bytes().to_vec(),
        };
        spool.append(&record).unwrap();
    }
    assert!(!spool.record_stop("test").degraded);
}

#[test]
fn a_backlog_is_given_up_only_when_that_is_asked_for() {
    let (dir, agent) = (tempfile::tempdir().unwrap(), [0xAB; 16]);
    let spool = dir.path().join("spool");
    assert_eq!(given_up(&spool, Existing::Keep).unwrap(), Backlog::default(), "no spool yet");
    filled(&spool, agent, 1_081);
    for existing in [Existing::Keep, Existing::Replace] {
        let error = given_up(&spool, existing).unwrap_err().to_string();
        // The start and the stop are records too; 1,080 periods of 10 s are 3 hours.
        for word in ["1083 records", "3.0 hours", "--discard-backlog", "vigie-agent status"] {
            assert!(error.contains(word), "{error}");
        }
    }
    let lost = given_up(&spool, Existing::ReplaceAndDiscard).unwrap();
    assert_eq!((lost.rounds, lost.agents.iter().next()), (1_081, Some(&agent)));
    give_up(&spool, &agent).unwrap();
    // The next start, as another, has none of it.
    filled(&spool, [0xCD; 16], 0);
    let left = given_up(&spool, Existing::Replace).unwrap();
    assert_eq!(left.agents.into_iter().collect::<Vec<_>>(), [[0xCD; 16]]);
    assert_eq!((left.rounds, left.records), (0, 3), "a start, a stop and the declared gap");
}

#[test]
fn the_last_seconds_of_a_stopped_agent_do_not_stand_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    filled(&spool, [0xAB; 16], 100);
    assert_eq!(given_up(&spool, Existing::Replace).unwrap().rounds, 100);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,80}") {
        let _either: Result<Token, TokenError> = text.parse();
    }

    #[test]
    fn no_two_texts_are_one_secret(one in "[A-Za-z0-9_-]{1,3}", two in "[A-Za-z0-9_-]{1,3}") {
        if let (Some(first), Some(second)) = (base64url(&one), base64url(&two)) {
            prop_assert_eq!(first == second, one == two);
        }
    }
}
