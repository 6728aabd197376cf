//! Many MQTT clients on one epoll loop: non-blocking sockets, one big shared
//! read buffer, acknowledgements collected and written once per read.

use crate::codec::{self, Connack, Connect, Publish};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

#[derive(Debug)]
pub enum Fail {
    Timeout,
    Other(String),
}

impl<T: Into<String>> From<T> for Fail {
    fn from(s: T) -> Self {
        Fail::Other(s.into())
    }
}

pub type Res<T> = Result<T, Fail>;

pub fn now() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

pub fn sleep_ns(ns: u64) {
    let ts = libc::timespec {
        tv_sec: (ns / 1_000_000_000) as i64,
        tv_nsec: (ns % 1_000_000_000) as i64,
    };
    unsafe { libc::nanosleep(&ts, std::ptr::null_mut()) };
}

pub struct Conn {
    pub id: usize,
    fd: RawFd,
    rest: Vec<u8>, // incomplete packet kept between reads
    out: Vec<u8>,
    sent: usize, // bytes of `out` already written
    want_write: bool,
    pub started: u64,
    /// Publishes that may be in flight (QoS 1 and 2), from the broker's Receive Maximum.
    pub receive_max: u32,
    pub inflight: u32,
    busy_pids: Vec<bool>, // by packet id
    free_pids: Vec<u16>,
}

impl Conn {
    /// Bytes waiting for the socket.
    pub fn backlog(&self) -> usize {
        self.out.len() - self.sent
    }

    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    #[inline]
    pub fn take_pid(&mut self) -> u16 {
        self.inflight += 1;
        if let Some(pid) = self.free_pids.pop() {
            self.busy_pids[pid as usize] = true;
            return pid;
        }
        if self.busy_pids.is_empty() {
            self.busy_pids.push(false); // packet id 0 is never used
        }
        self.busy_pids.push(true);
        (self.busy_pids.len() - 1) as u16
    }

    fn is_busy(&self, pid: u16) -> Result<(), &'static str> {
        match self.busy_pids.get(pid as usize) {
            Some(true) => Ok(()),
            _ => Err("acknowledgement of a packet id that is not in flight"),
        }
    }

    #[inline]
    fn give_pid(&mut self, pid: u16) -> Result<(), &'static str> {
        self.is_busy(pid)?;
        self.busy_pids[pid as usize] = false;
        self.inflight -= 1;
        self.free_pids.push(pid);
        Ok(())
    }
}

/// What a scenario wants to hear about. PUBLISHes are acknowledged by the engine.
pub trait Handler {
    /// `true`, here and below: the client is done, disconnect it.
    fn connack(&mut self, _c: &mut Conn, _ack: &Connack, _now: u64) -> Res<bool> {
        Ok(false)
    }
    /// One SUBACK; refused filters have already been turned into an error.
    fn suback(&mut self, _c: &mut Conn, _now: u64) -> Res<bool> {
        Ok(false)
    }
    fn publish(&mut self, _conn: usize, _p: &Publish, _now: u64) {}
    /// A publish of ours was fully acknowledged (QoS 1: PUBACK, QoS 2: PUBCOMP or failed PUBREC).
    fn acked(&mut self, _reason: u8) {}
    fn closed(&mut self, why: String) -> Res<()> {
        Err(Fail::Other(why))
    }
}

pub struct Engine {
    ep: RawFd,
    pub target: SocketAddr,
    pub v5: bool,
    pub deadline: u64,
    /// Sends the TCP ACK right after each read instead of delaying it.
    pub quickack: bool,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    just_freed: Vec<usize>, // not reused before the next turn: its events may still be queued
    buf: Vec<u8>,
    events: Vec<libc::epoll_event>,
    pub open: usize,
}

const BUF: usize = 512 * 1024;

fn os_err(what: &str) -> String {
    format!("{what}: {}", io::Error::last_os_error())
}

