//! Incidents and the outbox.

use domain::incident::IncidentKind;
use jiff::Timestamp;

use super::{at, facts, targets::icmp};
use crate::{
    Evaluation, IncidentFilter, IncidentStore, NewIncident, NewMail, OutboxStore, Result,
    SendOutcome, SiteStore, TargetStore,
};

fn mail(transition: &str, recipient: &str) -> NewMail {
    NewMail { transition: transition.to_owned(), recipient: recipient.to_owned() }
}

fn cause(key: &str, site: domain::id::SiteId) -> NewIncident {
    NewIncident {
        key: key.to_owned(),
        site,
        target: None,
        kind: IncidentKind::AgentSilent,
        title: "Agent muet".to_owned(),
        evidence: vec!["rien reçu".to_owned()],
        started_at: at(-60),
    }
}

fn evaluation(seconds: i64) -> Evaluation {
    Evaluation { at: Some(at(seconds)), ..Evaluation::default() }
}

/// An incident is opened once per key and closed once, with what was told of it.
pub async fn incidents_open_and_close_once(
    store: &(impl SiteStore + TargetStore + IncidentStore + OutboxStore),
) -> Result<()> {
    let site = store.add_site(facts(1)).await?.id;
    let other = store.add_site(facts(2)).await?.id;
    let (spec, columns) = icmp(site, "10.0.0.1");
    let target = store.upsert_target(spec, columns).await?;
    let mut down = cause("down", site);
    (down.kind, down.target) = (IncidentKind::TargetDown, Some(target.id));
    let open = Evaluation {
        states: vec![
            ("a".to_owned(), Some("1".to_owned())),
            ("b".to_owned(), Some("2".to_owned())),
        ],
        open: vec![
            (down.clone(), vec![mail("open", "x@example.org")]),
            (cause("silent", other), vec![]),
        ],
        ..evaluation(0)
    };
    let opened = store.save_evaluation(open.clone()).await?;
    let references: Vec<_> = opened.iter().map(|incident| incident.reference.as_str()).collect();
    assert_eq!(references, ["INC-2026-000001", "INC-2026-000002"]);
    let first = &opened[0];
    assert_eq!((first.key.as_str(), first.site, first.target), ("down", site, Some(target.id)));
    assert_eq!((first.kind, first.title.as_str()), (IncidentKind::TargetDown, "Agent muet"));
    assert_eq!((first.started_at, first.opened_at), (at(-60), at(0)));
    assert_eq!((first.restored_at, first.closed_at), (None, None));
    assert_eq!(first.evidence, ["rien reçu"]);

    // The same again, after a crash before its answer: nothing is opened, no second mail.
    assert_eq!(store.save_evaluation(open).await?, []);
    assert_eq!(store.outbox_depth(at(30)).await?, (1, 30));

    let close = Evaluation {
        states: vec![("a".to_owned(), None)],
        append: vec![(first.id, vec!["toujours rien".to_owned()])],
        close: vec![(
            first.id,
            at(90),
            vec!["revenu".to_owned()],
            vec![mail("close", "x@example.org")],
        )],
        ..evaluation(100)
    };
    assert_eq!(store.save_evaluation(close.clone()).await?, []);
    store.save_evaluation(close).await?;
    let closed = store.incident(first.id).await?.expect("opened");
    assert_eq!(closed.evidence, ["rien reçu", "toujours rien", "revenu"]);
    assert_eq!((closed.restored_at, closed.closed_at), (Some(at(90)), Some(at(100))));
    assert_eq!(store.outbox_depth(at(100)).await?, (2, 100));
    assert_eq!(store.alert_states().await?, [("b".to_owned(), "2".to_owned())]);

    let all = IncidentFilter::default();
    let newest_first = store.incidents(all).await?;
    assert_eq!(newest_first, [opened[1].clone(), closed.clone()]);
    let open_only = store.incidents(IncidentFilter { open_only: true, ..all }).await?;
    assert_eq!(open_only, [opened[1].clone()]);
    assert_eq!(store.incidents(IncidentFilter { site: Some(site), ..all }).await?, [closed]);
    assert_eq!(store.incidents(IncidentFilter { limit: 1, ..all }).await?, [opened[1].clone()]);
    let before = IncidentFilter { before: Some(opened[1].id), ..all };
    assert_eq!(store.incidents(before).await?, newest_first[1..]);
    assert_eq!(store.incidents(IncidentFilter { before: Some(first.id), ..all }).await?, []);
    let next_year =
        Evaluation { open: vec![(cause("later", site), vec![])], ..evaluation(365 * 86_400) };
    assert_eq!(store.save_evaluation(next_year).await?[0].reference, "INC-2027-000001");

    // Nothing of an evaluation is kept when a part of it can not be: no mail goes out for an
    // incident that is not.
    let waiting = store.outbox_depth(at(100)).await?.0;
    let half = Evaluation {
        open: vec![
            (cause("half", site), vec![mail("open", "x@example.org")]),
            (cause("nowhere", domain::id::SiteId(i64::MAX)), vec![]),
        ],
        ..evaluation(100)
    };
    assert!(store.save_evaluation(half).await.is_err());
    assert_eq!(store.outbox_depth(at(100)).await?.0, waiting);
    assert_eq!(store.incidents(all).await?.len(), 3);
    let timeless = Evaluation {
        states: vec![("c".to_owned(), Some("3".to_owned()))],
        open: vec![(cause("never", site), vec![])],
        ..Evaluation::default()
    };
    assert!(store.save_evaluation(timeless).await.is_err());
    assert_eq!(store.alert_states().await?.len(), 1);
    Ok(())
}

