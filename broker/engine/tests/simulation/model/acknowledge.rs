//! PUBACK, PUBREC, PUBREL and PUBCOMP of a client (MQTT 5 §4.3).

use engine::codec::packet::AcknowledgementKind;

use super::session::{Flying, Stage};
use super::{Holder, Model};
use crate::ledger::Entry;

impl Model {
    /// A client acknowledges.
    pub fn acknowledge(
        &mut self,
        link: usize,
        kind: AcknowledgementKind,
        packet_id: u16,
        reason: u8,
    ) {
        let Some(session) = self.session_of(link) else { return };
        let stage = session.flying(packet_id).map(|flying| flying.stage);
        let (key, is_lasting) = (session.key.clone(), session.is_lasting());
        let unknown = |found: bool| if found { 0x00 } else { 0x92 };
        match (kind, stage) {
            (AcknowledgementKind::Puback, Some(Stage::Pubrec | Stage::Pubcomp))
            | (AcknowledgementKind::Pubrec | AcknowledgementKind::Pubcomp, Some(Stage::Puback)) => {
                self.disconnect(link, 0x82);
            }
            (AcknowledgementKind::Puback | AcknowledgementKind::Pubcomp, _) => {
                let landed = session.land(packet_id);
                self.done(landed);
            }
            (AcknowledgementKind::Pubrec, _) if reason >= 0x80 => {
                let landed = session.land(packet_id);
                self.done(landed);
            }
            (AcknowledgementKind::Pubrec, stage) => {
                let mut ticket = 0;
                if let Some(flying) = session.flying(packet_id) {
                    flying.stage = Stage::Pubcomp;
                    let flying = flying.clone();
                    self.done(Some(flying));
                    if is_lasting {
                        ticket = self.ticket(&Entry::ReceivedByPeer(key, packet_id));
                    }
                }
                let reasons = vec![unknown(stage.is_some())];
                self.links[link].expect(AcknowledgementKind::Pubrel, packet_id, reasons, ticket);
            }
            (AcknowledgementKind::Pubrel, _) => {
                let was_taken = session.release(packet_id);
                let mut ticket = 0;
                if was_taken && is_lasting {
                    ticket = self.ticket(&Entry::Released(key, packet_id));
                }
                let reasons = vec![unknown(was_taken)];
                self.links[link].expect(AcknowledgementKind::Pubcomp, packet_id, reasons, ticket);
            }
        }
    }

    fn done(&mut self, landed: Option<Flying>) {
        if let Some(copy) = landed.and_then(|flying| flying.copy) {
            self.copies[copy].holder = Holder::Done;
        }
    }
}
