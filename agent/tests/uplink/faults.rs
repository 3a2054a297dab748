//! A collector that was put back, holds the agent, or says what can not be true.

use std::sync::Arc;

use proto::{
    LANE_SAMPLES,
    v1::{self, down, lane_resume::Action, up},
};

use crate::{
    collector::{Collector, PLENTY, soon},
    line::{Line, samples, value},
};

#[tokio::test]
async fn a_rolled_back_lane_gets_a_new_epoch_but_not_without_end() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..10).await;
    line.connect();
    let epoch = |hello: &v1::Hello| {
        hello.lanes.iter().filter(|lane| lane.lane == LANE_SAMPLES).map(|l| l.epoch).next_back()
    };
    let mut epochs = Vec::new();
    for _ in 0..8 {
        let (session, hello) = collector.session().await;
        if epochs.last() != Some(&epoch(&hello)) {
            epochs.push(epoch(&hello));
        }
        session
            .ok(&hello, PLENTY, |resume| {
                if resume.lane == LANE_SAMPLES {
                    resume.set_action(Action::NewEpoch);
                    resume.contig_upto = 1_000;
                }
            })
            .await;
    }
    assert_eq!(epochs.len(), 5, "four new epochs in ten minutes and no more: {epochs:?}");
    let (mut session, hello) = collector.begin(PLENTY).await;
    let (batch, records) = samples(&mut session).await;
    assert_eq!(Some(batch.epoch), epoch(&hello));
    assert_eq!(records.iter().map(value).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    assert_eq!(records[0].seq, 1);
    assert!(line.metrics.protocol_errors.get() >= 3);
    line.stop().await;
}

#[tokio::test]
async fn a_held_agent_keeps_everything_and_sends_nothing() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..10).await;
    line.connect();
    let (mut session, hello) = collector.session().await;
    session.ok(&hello, PLENTY, |resume| resume.set_action(Action::Hold)).await;
    for _ in 0..4 {
        session.say(down::Message::Config(v1::Config::default())).await;
    }
    assert!(matches!(session.hear().await.unwrap(), up::Message::Config(_)));
    assert_eq!(line.metrics.held.get(), 1);
    drop(session);
    let (mut session, _) = collector.begin(PLENTY).await;
    assert_eq!(samples(&mut session).await.1.len(), 10);
    line.stop().await;
}

#[tokio::test]
async fn acknowledgements_that_can_not_be_true_free_nothing() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..10).await;
    line.connect();
    let (mut session, _) = collector.begin(PLENTY).await;
    let (batch, first) = samples(&mut session).await;
    session.ack(&batch, 11, &[]).await;
    session.ack(&batch, u64::MAX, &[]).await;
    session.ack(&batch, 5, &[(8, 7)]).await;
    session.ack(&batch, 5, &[(7, u64::MAX)]).await;
    session.ack(&v1::Records { lane: 9, ..batch.clone() }, 1, &[]).await;
    session.ack(&v1::Records { epoch: 1, ..batch.clone() }, 1, &[]).await;
    session.ack(&batch, 6, &[]).await;
    session.ack(&batch, 2, &[]).await;
    let metrics = Arc::clone(&line.metrics);
    soon(async {
        while metrics.acks_ignored.get() < 7 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(line.metrics.acks.get(), 1);
    drop(session);
    let (mut session, _) = collector.begin(PLENTY).await;
    let (_, again) = samples(&mut session).await;
    assert_eq!(again, first, "the collector forgot, and nothing is gone");
    line.stop().await;
}

#[tokio::test]
async fn answers_out_of_order_end_the_session_and_never_the_agent() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..10).await;
    line.connect();
    for turn in 0..6 {
        let (session, hello) = collector.session().await;
        match turn {
            0 => session.say(down::Message::Ack(v1::Ack::default())).await,
            1 => {
                let credit = Some(PLENTY);
                let ok = v1::HelloOk { protocol: 99, credit, ..Default::default() };
                session.say(down::Message::Ok(ok)).await;
            }
            2 => session.ok(&hello, PLENTY, |resume| resume.contig_upto = u64::MAX).await,
            3 => {
                let range = v1::Range { from: 9, to: 3 };
                session.ok(&hello, PLENTY, |resume| resume.above = vec![range]).await;
            }
            4 => {
                session.ok(&hello, v1::Credit::default(), |_| {}).await;
                session.ok(&hello, PLENTY, |_| {}).await;
            }
            _ => {
                let away = v1::GoAway { reason: "\u{1b}[2J".to_owned(), ..Default::default() };
                session.say(down::Message::Away(away)).await;
            }
        }
    }
    let (mut session, _) = collector.begin(PLENTY).await;
    assert_eq!(samples(&mut session).await.1.len(), 10);
    // Numbers that were never given are no error of the collector's: the disk was put back.
    assert_eq!(line.metrics.protocol_errors.get(), 4);
    line.stop().await;
}
