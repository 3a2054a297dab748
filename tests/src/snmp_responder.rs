//! Many SNMP v2c devices in one process, whose values are a function of what is asked.
//!
//! [`Mib`] answers datagrams and owns no socket; [`Responder`] serves one port of the loopback per
//! device; [`scripted`] misbehaves. Every device has the system group, `ifTable` and `ifXTable` for
//! interfaces 1 to its number of interfaces, but for what [`Mib::lacking`] takes away.

pub mod ber;
pub mod scripted;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::SystemTime,
};

use agent::plan::Column;
use proto::v1::Metric;
use tokio::{net::UdpSocket, sync::oneshot, task::JoinSet};

use self::ber::Request;

/// Largest answer: an unfragmented datagram on Ethernet.
const MAX_REPLY_BYTES: usize = 1472;
/// `error-status` of an answer that would be larger.
const TOO_BIG: i64 = 1;

/// What a port of a switch is polled for.
pub const POLLED: [Metric; 10] = [
    Metric::IfHcInOctets,
    Metric::IfHcOutOctets,
    Metric::IfInErrors,
    Metric::IfOutErrors,
    Metric::IfInDiscards,
    Metric::IfOutDiscards,
    Metric::IfHcInUcastPkts,
    Metric::IfHcOutUcastPkts,
    Metric::IfOperStatus,
    Metric::IfHighSpeed,
];

/// A column of an SNMP probe's plan.
#[must_use]
pub fn column(metric: Metric, instance: u32) -> Column {
    Column { target: 0, metric, instance, label: String::new() }
}

/// What is asked of the function that knows the values.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Position of the device in [`Spec::interfaces`].
    pub device: usize,
    /// What is asked; [`Metric::SysUpTime`] for `sysUpTime`.
    pub metric: Metric,
    /// 0 for `sysUpTime`.
    pub if_index: u32,
    /// When the datagram was answered; the same for all values of one datagram.
    pub at: SystemTime,
}

/// Gives the raw value of an object: `ifSpeed` in bit/s, `ifHighSpeed` in Mbit/s, times in hundredths of a second.
/// Values of 32-bit objects are cut to 32 bits.
pub type Values = dyn Fn(Question) -> u64 + Send + Sync;

