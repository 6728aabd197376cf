//! The PROXY protocol, versions 1 and 2: the header a load balancer puts before the client's bytes.
//! Source: <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// "PROXY UNKNOWN" with two IPv6 addresses and the line end: the longest line of version 1.
const V1_BYTES_MAX: usize = 107;
/// Version 2 begins with these.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const V2_FIXED_BYTES: usize = 16;
/// Addresses and extensions of version 2. A sender should stay below 536 in all; client
/// certificates' fields make it longer.
const V2_VARIABLE_BYTES_MAX: usize = 4_096;

/// Whom the sender speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client at this address.
    Client(SocketAddr),
    /// A client whose address the sender does not know, or that has none.
    Unknown,
    /// The sender itself, a health check.
    Local,
}

/// Where a header stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// More bytes are needed.
    Partial,
    /// Complete: it used so many of the bytes given, the rest is the client's.
    Complete { origin: Origin, bytes: usize },
}

/// Reads one header from the beginning of `bytes`.
///
/// # Errors
/// What is wrong, as a full sentence; the connection is to be closed.
pub(crate) fn parse(bytes: &[u8]) -> Result<Header, &'static str> {
    match bytes.first() {
        None => Ok(Header::Partial),
        Some(b'P') => parse_v1(bytes),
        Some(b'\r') => parse_v2(bytes),
        Some(_) => Err("the connection does not begin with a PROXY header"),
    }
}

/// One line of text: `PROXY TCP4 192.0.2.1 198.51.100.1 4711 1883\r\n`.
fn parse_v1(bytes: &[u8]) -> Result<Header, &'static str> {
    const GARBLED: &str = "the PROXY line is not as version 1 says";
    let prefix = b"PROXY ";
    if !bytes.iter().zip(prefix).all(|(is, should)| is == should) {
        return Err("the connection does not begin with a PROXY header");
    }
    let line_max = bytes.get(..V1_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = line_max.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() >= V1_BYTES_MAX {
            Err("the PROXY line is longer than 107 bytes")
        } else {
            Ok(Header::Partial)
        };
    };
    let line = bytes.get(prefix.len()..end).ok_or(GARBLED)?;
    let line = std::str::from_utf8(line).map_err(|_| GARBLED)?;
    let bytes = end + 2;
    let mut words = line.split(' ');
    let family = words.next().ok_or(GARBLED)?;
    if family == "UNKNOWN" {
        // The rest of the line is to be ignored.
        return Ok(Header::Complete { origin: Origin::Unknown, bytes });
    }
    let mut word = || words.next().ok_or(GARBLED);
    let (source, destination) = (word()?, word()?);
    let (source_port, destination_port) = (word()?, word()?);
    let address = match family {
        "TCP4" => {
            parse_v1_ip::<Ipv4Addr>(destination).ok_or(GARBLED)?;
            IpAddr::V4(parse_v1_ip(source).ok_or(GARBLED)?)
        }
        "TCP6" => {
            parse_v1_ip::<Ipv6Addr>(destination).ok_or(GARBLED)?;
            IpAddr::V6(parse_v1_ip(source).ok_or(GARBLED)?)
        }
        _ => return Err(GARBLED),
    };
    parse_v1_port(destination_port).ok_or(GARBLED)?;
    let port = parse_v1_port(source_port).ok_or(GARBLED)?;
    if words.next().is_some() {
        return Err(GARBLED);
    }
    Ok(Header::Complete { origin: Origin::Client(SocketAddr::new(address, port)), bytes })
}

fn parse_v1_ip<A: std::str::FromStr>(text: &str) -> Option<A> {
    text.parse().ok()
}

/// Decimal digits only, without a leading zero but for zero itself.
fn parse_v1_port(text: &str) -> Option<u16> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// Binary: signature, version and command, family and protocol, length, addresses, extensions.
fn parse_v2(bytes: &[u8]) -> Result<Header, &'static str> {
    if !bytes.iter().zip(V2_SIGNATURE).all(|(is, should)| is == should) {
        return Err("the connection does not begin with a PROXY header");
    }
    let [.., command, family, high, low] = bytes.get(..V2_FIXED_BYTES).unwrap_or(&[]) else {
        return Ok(Header::Partial);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > V2_VARIABLE_BYTES_MAX {
        return Err("the PROXY header is longer than 4,112 bytes");
    }
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err("the PROXY header has an unknown version or command"),
    };
    let bytes_in_all = V2_FIXED_BYTES + length;
    let Some(addresses) = bytes.get(V2_FIXED_BYTES..bytes_in_all) else {
        return Ok(Header::Partial);
    };
    let origin = if local { Origin::Local } else { parse_v2_origin(*family, addresses)? };
    Ok(Header::Complete { origin, bytes: bytes_in_all })
}

