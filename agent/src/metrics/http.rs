//! As much of HTTP/1.1 as a scraper on the same machine needs: one GET, one answer, closed.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use super::Metrics;
use crate::{logs::chain, spool::SpoolStatus};

/// Longest request that is read, in bytes.
const MAX_REQUEST: usize = 8 << 10;
/// Longest page that [`fetch`] reads, in bytes.
const MAX_PAGE: u64 = 1 << 20;
/// Longest time for one exchange. Exchanges are one after the other: one slow client delays the
/// next scraper by this much and no more.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(2);
/// Rest after the system refused a connection, for want of descriptors for example.
const ACCEPT_REST: Duration = Duration::from_secs(1);

/// Serves `/metrics` on `listener` for ever.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    spool: watch::Receiver<SpoolStatus>,
) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(error = chain(&error), "a metrics connection is not accepted");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        match timeout(EXCHANGE_TIMEOUT, answer(stream, &metrics, &spool)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = chain(&error), "a metrics exchange broke"),
            Err(_late) => tracing::debug!("a metrics exchange took too long"),
        }
    }
}

async fn answer(
    mut stream: TcpStream,
    metrics: &Metrics,
    spool: &watch::Receiver<SpoolStatus>,
) -> io::Result<()> {
    let mut request = Vec::with_capacity(512);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > MAX_REQUEST || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let (status, body) = match request.split(|&b| b == b' ' || b == b'\r').collect::<Vec<_>>()[..] {
        [b"GET", b"/metrics", ..] => {
            let status = spool.borrow().clone();
            ("200 OK", metrics.page(&status))
        }
        [b"GET", ..] => ("404 Not Found", "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "see GET /metrics\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/openmetrics-text; version=1.0.0; \
         charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// Reads the page of the agent that runs on this machine.
pub async fn fetch(address: SocketAddr) -> io::Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
        let mut page = String::new();
        stream.take(MAX_PAGE).read_to_string(&mut page).await?;
        match page.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
            Some(_) | None => Err(io::Error::other("the answer is not a metrics page")),
        }
    };
    timeout(EXCHANGE_TIMEOUT, exchange).await.map_err(|_| io::ErrorKind::TimedOut)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_page_is_served_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_keep, spool) = watch::channel(SpoolStatus::default());
        let server = tokio::spawn(serve(listener, Arc::new(Metrics::new()), spool));
        assert!(fetch(address).await.unwrap().ends_with("# EOF\n"));
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("GET /metrics/../etc HTTP/1.1\r\n\r\n", "404"),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may hang up before all is written.
        let _broken_pipe = stream.write_all(&vec![b'x'; 4 * MAX_REQUEST]).await;
        assert!(fetch(address).await.is_ok(), "an endless request does not stop the server");
        server.abort();
    }
}
