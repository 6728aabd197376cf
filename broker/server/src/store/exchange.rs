//! QoS 2 messages on their way to clients. A row's deletion may be late, and is written together
//! with the bits that say its delivery is done: until then the row says it.

use std::collections::HashMap;

use super::op::Op;

/// A delivery: the message's number and the index of the receiver.
pub(super) type Delivery = (u64, u32);

/// Exchanges under way, and those over whose rows are still there.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    /// By session and Packet Identifier.
    current: HashMap<u64, HashMap<u16, Delivery>>,
    finished: Vec<(u64, Delivery)>,
}

impl Exchanges {
    /// One that was found in the file.
    pub(super) fn insert(&mut self, session: u64, packet_id: u16, delivery: Delivery) {
        self.current.entry(session).or_default().insert(packet_id, delivery);
    }

    /// One that was found in the file and is over.
    pub(super) fn insert_finished(&mut self, session: u64, delivery: Delivery) {
        self.finished.push((session, delivery));
    }

    /// A message is sent under this identifier; what was under it is over.
    pub(super) fn sent(&mut self, session: u64, packet_id: u16, to: Delivery, ops: &mut Vec<Op>) {
        let before = self.current.entry(session).or_default().insert(packet_id, to);
        if let Some(before) = before.filter(|before| *before != to) {
            self.finished.push((session, before));
        }
        let (number, receiver) = to;
        ops.push(Op::PutOut { session, number, receiver, packet_id });
    }

    /// PUBREC came; gives the delivery, which is consumed.
    pub(super) fn received(
        &mut self,
        session: u64,
        packet_id: u16,
        ops: &mut Vec<Op>,
    ) -> Option<Delivery> {
        let (number, receiver) = *self.current.get(&session)?.get(&packet_id)?;
        ops.push(Op::ReceiveOut { session, number, receiver });
        Some((number, receiver))
    }

    /// It is over.
    pub(super) fn completed(&mut self, session: u64, packet_id: u16) {
        let Some(exchanges) = self.current.get_mut(&session) else { return };
        if let Some(delivery) = exchanges.remove(&packet_id) {
            self.finished.push((session, delivery));
        }
        if exchanges.is_empty() {
            self.current.remove(&session);
        }
    }

    /// The session ended, and its rows with it.
    pub(super) fn ended(&mut self, session: u64) {
        self.current.remove(&session);
    }

    /// Whether rows of exchanges that are over are still there.
    pub(super) fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// Deletes the rows of those that are over.
    pub(super) fn settle(&mut self, ops: &mut Vec<Op>) {
        let delete = |(session, (number, receiver))| Op::DeleteOut { session, number, receiver };
        ops.extend(self.finished.drain(..).map(delete));
    }
}
