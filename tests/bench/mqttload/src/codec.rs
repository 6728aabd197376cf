//! Just enough MQTT 3.1.1 / 5 wire format for a load generator: encoders for
//! what a client sends and allocation-free parsers for what a broker sends.

pub const CONNACK: u8 = 2;
pub const PUBLISH: u8 = 3;
pub const PUBACK: u8 = 4;
pub const PUBREC: u8 = 5;
pub const PUBREL: u8 = 6;
pub const PUBCOMP: u8 = 7;
pub const SUBACK: u8 = 9;
pub const PINGRESP: u8 = 13;
pub const DISCONNECT: u8 = 14;

/// Bytes of every payload that the generator needs: timestamp u64, publisher u32, sequence u64.
pub const STAMP_LEN: usize = 20;

pub fn put_varint(out: &mut Vec<u8>, mut n: usize) {
    assert!(n < 268_435_456, "MQTT packet too large");
    loop {
        let b = (n % 128) as u8;
        n /= 128;
        out.push(if n > 0 { b | 0x80 } else { b });
        if n == 0 {
            return;
        }
    }
}

/// `Ok(None)`: more bytes are needed. `Ok(Some((value, bytes used)))` otherwise.
#[inline]
pub fn get_varint(b: &[u8]) -> Result<Option<(usize, usize)>, &'static str> {
    let mut v = 0usize;
    for i in 0..4 {
        let Some(&x) = b.get(i) else { return Ok(None) };
        v |= ((x & 0x7f) as usize) << (7 * i);
        if x & 0x80 == 0 {
            return Ok(Some((v, i + 1)));
        }
    }
    Err("malformed variable byte integer")
}

fn put_str(out: &mut Vec<u8>, s: &str) {
    assert!(s.len() <= 65535);
    out.extend_from_slice(&(s.len() as u16).to_be_bytes());
    out.extend_from_slice(s.as_bytes());
}

/// Adds a fixed header in front of `body`.
fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 5);
    out.push(first);
    put_varint(&mut out, body.len());
    out.extend_from_slice(body);
    out
}

#[derive(Clone, Debug, Default)]
pub struct Connect {
    pub client_id: String,
    pub clean: bool,
    /// Session expiry interval (v5 only); 0xFFFF_FFFF never expires.
    pub expiry: u32,
    pub keepalive: u16,
    /// Receive maximum announced to the broker (v5 only); 0 leaves it out.
    pub receive_max: u16,
    pub username: Option<String>,
    pub password: Option<String>,
}

pub fn connect(c: &Connect, v5: bool) -> Vec<u8> {
    let mut b = Vec::new();
    put_str(&mut b, "MQTT");
    b.push(if v5 { 5 } else { 4 });
    let mut flags = (c.clean as u8) << 1;
    flags |= (c.username.is_some() as u8) << 7 | (c.password.is_some() as u8) << 6;
    b.push(flags);
    b.extend_from_slice(&c.keepalive.to_be_bytes());
    if v5 {
        let mut props = Vec::new();
        if c.expiry > 0 {
            props.push(0x11);
            props.extend_from_slice(&c.expiry.to_be_bytes());
        }
        if c.receive_max > 0 {
            props.push(0x21);
            props.extend_from_slice(&c.receive_max.to_be_bytes());
        }
        put_varint(&mut b, props.len());
        b.extend_from_slice(&props);
    }
    put_str(&mut b, &c.client_id);
    for s in [&c.username, &c.password].into_iter().flatten() {
        put_str(&mut b, s);
    }
    frame(0x10, &b)
}

pub fn subscribe<S: AsRef<str>>(pid: u16, filters: &[S], qos: u8, v5: bool) -> Vec<u8> {
    let mut b = pid.to_be_bytes().to_vec();
    if v5 {
        b.push(0);
    }
    for f in filters {
        put_str(&mut b, f.as_ref());
        b.push(qos);
    }
    frame(0x82, &b)
}

