//! One conversation over a stream: what is said, and how much of the answer is there.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::probe::{Outcome, dial::exchange_outcome, web::Stream};

/// Most bytes of an answer, read or not: all that these probes ask for is shorter.
pub const MAX_ANSWER: usize = 16 << 10;
/// Read at once.
const CHUNK: usize = 2 << 10;

/// What the bytes of a stream are so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading<T> {
    /// The beginning of an answer.
    More,
    /// An answer, and its length in bytes.
    Done(T, usize),
    /// No answer to the question.
    Wrong,
}

/// The first line without its end (CRLF, or LF alone), and what follows it.
#[must_use]
pub fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let text = &bytes[..end];
    Some((text.strip_suffix(b"\r").unwrap_or(text), &bytes[end + 1..]))
}

/// A stream with what was read of it and not yet used.
pub(super) struct Line {
    stream: Stream,
    peer: std::net::IpAddr,
    read: Vec<u8>,
}

impl Line {
    /// Of a connection.
    pub(super) fn new(stream: TcpStream, peer: std::net::IpAddr) -> Self {
        Self { stream: Box::new(stream), peer, read: Vec::new() }
    }

    /// Says something.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> Result<(), Outcome> {
        let said = match self.stream.write_all(bytes).await {
            Ok(()) => self.stream.flush().await,
            failed @ Err(_) => failed,
        };
        said.map_err(|error| self.outcome(&error))
    }

    /// Says goodbye to one who may have gone: how that ends tells nothing of the service.
    pub(super) async fn part(&mut self, bytes: &[u8]) {
        if let Err(outcome) = self.say(bytes).await {
            tracing::trace!(?outcome, "a service had gone before the goodbye");
        }
    }

    /// Hears an answer. An end before it is none.
    pub(super) async fn hear<T>(
        &mut self,
        read: impl Fn(&[u8]) -> Reading<T>,
    ) -> Result<T, Outcome> {
        loop {
            match read(&self.read) {
                Reading::Done(answer, used) => {
                    self.read.drain(..used.min(self.read.len()));
                    return Ok(answer);
                }
                Reading::More if self.read.len() < MAX_ANSWER => {}
                Reading::More | Reading::Wrong => return Err(Outcome::Malformed),
            }
            let mut chunk = [0; CHUNK];
            let room = CHUNK.min(MAX_ANSWER - self.read.len());
            match self.stream.read(&mut chunk[..room]).await {
                Ok(0) => return Err(Outcome::Malformed),
                Ok(len) => self.read.extend_from_slice(&chunk[..len]),
                Err(error) => return Err(self.outcome(&error)),
            }
        }
    }

    /// The stream itself, to go on by TLS. What came before TLS was asked for in the clear and would
    /// be taken for an answer behind it.
    pub(super) fn into_stream(self) -> Result<Stream, Outcome> {
        if self.read.is_empty() { Ok(self.stream) } else { Err(Outcome::Malformed) }
    }

    /// Goes on over `stream`.
    pub(super) fn over(stream: Stream, peer: std::net::IpAddr) -> Self {
        Self { stream, peer, read: Vec::new() }
    }

    fn outcome(&self, error: &std::io::Error) -> Outcome {
        use std::io::ErrorKind as Kind;
        let kind = error.kind();
        if matches!(kind, Kind::BrokenPipe | Kind::UnexpectedEof) {
            // The peer hung up while it was spoken to.
            Outcome::Malformed
        } else if kind == Kind::InvalidData {
            // What only TLS can find wrong.
            Outcome::Tls
        } else {
            exchange_outcome(error, self.peer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_a_line_feed() {
        assert_eq!(split(b"a\r\nb\n"), Some((&b"a"[..], &b"b\n"[..])));
        assert_eq!(split(b"b\n"), Some((&b"b"[..], &b""[..])));
        assert_eq!(split(b"c\r"), None);
    }
}
