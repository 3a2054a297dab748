//! A TCP line that can be cut, made to lose what comes back, and counted.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

/// Bytes carried at once.
const BUFFER_BYTES: usize = 64 << 10;
/// Longest wait for the far end.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct Line {
    cut: AtomicBool,
    deaf: AtomicBool,
    stopped: AtomicBool,
    up: AtomicU64,
    down: AtomicU64,
    lost: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

/// The line between those who connect here and the far end.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    line: Arc<Line>,
}

impl Proxy {
    /// Listens on a free port of `near` and carries every connection to `far`.
    pub fn start(near: &str, far: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((near, 0)).context("cannot listen")?;
        let address = listener.local_addr()?;
        let line = Arc::new(Line::default());
        let shared = Arc::clone(&line);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                if shared.cut.load(Ordering::SeqCst) {
                    continue; // dropped: the caller sees the end of the connection at once
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || carry(&shared, &stream, far));
            }
        });
        Ok(Self { address, line })
    }

    /// Where to connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection and takes no new one.
    pub fn cut(&self) {
        self.line.cut.store(true, Ordering::SeqCst);
        self.break_connections();
    }

    /// Takes connections again, and carries both ways.
    pub fn restore(&self) {
        self.line.deaf.store(false, Ordering::SeqCst);
        self.line.cut.store(false, Ordering::SeqCst);
    }

    /// From now on what the far end answers is lost: it hears, it is not heard.
    pub fn lose_answers(&self) {
        self.line.deaf.store(true, Ordering::SeqCst);
    }

    /// Ends every connection; new ones are taken.
    pub fn break_connections(&self) {
        for stream in lock(&self.line.open).drain(..) {
            // Already closed is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Bytes carried to the far end.
    #[must_use]
    pub fn bytes_up(&self) -> u64 {
        self.line.up.load(Ordering::SeqCst)
    }

    /// Bytes carried from the far end.
    #[must_use]
    pub fn bytes_down(&self) -> u64 {
        self.line.down.load(Ordering::SeqCst)
    }

    /// Bytes of the far end's answers that were lost on purpose.
    #[must_use]
    pub fn bytes_lost(&self) -> u64 {
        self.line.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.line.stopped.store(true, Ordering::SeqCst);
        self.break_connections();
        // Wakes the listener, which then ends; when this fails it has ended already.
        let _ = TcpStream::connect_timeout(&self.address, CONNECT_WITHIN);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn carry(line: &Arc<Line>, near: &TcpStream, far: SocketAddr) {
    // A far end that is away looks like a broken line, which is what it is.
    let Ok(far) = TcpStream::connect_timeout(&far, CONNECT_WITHIN) else { return };
    let settings = near.set_nodelay(true).and_then(|()| far.set_nodelay(true));
    let copies = near.try_clone().and_then(|near| Ok((near, far.try_clone()?)));
    let (Ok(()), Ok((near_copy, far_copy))) = (settings, copies) else { return };
    {
        let mut open = lock(&line.open);
        open.retain(|stream| stream.peer_addr().is_ok());
        open.push(near_copy);
        open.push(far_copy);
    }
    thread::scope(|scope| {
        scope.spawn(|| pump(near, &far, || false, &line.up, &line.lost));
        pump(&far, near, || line.deaf.load(Ordering::SeqCst), &line.down, &line.lost);
    });
}

fn pump(
    mut from: &TcpStream,
    mut to: &TcpStream,
    loses: impl Fn() -> bool,
    carried: &AtomicU64,
    lost: &AtomicU64,
) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let number = u64::try_from(count).unwrap_or(u64::MAX);
        if loses() {
            lost.fetch_add(number, Ordering::SeqCst);
            continue;
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        carried.fetch_add(number, Ordering::SeqCst);
    }
    // Either end may be gone already.
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
