//! What must be true after each step, and when everything has come to rest.

use engine::codec::packet::AcknowledgementKind;

use crate::model::{Holder, Model, Phase};

impl Model {
    /// After each call of the engine, its output taken.
    pub fn check_step(&mut self) {
        let is_quiet = self.is_quiet();
        let is_late = self.keeps();
        for session in self.sessions.values_mut() {
            // What waits for its commit was sent for all the broker knows.
            session.replays.iter_mut().for_each(|replay| replay.is_optional |= replay.is_over);
            session.replays.retain(|replay| is_late || !replay.is_over);
        }
        for link in 0..self.links.len() {
            let held = &self.links[link];
            if is_quiet && held.phase == Phase::Open && held.shard.is_some() {
                self.check_answered(link);
                self.check_credit_used(link);
            }
            let passing = std::mem::take(&mut self.links[link].passing);
            let missing = passing.iter().find(|owed| !owed.is_optional);
            let missing = missing.map(|owed| (owed, &self.messages[owed.message]));
            assert!(missing.is_none(), "QoS 0 was to come at once on link {link}: {missing:?}");
            let held = &self.links[link];
            if held.phase == Phase::Closing {
                assert_eq!(held.goodbye, None, "a DISCONNECT was to come on link {link}");
            }
        }
    }

    /// All answers came whose changes are committed.
    fn check_answered(&mut self, link: usize) {
        let link = &mut self.links[link];
        assert_eq!(link.connack, None, "CONNACK was to come");
        assert_eq!(link.pings, 0, "PINGRESP was to come [MQTT-3.12.4-1]");
        assert_eq!(link.subacks.len() + link.unsubacks.len(), 0, "SUBACK or UNSUBACK is missing");
        for kind in [
            AcknowledgementKind::Puback,
            AcknowledgementKind::Pubrec,
            AcknowledgementKind::Pubrel,
            AcknowledgementKind::Pubcomp,
        ] {
            let awaited = link.awaited(kind);
            assert!(awaited.is_empty(), "{kind:?} is missing: {awaited:?}");
        }
    }

    /// With credit left, nothing that could be sent waits.
    fn check_credit_used(&mut self, link: usize) {
        let window = self.links[link].receive_maximum;
        let now_ms = self.now_ms;
        let Some(id) = self.links[link].session else { return };
        let session = &self.sessions[&id];
        let outstanding = session.flying.iter().filter(|flying| flying.counts).count();
        if outstanding >= window {
            return;
        }
        let mut again = session.flying.iter().filter(|flying| flying.must_resend);
        let again = again.find(|flying| flying.copy.is_none() && !flying.owed.is_optional);
        assert!(again.is_none(), "it was to be sent again: {again:?} [MQTT-4.4.0-1]");
        let may_wait = |message: usize| self.messages[message].is_expired(now_ms);
        let mut owed = session.owed.iter().filter(|owed| !may_wait(owed.message));
        let withheld = owed.find(|owed| !owed.is_optional);
        let withheld = withheld.map(|owed| (owed, &self.messages[owed.message]));
        assert!(withheld.is_none(), "there is credit for {withheld:?}");
        let mut replays = session.replays.iter().filter(|replay| !replay.is_optional);
        let withheld = replays.find(|replay| !may_wait(replay.message));
        assert!(withheld.is_none(), "a retained message was to come: {withheld:?}");
    }

    /// Before the outputs of a call are looked at.
    pub fn allow_drops(&mut self) {
        for link in 0..self.links.len() {
            // One that opened and ended in the same call counts too.
            if self.links[link].shard.is_some() {
                self.allow_too_large(link);
            }
        }
    }

    /// What exceeds the client's Maximum Packet Size is dropped [MQTT-3.1.2-25].
    fn allow_too_large(&mut self, link: usize) {
        let maximum = self.links[link].maximum_packet_size;
        if maximum == usize::MAX {
            return;
        }
        let messages = &self.messages;
        for copy in &mut self.copies {
            let message = &messages[copy.message];
            let size = message.topic.len() + message.payload.len() + message.properties.len();
            copy.is_optional |= size + 24 > maximum;
        }
        let id = self.links[link].session.or(self.links[link].left);
        let session = id.and_then(|id| self.sessions.get_mut(&id));
        let Some(session) = session else { return };
        let (mount_len, version) = (session.mount_point.len(), session.version);
        let owed = session.owed.iter_mut();
        let flying = session.flying.iter_mut().map(|flying| &mut flying.owed);
        let passing = self.links[link].passing.iter_mut();
        for owed in owed.chain(flying).chain(passing) {
            let size = owed.size(&messages[owed.message], mount_len, version);
            owed.is_optional |= size > maximum;
        }
        for replay in &mut session.replays {
            let message = &messages[replay.message];
            let size = message.topic.len() + message.payload.len() + message.properties.len();
            replay.is_optional |= size + 24 > maximum;
        }
    }

    /// Everyone is connected and has read and acknowledged everything: nothing is owed.
    pub fn check_drained(&self) {
        let now_ms = self.now_ms;
        for session in self.sessions.values() {
            if session.link.is_none() {
                continue;
            }
            let is_due = |message: usize| !self.messages[message].is_expired(now_ms);
            let mut lost = session.owed.iter().filter(|owed| is_due(owed.message));
            let lost = lost.find(|owed| !owed.is_optional);
            assert!(lost.is_none(), "client {} never got {lost:?}", session.client);
            let mut flying = session.flying.iter();
            let left = flying.find(|held| !held.owed.is_optional && held.copy.is_none());
            assert!(left.is_none(), "client {}: {left:?} is still under way", session.client);
        }
        if self.sessions.values().any(|session| session.link.is_none()) {
            return;
        }
        for copy in &self.copies {
            let is_expired = self.messages[copy.message].is_expired(now_ms);
            let is_lost = matches!(copy.holder, Holder::Free | Holder::Broken { .. });
            let message = &self.messages[copy.message];
            assert!(
                !is_lost || is_expired || copy.is_optional,
                "no member of its group got {copy:?} {message:?} [MQTT-4.8.2-4]"
            );
        }
    }
}
