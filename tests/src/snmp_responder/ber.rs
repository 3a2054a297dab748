//! As much BER as an SNMP agent of version 2c needs, right or wrong on purpose.

/// Tag of an INTEGER.
pub const INTEGER: u8 = 0x02;
/// Tag of an OCTET STRING.
pub const OCTET_STRING: u8 = 0x04;
/// Tag of an OBJECT IDENTIFIER.
pub const OBJECT_IDENTIFIER: u8 = 0x06;
/// Tag of a SEQUENCE.
pub const SEQUENCE: u8 = 0x30;
/// Tag of a Counter32.
pub const COUNTER32: u8 = 0x41;
/// Tag of a Gauge32.
pub const GAUGE32: u8 = 0x42;
/// Tag of `TimeTicks`.
pub const TIME_TICKS: u8 = 0x43;
/// Tag of a Counter64.
pub const COUNTER64: u8 = 0x46;
/// Exception: the object is not there.
pub const NO_SUCH_OBJECT: u8 = 0x80;
/// Exception: the object has no such instance.
pub const NO_SUCH_INSTANCE: u8 = 0x81;
/// Exception: nothing follows.
pub const END_OF_MIB_VIEW: u8 = 0x82;
/// Request for exact instances.
pub const GET: u8 = 0xa0;
/// Request for what follows.
pub const GET_NEXT: u8 = 0xa1;
/// The answer to any request.
pub const RESPONSE: u8 = 0xa2;
/// Request for what follows, repeatedly.
pub const GET_BULK: u8 = 0xa5;
/// What an engine of version 3 sends instead of an answer.
pub const REPORT: u8 = 0xa8;

/// Version 2c as encoded.
pub const VERSION_2C: i64 = 1;

/// Appends a definite length.
pub fn push_length(length: usize, into: &mut Vec<u8>) {
    let bytes = length.to_be_bytes();
    if length < 128 {
        into.push(bytes[bytes.len() - 1]);
    } else {
        let used = bytes.len() - (length.leading_zeros() / 8) as usize;
        into.push(0x80 | u8::try_from(used).unwrap_or(8));
        into.extend_from_slice(&bytes[bytes.len() - used..]);
    }
}

/// Appends tag, length and content.
pub fn push_tlv(tag: u8, content: &[u8], into: &mut Vec<u8>) {
    into.push(tag);
    push_length(content.len(), into);
    into.extend_from_slice(content);
}

/// Tag, length and content.
#[must_use]
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(content.len() + 6);
    push_tlv(tag, content, &mut bytes);
    bytes
}

/// Appends a signed number in its shortest form.
pub fn push_integer(tag: u8, number: i64, into: &mut Vec<u8>) {
    let bytes = number.to_be_bytes();
    let mut skip = 0;
    while skip < 7
        && ((bytes[skip] == 0 && bytes[skip + 1] < 0x80)
            || (bytes[skip] == 0xff && bytes[skip + 1] >= 0x80))
    {
        skip += 1;
    }
    push_tlv(tag, &bytes[skip..], into);
}

/// Appends an unsigned number in its shortest form.
pub fn push_unsigned(tag: u8, number: u64, into: &mut Vec<u8>) {
    let mut bytes = [0; 9];
    bytes[1..].copy_from_slice(&number.to_be_bytes());
    let mut skip = 0;
    while skip < 8 && bytes[skip] == 0 && bytes[skip + 1] < 0x80 {
        skip += 1;
    }
    push_tlv(tag, &bytes[skip..], into);
}

/// Appends one arc of a name.
pub fn push_arc(arc: u32, into: &mut Vec<u8>) {
    for shift in [28, 21, 14, 7] {
        if arc >> shift != 0 {
            into.push(0x80 | arc_bits(arc, shift));
        }
    }
    into.push(arc_bits(arc, 0));
}

fn arc_bits(arc: u32, shift: u32) -> u8 {
    u8::try_from((arc >> shift) & 0x7f).unwrap_or(0)
}

/// A name's content from its arcs, of which there are at least two.
#[must_use]
pub fn name(arcs: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(arcs.len() + 4);
    if let [first, second, rest @ ..] = arcs {
        push_arc(first * 40 + second, &mut bytes);
        for arc in rest {
            push_arc(*arc, &mut bytes);
        }
    }
    bytes
}