pub fn disconnect() -> &'static [u8] {
    &[0xE0, 0] // in v5 an empty body means reason 0 (normal), so one form fits both
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP with reason "success": 4 bytes in both versions.
#[inline]
pub fn put_ack(out: &mut Vec<u8>, kind: u8, pid: u16) {
    let flags = if kind == PUBREL { 2 } else { 0 };
    let [hi, lo] = pid.to_be_bytes();
    out.extend_from_slice(&[kind << 4 | flags, 2, hi, lo]);
}

/// A PUBLISH encoded once; each send copies it and patches packet id and stamp.
pub struct Template {
    bytes: Box<[u8]>,
    pid_at: u32, // 0: QoS 0, no packet id
    stamp_at: u32,
}

impl Template {
    pub fn new(topic: &str, payload: usize, qos: u8, retain: bool, v5: bool) -> Self {
        let mut b = Vec::new();
        put_str(&mut b, topic);
        let mut pid_at = 0;
        if qos > 0 {
            pid_at = b.len();
            b.extend_from_slice(&[0, 0]);
        }
        if v5 {
            b.push(0);
        }
        let payload_at = b.len();
        b.resize(b.len() + payload, b'x');
        let bytes = frame(0x30 | qos << 1 | retain as u8, &b);
        let header = bytes.len() - b.len();
        Template {
            bytes: bytes.into_boxed_slice(),
            pid_at: if qos > 0 { (header + pid_at) as u32 } else { 0 },
            stamp_at: (header + payload_at) as u32,
        }
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub fn put(&self, out: &mut Vec<u8>, pid: u16, time: u64, publisher: u32, seq: u64) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let p = &mut out[start..];
        if self.pid_at > 0 {
            let at = self.pid_at as usize;
            p[at..at + 2].copy_from_slice(&pid.to_be_bytes());
        }
        let at = self.stamp_at as usize;
        if p.len() >= at + STAMP_LEN {
            p[at..at + 8].copy_from_slice(&time.to_le_bytes());
            p[at + 8..at + 12].copy_from_slice(&publisher.to_le_bytes());
            p[at + 12..at + 20].copy_from_slice(&seq.to_le_bytes());
        }
    }
}

pub struct Stamp {
    pub time: u64,
    pub publisher: u32,
    pub seq: u64,
}

#[inline]
pub fn stamp(payload: &[u8]) -> Option<Stamp> {
    let p = payload.get(..STAMP_LEN)?;
    Some(Stamp {
        time: u64::from_le_bytes(p[0..8].try_into().unwrap()),
        publisher: u32::from_le_bytes(p[8..12].try_into().unwrap()),
        seq: u64::from_le_bytes(p[12..20].try_into().unwrap()),
    })
}

pub struct Frame<'a> {
    pub first: u8,
    pub body: &'a [u8],
    pub total: usize,
}

/// `Ok(None)`: the buffer ends inside the packet.
#[inline]
pub fn next_frame(b: &[u8]) -> Result<Option<Frame<'_>>, &'static str> {
    if b.len() < 2 {
        return Ok(None);
    }
    let Some((len, used)) = get_varint(&b[1..])? else { return Ok(None) };
    let total = 1 + used + len;
    if b.len() < total {
        return Ok(None);
    }
    Ok(Some(Frame { first: b[0], body: &b[1 + used..total], total }))
}

pub struct Publish<'a> {
    pub qos: u8,
    pub pid: u16,
    pub payload: &'a [u8],
}

#[inline]
pub fn parse_publish<'a>(first: u8, b: &'a [u8], v5: bool) -> Result<Publish<'a>, &'static str> {
    const BAD: &str = "malformed PUBLISH";
    let qos = first >> 1 & 3;
    let mut at = 2 + be16(b).ok_or(BAD)? as usize;
    let mut pid = 0;
    if qos > 0 {
        pid = b.get(at..).and_then(be16).ok_or(BAD)?;
        at += 2;
    }
    if v5 {
        let (len, used) = b.get(at..).map_or(Err(BAD), get_varint)?.ok_or(BAD)?;
        at += used + len;
    }
    if qos == 3 || (qos > 0 && pid == 0) {
        return Err(BAD);
    }
    Ok(Publish { qos, pid, payload: b.get(at..).ok_or(BAD)? })
}

#[inline]
fn be16(b: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([*b.first()?, *b.get(1)?]))
}

