//! From an agreed TLS connection to a gRPC channel.

use std::{io, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

/// A silent line is asked for a sign of life this often.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// And is given up after this long without one.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest head of an answer, in bytes.
const MAX_HEAD_BYTES: u32 = 16 << 10;

/// A channel over `stream` and no other: when it breaks, the caller connects anew, with the
/// identity and the address that then hold.
pub async fn channel(stream: TlsStream<TcpStream>) -> Result<Channel, tonic::transport::Error> {
    let mut stream = Some(TokioIo::new(stream));
    // The scheme is the transport's word for "do not start TLS": it is there already.
    Endpoint::from_static("http://collector.vigie.internal")
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(MAX_HEAD_BYTES)
        .connect_with_connector(service_fn(move |_: Uri| {
            let stream = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
            std::future::ready(stream)
        }))
        .await
}