/// What to serve.
#[derive(Clone)]
pub struct Spec {
    /// Number of interfaces of each device.
    pub interfaces: Vec<u32>,
    /// Requests with another community are not answered.
    pub community: String,
    /// The values.
    pub values: Arc<Values>,
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec").field("interfaces", &self.interfaces).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A text that names the device or interface.
    Text(&'static str),
    /// `sysObjectID`.
    Name,
    /// A constant number of this tag.
    Constant(u8, u64),
    /// The interface's own index.
    Index,
    /// A value of the function, under this tag.
    Asked(u8, Metric),
}

#[derive(Debug)]
struct Entry {
    /// Name without the instance.
    base: Vec<u8>,
    scalar: bool,
    kind: Kind,
}

/// True for an instance that a device has not, by the encoded name of its column and its index.
type Lacks = dyn Fn(&[u8], u32) -> bool + Send + Sync;

/// The objects of all devices, and their answers.
pub struct Mib {
    spec: Spec,
    /// In the order of names.
    entries: Vec<Entry>,
    lacks: Box<Lacks>,
}

impl fmt::Debug for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mib").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// An instance: position of its entry, and index (0 for scalars).
type At = (usize, u32);

impl Mib {
    /// Prepares the objects.
    #[must_use]
    pub fn new(spec: Spec) -> Self {
        use ber::{COUNTER32, COUNTER64, GAUGE32, INTEGER, TIME_TICKS};
        let system = |n| ber::name(&[1, 3, 6, 1, 2, 1, 1, n]);
        let scalar = |n, kind| Entry { base: system(n), scalar: true, kind };
        let row = |n, kind| Entry {
            base: ber::name(&[1, 3, 6, 1, 2, 1, 2, 2, 1, n]),
            scalar: false,
            kind,
        };
        let extended = |n, kind| Entry {
            base: ber::name(&[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, n]),
            scalar: false,
            kind,
        };
        let entries = vec![
            scalar(1, Kind::Text("Synthetic switch")),
            scalar(2, Kind::Name),
            scalar(3, Kind::Asked(TIME_TICKS, Metric::SysUpTime)),
            scalar(4, Kind::Text("desk")),
            scalar(5, Kind::Text("switch")),
            scalar(6, Kind::Text("cabinet")),
            row(1, Kind::Index),
            row(2, Kind::Text("GigabitEthernet0/")),
            row(3, Kind::Constant(INTEGER, 6)),
            row(5, Kind::Asked(GAUGE32, Metric::IfSpeed)),
            row(7, Kind::Asked(INTEGER, Metric::IfAdminStatus)),
            row(8, Kind::Asked(INTEGER, Metric::IfOperStatus)),
            row(10, Kind::Asked(COUNTER32, Metric::IfInOctets)),
            row(11, Kind::Asked(COUNTER32, Metric::IfInUcastPkts)),
            row(13, Kind::Asked(COUNTER32, Metric::IfInDiscards)),
            row(14, Kind::Asked(COUNTER32, Metric::IfInErrors)),
            row(16, Kind::Asked(COUNTER32, Metric::IfOutOctets)),
            row(17, Kind::Asked(COUNTER32, Metric::IfOutUcastPkts)),
            row(19, Kind::Asked(COUNTER32, Metric::IfOutDiscards)),
            row(20, Kind::Asked(COUNTER32, Metric::IfOutErrors)),
            extended(1, Kind::Text("Gi0/")),
            extended(6, Kind::Asked(COUNTER64, Metric::IfHcInOctets)),
            extended(7, Kind::Asked(COUNTER64, Metric::IfHcInUcastPkts)),
            extended(8, Kind::Asked(COUNTER64, Metric::IfHcInMulticastPkts)),
            extended(9, Kind::Asked(COUNTER64, Metric::IfHcInBroadcastPkts)),
            extended(10, Kind::Asked(COUNTER64, Metric::IfHcOutOctets)),
            extended(11, Kind::Asked(COUNTER64, Metric::IfHcOutUcastPkts)),
            extended(12, Kind::Asked(COUNTER64, Metric::IfHcOutMulticastPkts)),
            extended(13, Kind::Asked(COUNTER64, Metric::IfHcOutBroadcastPkts)),
            extended(15, Kind::Asked(GAUGE32, Metric::IfHighSpeed)),
            extended(18, Kind::Text("room ")),
            extended(19, Kind::Asked(TIME_TICKS, Metric::IfCounterDiscontinuityTime)),
        ];
        Self { spec, entries, lacks: Box::new(|_, _| false) }
    }

    /// The same without the instances of which `lacks` is true, asked with the encoded name of their
    /// column and their index.
    #[must_use]
    pub fn lacking(self, lacks: impl Fn(&[u8], u32) -> bool + Send + Sync + 'static) -> Self {
        Self { lacks: Box::new(lacks), ..self }
    }

    /// The answer to one datagram for one device; `None` when a device would keep silent.
    #[must_use]
    pub fn answer(&self, device: usize, datagram: &[u8]) -> Option<Vec<u8>> {
        let request = Request::parse(datagram)?;
        if request.community != self.spec.community.as_bytes() {
            return None;
        }
        let at = SystemTime::now();
        let mut list = Vec::with_capacity(MAX_REPLY_BYTES);
        let room = MAX_REPLY_BYTES - request.community.len() - 40;
        let mut status = 0;
        if request.pdu == ber::GET {
            for name in &request.names {
                match self.find(device, name) {
                    Ok(instance) => self.push(device, instance, at, &mut list),
                    Err(missing) => list.extend(ber::varbind(name, missing, &[])),
                }
            }
        } else if request.pdu == ber::GET_NEXT {
            for name in &request.names {
                self.push_next(device, self.after(device, name), name, at, &mut list);
            }
        } else if request.pdu == ber::GET_BULK {
            self.bulk(device, &request, at, room, &mut list);
        } else {
            return None;
        }
        if list.len() > room {
            list.clear();
            status = TOO_BIG;
        }
        Some(
            ber::Message {
                version: ber::VERSION_2C,
                community: request.community,
                pdu: ber::RESPONSE,
                id: request.id,
                status,
                index: 0,
                varbinds: &list,
            }
            .encode(),
        )
    }

