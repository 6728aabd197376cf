//! Packets of clients, from the body behind the Fixed Header.

mod acknowledgement;
mod connect;
mod publish;
mod session;
mod subscribe;

pub use acknowledgement::acknowledgement;
pub use connect::{ConnectRefusal, connect};
pub use publish::{forwardable, publish};

use super::frame::WRONG_FLAGS;
use super::packet::{Packet, Version};
use crate::violation::Violation;

const ZERO_PACKET_ID: Violation = Violation::protocol("MQTT-2.2.1-3", "the Packet Identifier is 0");

/// Decodes what a client may send, CONNECT included.
///
/// # Errors
/// The packet is malformed, or not one that clients send.
pub fn decode(version: Version, header: u8, body: &[u8]) -> Result<Packet<'_>, Violation> {
    let flags = header & 0x0F;
    match header >> 4 {
        1 => {
            check_flags(version, flags, 0)?;
            connect(body)
                .map(|packet| Packet::Connect(Box::new(packet)))
                .map_err(|refused| refused.violation)
        }
        3 => publish(version, header, body).map(Packet::Publish),
        4..=7 => acknowledgement(version, header, body).map(Packet::Acknowledgement),
        8 => {
            check_flags(version, flags, 2)?; // [MQTT-3.8.1-1]
            subscribe::subscribe(version, body).map(Packet::Subscribe)
        }
        10 => {
            check_flags(version, flags, 2)?; // [MQTT-3.10.1-1]
            subscribe::unsubscribe(version, body).map(Packet::Unsubscribe)
        }
        12 => {
            check_flags(version, flags, 0)?;
            session::pingreq(body).map(|()| Packet::Pingreq)
        }
        14 => {
            check_flags(version, flags, 0)?; // [MQTT-3.14.1-1]
            session::disconnect(version, body).map(Packet::Disconnect)
        }
        15 if version == Version::V5 => {
            check_flags(version, flags, 0)?; // [MQTT-3.15.1-1]
            session::auth(body).map(Packet::Auth)
        }
        _ => Err(Violation::protocol("MQTT 5 §2.1.2", "a packet that clients do not send")),
    }
}

/// In 3.1 the DUP bit may stand in packets that are sent again (MQTT 3.1 §2.1).
#[inline]
fn check_flags(version: Version, flags: u8, expected: u8) -> Result<(), Violation> {
    let is_again = version == Version::V3_1 && expected == 2 && flags == 0x0A;
    if flags == expected || is_again { Ok(()) } else { Err(WRONG_FLAGS) } // [MQTT-2.1.3-1]
}
