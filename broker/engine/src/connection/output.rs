//! Bytes on their way to one client: small frames in one buffer, large payloads as references
//! into the messages that others hold too.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::message::SharedMessage;

/// Payloads from here on are sent from the shared message, not copied: below, a copy is cheaper.
pub const SHARED_FROM: usize = 8 * 1024;

/// An output buffer that outgrew this is not kept in the pool.
const POOLED_MAX: usize = 64 * 1024;

/// How many empty buffers a pool keeps.
const POOL_MAX: usize = 64;

/// What waits to be written to one transport.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// How much of `bytes` is written.
    start: usize,
    /// Payloads between the bytes, rarely any.
    splices: Option<Box<Splices>>,
}

#[derive(Debug, Default)]
struct Splices {
    queue: VecDeque<Splice>,
    /// Bytes of payload that are still to be written.
    left: usize,
}

#[derive(Debug)]
struct Splice {
    /// The payload stands before this offset of `bytes`.
    at: usize,
    message: SharedMessage,
    /// How much of it is written.
    start: usize,
}

impl Output {
    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start + self.splices.as_ref().map_or(0, |splices| splices.left)
    }

    /// The buffer that frames are appended to.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends the payload of `message` without copying it.
    pub fn push_payload(&mut self, message: SharedMessage) {
        let splices = self.splices.get_or_insert_with(Box::default);
        splices.left += message.payload().len();
        splices.queue.push_back(Splice { at: self.bytes.len(), message, start: 0 });
    }

    /// Fills `slices` with what is to be written next; how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut from = self.start;
        let mut room = slices.iter_mut();
        let mut put = |part: &'a [u8]| {
            if part.is_empty() {
                return true;
            }
            let Some(slot) = room.next() else { return false };
            *slot = IoSlice::new(part);
            filled += 1;
            true
        };
        for splice in self.splices.iter().flat_map(|splices| &splices.queue) {
            let before = self.bytes.get(from..splice.at).unwrap_or_default();
            let payload = splice.message.payload().get(splice.start..).unwrap_or_default();
            from = splice.at;
            if !put(before) || !put(payload) {
                return filled;
            }
        }
        put(self.bytes.get(from..).unwrap_or_default());
        filled
    }

    /// Notes that `written` bytes went out.
    pub fn advance(&mut self, mut written: usize) {
        while let Some(splices) = &mut self.splices {
            let Some(splice) = splices.queue.front_mut() else { break };
            let before = splice.at - self.start;
            if written < before {
                break;
            }
            written -= before;
            self.start = splice.at;
            let left = splice.message.payload().len() - splice.start;
            let taken = written.min(left);
            splice.start += taken;
            splices.left -= taken;
            written -= taken;
            if taken < left {
                return;
            }
            splices.queue.pop_front();
        }
        self.start += written;
        if self.splices.as_ref().is_some_and(|splices| splices.queue.is_empty()) {
            self.splices = None;
        }
        if self.start >= self.bytes.len() && self.splices.is_none() {
            self.bytes.clear();
            self.start = 0;
        } else if self.start > POOLED_MAX
            && self.splices.is_none()
            && self.start > self.bytes.len() / 2
        {
            // What is written is dropped, or a reader that never catches up would make it grow.
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

/// Empty buffers for connections that have something to say: an idle one owns none.
#[derive(Debug, Default)]
pub struct OutputPool {
    free: Vec<Vec<u8>>,
}

impl OutputPool {
    /// Gives `output` a buffer if it has none.
    #[inline]
    pub fn lend(&mut self, output: &mut Output) {
        if output.bytes.capacity() == 0 {
            output.bytes = self.free.pop().unwrap_or_default();
        }
    }

    /// Takes the buffer of `output` back; what is left in it is not sent, to nobody.
    pub fn reclaim(&mut self, output: &mut Output) {
        let mut bytes = std::mem::take(&mut output.bytes);
        bytes.clear();
        (output.start, output.splices) = (0, None);
        if bytes.capacity() > 0 && bytes.capacity() <= POOLED_MAX && self.free.len() < POOL_MAX {
            self.free.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::message::{Message, NEVER, Publication};

    fn drain(output: &mut Output, step: usize) -> Vec<u8> {
        let mut seen = Vec::new();
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); 4];
            let filled = output.slices(&mut slices);
            let all: Vec<u8> = slices.iter().take(filled).flat_map(|part| part.to_vec()).collect();
            let taken = all.len().min(step);
            seen.extend_from_slice(&all[..taken]);
            output.advance(taken);
        }
        seen
    }

    #[test]
    fn what_a_lost_connection_did_not_get_reaches_no_other() {
        let mut pool = OutputPool::default();
        let mut lost = Output::default();
        pool.lend(&mut lost);
        lost.bytes_mut().extend_from_slice(b"secret");

        pool.reclaim(&mut lost);

        let mut next = Output::default();
        pool.lend(&mut next);
        assert!(lost.is_empty());
        assert!(next.is_empty());
    }

    #[test]
    fn bytes_and_payloads_come_out_in_order_whatever_the_steps() {
        let payload: Vec<u8> = (0..=255).collect();
        let message = Arc::new(Message::new(&Publication {
            topic: b"t",
            properties: b"",
            payload: &payload,
            qos: 0,
            retain: false,
            expires_at_ms: NEVER,
        }));
        let mut expected = Vec::new();
        for step in [1, 3, 100, 10_000] {
            let mut output = Output::default();
            expected.clear();
            for round in 0..5u8 {
                output.bytes_mut().extend_from_slice(&[round; 7]);
                expected.extend_from_slice(&[round; 7]);
                output.push_payload(Arc::clone(&message));
                expected.extend_from_slice(&payload);
            }
            output.bytes_mut().extend_from_slice(b"end");
            expected.extend_from_slice(b"end");

            assert_eq!(output.len(), expected.len());
            assert_eq!(drain(&mut output, step), expected);
        }
    }
}
