//! Mails of the outbox against a relay that misbehaves at each step: none lost, none needless.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test that called them")]

use std::{sync::Arc, time::Duration};

use collector::{
    clock::{Clock as _, FakeClock},
    config::Config,
    context::Context,
    notifier, wire,
};
use domain::{id::IncidentId, incident::IncidentKind, site::SiteFacts};
use e2e::smtp_sink::{Behaviour, Mail, SmtpSink};
use jiff::{SignedDuration, Timestamp};
use store::{Evaluation, NewIncident, NewMail, Retention, SampleOptions, sqlite::SqliteStore};
use tokio::{sync::watch, task::JoinHandle, time};

const LIMIT: Duration = Duration::from_secs(20);

struct World {
    clock: Arc<FakeClock>,
    context: Context,
    sink: SmtpSink,
    stop: watch::Sender<bool>,
    running: Option<JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new(script: impl IntoIterator<Item = Behaviour>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sink = SmtpSink::start().unwrap();
        sink.script(script);
        let text = format!(
            "data_dir = \"{}\"\n[smtp]\nrelay = \"{}\"\ntls = \"none\"\nfrom = \"vigie@example.fr\"\n\
             helo = \"collecte.example.fr\"\n",
            dir.path().display(),
            sink.address()
        );
        let config = Arc::new(Config::parse(&text, "collector.toml").unwrap());
        let samples = SampleOptions { read_payload: wire::rounds, retention: Retention::default() };
        let store = Arc::new(SqliteStore::open(&config.database(), samples).unwrap());
        let now = Timestamp::from_second(1_795_419_730).unwrap();
        let clock = Arc::new(FakeClock::new(now));
        let context = Context::new(config, store, clock.clone(), [0; 32], [0; 32]);
        let facts = SiteFacts {
            uai: "0999001W".parse().unwrap(),
            name: "Collège des Essais".to_owned(),
            kind: "college".parse().unwrap(),
            zone: "A".parse().unwrap(),
            pupils: None,
            lot: None,
            address: None,
            position: None,
        };
        context.store.add_site(facts).await.unwrap();
        let (stop, _) = watch::channel(false);
        Self { clock, context, sink, stop, running: None, _dir: dir }
    }

    fn start(&mut self) {
        let task = notifier::run(self.context.clone(), self.stop.subscribe());
        self.running = Some(tokio::spawn(task));
    }

    /// A notifier that dies in the middle of whatever it does.
    async fn kill(&mut self) {
        let task = self.running.take().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }

    async fn open(&self, key: &str, recipients: &[&str]) -> IncidentId {
        let site = self.context.store.sites().await.unwrap()[0].id;
        let incident = NewIncident {
            key: format!("{key}@1"),
            site,
            target: None,
            kind: IncidentKind::AgentSilent,
            title: format!("Site muet ({key})"),
            evidence: vec!["Dernier signe de vie : 08:42:10".to_owned()],
            started_at: self.clock.now(),
        };
        let at = Some(self.clock.now());
        let open = vec![(incident, mails("open", recipients))];
        let evaluation = Evaluation { open, at, ..Evaluation::default() };
        self.context.store.save_evaluation(evaluation).await.unwrap()[0].id
    }

    async fn close(&self, incident: IncidentId, recipients: &[&str]) {
        let at = self.clock.now();
        let close = vec![(incident, at, vec!["Revenu".to_owned()], mails("close", recipients))];
        let evaluation = Evaluation { close, at: Some(at), ..Evaluation::default() };
        self.context.store.save_evaluation(evaluation).await.unwrap();
    }

