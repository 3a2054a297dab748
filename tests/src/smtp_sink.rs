//! A mail relay that keeps what it is given, and can be told to misbehave.

use std::{
    collections::{HashMap, VecDeque},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail};

pub mod text;

/// Longest line taken.
const MAX_LINE_BYTES: usize = 4 << 10;
/// Largest mail taken.
const MAX_MAIL_BYTES: usize = 1 << 20;
/// Longest silence of a client.
const PATIENCE: Duration = Duration::from_mins(1);

/// What happens to one mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Taken at once.
    Accept,
    /// The recipient is answered with this line, such as `550 5.1.1 unknown`.
    AnswerRecipient(String),
    /// The same, and the connection ends.
    AnswerRecipientAndCut(String),
    /// The end of the mail is answered with this line, such as `451 4.3.0 later`.
    AnswerDot(String),
    /// The connection ends instead of an answer to the recipient.
    CutAtRecipient,
    /// The recipient is never answered.
    MuteAtRecipient,
    /// The connection ends before the mail.
    CutBeforeData,
    /// The request to hand the mail over is never answered.
    MuteAtData,
    /// The mail is taken, and nothing is ever answered.
    MuteAfterDot,
    /// The mail is taken, and the connection ends instead of an answer.
    CutAfterDot,
    /// Every answer waits so long.
    Slow(Duration),
}

/// A mail that the sink has taken responsibility for, or could have.
#[derive(Debug, Clone)]
pub struct Mail {
    /// When its final dot was read.
    pub at: Instant,
    /// The same, wall clock.
    pub received: SystemTime,
    /// Envelope sender.
    pub sender: String,
    /// Envelope recipients.
    pub recipients: Vec<String>,
    /// Headers and body as received, dots unstuffed.
    pub raw: String,
    /// What was made of it.
    pub behaviour: Behaviour,
}

impl Mail {
    /// Whether the client was told that it was taken.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        matches!(self.behaviour, Behaviour::Accept | Behaviour::Slow(_))
    }

    /// A header, unfolded and decoded.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        text::header(&self.raw, name)
    }

    /// The text of the body, decoded.
    #[must_use]
    pub fn body(&self) -> String {
        text::body(&self.raw)
    }
}

#[derive(Debug, Default)]
struct Shared {
    mails: Mutex<Vec<Mail>>,
    arrived: Condvar,
    script: Mutex<VecDeque<Behaviour>>,
    /// What happens to every mail to a recipient, whatever the script says.
    recipients: Mutex<HashMap<String, Behaviour>>,
    connections: Mutex<u64>,
    /// Times that a client was left without an answer.
    muted: Mutex<u64>,
    stopped: AtomicBool,
}

/// The relay, gone with its value.
#[derive(Debug)]
pub struct SmtpSink {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl SmtpSink {
    /// Listens on a free port of the loopback.
    pub fn start() -> Result<Self> {
        Self::on(TcpListener::bind("127.0.0.1:0").context("cannot listen for mails")?)
    }

    /// Serves this listener, which may belong to another namespace.
    pub fn on(listener: TcpListener) -> Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let server = Arc::clone(&shared);
        listener.set_nonblocking(true)?;
        thread::spawn(move || {
            while !server.stopped.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        *lock(&server.connections) += 1;
                        let server = Arc::clone(&server);
                        // A client that leaves in the middle of a word is no failure of the sink.
                        thread::spawn(move || drop(serve(&server, stream)));
                    }
                    // Nobody, or somebody who left again.
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What happens to the next mails, one each; then they are accepted.
    pub fn script(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        lock(&self.shared.script).extend(behaviours);
    }

    /// What happens to every mail to this recipient.
    pub fn for_recipient(&self, recipient: &str, behaviour: Behaviour) {
        lock(&self.shared.recipients).insert(recipient.to_owned(), behaviour);
    }

    /// Times so far that a client was left without an answer.
    #[must_use]
    pub fn muted(&self) -> u64 {
        *lock(&self.shared.muted)
    }

    /// Mails so far, the oldest first, unconfirmed ones included.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        lock(&self.shared.mails).clone()
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        *lock(&self.shared.connections)
    }

