//! How the system asks this process to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Listens from now on; the future ends at the first request to stop, by the service manager or by
/// the keyboard.
///
/// # Errors
/// When the system lets nobody listen.
pub fn asked_to_stop() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