/// Packet id and reason code of PUBACK/PUBREC/PUBREL/PUBCOMP.
#[inline]
pub fn parse_ack(b: &[u8]) -> Result<(u16, u8), &'static str> {
    Ok((be16(b).ok_or("malformed acknowledgement")?, b.get(2).copied().unwrap_or(0)))
}

#[derive(Debug, PartialEq)]
pub struct Connack {
    pub session_present: bool,
    pub reason: u8,
    pub receive_max: u16,
    pub max_qos: u8,
}

pub fn parse_connack(b: &[u8], v5: bool) -> Result<Connack, &'static str> {
    const BAD: &str = "malformed CONNACK";
    let mut c = Connack {
        session_present: b.first().ok_or(BAD)? & 1 == 1,
        reason: *b.get(1).ok_or(BAD)?,
        receive_max: 65535,
        max_qos: 2,
    };
    if !v5 || b.len() == 2 {
        return Ok(c);
    }
    let (len, used) = get_varint(&b[2..])?.ok_or(BAD)?;
    let mut p = b.get(2 + used..2 + used + len).ok_or(BAD)?;
    while let Some(&id) = p.first() {
        let size = match id {
            0x11 | 0x27 => 4,                      // session expiry, max packet size
            0x21 | 0x22 | 0x13 => 2,               // receive max, topic alias max, keep alive
            0x24 | 0x25 | 0x28 | 0x29 | 0x2A => 1, // max QoS, availability flags
            0x12 | 0x1A | 0x1C | 0x1F | 0x15 | 0x16 => {
                2 + p.get(1..).and_then(be16).ok_or(BAD)? as usize
            }
            0x26 => {
                let k = 2 + p.get(1..).and_then(be16).ok_or(BAD)? as usize;
                k + 2 + p.get(1 + k..).and_then(be16).ok_or(BAD)? as usize
            }
            _ => return Err("unknown CONNACK property"),
        };
        let value = p.get(1..1 + size).ok_or(BAD)?;
        match id {
            0x21 => c.receive_max = be16(value).ok_or(BAD)?.max(1),
            0x24 => c.max_qos = value[0],
            _ => {}
        }
        p = &p[1 + size..];
    }
    Ok(c)
}

