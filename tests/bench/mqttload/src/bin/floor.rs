//! The floor: a program that forwards PUBLISH packets and does nothing else a broker does. What it
//! costs beside a broker is the kernel's part: waiting, reading, writing, closing.
//!
//! One thread, epoll, one read and one write for each message. It trusts its client: every read
//! brings whole packets, of MQTT 5 at QoS 0, with one exact Topic Filter in a SUBSCRIBE.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

const EVENTS: usize = 1_024;
const READ_BYTES: usize = 256 << 10;
const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(1883);
    let listener = listen(port)?;
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    watch(epoll, listener.as_raw_fd(), libc::EPOLLIN as u32)?;
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    let mut floor = Floor { epoll, streams: HashMap::new(), subscribers: HashMap::new() };
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), EVENTS as i32, -1) };
        for event in events.iter().take(count.max(0) as usize) {
            let fd = event.u64 as RawFd;
            if fd == listener.as_raw_fd() {
                floor.accept(&listener)?;
            } else if event.events & libc::EPOLLIN as u32 != 0 {
                floor.read(fd, &mut buffer);
            }
        }
    }
}

/// A listener with a queue for storms.
fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    unsafe { libc::listen(listener.as_raw_fd(), 1_024) };
    Ok(listener)
}

fn watch(epoll: RawFd, fd: RawFd, events: u32) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: fd as u64 };
    match unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

struct Floor {
    epoll: RawFd,
    streams: HashMap<RawFd, TcpStream>,
    /// By topic.
    subscribers: HashMap<Vec<u8>, RawFd>,
}

impl Floor {
    /// Takes all that wait.
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let fd = stream.as_raw_fd();
            watch(self.epoll, fd, (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET) as u32)?;
            self.streams.insert(fd, stream);
        }
        Ok(())
    }

    /// One read, and what its packets ask for.
    fn read(&mut self, fd: RawFd, buffer: &mut [u8]) {
        let Some(stream) = self.streams.get_mut(&fd) else { return };
        let mut rest = match stream.read(buffer) {
            Ok(bytes) => &buffer[..bytes],
            Err(_) => return,
        };
        if rest.is_empty() {
            self.streams.remove(&fd);
        }
        while let Some((packet, body)) = split(rest) {
            rest = &rest[packet.len()..];
            match packet[0] >> 4 {
                1 => self.write(fd, CONNACK),
                3 => self.forward(packet, body),
                8 => {
                    self.write(fd, &[0x90, 4, body[0], body[1], 0, 0]);
                    self.subscribers.insert(text(&body[3..]).to_vec(), fd);
                }
                14 => {
                    self.streams.remove(&fd);
                }
                _ => {}
            }
        }
    }

    fn forward(&mut self, packet: &[u8], body: &[u8]) {
        if let Some(fd) = self.subscribers.get(text(body)).copied() {
            self.write(fd, packet);
        }
    }

    /// A client that does not read is not what is measured: what does not fit is lost.
    fn write(&mut self, fd: RawFd, bytes: &[u8]) {
        if let Some(stream) = self.streams.get_mut(&fd) {
            let _ = stream.write(bytes);
        }
    }
}

/// The first packet, and its part behind the fixed header; `None` at the end.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut length, mut at) = (0, 1);
    loop {
        let digit = *bytes.get(at)?;
        length |= usize::from(digit & 0x7F) << (7 * (at - 1));
        at += 1;
        if digit < 0x80 {
            return Some((bytes.get(..at + length)?, bytes.get(at..at + length)?));
        }
    }
}

/// A string behind its length.
fn text(bytes: &[u8]) -> &[u8] {
    let length = usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
    &bytes[2..2 + length]
}
