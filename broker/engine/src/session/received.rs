//! QoS 2 messages received from one client and not released (MQTT 5 §4.3.3).

use hashbrown::HashSet;

/// Their Packet Identifiers, which outlive a connection, and how many of them count towards the
/// Receive Maximum, which begins anew with each (MQTT 5 §4.9).
#[derive(Debug, Default)]
pub struct Received {
    ids: HashSet<u16, foldhash::fast::FixedState>,
    outstanding: u16,
}

impl Received {
    /// A new connection begins.
    pub fn restart(&mut self) {
        self.outstanding = 0;
    }

    /// Whether a message came under this identifier that is not released.
    pub fn contains(&self, packet_id: u16) -> bool {
        self.ids.contains(&packet_id)
    }

    /// Takes an identifier up.
    pub fn insert(&mut self, packet_id: u16) {
        let is_new = self.ids.insert(packet_id);
        self.outstanding = self.outstanding.saturating_add(u16::from(is_new));
    }

    /// Gives an identifier free; whether it was taken.
    pub fn remove(&mut self, packet_id: u16) -> bool {
        let was_taken = self.ids.remove(&packet_id);
        self.outstanding = self.outstanding.saturating_sub(u16::from(was_taken));
        was_taken
    }

    /// How many this connection has sent that are not released.
    pub fn outstanding(&self) -> u16 {
        self.outstanding
    }
}