    /// Waits until there are `count` mails.
    pub fn wait_for(&self, count: usize, limit: Duration) -> Result<Vec<Mail>> {
        let mails = lock(&self.shared.mails);
        let (mails, _) = self
            .shared
            .arrived
            .wait_timeout_while(mails, limit, |mails| mails.len() < count)
            .unwrap_or_else(PoisonError::into_inner);
        if mails.len() < count {
            bail!("waited {limit:?} for {count} mails, got {}", mails.len());
        }
        Ok(mails.clone())
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_line(reader: &mut BufReader<TcpStream>) -> Result<Option<String>> {
    let mut line = Vec::new();
    let room = u64::try_from(MAX_LINE_BYTES)? + 1;
    if reader.take(room).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() > MAX_LINE_BYTES {
        bail!("a line of {} bytes", line.len());
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
}

fn serve(shared: &Shared, stream: TcpStream) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut answers = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    answers.write_all(b"220 sink ESMTP\r\n")?;
    let mut envelope: (String, Vec<String>) = (String::new(), Vec::new());
    let mut behaviour = Behaviour::Accept;
    while let Some(line) = read_line(&mut reader)? {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        if verb == "MAIL" {
            behaviour = lock(&shared.script).pop_front().unwrap_or(Behaviour::Accept);
            envelope = (address_of(&line), Vec::new());
        }
        if let Behaviour::Slow(delay) = &behaviour {
            thread::sleep(*delay);
        }
        let answer = match verb.as_str() {
            "EHLO" => "250-sink\r\n250-8BITMIME\r\n250 SIZE 1048576".to_owned(),
            "HELO" | "MAIL" | "RSET" | "NOOP" => "250 OK".to_owned(),
            "RCPT" => {
                let recipient = address_of(&line);
                if let Some(always) = lock(&shared.recipients).get(&recipient) {
                    behaviour = always.clone();
                }
                match &behaviour {
                    Behaviour::AnswerRecipient(answer) => answer.clone(),
                    Behaviour::AnswerRecipientAndCut(answer) => {
                        answers.write_all(format!("{answer}\r\n").as_bytes())?;
                        return Ok(());
                    }
                    Behaviour::CutAtRecipient => return Ok(()),
                    Behaviour::MuteAtRecipient => return mute(shared, &mut reader),
                    Behaviour::Accept
                    | Behaviour::AnswerDot(_)
                    | Behaviour::CutBeforeData
                    | Behaviour::MuteAtData
                    | Behaviour::MuteAfterDot
                    | Behaviour::CutAfterDot
                    | Behaviour::Slow(_) => {
                        envelope.1.push(recipient);
                        "250 OK".to_owned()
                    }
                }
            }
            "DATA" if behaviour == Behaviour::CutBeforeData => return Ok(()),
            "DATA" if behaviour == Behaviour::MuteAtData => return mute(shared, &mut reader),
            "DATA" => {
                answers.write_all(b"354 go on\r\n")?;
                let Some(raw) = read_mail(&mut reader)? else { return Ok(()) };
                keep(shared, &envelope, raw, &behaviour);
                match &behaviour {
                    Behaviour::CutAfterDot => return Ok(()),
                    Behaviour::MuteAfterDot => return mute(shared, &mut reader),
                    Behaviour::AnswerDot(answer) => answer.clone(),
                    Behaviour::Slow(delay) => {
                        thread::sleep(*delay);
                        "250 taken".to_owned()
                    }
                    Behaviour::Accept
                    | Behaviour::AnswerRecipient(_)
                    | Behaviour::AnswerRecipientAndCut(_)
                    | Behaviour::CutAtRecipient
                    | Behaviour::MuteAtRecipient
                    | Behaviour::MuteAtData
                    | Behaviour::CutBeforeData => "250 taken".to_owned(),
                }
            }
            "QUIT" => {
                answers.write_all(b"221 bye\r\n")?;
                return Ok(());
            }
            _ => "502 not here".to_owned(),
        };
        answers.write_all(format!("{answer}\r\n").as_bytes())?;
    }
    Ok(())
}

/// Says nothing more, until the client leaves or our own patience ends.
fn mute(shared: &Shared, reader: &mut BufReader<TcpStream>) -> Result<()> {
    *lock(&shared.muted) += 1;
    while read_line(reader)?.is_some() {}
    Ok(())
}

fn keep(shared: &Shared, envelope: &(String, Vec<String>), raw: String, behaviour: &Behaviour) {
    let (sender, recipients) = envelope.clone();
    let (at, received) = (Instant::now(), SystemTime::now());
    let behaviour = behaviour.clone();
    lock(&shared.mails).push(Mail { at, received, sender, recipients, raw, behaviour });
    shared.arrived.notify_all();
}

fn read_mail(reader: &mut BufReader<TcpStream>) -> Result<Option<String>> {
    let mut raw = String::new();
    while let Some(line) = read_line(reader)? {
        if line == "." {
            return Ok(Some(raw));
        }
        raw.push_str(line.strip_prefix('.').unwrap_or(&line));
        raw.push_str("\r\n");
        if raw.len() > MAX_MAIL_BYTES {
            bail!("a mail of more than {MAX_MAIL_BYTES} bytes");
        }
    }
    Ok(None)
}

fn address_of(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or_else(String::new, |(address, _)| address.to_owned())
}