impl Engine {
    pub fn new(target: SocketAddr, v5: bool, deadline: u64) -> Res<Self> {
        let ep = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if ep < 0 {
            return Err(os_err("epoll_create1").into());
        }
        Ok(Engine {
            ep,
            target,
            v5,
            deadline,
            quickack: false,
            conns: vec![],
            free: vec![],
            just_freed: vec![],
            buf: vec![0; BUF],
            events: vec![libc::epoll_event { events: 0, u64: 0 }; 1024],
            open: 0,
        })
    }

    pub fn conn(&mut self, i: usize) -> &mut Conn {
        self.conns[i].as_mut().expect("open connection")
    }

    /// Starts a TCP connection and queues CONNECT.
    pub fn connect(&mut self, c: &Connect, source: Option<IpAddr>) -> Res<usize> {
        let started = now();
        let fd = start_tcp(self.target, source)?;
        let id = self.free.pop().unwrap_or_else(|| {
            self.conns.push(None);
            self.conns.len() - 1
        });
        self.conns[id] = Some(Conn {
            id,
            fd,
            rest: vec![],
            out: codec::connect(c, self.v5),
            sent: 0,
            want_write: false,
            started,
            receive_max: 65535,
            inflight: 0,
            busy_pids: vec![],
            free_pids: vec![],
        });
        self.open += 1;
        self.register(libc::EPOLL_CTL_ADD, id)?;
        self.flush(id)?; // on loopback the handshake is usually over by now
        Ok(id)
    }

    fn register(&mut self, op: i32, i: usize) -> Res<()> {
        let ep = self.ep;
        let c = self.conn(i);
        let events = libc::EPOLLIN | if c.want_write { libc::EPOLLOUT } else { 0 };
        let mut ev = libc::epoll_event { events: events as u32, u64: i as u64 };
        if unsafe { libc::epoll_ctl(ep, op, c.fd, &mut ev) } < 0 {
            return Err(os_err("epoll_ctl").into());
        }
        Ok(())
    }

    /// Closes quietly; no `closed` callback.
    pub fn close(&mut self, i: usize) {
        if let Some(c) = self.conns[i].take() {
            unsafe { libc::close(c.fd) };
            self.just_freed.push(i);
            self.open -= 1;
        }
    }

    /// DISCONNECT, then close.
    pub fn disconnect(&mut self, i: usize) {
        if self.conns[i].is_some() {
            self.conn(i).out.extend_from_slice(codec::disconnect());
            let _ = self.flush(i);
            self.close(i);
        }
    }

    pub fn disconnect_all(&mut self) {
        (0..self.conns.len()).for_each(|i| self.disconnect(i));
    }