/// The client's address: source address, destination address, source port, destination port.
fn parse_v2_origin(family: u8, addresses: &[u8]) -> Result<Origin, &'static str> {
    const SHORT: &str = "the PROXY header is too short for its addresses";
    fn port_at(addresses: &[u8], at: usize) -> Result<u16, &'static str> {
        let port = addresses.get(at..).and_then(|rest| rest.first_chunk::<2>()).ok_or(SHORT)?;
        Ok(u16::from_be_bytes(*port))
    }
    match family {
        0x11 if addresses.len() >= 12 => {
            let source = addresses.first_chunk::<4>().ok_or(SHORT)?;
            let port = port_at(addresses, 8)?;
            Ok(Origin::Client(SocketAddr::new(Ipv4Addr::from(*source).into(), port)))
        }
        0x21 if addresses.len() >= 36 => {
            let source = addresses.first_chunk::<16>().ok_or(SHORT)?;
            let port = port_at(addresses, 32)?;
            Ok(Origin::Client(SocketAddr::new(Ipv6Addr::from(*source).into(), port)))
        }
        0x11 | 0x21 => Err(SHORT),
        // Unspecified, or a Unix socket: there is no address to show.
        0x00 | 0x31 => Ok(Origin::Unknown),
        _ => Err("the PROXY header has an unknown address family or protocol"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Header, Origin, parse};

    fn v2(command: u8, family: u8, length: u16, rest: &[u8]) -> Vec<u8> {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        bytes.extend([command, family]);
        bytes.extend(length.to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    /// Headers and what they say; each is followed by bytes of the client.
    fn good() -> Vec<(Vec<u8>, Origin)> {
        let client = |text: &str| Origin::Client(text.parse().unwrap());
        let mut v6 = vec![0_u8; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        v6[15] = 9;
        v6[32..34].copy_from_slice(&7_u16.to_be_bytes());
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 0x07, 0x5b];
        let mut v4_extended = v4.to_vec();
        v4_extended.extend([0x04, 0x00, 0x01, 0x00]);
        vec![
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 1883\r\n".to_vec(), client("192.0.2.1:4711")),
            (b"PROXY TCP6 2001:db8::9 ::1 7 1883\r\n".to_vec(), client("[2001:db8::9]:7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Origin::Unknown),
            (b"PROXY UNKNOWN ffff::1 what ever\r\n".to_vec(), Origin::Unknown),
            (v2(0x21, 0x11, 12, &v4), client("192.0.2.1:4711")),
            (v2(0x21, 0x11, 16, &v4_extended), client("192.0.2.1:4711")),
            (v2(0x21, 0x21, 36, &v6), client("[2001:db8::9]:7")),
            (v2(0x20, 0x00, 0, &[]), Origin::Local),
            (v2(0x20, 0x11, 12, &v4), Origin::Local),
            (v2(0x21, 0x00, 0, &[]), Origin::Unknown),
            (v2(0x21, 0x31, 216, &[0; 216]), Origin::Unknown),
        ]
    }

    #[test]
    fn a_header_says_whom_it_speaks_for_and_leaves_the_rest() {
        for (header, origin) in good() {
            let mut bytes = header.clone();
            bytes.extend(b"\x10\x0crest");

            let parsed = parse(&bytes);

            assert_eq!(parsed, Ok(Header::Complete { origin, bytes: header.len() }));
        }
    }

    #[test]
    fn every_beginning_of_a_header_asks_for_more() {
        for (header, _) in good() {
            for cut in 0..header.len() {
                assert_eq!(parse(&header[..cut]), Ok(Header::Partial), "{cut} of {header:?}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 97]].concat();
        let cases: Vec<Vec<u8>> = vec![
            b"\x10\x0c\x00\x04MQTT".to_vec(),
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"PROXX".to_vec(),
            b"PROXY \r\n".to_vec(),
            b"PROXY TCP4\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 4711\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 1883 9\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 1883\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 +1 1883\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 0471 1883\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1  198.51.100.1 1 1883\r\n".to_vec(),
            b"PROXY TCP4 ::1 198.51.100.1 1 1883\r\n".to_vec(),
            b"PROXY TCP6 192.0.2.1 ::1 1 1883\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.1 198.51.100.1 1 1883\r\n".to_vec(),
            b"PROXY TCP4 \xff 198.51.100.1 1 1883\r\n".to_vec(),
            long,
            b"\r\n\r\n\0\r\nQUIT\r".to_vec(),
            v2(0x11, 0x11, 12, &[0; 12]),
            v2(0x22, 0x11, 12, &[0; 12]),
            v2(0x21, 0x12, 12, &[0; 12]),
            v2(0x21, 0x11, 11, &[0; 11]),
            v2(0x21, 0x21, 35, &[0; 35]),
            v2(0x21, 0x11, 4_097, &[]),
            v2(0x21, 0x11, u16::MAX, &[]),
        ];
        for bytes in cases {
            assert!(parse(&bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