    fn bulk(
        &self,
        device: usize,
        request: &Request<'_>,
        at: SystemTime,
        room: usize,
        list: &mut Vec<u8>,
    ) {
        let (once, repeated) =
            request.names.split_at(request.non_repeaters.min(request.names.len()));
        for name in once {
            self.push_next(device, self.after(device, name), name, at, list);
        }
        let mut cursors: Vec<(Option<At>, Vec<u8>)> =
            repeated.iter().map(|name| (self.after(device, name), name.to_vec())).collect();
        for _ in 0..request.repetitions {
            for (cursor, name) in &mut cursors {
                let whole = list.len();
                self.push_next(device, *cursor, name, at, list);
                if list.len() > room {
                    list.truncate(whole);
                    return;
                }
                if let Some(instance) = *cursor {
                    // Only the end of the view repeats a name.
                    let following = self.following(device, instance);
                    if following.is_none() {
                        name.clone_from(&self.name(instance));
                    }
                    *cursor = following;
                }
            }
        }
    }

    fn has(&self, (entry, index): At) -> bool {
        !(self.lacks)(&self.entries[entry].base, index)
    }

    fn interfaces(&self, device: usize) -> u32 {
        self.spec.interfaces.get(device).copied().unwrap_or(0)
    }

    fn name(&self, (entry, index): At) -> Vec<u8> {
        let mut name = self.entries[entry].base.clone();
        ber::push_arc(index, &mut name);
        name
    }

    /// The instance of this exact name, or the exception that says what is missing.
    fn find(&self, device: usize, name: &[u8]) -> Result<At, u8> {
        for (at, entry) in self.entries.iter().enumerate() {
            let Some(suffix) = name.strip_prefix(entry.base.as_slice()) else { continue };
            return match ber::numbers(suffix)[..] {
                [0] if entry.scalar => Ok((at, 0)),
                [index]
                    if !entry.scalar
                        && (1..=self.interfaces(device)).contains(&index)
                        && self.has((at, index)) =>
                {
                    Ok((at, index))
                }
                _ => Err(ber::NO_SUCH_INSTANCE),
            };
        }
        Err(ber::NO_SUCH_OBJECT)
    }

    /// The first instance behind a name.
    fn after(&self, device: usize, name: &[u8]) -> Option<At> {
        for (at, entry) in self.entries.iter().enumerate() {
            let Some(suffix) = name.strip_prefix(entry.base.as_slice()) else { continue };
            return match ber::numbers(suffix).first() {
                None => self.first_of(device, at),
                Some(index) => self.following(device, (at, *index)),
            };
        }
        let wanted = ber::numbers(name);
        let next = self.entries.iter().position(|entry| ber::numbers(&entry.base) > wanted)?;
        self.first_of(device, next)
    }

    fn first_of(&self, device: usize, entry: usize) -> Option<At> {
        if self.entries.get(entry)?.scalar {
            return Some((entry, 0));
        }
        self.following(device, (entry, 0))
    }

    fn following(&self, device: usize, (entry, index): At) -> Option<At> {
        if !self.entries[entry].scalar {
            let mut rest = index.saturating_add(1)..=self.interfaces(device);
            if let Some(next) = rest.find(|next| self.has((entry, *next))) {
                return Some((entry, next));
            }
        }
        self.first_of(device, entry + 1)
    }

    fn push_next(
        &self,
        device: usize,
        next: Option<At>,
        asked: &[u8],
        at: SystemTime,
        list: &mut Vec<u8>,
    ) {
        match next {
            Some(instance) => self.push(device, instance, at, list),
            None => list.extend(ber::varbind(asked, ber::END_OF_MIB_VIEW, &[])),
        }
    }

