//! What the engine says, packet by packet, against what the model has it say.

mod publish;
mod quiet;

use engine::codec::packet::{AcknowledgementKind, Version};

use crate::ledger::Entry;
use crate::model::{Awaited, Model, Phase, Stage};
use crate::wire::{BrokerPacket, Connack};

impl Model {
    /// The engine wrote a packet of `size` bytes for a link.
    pub fn observe(&mut self, link: usize, packet: &BrokerPacket, size: usize) {
        assert!(size <= self.links[link].maximum_packet_size, "[MQTT-3.1.2-24] {size} bytes");
        if let BrokerPacket::Connack(connack) = packet {
            return self.observe_connack(link, connack);
        }
        assert!(self.links[link].is_greeted, "before CONNACK: {packet:?} [MQTT-3.2.0-1]");
        if let BrokerPacket::Disconnect { reason } = packet {
            let expected = self.links[link].goodbye.take();
            assert_eq!(expected, Some(*reason), "the Reason Code of a DISCONNECT");
            return;
        }
        // What is in the output when a connection ends is still written. The model has forgotten
        // what answers it was to be; messages are under way from now on.
        if self.links[link].phase == Phase::Closing {
            if let BrokerPacket::Publish(publish) = packet {
                self.observe_last(link, publish);
            }
            return;
        }
        match packet {
            BrokerPacket::Publish(publish) => self.observe_publish(link, publish),
            BrokerPacket::Acknowledgement { kind, packet_id, reason } => {
                self.observe_acknowledgement(link, *kind, *packet_id, *reason);
            }
            BrokerPacket::Suback { packet_id, reasons } => {
                let awaited = self.links[link].subacks.pop_front();
                self.compare("SUBACK", awaited, &(*packet_id, reasons.clone()));
            }
            BrokerPacket::Unsuback { packet_id, reasons } => {
                let awaited = self.links[link].unsubacks.pop_front();
                self.compare("UNSUBACK", awaited, &(*packet_id, reasons.clone()));
            }
            BrokerPacket::Pingresp => {
                let pings = &mut self.links[link].pings;
                *pings = pings.checked_sub(1).expect("a PINGRESP that nobody asked for");
            }
            BrokerPacket::Connack(_) | BrokerPacket::Disconnect { .. } => {}
        }
    }

    fn compare<T: PartialEq + std::fmt::Debug>(
        &self,
        what: &str,
        awaited: Option<Awaited<T>>,
        seen: &T,
    ) {
        let Some(awaited) = awaited else { panic!("{what} {seen:?} that nobody waits for") };
        assert_eq!(awaited.answer, *seen, "{what}");
        assert!(self.is_committed(awaited.ticket), "{what} {seen:?} before its commit");
    }

    fn observe_connack(&mut self, link: usize, connack: &Connack) {
        let awaited = self.links[link].connack.take();
        self.compare("CONNACK", awaited, &(connack.session_present, connack.reason));
        if connack.reason != 0 {
            return;
        }
        self.links[link].is_greeted = true;
        if self.links[link].version != Version::V5 {
            return;
        }
        let profile = self.profile(link);
        let maximum = Some(profile.receive_maximum).filter(|maximum| *maximum != u16::MAX);
        assert_eq!(connack.receive_maximum, maximum);
        assert_eq!(connack.topic_alias_maximum.unwrap_or(0), profile.topic_alias_maximum);
        if let Some(session) = self.session_of(link) {
            let (expiry_s, id) = (session.expiry_s, session.key.clone());
            assert_eq!(connack.session_expiry_s.unwrap_or(expiry_s), expiry_s);
            assert_eq!(connack.client_id.is_some(), id.starts_with(b"assigned"));
        }
    }

    fn observe_acknowledgement(
        &mut self,
        link: usize,
        kind: AcknowledgementKind,
        packet_id: u16,
        reason: u8,
    ) {
        if kind == AcknowledgementKind::Pubrel && self.observe_pubrel_again(link, packet_id) {
            return;
        }
        let Some(awaited) = self.links[link].awaited(kind).pop_front() else {
            panic!("{kind:?} {packet_id} that nobody waits for");
        };
        let (expected, reasons) = awaited.answer;
        assert_eq!(expected, packet_id, "{kind:?}: the order [MQTT-4.6.0-2] [MQTT-4.6.0-3]");
        assert!(reasons.contains(&reason), "{kind:?} {packet_id}: {reason:#x}, not {reasons:x?}");
        let is_kept = self.is_committed(awaited.ticket)
            || kind == AcknowledgementKind::Puback && self.has_never_written(awaited.ticket);
        assert!(is_kept, "{kind:?} {packet_id} before its commit");
    }

    /// A PUBREL of an earlier connection; whether it is one.
    fn observe_pubrel_again(&mut self, link: usize, packet_id: u16) -> bool {
        let Some(session) = self.session_of(link) else { return false };
        let (key, is_lasting) = (session.key.clone(), session.is_lasting());
        let Some(flying) = session.flying(packet_id) else { return false };
        if !flying.must_resend || flying.stage != Stage::Pubcomp {
            return false;
        }
        flying.must_resend = false;
        if is_lasting {
            self.check_committed(&Entry::ReceivedByPeer(key, packet_id));
        }
        true
    }
}