    /// Waits until the outbox is empty, moving time on so that pauses end.
    async fn drained(&self) {
        let end = time::Instant::now() + LIMIT;
        while self.context.store.outbox_depth(self.clock.now()).await.unwrap().0 > 0 {
            assert!(time::Instant::now() < end, "the outbox did not empty");
            self.clock.advance(Duration::from_secs(30));
            time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the notifier has looked for due mails since now.
    async fn looked_at_outbox(&self) {
        let (looks, end) =
            (&self.context.metrics.outbox_oldest_seconds, time::Instant::now() + LIMIT);
        // It tells the age of the oldest after each look: a mark that only a look takes away.
        looks.set(-1);
        while looks.get() == -1 {
            assert!(time::Instant::now() < end, "the notifier stands still");
            time::sleep(Duration::from_millis(10)).await;
        }
        // The first may have been under way already.
        looks.set(-1);
        while looks.get() == -1 {
            assert!(time::Instant::now() < end, "the notifier stands still");
            time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn received(&self, count: usize) -> Vec<Mail> {
        let end = time::Instant::now() + LIMIT;
        while self.sink.mails().len() < count {
            assert!(time::Instant::now() < end, "{count} mails did not arrive");
            time::sleep(Duration::from_millis(20)).await;
        }
        self.sink.mails()
    }
}

fn mails(transition: &str, recipients: &[&str]) -> Vec<NewMail> {
    let mail = |recipient: &&str| NewMail {
        transition: transition.to_owned(),
        recipient: (*recipient).to_owned(),
    };
    recipients.iter().map(mail).collect()
}

fn ids(mails: &[Mail]) -> Vec<String> {
    mails.iter().map(|mail| mail.header("Message-ID").unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_is_one_thread_of_two_mails_in_order() {
    let mut world = World::new([]).await;
    let incident = world.open("a", &["lot2@example.org"]).await;
    world.close(incident, &["lot2@example.org"]).await;
    world.start();
    world.drained().await;
    let mails = world.sink.mails();
    assert_eq!(mails.len(), 2);
    assert!(mails[0].body().starts_with("OUVERTURE"), "{}", mails[0].body());
    assert!(mails[1].body().starts_with("RÉTABLISSEMENT CONSTATÉ"), "{}", mails[1].body());
    assert_eq!(mails[1].header("References"), mails[0].header("Message-ID"));
    assert_eq!(mails[0].header("Subject"), mails[1].header("Subject"));
    assert_eq!(mails[0].recipients, ["lot2@example.org"]);
    assert_eq!(mails[0].sender, "vigie@example.fr");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greylisted_mail_comes_later_and_once() {
    let later = Behaviour::AnswerRecipient("451 4.7.1 greylisted".to_owned());
    let mut world = World::new([later.clone(), later]).await;
    world.open("a", &["lot2@example.org"]).await;
    world.start();
    world.drained().await;
    assert_eq!(world.sink.mails().iter().filter(|mail| mail.is_confirmed()).count(), 1);
    assert_eq!(world.context.metrics.mails_put_off.get(), 2);
    assert_eq!(world.context.metrics.mail_channel_failures.get(), 0, "the relay works");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recipient_that_does_not_exist_fails_and_the_others_get_theirs() {
    let unknown = Behaviour::AnswerRecipient("550 5.1.1 unknown".to_owned());
    let mut world = World::new([unknown]).await;
    world.open("a", &["gone@example.org", "here@example.org"]).await;
    world.start();
    world.drained().await;
    let confirmed: Vec<_> = world.sink.mails().into_iter().filter(Mail::is_confirmed).collect();
    assert_eq!(confirmed.len(), 1);
    assert_eq!(world.context.metrics.mails_failed.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_lost_reply_to_the_final_dot_repeats_a_mail_and_once() {
    let mut world = World::new([Behaviour::CutAfterDot, Behaviour::CutAfterDot]).await;
    world.open("a", &["lot2@example.org"]).await;
    world.start();
    world.received(1).await;
    world.drained().await;
    let mails = world.sink.mails();
    assert_eq!(mails.len(), 2, "one repeat, no third copy");
    let ids = ids(&mails);
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_before_the_mail_repeats_nothing() {
    let mut world = World::new([Behaviour::CutBeforeData, Behaviour::CutBeforeData]).await;
    world.open("a", &["lot2@example.org"]).await;
    world.start();
    world.drained().await;
    assert_eq!(world.sink.mails().iter().filter(|mail| mail.is_confirmed()).count(), 1);
    assert_eq!(world.sink.mails().len(), 1);
    assert!(world.context.metrics.mail_channel_failures.get() >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_content_fails_and_is_not_sent_for_ever() {
    let refused = Behaviour::AnswerDot("554 5.6.0 content refused".to_owned());
    let mut world = World::new([refused]).await;
    world.open("a", &["lot2@example.org"]).await;
    world.start();
    world.drained().await;
    assert_eq!(world.sink.mails().len(), 1);
    assert_eq!(world.context.metrics.mails_failed.get(), 1);
    assert_eq!(world.context.metrics.mails_sent.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notifier_that_dies_loses_no_mail() {
    let slow = Behaviour::Slow(Duration::from_secs(3));
    let mut world = World::new([slow]).await;
    for key in ["a", "b", "c"] {
        world.open(key, &["lot2@example.org"]).await;
    }
    world.start();
    let end = time::Instant::now() + LIMIT;
    while world.sink.connections() == 0 {
        assert!(time::Instant::now() < end, "the notifier never connected");
        time::sleep(Duration::from_millis(10)).await;
    }
    world.kill().await;
    world.start();
    world.clock.advance(Duration::from_mins(5));
    world.drained().await;
    let mut distinct = ids(&world.sink.mails());
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_relay_mails_wait_and_the_depth_tells() {
    let mut world = World::new([]).await;
    let mut config = (*world.context.config).clone();
    config.smtp = None;
    world.context.config = Arc::new(config);
    world.open("a", &["lot2@example.org"]).await;
    world.clock.advance(Duration::from_mins(1));
    world.start();
    let end = time::Instant::now() + LIMIT;
    while world.context.metrics.outbox_depth.get() != 1 {
        assert!(time::Instant::now() < end, "the depth was never told");
        time::sleep(Duration::from_millis(10)).await;
    }
    assert!(world.context.metrics.outbox_oldest_seconds.get() >= 60);
    assert_eq!(world.sink.connections(), 0);
    let depth = world.context.store.outbox_depth(world.clock.now()).await.unwrap();
    assert_eq!(depth.0, 1);
    assert!(SignedDuration::from_secs(depth.1.try_into().unwrap()) >= SignedDuration::from_mins(1));
}

/// Twenty mails arrive while the relay misbehaves at one recipient, and those to it come later.
async fn others_arrive_beside(trap: Behaviour) {
    let mut world = World::new([]).await;
    world.sink.for_recipient("trap@example.org", trap);
    for key in ["first", "second", "third"] {
        world.open(key, &["trap@example.org"]).await;
    }
    let others: Vec<_> = (1..=20).map(|n| format!("lot{n}@example.org")).collect();
    let all: Vec<_> = others.iter().map(String::as_str).collect();
    world.open("others", &all).await;
    world.start();
    // One deadline of a reply passes, not one for each mail to that recipient.
    let end = time::Instant::now() + Duration::from_secs(55);
    while world.context.store.outbox_depth(world.clock.now()).await.unwrap().0 > 3 {
        assert!(time::Instant::now() < end, "{} of 20 arrived", world.sink.mails().len());
        time::sleep(Duration::from_millis(20)).await;
    }
    let reached = |mails: &[Mail]| {
        let mut reached: Vec<_> = mails.iter().flat_map(|mail| mail.recipients.clone()).collect();
        reached.sort_unstable();
        reached
    };
    let mut expected = others.clone();
    expected.sort_unstable();
    assert_eq!(reached(&world.sink.mails()), expected, "each once");
    assert_eq!(world.context.metrics.mails_put_off.get(), 1, "one attempt stood for the three");
    world.sink.for_recipient("trap@example.org", Behaviour::Accept);
    world.drained().await;
    let late = ["trap@example.org"; 3].map(str::to_owned);
    assert_eq!(reached(&world.sink.mails()[20..]), late);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_hangs_at_one_recipient_holds_no_other_mail() {
    others_arrive_beside(Behaviour::MuteAtRecipient).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_hangs_up_at_one_recipient_holds_no_other_mail() {
    others_arrive_beside(Behaviour::CutAtRecipient).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recipient_at_which_the_relay_hangs_up_is_tried_at_growing_distances_and_given_up() {
    let mut world = World::new([]).await;
    world.sink.for_recipient("trap@example.org", Behaviour::CutAtRecipient);
    world.open("a", &["trap@example.org"]).await;
    world.start();
    let tries = || world.context.metrics.mails_put_off.get();
    for (n, pause_s) in [(1, 5), (2, 60), (3, 300), (4, 900), (5, 1800), (6, 1800)] {
        let end = time::Instant::now() + LIMIT;
        while tries() < n {
            assert!(time::Instant::now() < end, "no attempt {n}");
            time::sleep(Duration::from_millis(20)).await;
        }
        // Due one second later, and not now: the notifier looks twice a second.
        world.clock.advance(Duration::from_secs(pause_s - 1));
        world.looked_at_outbox().await;
        assert_eq!(tries(), n, "an early attempt after {n}");
        world.clock.advance(Duration::from_secs(1));
    }
    world.clock.advance(Duration::from_hours(49));
    world.drained().await;
    assert_eq!(world.context.metrics.mails_failed.get(), 1);
    assert!(world.sink.mails().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_recipient_after_which_the_relay_hangs_up_is_not_tried_again() {
    let bye = Behaviour::AnswerRecipientAndCut("550 5.1.1 unknown".to_owned());
    let mut world = World::new([bye]).await;
    world.open("a", &["gone@example.org", "here@example.org"]).await;
    world.start();
    world.drained().await;
    assert_eq!(world.context.metrics.mails_failed.get(), 1);
    let mails = world.sink.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].recipients, ["here@example.org"]);
}

/// The notifier dies each time that the sink leaves it without an answer, `times` times.
async fn killed_at(trap: Behaviour, times: usize) -> World {
    let mut world = World::new(vec![trap; times]).await;
    world.open("a", &["lot2@example.org"]).await;
    for _ in 0..times {
        let (muted, end) = (world.sink.muted(), time::Instant::now() + LIMIT);
        world.start();
        while world.sink.muted() == muted {
            if world.context.store.outbox_depth(world.clock.now()).await.unwrap().0 == 0 {
                break;
            }
            assert!(time::Instant::now() < end, "the notifier never came to the point");
            time::sleep(Duration::from_millis(10)).await;
        }
        world.kill().await;
        world.clock.advance(Duration::from_mins(5));
    }
    world.start();
    world.drained().await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notifier_that_dies_before_the_text_sends_the_mail_once_however_often_it_dies() {
    for trap in [Behaviour::MuteAtRecipient, Behaviour::MuteAtData] {
        let world = killed_at(trap, 6).await;
        let mails = world.sink.mails();
        assert_eq!(mails.len(), 1);
        assert!(mails[0].is_confirmed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notifier_that_dies_between_the_mark_and_the_final_dot_sends_the_mail_after_all() {
    let mut world = World::new([]).await;
    world.open("a", &["lot2@example.org"]).await;
    // What such a notifier leaves behind: a lease, the mark, and no mail.
    let leased = world.context.store.lease_mails(world.clock.now(), 180, 20).await.unwrap();
    world.context.store.mark_handed_over(leased[0].id).await.unwrap();
    world.clock.advance(Duration::from_mins(5));
    world.start();
    world.drained().await;
    assert_eq!(world.sink.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notifier_that_dies_after_the_final_dot_repeats_the_mail_once_however_often_it_dies() {
    // Each relay here has taken the mail; that its answer is still to come or lies unread is one.
    for times in [1, 2, 6] {
        let world = killed_at(Behaviour::MuteAfterDot, times).await;
        let mails = world.sink.mails();
        assert_eq!(mails.len(), 2, "{times} deaths");
        assert_eq!(ids(&mails)[0], ids(&mails)[1], "recognisable as the same");
    }
}
