//! Writing frames: what waits before the output, and how much of the output a frame announced.

use std::io::IoSlice;

use engine::connection::Output;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::websocket::SLICES;

/// Frames we send are cut here, so that a pong does not wait behind megabytes.
const FRAME_BYTES_MAX: usize = 64 << 10;

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Goes out before anything else: the response, control frames, the header of a data frame.
    pub(super) lead: Vec<u8>,
    lead_sent: usize,
    /// A pong or close frame that waits for the end of the current data frame.
    pub(super) control: Vec<u8>,
    /// Bytes of MQTT that the current data frame still announces.
    pub(super) frame_left: usize,
    /// A close frame was queued; nothing follows it.
    pub(super) closed: bool,
}

impl Outgoing {
    /// Only the newest answer to a ping is kept, as RFC 6455 §5.5.3 allows.
    pub(super) fn queue_control(&mut self, control: Control, payload: &[u8]) {
        if self.closed {
            return;
        }
        self.control.clear();
        let header = FrameHeader { opcode: OpCode::Control(control), ..FrameHeader::default() };
        // Writing to memory does not fail.
        let _ = header.format(payload.len() as u64, &mut self.control);
        self.control.extend_from_slice(payload);
    }

    pub(super) fn close(&mut self, code: u16) {
        self.queue_control(Control::Close, &code.to_be_bytes());
        self.closed = true;
    }

    /// Between two data frames: queues control frames, then the header of the next data frame.
    pub(super) fn begin_frame(&mut self, output: Option<&Output>) {
        if self.frame_left > 0 {
            return;
        }
        self.lead.append(&mut self.control);
        let waiting = output.map_or(0, Output::len);
        if waiting > 0 && !self.closed {
            self.frame_left = waiting.min(FRAME_BYTES_MAX);
            let opcode = OpCode::Data(Data::Binary); // [MQTT-6.0.0-1]
            let header = FrameHeader { opcode, ..FrameHeader::default() };
            let _ = header.format(self.frame_left as u64, &mut self.lead);
        }
    }

    /// Fills `slices` with what is next: the lead, then of `payload` what the current frame
    /// announces. Returns how many, and their bytes.
    pub(super) fn gather<'a>(
        &'a self,
        payload: &'a [IoSlice<'_>],
        slices: &mut [IoSlice<'a>; SLICES],
    ) -> (usize, usize) {
        let lead = self.lead.get(self.lead_sent..).unwrap_or(&[]);
        let [first, rest @ ..] = slices;
        *first = IoSlice::new(lead);
        let mut count = 1;
        let mut left = self.frame_left;
        for (slot, slice) in rest.iter_mut().zip(payload) {
            let cut = slice.get(..left).unwrap_or(slice);
            *slot = IoSlice::new(cut);
            left -= cut.len();
            count += 1;
            if left == 0 {
                break;
            }
        }
        (count, lead.len() + self.frame_left - left)
    }

    /// So many bytes were written; returns how many of them were output.
    pub(super) fn taken(&mut self, bytes: usize) -> usize {
        let lead = bytes.min(self.lead.len() - self.lead_sent);
        self.lead_sent += lead;
        if self.lead_sent == self.lead.len() {
            self.lead.clear();
            self.lead_sent = 0;
        }
        let payload = bytes - lead;
        self.frame_left -= payload;
        payload
    }
}