/// Mails are leased to one holder, the open before the close, and sent again only when they must be.
pub async fn mails_are_sent_in_order_and_once(
    store: &(impl SiteStore + IncidentStore + OutboxStore),
) -> Result<()> {
    let site = store.add_site(facts(1)).await?.id;
    let open = Evaluation {
        open: vec![(
            cause("k", site),
            vec![mail("open", "x@example.org"), mail("open", "y@example.org")],
        )],
        ..evaluation(0)
    };
    let incident = store.save_evaluation(open).await?.remove(0);
    let closing = vec![mail("close", "x@example.org"), mail("close", "y@example.org")];
    let close = Evaluation { close: vec![(incident.id, at(5), vec![], closing)], ..evaluation(10) };
    store.save_evaluation(close).await?;

    let lease = async |now: Timestamp, limit: u32| -> Result<Vec<_>> {
        let leased = store.lease_mails(now, 60, limit).await?;
        Ok(leased
            .into_iter()
            .map(|mail| (mail.id, mail.transition, mail.recipient, mail.attempts, mail.ambiguous))
            .collect())
    };
    let (x, y) = ("x@example.org", "y@example.org");
    let told = |of: &(domain::id::OutboxId, String, String, u32, bool),
                transition: &str,
                to: &str,
                attempts,
                ambiguous| {
        assert_eq!(
            (of.1.as_str(), of.2.as_str(), of.3, of.4),
            (transition, to, attempts, ambiguous)
        );
    };
    // Oldest first, at most as many as asked, none twice.
    let first = lease(at(20), 1).await?;
    assert_eq!(first.len(), 1);
    told(&first[0], "open", x, 0, false);
    let second = lease(at(20), 10).await?;
    assert_eq!(second.len(), 1, "the closes wait for their opens");
    told(&second[0], "open", y, 0, false);
    assert_eq!(lease(at(21), 10).await?, []);

    // Sent to x: its close is free. Put off for y: nothing until then, and no close either.
    store.settle_mail(first[0].0, at(21), SendOutcome::Sent("250 ok".to_owned())).await?;
    let put_off = SendOutcome::Retry(at(100), "451 later".to_owned());
    store.settle_mail(second[0].0, at(21), put_off).await?;
    let third = lease(at(22), 10).await?;
    assert_eq!(third.len(), 1);
    told(&third[0], "close", x, 0, false);
    store.mark_handed_over(third[0].0).await?;
    let again = lease(at(100), 10).await?;
    // The lease of x's close ran out at 82 after its text was on its way: it may have been taken.
    // What no attempt failed yet comes before what is tried again.
    assert_eq!(again.len(), 2);
    told(&again[0], "close", x, 0, true);
    told(&again[1], "open", y, 1, false);
    let again = [again[1].clone(), again[0].clone()];

    // The relay may have taken it: once more, then never again.
    let unsure = |seconds| SendOutcome::Ambiguous(at(seconds), "connection lost".to_owned());
    store.settle_mail(again[1].0, at(101), SendOutcome::Sent("250 ok".to_owned())).await?;
    store.settle_mail(again[0].0, at(101), unsure(120)).await?;
    let once_more = lease(at(120), 10).await?;
    assert_eq!(once_more.len(), 1);
    told(&once_more[0], "open", y, 2, true);
    store.settle_mail(once_more[0].0, at(121), unsure(140)).await?;
    let after = lease(at(140), 10).await?;
    assert_eq!(after.len(), 1, "no third open");
    told(&after[0], "close", y, 0, false);
    assert_eq!(store.outbox_depth(at(150)).await?, (1, 140));

    // Trouble of the relay itself is no attempt of the mail, which stays due.
    store
        .settle_mail(after[0].0, at(141), SendOutcome::Waits(at(145), "refused".to_owned()))
        .await?;
    assert_eq!(lease(at(144), 10).await?, []);
    let after = lease(at(145), 10).await?;
    assert_eq!(after.len(), 1);
    told(&after[0], "close", y, 0, false);
    assert_eq!(store.recipients(incident.id).await?, [x, y]);

    // A word that comes after the mail was settled changes nothing.
    store.settle_mail(first[0].0, at(150), SendOutcome::Retry(at(150), String::new())).await?;
    store
        .settle_mail(after[0].0, at(150), SendOutcome::Failed("550 no such user".to_owned()))
        .await?;
    assert_eq!(lease(at(10_000), 10).await?, []);
    assert_eq!(store.outbox_depth(at(150)).await?, (0, 0));
    let unknown = domain::id::OutboxId(i64::MAX);
    assert!(super::is_not_found(
        &store.settle_mail(unknown, at(0), SendOutcome::Sent(String::new())).await
    ));
    Ok(())
}