    /// Writes as much output as the socket takes. An error means the connection is dead.
    pub fn flush(&mut self, i: usize) -> Result<(), String> {
        let Some(c) = self.conns[i].as_mut() else { return Ok(()) };
        let mut blocked = false;
        while c.sent < c.out.len() {
            let rest = &c.out[c.sent..];
            let n =
                unsafe { libc::send(c.fd, rest.as_ptr().cast(), rest.len(), libc::MSG_NOSIGNAL) };
            if n >= 0 {
                c.sent += n as usize;
                continue;
            }
            match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::WouldBlock => {
                    blocked = true;
                    break;
                }
                e if e.kind() == io::ErrorKind::Interrupted => {}
                e => return Err(format!("connection lost while writing: {e}")),
            }
        }
        if !blocked {
            c.out.clear();
            c.sent = 0;
        } else if c.sent > 1 << 20 {
            c.out.drain(..c.sent);
            c.sent = 0;
        }
        if c.want_write != blocked {
            c.want_write = blocked;
            self.register(libc::EPOLL_CTL_MOD, i).map_err(|e| format!("{e:?}"))?;
        }
        Ok(())
    }

    /// One round of the loop: waits at most `wait_ns`, then handles everything that is ready.
    /// Returns the number of ready sockets.
    pub fn turn<H: Handler>(&mut self, h: &mut H, wait_ns: u64) -> Res<usize> {
        self.free.append(&mut self.just_freed);
        let t = now();
        if t >= self.deadline {
            return Err(Fail::Timeout);
        }
        let wait = wait_ns.min(self.deadline - t);
        let ts = libc::timespec {
            tv_sec: (wait / 1_000_000_000) as i64,
            tv_nsec: (wait % 1_000_000_000) as i64,
        };
        // the system call itself: not every libc has the wrapper of epoll_pwait2
        let n = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.ep,
                self.events.as_mut_ptr(),
                self.events.len() as libc::c_int,
                &ts as *const libc::timespec,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        if n < 0 {
            let e = io::Error::last_os_error();
            return if e.kind() == io::ErrorKind::Interrupted {
                Ok(0)
            } else {
                Err(format!("epoll_pwait2: {e}").into())
            };
        }
        for k in 0..n as usize {
            let ev = self.events[k];
            let i = ev.u64 as usize;
            if self.conns[i].is_none() {
                continue; // closed earlier in this round
            }
            let mut r = Ok(false);
            if ev.events & (libc::EPOLLIN | libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0 {
                r = self.read(h, i)?;
            }
            if r == Ok(false) && self.conns[i].as_ref().is_some_and(|c| c.backlog() > 0) {
                r = self.flush(i).map(|_| false);
            }
            match r {
                Ok(false) => {}
                Ok(true) => self.disconnect(i),
                Err(why) => {
                    self.close(i);
                    h.closed(why)?;
                }
            }
        }
        Ok(n as usize)
    }

    /// One read, then every complete packet in it. `Ok(Ok(true))`: the scenario is done with the
    /// connection; `Ok(Err(why))`: the connection is gone; outer error: the scenario failed.
    fn read<H: Handler>(&mut self, h: &mut H, i: usize) -> Res<Result<bool, String>> {
        let v5 = self.v5;
        let c = self.conns[i].as_mut().unwrap();
        let kept = c.rest.len();
        if self.buf.len() < kept + BUF / 2 {
            self.buf.resize(kept + BUF, 0);
        }
        self.buf[..kept].copy_from_slice(&c.rest);
        let room = &mut self.buf[kept..];
        let n = unsafe { libc::recv(c.fd, room.as_mut_ptr().cast(), room.len(), 0) };
        if n < 0 {
            let e = io::Error::last_os_error();
            return Ok(match e.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(false),
                _ => Err(format!("connection lost: {e}")),
            });
        }
        if n == 0 {
            return Ok(Err("connection closed by the broker".into()));
        }
        if self.quickack {
            set_on(c.fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK); // not sticky
        }
        let t = now();
        let data = &self.buf[..kept + n as usize];
        let mut at = 0;
        let mut done = false;
        macro_rules! wire {
            ($e:expr) => {
                match $e {
                    Ok(v) => v,
                    Err(why) => return Ok(Err(format!("protocol error of the broker: {why}"))),
                }
            };
        }
        while let Some(f) = wire!(codec::next_frame(&data[at..])) {
            at += f.total;
            match f.first >> 4 {
                codec::PUBLISH => {
                    let p = wire!(codec::parse_publish(f.first, f.body, v5));
                    match p.qos {
                        0 => {}
                        1 => codec::put_ack(&mut c.out, codec::PUBACK, p.pid),
                        _ => codec::put_ack(&mut c.out, codec::PUBREC, p.pid),
                    }
                    h.publish(i, &p, t);
                }
                codec::PUBACK | codec::PUBCOMP => {
                    let (pid, reason) = wire!(codec::parse_ack(f.body));
                    wire!(c.give_pid(pid));
                    h.acked(reason);
                }
                codec::PUBREC => {
                    let (pid, reason) = wire!(codec::parse_ack(f.body));
                    wire!(c.is_busy(pid));
                    if reason < 0x80 {
                        codec::put_ack(&mut c.out, codec::PUBREL, pid);
                    } else {
                        wire!(c.give_pid(pid));
                        h.acked(reason);
                    }
                }
                codec::PUBREL => {
                    let (pid, _) = wire!(codec::parse_ack(f.body));
                    codec::put_ack(&mut c.out, codec::PUBCOMP, pid);
                }
                codec::CONNACK => {
                    let ack = wire!(codec::parse_connack(f.body, v5));
                    if ack.reason != 0 {
                        return Ok(Err(format!(
                            "broker refused the connection, CONNACK reason 0x{:02x}",
                            ack.reason
                        )));
                    }
                    c.receive_max = ack.receive_max as u32;
                    done |= h.connack(c, &ack, t)?;
                }
                codec::SUBACK => {
                    let (_, codes) = wire!(codec::parse_suback(f.body, v5));
                    if let Some(bad) = codes.iter().find(|c| **c >= 0x80) {
                        return Ok(Err(format!(
                            "broker refused a subscription, reason 0x{bad:02x}"
                        )));
                    }
                    done |= h.suback(c, t)?;
                }
                codec::PINGRESP => {}
                codec::DISCONNECT => {
                    let reason = f.body.first().copied().unwrap_or(0);
                    return Ok(Err(format!("broker sent DISCONNECT, reason 0x{reason:02x}")));
                }
                k => {
                    return Ok(Err(format!(
                        "protocol error of the broker: unexpected packet type {k}"
                    )))
                }
            }
        }
        c.rest.clear();
        c.rest.extend_from_slice(&data[at..]);
        Ok(Ok(done))
    }
}

