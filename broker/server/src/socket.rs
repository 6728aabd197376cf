//! A connected stream socket, TCP or Unix: non-blocking, closed when dropped.

use std::io::{self, IoSlice, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, send, sendmsg, shutdown,
};

/// A peer that went away is an error value, not a signal.
const SEND: SendFlags = SendFlags::NOSIGNAL;

/// Owned by one event loop at a time.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// One read; 0 is the end of the stream.
    pub(crate) fn recv(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        recv(&self.0, buffer, RecvFlags::empty()).map(|(bytes, _)| bytes)
    }

    /// One read into what the vector has spare.
    pub(crate) fn recv_spare(&self, buffer: &mut Vec<u8>) -> Result<usize, Errno> {
        recv(&self.0, spare_capacity(buffer), RecvFlags::empty()).map(|(bytes, _)| bytes)
    }

    /// Tells the peer that no more comes; what it still sends can be read.
    pub(crate) fn shutdown_write(&self) {
        // The peer may be gone already, and then there is nobody to tell.
        let _ = shutdown(&self.0, Shutdown::Write);
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&self.0, bytes, SEND)?)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if let [slice] = slices {
            return self.write(slice);
        }
        Ok(sendmsg(&self.0, slices, &mut SendAncillaryBuffer::default(), SEND)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
