//! What the log is told of a message: whom it is for, and who is done with it.

use std::sync::Arc;

use super::Shard;
use super::deliver::{Terms, terms};
use super::route::Parcel;
use crate::message::{Message, Publication, SharedMessage};
use crate::router::{GroupId, NO_GROUP, Overlap, QueueRef, Target};
use crate::session::{Identifiers, NOT_STORED};
use crate::store::{Change, MessageRef, Receiver, Receivers, SessionId, StoredTerms};

impl Shard {
    /// Appends a message for those of `targets` that last, if there are any: then the parcel has
    /// receivers and a ticket.
    pub(super) fn append(
        &mut self,
        parcel: &mut Parcel<'_>,
        overlaps: &[Overlap],
        targets: &[Target],
    ) {
        let mut receivers = Vec::new();
        for target in targets {
            let Some(session) = self.shared.lasting.get(target.queue) else { continue };
            let overlap = overlaps.get(target.overlap as usize);
            let is_own = parcel.from == Some(target.queue);
            let Some(terms) = terms(target, overlap, parcel, (is_own, false)) else {
                continue;
            };
            if terms.qos > 0 {
                receivers.push(self.receiver(target.queue, session, &terms));
            }
        }
        let Ok(count) = u32::try_from(receivers.len()) else { return };
        if count == 0 {
            return;
        }
        let message = parcel.message(&self.shared);
        let is_pinned = parcel.publication.qos == 2 || parcel.publication.retain;
        message.expect(count, is_pinned);
        let receivers: Receivers = receivers.into();
        parcel.receivers = Some(receivers.clone());
        let ticket = self.store.write(Change::Appended { message, receivers });
        parcel.ticket = parcel.ticket.max(ticket);
    }

    /// A retained message on its way to a lasting session is appended for it alone, so that its
    /// exchange outlives a crash: the message as it is sent, and its receiver.
    pub(super) fn append_retained(
        &mut self,
        queue: QueueRef,
        retained: SharedMessage,
        terms: &mut Terms,
    ) -> (SharedMessage, u32) {
        let session = self.shared.lasting.get(queue).filter(|_| self.store.keeps());
        let (Some(session), true) = (session, terms.qos > 0) else {
            return (retained, NOT_STORED);
        };
        let publication = Publication { qos: terms.qos, ..retained.publication() };
        let message = Arc::new(Message::new(&publication));
        let receiver = self.receiver(queue, session, terms);
        message.expect(1, terms.qos == 2);
        let receivers: Receivers = [receiver].into();
        terms.ticket =
            self.store.write(Change::Appended { message: Arc::clone(&message), receivers });
        (message, 0)
    }

    fn receiver(&self, queue: QueueRef, session: SessionId, terms: &Terms) -> Receiver {
        let terms = StoredTerms {
            qos: terms.qos,
            retain: terms.retain,
            group: self.group_name(terms.group),
            identifiers: terms.identifiers.as_slice().into(),
        };
        Receiver { queue, session, terms }
    }

    fn group_name(&self, group: GroupId) -> Box<str> {
        if group == NO_GROUP {
            return Box::default();
        }
        let tree = self.shared.tree();
        let (name, filter) = tree.group_name(group).unwrap_or_default();
        format!("{name}/{filter}").into()
    }

    /// A receiver is done with a message: acknowledged, dropped or expired.
    #[inline]
    pub(super) fn consumed(&mut self, message: MessageRef, receiver: u32) {
        self.tell_consumed(message, receiver, false);
    }

    /// A receiver's message went to another, in this unit of changes.
    pub(super) fn moved(&mut self, message: MessageRef, receiver: u32) {
        self.tell_consumed(message, receiver, true);
    }

    #[inline]
    fn tell_consumed(&mut self, message: MessageRef, receiver: u32, is_moved: bool) {
        if receiver == NOT_STORED {
            return;
        }
        if let MessageRef::Held(held) = &message {
            if !held.done() {
                // It will never be written: its publisher need not wait.
                if let Some(publisher) = held.publisher {
                    self.release_publisher(publisher);
                }
                return;
            }
        }
        self.store.write(if is_moved {
            Change::Moved { message, receiver }
        } else {
            Change::Consumed { message, receiver }
        });
    }

    /// An acknowledgement of this publisher may have nothing to wait for any more.
    pub(super) fn release_publisher(&mut self, publisher: QueueRef) {
        if publisher.shard == self.id {
            if let Some(reference) = self.session(publisher).and_then(|held| held.connection) {
                self.release_waiting(reference);
            }
        } else if let Some(mail) = self.outbox.get_mut(usize::from(publisher.shard)) {
            if mail.released.last() != Some(&publisher) {
                mail.released.push(publisher);
            }
        }
    }
}

/// Subscription Identifiers as they were stored.
pub(super) fn identifiers(stored: &[u32]) -> Identifiers {
    match stored {
        [] => Identifiers::None,
        [identifier] => Identifiers::One(*identifier),
        _ => Identifiers::Many(stored.into()),
    }
}
