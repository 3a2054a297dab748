//! Frames of HTTP/2 (RFC 9113) written by hand, over TLS.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::client::TlsStream;

/// Types of frames.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(crate) mod flags {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
}

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header as it is, entered in no table (RFC 7541, 6.2.2): both texts shorter than 127 bytes.
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// The head of a call.
pub(crate) fn call(method: &str) -> Vec<u8> {
    [
        literal(":method", "POST"),
        literal(":scheme", "https"),
        literal(":path", &format!("/vigie.v1.{method}")),
        literal(":authority", "collector.vigie.internal"),
        literal("content-type", "application/grpc"),
        literal("te", "trailers"),
    ]
    .concat()
}

/// What the collector said, as far as it matters.
#[derive(Debug, Default, Clone)]
pub(crate) struct Heard {
    /// The connection is at its end.
    pub(crate) ended: bool,
    /// The code of the GOAWAY before it, if there was one.
    pub(crate) code: Option<u32>,
    /// Streams that were answered or reset.
    pub(crate) streams: usize,
}

/// A connection of which the test writes every byte.
pub(crate) struct Connection {
    write: WriteHalf<TlsStream<TcpStream>>,
    heard: Arc<Mutex<Heard>>,
    reading: Option<JoinHandle<()>>,
    kept: Option<ReadHalf<TlsStream<TcpStream>>>,
    /// Bytes that the other side took.
    pub(crate) taken: usize,
}

impl Connection {
    /// `deaf` reads nothing of what comes.
    pub(crate) fn new(stream: TlsStream<TcpStream>, deaf: bool) -> Self {
        let (read, write) = split(stream);
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (reading, kept) = if deaf {
            (None, Some(read))
        } else {
            (Some(tokio::spawn(listen(read, Arc::clone(&heard)))), None)
        };
        Self { write, heard, reading, kept, taken: 0 }
    }

    /// Writes; an error is a connection that is closed.
    pub(crate) async fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.write.write_all(bytes).await?;
        self.write.flush().await?;
        self.taken += bytes.len();
        if self.heard.lock().unwrap().ended {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// The preface and settings of this content.
    pub(crate) async fn begin(&mut self, settings: &[(u16, u32)]) -> std::io::Result<()> {
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend(id.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        let settings = frame(kind::SETTINGS, flags::NONE, 0, &payload);
        self.put(&[PREFACE, &settings].concat()).await
    }

    pub(crate) fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        drop(self.kept.take());
        if let Some(reading) = self.reading.take() {
            reading.abort();
        }
    }
}

async fn listen(mut read: ReadHalf<TlsStream<TcpStream>>, heard: Arc<Mutex<Heard>>) {
    let mut head = [0; 9];
    while read.read_exact(&mut head).await.is_ok() {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if read.read_exact(&mut payload).await.is_err() {
            break;
        }
        match head[3] {
            kind::GOAWAY => {
                let code = u32::from_be_bytes(payload[4..8].try_into().unwrap());
                heard.lock().unwrap().code = Some(code);
            }
            kind::HEADERS | kind::RST_STREAM => heard.lock().unwrap().streams += 1,
            _ => {}
        }
    }
    heard.lock().unwrap().ended = true;
}