/// A holder of leases that dies before the text of a mail is on its way sent nothing, however often it
/// happens; one that dies after may have sent it, which is tried once more and then left.
pub async fn a_lost_lease_repeats_only_what_may_not_have_been_sent(
    store: &(impl SiteStore + IncidentStore + OutboxStore),
) -> Result<()> {
    let site = store.add_site(facts(1)).await?.id;
    let mails = vec![mail("open", "x@example.org")];
    let open = Evaluation { open: vec![(cause("k", site), mails)], ..evaluation(0) };
    store.save_evaluation(open).await?;
    let mut now = 10;
    let mut id = None;
    for _ in 0..7 {
        let leased = store.lease_mails(at(now), 60, 10).await?;
        assert_eq!((leased.len(), leased[0].ambiguous, leased[0].attempts), (1, false, 0));
        assert_eq!(store.lease_mails(at(now + 59), 60, 10).await?, []);
        id = Some(leased[0].id);
        now += 60;
    }
    let id = id.expect("leased");
    assert_eq!(store.lease_mails(at(now), 60, 10).await?.len(), 1);
    store.mark_handed_over(id).await?;
    now += 60;
    let once_more = store.lease_mails(at(now), 60, 10).await?;
    assert_eq!((once_more.len(), once_more[0].ambiguous), (1, true));
    // Lost again before its text was on its way: that one resend is still to come.
    now += 60;
    let once_more = store.lease_mails(at(now), 60, 10).await?;
    assert_eq!((once_more.len(), once_more[0].ambiguous), (1, true));
    store.mark_handed_over(id).await?;
    now += 60;
    assert_eq!(store.lease_mails(at(now), 60, 10).await?, [], "no third copy");
    assert_eq!(store.outbox_depth(at(now)).await?, (0, 0));
    assert!(super::is_not_found(&store.mark_handed_over(id).await), "it is not leased");

    // A clear answer of the relay takes the mark back.
    let mails = vec![mail("open", "x@example.org")];
    let open = Evaluation { open: vec![(cause("l", site), mails)], ..evaluation(now) };
    store.save_evaluation(open).await?;
    let leased = store.lease_mails(at(now), 60, 10).await?;
    store.mark_handed_over(leased[0].id).await?;
    let later = SendOutcome::Retry(at(now), "451 later".to_owned());
    store.settle_mail(leased[0].id, at(now), later).await?;
    let leased = store.lease_mails(at(now), 60, 10).await?;
    assert_eq!((leased.len(), leased[0].ambiguous), (1, false));
    now += 60;
    let leased = store.lease_mails(at(now), 60, 10).await?;
    assert_eq!((leased.len(), leased[0].ambiguous), (1, false));
    Ok(())
}
