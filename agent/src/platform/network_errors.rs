//! A datagram socket that hears what routers say of its datagrams, without any privilege
//! (`IP_RECVERR`, ip(7)).

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd as _,
};

use nix::{
    libc::{SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6},
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
        sockopt::{Ipv4RecvErr, Ipv4Ttl, Ipv6RecvErr, Ipv6Ttl},
    },
};
use tokio::{io::Interest, net::UdpSocket};

/// RFC 792.
pub const TIME_EXCEEDED_V4: u8 = 11;
/// RFC 4443.
pub const TIME_EXCEEDED_V6: u8 = 3;

/// What a router said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkError {
    /// Who said it.
    pub offender: Option<IpAddr>,
    /// Whether it was that the time to live ended; otherwise that there is no way, or nobody.
    pub is_time_exceeded: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Listener {
    socket: UdpSocket,
}

impl Listener {
    /// A socket whose datagrams go to `target` and live for `ttl` hops.
    pub fn connect(target: SocketAddr, ttl: u32) -> io::Result<Self> {
        let any: IpAddr = match target {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = std::net::UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        let hops = i32::try_from(ttl).map_err(io::Error::other)?;
        match target {
            SocketAddr::V4(_) => {
                setsockopt(&socket, Ipv4RecvErr, &true)?;
                setsockopt(&socket, Ipv4Ttl, &hops)?;
            }
            SocketAddr::V6(_) => {
                setsockopt(&socket, Ipv6RecvErr, &true)?;
                setsockopt(&socket, Ipv6Ttl, &hops)?;
            }
        }
        socket.connect(target)?;
        Ok(Self { socket: UdpSocket::from_std(socket)? })
    }

    /// Sends one datagram and waits, without limit, for what the network says of it.
    pub async fn ask(&self) -> io::Result<NetworkError> {
        loop {
            match self.socket.send(&[]).await {
                Ok(_) => break,
                // The socket hands an earlier error to whichever call comes next; the queue has
                // it too.
                Err(_earlier) if self.queued().is_ok_and(|error| error.is_some()) => {}
                Err(error) => return Err(error),
            }
        }
        let take = || self.queued()?.ok_or_else(|| io::ErrorKind::WouldBlock.into());
        self.socket.async_io(Interest::ERROR, take).await
    }

    /// Takes one error off the queue.
    fn queued(&self) -> io::Result<Option<NetworkError>> {
        let mut quoted = [0; 512];
        let mut quoted = [IoSliceMut::new(&mut quoted)];
        let mut control = [0; 512];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let fd = self.socket.as_raw_fd();
        let message = match recvmsg::<SockaddrStorage>(fd, &mut quoted, Some(&mut control), flags) {
            Ok(message) => message,
            Err(nix::errno::Errno::EAGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let heard = message.cmsgs()?.find_map(|item| {
            if let ControlMessageOwned::Ipv4RecvErr(error, offender) = item {
                (error.ee_origin == SO_EE_ORIGIN_ICMP).then(|| NetworkError {
                    offender: offender
                        .map(|o| Ipv4Addr::from(u32::from_be(o.sin_addr.s_addr)).into()),
                    is_time_exceeded: error.ee_type == TIME_EXCEEDED_V4,
                })
            } else if let ControlMessageOwned::Ipv6RecvErr(error, offender) = item {
                (error.ee_origin == SO_EE_ORIGIN_ICMP6).then(|| NetworkError {
                    offender: offender.map(|o| Ipv6Addr::from(o.sin6_addr.s6_addr).into()),
                    is_time_exceeded: error.ee_type == TIME_EXCEEDED_V6,
                })
            } else {
                None
            }
        });
        Ok(heard)
    }
}