/// Packet id and the list of reason codes.
pub fn parse_suback(b: &[u8], v5: bool) -> Result<(u16, &[u8]), &'static str> {
    const BAD: &str = "malformed SUBACK";
    let pid = be16(b).ok_or(BAD)?;
    let mut at = 2;
    if v5 {
        let (len, used) = get_varint(&b[2..])?.ok_or(BAD)?;
        at += used + len;
    }
    Ok((pid, b.get(at..).ok_or(BAD)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varint_round_trip_and_limits() {
        for (n, enc) in [
            (0usize, vec![0u8]),
            (127, vec![0x7f]),
            (128, vec![0x80, 1]),
            (16_383, vec![0xff, 0x7f]),
            (16_384, vec![0x80, 0x80, 1]),
            (2_097_152, vec![0x80, 0x80, 0x80, 1]),
            (268_435_455, vec![0xff, 0xff, 0xff, 0x7f]),
        ] {
            let mut b = Vec::new();
            put_varint(&mut b, n);
            assert_eq!(b, enc);
            assert_eq!(get_varint(&b).unwrap(), Some((n, enc.len())));
            for cut in 0..enc.len() {
                assert_eq!(get_varint(&b[..cut]).unwrap(), None);
            }
        }
        assert!(get_varint(&[0x80, 0x80, 0x80, 0x80, 1]).is_err());
    }

    #[test]
    fn publish_round_trip() {
        for v5 in [false, true] {
            for qos in 0..3u8 {
                let t = Template::new("a/b", 64, qos, false, v5);
                let mut b = Vec::new();
                t.put(&mut b, 0x1234, 77, 5, 99);
                assert_eq!(b.len(), t.len());
                for cut in 0..b.len() {
                    assert!(next_frame(&b[..cut]).unwrap().is_none());
                }
                let f = next_frame(&b).unwrap().unwrap();
                assert_eq!((f.first, f.total), (0x30 | qos << 1, b.len()));
                let p = parse_publish(f.first, f.body, v5).unwrap();
                assert_eq!((p.qos, p.pid), (qos, if qos > 0 { 0x1234 } else { 0 }));
                assert_eq!(p.payload.len(), 64);
                let s = stamp(p.payload).unwrap();
                assert_eq!((s.time, s.publisher, s.seq), (77, 5, 99));
            }
        }
    }

    #[test]
    fn publish_exact_bytes() {
        let mut b = Vec::new();
        Template::new("t", 0, 1, true, true).put(&mut b, 10, 0, 0, 0);
        assert_eq!(b, [0x33, 6, 0, 1, b't', 0, 10, 0]);
        b.clear();
        Template::new("t", 2, 0, false, false).put(&mut b, 10, 0, 0, 0);
        assert_eq!(b, [0x30, 5, 0, 1, b't', b'x', b'x']);
    }

    #[test]
    fn publish_with_properties_and_malformed() {
        // topic "t", pid 1, 3 bytes of properties (payload format + ...), payload "hi"
        let body = [0, 1, b't', 0, 1, 2, 0x01, 1, b'h', b'i'];
        let p = parse_publish(0x32, &body, true).unwrap();
        assert_eq!(p.payload, b"hi");
        assert!(parse_publish(0x36, &body, true).is_err(), "QoS 3");
        assert!(parse_publish(0x32, &[0, 1, b't', 0, 0, 0], true).is_err(), "packet id 0");
        assert!(parse_publish(0x30, &[0, 9, b't'], true).is_err(), "topic beyond end");
        assert!(parse_publish(0x30, &[0, 1, b't', 9], true).is_err(), "properties beyond end");
        assert!(stamp(b"short").is_none());
    }

    #[test]
    fn acks() {
        let mut b = Vec::new();
        for k in [PUBACK, PUBREC, PUBREL, PUBCOMP] {
            put_ack(&mut b, k, 0x0102);
        }
        assert_eq!(b, [0x40, 2, 1, 2, 0x50, 2, 1, 2, 0x62, 2, 1, 2, 0x70, 2, 1, 2]);
        assert_eq!(parse_ack(&[1, 2]).unwrap(), (0x0102, 0));
        assert_eq!(parse_ack(&[1, 2, 0x97, 0]).unwrap(), (0x0102, 0x97));
        assert!(parse_ack(&[1]).is_err());
    }

    #[test]
    fn connect_subscribe_connack_suback() {
        let c =
            Connect { client_id: "id".into(), clean: true, keepalive: 10, ..Default::default() };
        assert_eq!(
            connect(&c, false),
            [0x10, 14, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 10, 0, 2, b'i', b'd']
        );
        let c = Connect { expiry: u32::MAX, clean: false, username: Some("u".into()), ..c };
        assert_eq!(
            connect(&c, true),
            [
                0x10, 23, 0, 4, b'M', b'Q', b'T', b'T', 5, 0x80, 0, 10, 5, 0x11, 255, 255, 255,
                255, 0, 2, b'i', b'd', 0, 1, b'u'
            ]
        );
        assert_eq!(
            subscribe(1, &["a", "b/#"], 1, true),
            [0x82, 13, 0, 1, 0, 0, 1, b'a', 1, 0, 3, b'b', b'/', b'#', 1]
        );
        let k = parse_connack(&[1, 0, 9, 0x21, 0, 20, 0x24, 1, 0x22, 0, 10, 0], true);
        assert!(k.is_err(), "one byte of rubbish after the properties");
        let k = parse_connack(&[1, 0, 8, 0x21, 0, 20, 0x24, 1, 0x22, 0, 10], true).unwrap();
        assert_eq!(k, Connack { session_present: true, reason: 0, receive_max: 20, max_qos: 1 });
        assert_eq!(parse_connack(&[0, 5], false).unwrap().reason, 5);
        assert_eq!(parse_suback(&[0, 7, 0, 1, 0x80], true).unwrap(), (7, &[1u8, 0x80][..]));
        assert_eq!(parse_suback(&[0, 7, 2], false).unwrap(), (7, &[2u8][..]));
    }
}
