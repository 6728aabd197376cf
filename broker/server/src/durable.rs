//! The store beside the event loops: its words become letters and records, its clock is theirs.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use engine::host::{Event, EventKind, HostRecord};
use engine::reason::ReasonCode;
use engine::store::{Fetched, Health, Ticket};

use crate::hub::Hub;
use crate::mailbox::Letters;
use crate::store::{Notice, Outlet, Times};

/// What the store tells goes to the shards' mailboxes and to the host. Weak, since the hub holds
/// the store.
pub(crate) struct Post(pub(crate) Weak<Hub>);

impl fmt::Debug for Post {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Post")
    }
}

impl Post {
    fn to_all(&self, put: impl Fn(&mut Letters)) {
        let Some(hub) = self.0.upgrade() else { return };
        for mailbox in &hub.mailboxes {
            // The eventfd is ours and its counter far from full: a wake does not fail.
            let _ = mailbox.post(&put);
        }
    }
}

impl Outlet for Post {
    fn committed(&self, ticket: Ticket) {
        self.to_all(|letters| letters.committed = letters.committed.max(Some(ticket)));
    }

    fn fetched(&self, shard: u16, fetched: Fetched) {
        let Some(hub) = self.0.upgrade() else { return };
        if let Some(mailbox) = hub.mailboxes.get(usize::from(shard)) {
            let _ = mailbox.post(|letters| letters.fetched.push(fetched));
        }
    }

    fn health_changed(&self, _health: Health) {
        self.to_all(|letters| letters.store_changed = true);
    }

    fn notice(&self, notice: Notice) {
        let Some(hub) = self.0.upgrade() else { return };
        let reason = if notice.is_trouble { ReasonCode::UNSPECIFIED } else { ReasonCode::SUCCESS };
        let event = Event {
            time_ms: hub.clock.now_ms(),
            kind: EventKind::Store,
            client_id: "".into(),
            user: "".into(),
            listener: "".into(),
            peer: "".into(),
            reason,
            detail: notice.text.into(),
            count: 1,
        };
        hub.host.push(&mut vec![HostRecord::Event(event)]);
    }
}

/// The clocks of the machine, and the engine's.
pub(crate) struct Clocks {
    hub: Weak<Hub>,
    is_synchronised: fn() -> bool,
}

impl fmt::Debug for Clocks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clocks")
    }
}

impl Times for Clocks {
    fn engine_ms(&self) -> u64 {
        self.hub.upgrade().map_or(0, |hub| hub.clock.now_ms())
    }

    fn wall_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn is_synchronised(&self) -> bool {
        (self.is_synchronised)()
    }
}

/// The clocks and the post of a hub, as the store takes them.
pub(crate) fn ties(
    hub: &Arc<Hub>,
    is_synchronised: fn() -> bool,
) -> (Arc<dyn Times>, Arc<dyn Outlet>) {
    let clocks = Clocks { hub: Arc::downgrade(hub), is_synchronised };
    (Arc::new(clocks), Arc::new(Post(Arc::downgrade(hub))))
}