/// The numbers of a name's content, the first two arcs still in one; arcs wider than 32 bits are
/// cut.
#[must_use]
pub fn numbers(name: &[u8]) -> Vec<u32> {
    let mut numbers = Vec::with_capacity(name.len());
    let mut number = 0_u32;
    for byte in name {
        number = number << 7 | u32::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            numbers.push(number);
            number = 0;
        }
    }
    numbers
}

/// A name and its value.
#[must_use]
pub fn varbind(name: &[u8], tag: u8, content: &[u8]) -> Vec<u8> {
    let mut pair = tlv(OBJECT_IDENTIFIER, name);
    push_tlv(tag, content, &mut pair);
    tlv(SEQUENCE, &pair)
}

/// The parts of a message; [`Message::encode`] writes them.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// 1 for version 2c.
    pub version: i64,
    /// Community.
    pub community: &'a [u8],
    /// Tag of the PDU.
    pub pdu: u8,
    /// Request id.
    pub id: i64,
    /// Error status.
    pub status: i64,
    /// Error index.
    pub index: i64,
    /// Encoded varbinds, one behind the other.
    pub varbinds: &'a [u8],
}

impl Message<'_> {
    /// The datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut pdu = Vec::with_capacity(self.varbinds.len() + 32);
        push_integer(INTEGER, self.id, &mut pdu);
        push_integer(INTEGER, self.status, &mut pdu);
        push_integer(INTEGER, self.index, &mut pdu);
        push_tlv(SEQUENCE, self.varbinds, &mut pdu);
        let mut body = Vec::with_capacity(pdu.len() + 32);
        push_integer(INTEGER, self.version, &mut body);
        push_tlv(OCTET_STRING, self.community, &mut body);
        push_tlv(self.pdu, &pdu, &mut body);
        tlv(SEQUENCE, &body)
    }
}

/// A request as received.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Community.
    pub community: &'a [u8],
    /// Tag of the PDU.
    pub pdu: u8,
    /// Request id.
    pub id: i64,
    /// Names of a bulk request that are not repeated.
    pub non_repeaters: usize,
    /// Repetitions of a bulk request.
    pub repetitions: usize,
    /// Content of each name.
    pub names: Vec<&'a [u8]>,
    list: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads a request; `None` when it is none of version 2c.
    #[must_use]
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let mut outer = Reader(datagram);
        let mut body = Reader(outer.take(SEQUENCE)?);
        if body.integer()? != VERSION_2C {
            return None;
        }
        let community = body.take(OCTET_STRING)?;
        let pdu = *body.0.first()?;
        let mut fields = Reader(body.take(pdu)?);
        let id = fields.integer()?;
        let non_repeaters = usize::try_from(fields.integer()?).ok()?;
        let repetitions = usize::try_from(fields.integer()?).ok()?;
        let list = fields.take(SEQUENCE)?;
        let mut rest = Reader(list);
        let mut names = Vec::with_capacity(list.len() / 14);
        while !rest.0.is_empty() {
            names.push(Reader(rest.take(SEQUENCE)?).take(OBJECT_IDENTIFIER)?);
        }
        Some(Self { community, pdu, id, non_repeaters, repetitions, names, list })
    }

    /// The varbinds, encoded anew with what `change` makes of each value: another tag and content,
    /// or `None` to leave it.
    #[must_use]
    pub fn rewritten(&self, mut change: impl FnMut(&[u8]) -> Option<(u8, Vec<u8>)>) -> Vec<u8> {
        let mut list = Vec::with_capacity(self.list.len());
        let mut rest = Reader(self.list);
        while let Some(pair) = rest.take(SEQUENCE) {
            let Some(name) = Reader(pair).take(OBJECT_IDENTIFIER) else { continue };
            match change(name) {
                Some((tag, content)) => list.extend(varbind(name, tag, &content)),
                None => push_tlv(SEQUENCE, pair, &mut list),
            }
        }
        list
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let [found, length, rest @ ..] = self.0 else { return None };
        if *found != tag {
            return None;
        }
        let (length, rest) = if *length < 0x80 {
            (usize::from(*length), rest)
        } else {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    fn integer(&mut self) -> Option<i64> {
        let content = self.take(INTEGER)?;
        let first = *content.first().filter(|_| content.len() <= 8)?;
        let start = if first >= 0x80 { -1 } else { 0 };
        Some(content.iter().fold(start, |sum, byte| sum << 8 | i64::from(*byte)))
    }
}