fn set_on(fd: RawFd, level: libc::c_int, option: libc::c_int) {
    let one: libc::c_int = 1;
    unsafe { libc::setsockopt(fd, level, option, (&one as *const libc::c_int).cast(), 4) };
}

/// A socket with a connection under way; loopback only.
fn start_tcp(to: SocketAddr, source: Option<IpAddr>) -> Res<RawFd> {
    assert!(to.ip().is_loopback());
    let domain = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    unsafe {
        let fd =
            libc::socket(domain, libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(os_err("socket").into());
        }
        let fail = |what: &str| {
            let e = os_err(what);
            libc::close(fd);
            Err(Fail::Other(e))
        };
        set_on(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY);
        if let Some(ip) = source {
            // the port is chosen at connect(), so that every source address has its own port range
            set_on(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
            let (a, len) = sockaddr(SocketAddr::new(ip, 0));
            if libc::bind(fd, (&a as *const libc::sockaddr_storage).cast(), len) < 0 {
                return fail("bind");
            }
        }
        let (a, len) = sockaddr(to);
        if libc::connect(fd, (&a as *const libc::sockaddr_storage).cast(), len) < 0
            && io::Error::last_os_error().raw_os_error() != Some(libc::EINPROGRESS)
        {
            return fail(&format!("connect to {to}"));
        }
        Ok(fd)
    }
}

fn sockaddr(a: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    unsafe {
        let mut s: libc::sockaddr_storage = std::mem::zeroed();
        let len = match a {
            SocketAddr::V4(v4) => {
                let p = &mut *(&mut s as *mut _ as *mut libc::sockaddr_in);
                p.sin_family = libc::AF_INET as u16;
                p.sin_port = v4.port().to_be();
                p.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                std::mem::size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                let p = &mut *(&mut s as *mut _ as *mut libc::sockaddr_in6);
                p.sin6_family = libc::AF_INET6 as u16;
                p.sin6_port = v6.port().to_be();
                p.sin6_addr.s6_addr = v6.ip().octets();
                std::mem::size_of::<libc::sockaddr_in6>()
            }
        };
        (s, len as libc::socklen_t)
    }
}