    fn push(&self, device: usize, (entry, index): At, at: SystemTime, list: &mut Vec<u8>) {
        let entry = &self.entries[entry];
        let start = list.len();
        // Patched below: nearly all varbinds are shorter than 128 bytes.
        list.extend([ber::SEQUENCE, 0, ber::OBJECT_IDENTIFIER, 0]);
        list.extend_from_slice(&entry.base);
        ber::push_arc(index, list);
        list[start + 3] = u8::try_from(list.len() - start - 4).unwrap_or(0x7f);
        match entry.kind {
            Kind::Text(text) => {
                let text = format!("{text}{}", if entry.scalar { to_u32(device) } else { index });
                ber::push_tlv(ber::OCTET_STRING, text.as_bytes(), list);
            }
            Kind::Name => {
                ber::push_tlv(ber::OBJECT_IDENTIFIER, &ber::name(&[1, 3, 6, 1, 4, 1, 9]), list);
            }
            Kind::Constant(tag, value) => ber::push_unsigned(tag, value, list),
            Kind::Index => ber::push_unsigned(ber::INTEGER, u64::from(index), list),
            Kind::Asked(tag, metric) => {
                let value = (self.spec.values)(Question { device, metric, if_index: index, at });
                let value = if tag == ber::COUNTER64 { value } else { value & 0xffff_ffff };
                ber::push_unsigned(tag, value, list);
            }
        }
        list[start + 1] = u8::try_from(list.len() - start - 2).unwrap_or(0x7f);
    }
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[derive(Debug, Default)]
struct Switches {
    silent: AtomicBool,
    answered: AtomicU64,
}

/// Devices on ports of the loopback, served by one thread until dropped.
#[derive(Debug)]
pub struct Responder {
    addresses: Vec<SocketAddr>,
    switches: Arc<Vec<Switches>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Binds a free port for each device and answers.
    pub fn start(spec: Spec) -> io::Result<Self> {
        let sockets = (0..spec.interfaces.len())
            .map(|_| {
                let socket = std::net::UdpSocket::bind(("127.0.0.1", 0))?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            })
            .collect::<io::Result<Vec<_>>>()?;
        let addresses =
            sockets.iter().map(std::net::UdpSocket::local_addr).collect::<io::Result<Vec<_>>>()?;
        let switches: Arc<Vec<Switches>> =
            Arc::new(sockets.iter().map(|_| Switches::default()).collect());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (stop, stopped) = oneshot::channel();
        let mib = Arc::new(Mib::new(spec));
        let shared = Arc::clone(&switches);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let mut devices = JoinSet::new();
                for (device, socket) in sockets.into_iter().enumerate() {
                    devices.spawn(serve(device, socket, Arc::clone(&mib), Arc::clone(&shared)));
                }
                // Dropping the sender stops as well.
                let _ = stopped.await;
            });
        });
        Ok(Self { addresses, switches, stop: Some(stop), thread: Some(thread) })
    }

    /// One address per device.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// From now on this device keeps silent.
    pub fn silence(&self, device: usize) {
        self.switches[device].silent.store(true, Ordering::SeqCst);
    }

    /// From now on this device answers again.
    pub fn revive(&self, device: usize) {
        self.switches[device].silent.store(false, Ordering::SeqCst);
    }

    /// Datagrams that this device has answered.
    #[must_use]
    pub fn answered(&self, device: usize) -> u64 {
        self.switches[device].answered.load(Ordering::SeqCst)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by it.
            let _ = thread.join();
        }
    }
}

async fn serve(
    device: usize,
    socket: std::net::UdpSocket,
    mib: Arc<Mib>,
    switches: Arc<Vec<Switches>>,
) {
    let Ok(socket) = UdpSocket::from_std(socket) else { return };
    let mut buffer = vec![0; 2048];
    loop {
        // An asker that has gone shows as an error of a later call.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        if switches[device].silent.load(Ordering::SeqCst) {
            continue;
        }
        let Some(answer) = mib.answer(device, &buffer[..length]) else { continue };
        switches[device].answered.fetch_add(1, Ordering::SeqCst);
        let _ = socket.send_to(&answer, peer).await;
    }
}
