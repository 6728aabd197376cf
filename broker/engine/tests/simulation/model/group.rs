//! Shared groups: each message to one member, whichever (MQTT 5 §4.8.2).

use std::collections::BTreeSet;

use super::message::MessageId;
use super::session::SessionId;
use super::{Model, split_share};

/// Who has a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Nobody was sent it.
    Free,
    /// It was sent, and is not acknowledged.
    Sent { session: SessionId, qos: u8 },
    /// It was sent at QoS 1, and the connection ended before it was acknowledged: this member may
    /// get it again, or another may.
    Broken { session: SessionId },
    /// It arrived.
    Done,
    /// It was sent at QoS 2 to a session that ended: nobody else may get it [MQTT-4.8.2-5].
    Lost,
}

/// A message for one group.
#[derive(Debug, Clone)]
pub struct GroupCopy {
    /// `name/filter`, mount point included.
    pub group: String,
    pub message: MessageId,
    pub holder: Holder,
    /// Nobody may have been there to take it.
    pub is_optional: bool,
}

/// Names a group: its name and the filter with its mount point.
pub fn group_of(mount_point: &str, filter: &str) -> Option<String> {
    let (name, inner) = split_share(filter);
    Some(format!("{}/{mount_point}{inner}", name?))
}

impl Model {
    /// Members of a group now.
    pub fn members(&self, group: &str) -> Vec<SessionId> {
        let is_member = |session: &&super::Session| {
            let mut filters = session.subscriptions.keys();
            filters.any(|filter| group_of(&session.mount_point, filter).as_deref() == Some(group))
        };
        let held = self.sessions.iter().filter(|(_, session)| is_member(session));
        held.map(|(id, _)| *id).collect()
    }

    /// All groups that have members, each once.
    pub fn groups(&self) -> BTreeSet<String> {
        let filters = self.sessions.values().flat_map(|session| {
            session.subscriptions.keys().filter_map(|filter| group_of(&session.mount_point, filter))
        });
        filters.collect()
    }

    /// Messages of a group without members have no home: they may be dropped.
    pub fn forget_empty_groups(&mut self) {
        let groups = self.groups();
        for copy in &mut self.copies {
            copy.is_optional |= !groups.contains(&copy.group);
        }
    }
}
