//! A device whose every answer is a script's.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use super::ber::{self, Message, Request};

/// How often the thread looks whether it should end.
const STOP_CHECK: Duration = Duration::from_millis(20);

/// Answers on its own thread until dropped.
#[derive(Debug)]
pub struct Scripted {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// One request, and the means to answer it.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// Counts requests from 0.
    pub number: usize,
    /// The request as received.
    pub datagram: &'a [u8],
    /// The request as read.
    pub request: Request<'a>,
    socket: &'a UdpSocket,
    peer: SocketAddr,
}

impl Exchange<'_> {
    /// Sends any bytes.
    pub fn send(&self, bytes: &[u8]) {
        // The asker may have gone: that is its business.
        let _ = self.socket.send_to(bytes, self.peer);
    }

    /// Sends any bytes from another port.
    pub fn send_from_elsewhere(&self, bytes: &[u8]) {
        if let Ok(socket) = UdpSocket::bind((self.socket_ip(), 0)) {
            let _ = socket.send_to(bytes, self.peer);
        }
    }

    fn socket_ip(&self) -> std::net::IpAddr {
        self.socket.local_addr().map_or(self.peer.ip(), |address| address.ip())
    }

    /// The right frame for an answer with these encoded varbinds.
    #[must_use]
    pub fn message<'v>(&'v self, varbinds: &'v [u8]) -> Message<'v> {
        Message {
            version: ber::VERSION_2C,
            community: self.request.community,
            pdu: ber::RESPONSE,
            id: self.request.id,
            status: 0,
            index: 0,
            varbinds,
        }
    }
}

impl Scripted {
    /// Serves on a free port of the loopback.
    pub fn start(mut script: impl FnMut(&Exchange<'_>) + Send + 'static) -> io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        socket.set_read_timeout(Some(STOP_CHECK))?;
        let address = socket.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
                let datagram = &buffer[..length];
                let Some(request) = Request::parse(datagram) else { continue };
                script(&Exchange { number, datagram, request, socket: &socket, peer });
                number += 1;
            }
        });
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A script's own panic has been printed by its thread.
            let _ = thread.join();
        }
    }
}
