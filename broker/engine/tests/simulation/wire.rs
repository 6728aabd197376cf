//! Packets as a client writes and reads them, apart from the engine's codec: what it gets wrong
//! is not hidden here.

use engine::codec::packet::{AcknowledgementKind, Version};

/// What a client says.
#[derive(Debug, Clone)]
pub enum ClientPacket {
    Connect(Box<Connect>),
    Publish(Publish),
    Acknowledgement {
        kind: AcknowledgementKind,
        packet_id: u16,
        reason: u8,
    },
    Subscribe {
        packet_id: u16,
        identifier: u32,
        requests: Vec<Request>,
    },
    Unsubscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
    Ping,
    Disconnect {
        reason: u8,
        session_expiry_s: Option<u32>,
    },
    /// Bytes that break the standard, and the Reason Code they are to be answered with.
    Broken {
        bytes: Vec<u8>,
        reason: u8,
    },
}

/// CONNECT.
#[derive(Debug, Clone, Default)]
pub struct Connect {
    pub client_id: String,
    pub clean_start: bool,
    pub keep_alive_s: u16,
    pub session_expiry_s: u32,
    pub receive_maximum: u16,
    /// 0: left out.
    pub maximum_packet_size: u32,
    pub topic_alias_maximum: u16,
    pub will: Option<Will>,
}

/// The will in a CONNECT.
#[derive(Debug, Clone)]
pub struct Will {
    pub message: Publish,
    pub delay_s: u32,
}

/// PUBLISH, both ways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publish {
    pub dup: bool,
    pub qos: u8,
    pub retain: bool,
    pub topic: String,
    pub packet_id: u16,
    pub payload: Vec<u8>,
    pub expiry_s: Option<u32>,
    pub alias: Option<u16>,
    /// Properties that are sent on as they came, encoded.
    pub properties: Vec<u8>,
    /// Subscription Identifiers.
    pub identifiers: Vec<u32>,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug, Clone)]
pub struct Request {
    pub filter: String,
    pub qos: u8,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub retain_handling: u8,
}

/// What the broker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerPacket {
    Connack(Connack),
    Publish(Publish),
    Acknowledgement { kind: AcknowledgementKind, packet_id: u16, reason: u8 },
    Suback { packet_id: u16, reasons: Vec<u8> },
    Unsuback { packet_id: u16, reasons: Vec<u8> },
    Pingresp,
    Disconnect { reason: u8 },
}

/// CONNACK.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connack {
    pub session_present: bool,
    pub reason: u8,
    pub session_expiry_s: Option<u32>,
    pub receive_maximum: Option<u16>,
    pub topic_alias_maximum: Option<u16>,
    pub server_keep_alive_s: Option<u16>,
    pub client_id: Option<String>,
}

