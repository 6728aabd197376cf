//! Counters of one shard: plain numbers the engine raises, read and added up by the server.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the start; sums over shards give the broker's.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Names in the order of `values`.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// The values in the order of `NAMES`.
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$name),*]
            }

            /// Adds another shard's numbers.
            pub fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.wrapping_add(other.$name);)*
            }
        }
    };
}

counters! {
    /// Connections open now, from accept on.
    connections,
    /// Connections opened since the start.
    connections_opened,
    /// Clients connected now.
    clients_connected,
    /// Sessions held now.
    sessions,
    /// Subscriptions held now.
    subscriptions,
    /// PUBLISH packets received.
    messages_received,
    /// PUBLISH packets written to output buffers.
    messages_sent,
    /// Bytes of MQTT received.
    bytes_received,
    /// Bytes of MQTT given to transports.
    bytes_sent,
    /// Messages in session queues now.
    queued_messages,
    /// Bytes in session queues, wills, long session names and unacknowledged messages, now.
    queued_bytes,
    /// QoS 0 messages dropped because the receiver's output buffer was full.
    dropped_output_full,
    /// Messages dropped because a session's queue was at its limit.
    dropped_queue_full,
    /// Messages refused because a session's queue was at its limit.
    rejected_queue_full,
    /// Messages dropped because all queues together were at their limit.
    dropped_total_full,
    /// Messages dropped because they expired before they were sent.
    dropped_expired,
    /// Messages not sent because they exceed the receiver's Maximum Packet Size.
    dropped_too_large,
    /// Messages of shared groups dropped with the session of the member they were sent to.
    dropped_shared,
    /// Messages for host subscriptions dropped because their window was full.
    dropped_host_window,
    /// Events dropped because the host did not keep up.
    dropped_events,
    /// Connections closed at once: limits, untrusted PROXY senders, no descriptors.
    connections_refused,
    /// CONNECTs refused.
    connects_refused,
    /// Connections ended for a violation of the standard.
    violations,
    /// Retained messages refused at a limit.
    retained_refused,
    /// Messages refused because the store had no room or was stopped.
    store_refused,
    /// Publishers held back because the store had no room or was stopped.
    store_stalled,
    /// Messages asked back from the store for delivery.
    store_fetched,
}