fn variable(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x7F {
        out.push(u8::try_from(value & 0x7F).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
    out.extend_from_slice(text);
}

fn section(out: &mut Vec<u8>, properties: &[u8]) {
    variable(out, properties.len());
    out.extend_from_slice(properties);
}

fn packet(header: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![header];
    section(&mut out, body);
    out
}

fn header(kind: AcknowledgementKind) -> u8 {
    match kind {
        AcknowledgementKind::Puback => 0x40,
        AcknowledgementKind::Pubrec => 0x50,
        AcknowledgementKind::Pubrel => 0x62,
        AcknowledgementKind::Pubcomp => 0x70,
    }
}

impl ClientPacket {
    /// The bytes of the packet.
    pub fn encode(&self, version: Version) -> Vec<u8> {
        let is_v5 = version == Version::V5;
        match self {
            Self::Connect(connect) => connect.encode(version),
            Self::Publish(publish) => publish.encode(version),
            Self::Acknowledgement { kind, packet_id, reason } => {
                let mut body = packet_id.to_be_bytes().to_vec();
                if is_v5 && *reason != 0 {
                    body.push(*reason);
                }
                packet(header(*kind), &body)
            }
            Self::Subscribe { packet_id, identifier, requests } => {
                let mut body = packet_id.to_be_bytes().to_vec();
                if is_v5 {
                    let mut properties = Vec::new();
                    if *identifier != 0 {
                        properties.push(0x0B);
                        variable(&mut properties, *identifier as usize);
                    }
                    section(&mut body, &properties);
                }
                for request in requests {
                    string(&mut body, request.filter.as_bytes());
                    let mut options = request.qos;
                    if is_v5 {
                        options |= u8::from(request.no_local) << 2;
                        options |= u8::from(request.retain_as_published) << 3;
                        options |= request.retain_handling << 4;
                    }
                    body.push(options);
                }
                packet(0x82, &body)
            }
            Self::Unsubscribe { packet_id, filters } => {
                let mut body = packet_id.to_be_bytes().to_vec();
                if is_v5 {
                    body.push(0);
                }
                for filter in filters {
                    string(&mut body, filter.as_bytes());
                }
                packet(0xA2, &body)
            }
            Self::Ping => vec![0xC0, 0],
            Self::Disconnect { reason, session_expiry_s } => {
                let mut body = Vec::new();
                if is_v5 {
                    body.push(*reason);
                    let mut properties = Vec::new();
                    if let Some(expiry_s) = session_expiry_s {
                        properties.push(0x11);
                        properties.extend_from_slice(&expiry_s.to_be_bytes());
                    }
                    section(&mut body, &properties);
                }
                packet(0xE0, &body)
            }
            Self::Broken { bytes, .. } => bytes.clone(),
        }
    }
}

impl Connect {
    fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = Vec::new();
        let (name, level) = match version {
            Version::V3_1 => ("MQIsdp", 3),
            Version::V3_1_1 => ("MQTT", 4),
            Version::V5 => ("MQTT", 5),
        };
        string(&mut body, name.as_bytes());
        let mut flags = u8::from(self.clean_start) << 1;
        if let Some(will) = &self.will {
            flags |= 4 | will.message.qos << 3 | u8::from(will.message.retain) << 5;
        }
        body.extend_from_slice(&[level, flags]);
        body.extend_from_slice(&self.keep_alive_s.to_be_bytes());
        if version == Version::V5 {
            let mut properties = vec![0x11];
            properties.extend_from_slice(&self.session_expiry_s.to_be_bytes());
            properties.push(0x21);
            properties.extend_from_slice(&self.receive_maximum.to_be_bytes());
            if self.maximum_packet_size > 0 {
                properties.push(0x27);
                properties.extend_from_slice(&self.maximum_packet_size.to_be_bytes());
            }
            properties.push(0x22);
            properties.extend_from_slice(&self.topic_alias_maximum.to_be_bytes());
            section(&mut body, &properties);
        }
        string(&mut body, self.client_id.as_bytes());
        if let Some(will) = &self.will {
            if version == Version::V5 {
                let mut properties = vec![0x18];
                properties.extend_from_slice(&will.delay_s.to_be_bytes());
                will.message.put_properties(&mut properties);
                section(&mut body, &properties);
            }
            string(&mut body, will.message.topic.as_bytes());
            string(&mut body, &will.message.payload);
        }
        packet(0x10, &body)
    }
}

impl Publish {
    fn put_properties(&self, out: &mut Vec<u8>) {
        if let Some(expiry_s) = self.expiry_s {
            out.push(0x02);
            out.extend_from_slice(&expiry_s.to_be_bytes());
        }
        if let Some(alias) = self.alias {
            out.push(0x23);
            out.extend_from_slice(&alias.to_be_bytes());
        }
        out.extend_from_slice(&self.properties);
    }

    fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = Vec::new();
        string(&mut body, self.topic.as_bytes());
        if self.qos > 0 {
            body.extend_from_slice(&self.packet_id.to_be_bytes());
        }
        if version == Version::V5 {
            let mut properties = Vec::new();
            self.put_properties(&mut properties);
            section(&mut body, &properties);
        }
        body.extend_from_slice(&self.payload);
        packet(0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain), &body)
    }
}

/// Reads a packet's parts; running out of bytes is the broker's fault.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at_checked(length).expect("the packet has all its bytes");
        self.0 = rest;
        head
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn two(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn four(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn string(&mut self) -> &'a [u8] {
        let length = self.two();
        self.take(usize::from(length))
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.string().to_vec()).expect("a string is UTF-8")
    }

    fn variable(&mut self) -> usize {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte();
            value |= usize::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return value;
            }
        }
        panic!("a Variable Byte Integer has at most four bytes");
    }

    fn section(&mut self) -> Self {
        let length = self.variable();
        Self(self.take(length))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Takes the next complete packet out of `bytes`, with its size.
pub fn next_packet(bytes: &mut Vec<u8>, version: Version) -> Option<(BrokerPacket, usize)> {
    let mut length = 0;
    let mut at = 1;
    loop {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7F) << (7 * (at - 1));
        at += 1;
        if byte < 0x80 {
            break;
        }
    }
    if bytes.len() < at + length {
        return None;
    }
    let whole: Vec<u8> = bytes.drain(..at + length).collect();
    let mut reader = Reader(&whole[at..]);
    let packet = decode(whole[0], &mut reader, version);
    assert!(reader.is_empty(), "bytes behind {packet:?}");
    Some((packet, whole.len()))
}

fn decode(header: u8, reader: &mut Reader<'_>, version: Version) -> BrokerPacket {
    let is_v5 = version == Version::V5;
    let kind = match header {
        0x20 => return BrokerPacket::Connack(connack(reader, is_v5)),
        0x90 | 0xB0 => {
            let packet_id = reader.two();
            if is_v5 {
                reader.section();
            }
            let reasons = reader.take(reader.0.len()).to_vec();
            return if header == 0x90 {
                BrokerPacket::Suback { packet_id, reasons }
            } else {
                BrokerPacket::Unsuback { packet_id, reasons }
            };
        }
        0xD0 => return BrokerPacket::Pingresp,
        0xE0 => {
            assert!(is_v5, "only MQTT 5 has a DISCONNECT of the broker");
            let reason = if reader.is_empty() { 0 } else { reader.byte() };
            reader.0 = &[];
            return BrokerPacket::Disconnect { reason };
        }
        0x40 => AcknowledgementKind::Puback,
        0x50 => AcknowledgementKind::Pubrec,
        0x62 => AcknowledgementKind::Pubrel,
        0x70 => AcknowledgementKind::Pubcomp,
        0x30..=0x3F => return BrokerPacket::Publish(publish(header, reader, is_v5)),
        _ => panic!("no packet of a broker begins with {header:#04x}"),
    };
    let packet_id = reader.two();
    assert_ne!(packet_id, 0, "a Packet Identifier is not 0");
    let reason = if reader.is_empty() { 0 } else { reader.byte() };
    assert!(is_v5 || reason == 0);
    BrokerPacket::Acknowledgement { kind, packet_id, reason }
}

fn connack(reader: &mut Reader<'_>, is_v5: bool) -> Connack {
    let flags = reader.byte();
    let reason = reader.byte();
    assert!(flags <= 1 && (reason == 0 || flags == 0), "[MQTT-3.2.2-6]");
    let mut connack = Connack { session_present: flags == 1, reason, ..Connack::default() };
    if !is_v5 {
        return connack;
    }
    let mut section = reader.section();
    while !section.is_empty() {
        match section.byte() {
            0x11 => connack.session_expiry_s = Some(section.four()),
            0x21 => connack.receive_maximum = Some(section.two()),
            0x22 => connack.topic_alias_maximum = Some(section.two()),
            0x13 => connack.server_keep_alive_s = Some(section.two()),
            0x12 => connack.client_id = Some(section.text()),
            0x27 => _ = section.four(),
            0x24 | 0x25 => _ = section.byte(),
            0x1F => _ = section.text(),
            other => panic!("property {other:#04x} in a CONNACK"),
        }
    }
    connack
}

fn publish(header: u8, reader: &mut Reader<'_>, is_v5: bool) -> Publish {
    let qos = header >> 1 & 3;
    let topic = reader.text();
    let packet_id = if qos > 0 { reader.two() } else { 0 };
    assert!(qos == 0 || packet_id != 0, "[MQTT-2.2.1-3]");
    assert!(qos > 0 || header & 8 == 0, "[MQTT-3.3.1-2]");
    let mut publish = Publish {
        dup: header & 8 != 0,
        qos,
        retain: header & 1 != 0,
        topic,
        packet_id,
        ..Publish::default()
    };
    if is_v5 {
        let mut section = reader.section();
        while !section.is_empty() {
            let before = section.0;
            match section.byte() {
                0x02 => publish.expiry_s = Some(section.four()),
                0x23 => publish.alias = Some(section.two()),
                0x0B => publish.identifiers.push(u32::try_from(section.variable()).unwrap()),
                kept => {
                    match kept {
                        0x01 => _ = section.byte(),
                        0x26 => _ = (section.string(), section.string()),
                        0x03 | 0x08 | 0x09 => _ = section.string(),
                        other => panic!("property {other:#04x} in a PUBLISH"),
                    }
                    let length = before.len() - section.0.len();
                    publish.properties.extend_from_slice(&before[..length]);
                }
            }
        }
    }
    publish.identifiers.sort_unstable();
    publish.payload = reader.take(reader.0.len()).to_vec();
    publish
}
