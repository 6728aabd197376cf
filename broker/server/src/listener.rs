//! Listening sockets: bound once, then accepted from by every shard.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use engine::limits::ListenerProfile;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, getsockname, ipproto,
    listen, socket_with, sockopt,
};

use crate::config::{Address, ListenerConfig, Network, TlsConfig};
use crate::error::ServerError;
use crate::layers::LayerPlan;
use crate::tls;

/// Bursts of reconnects wait in the kernel, up to its own `somaxconn`.
const BACKLOG_MIN: u32 = 1_024;
/// Even a listener for small packets takes frames that hold many of them.
const FRAME_BYTES_MIN: u32 = 1 << 20;

/// A bound listener, shared by the shards.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) profile: Arc<ListenerProfile>,
    /// As people write it: `tcp://127.0.0.1:1883`.
    pub(crate) address: String,
    /// The socket file, removed when the server stops.
    unix_path: Option<UnixFile>,
    plan: RwLock<LayerPlan>,
    pub(crate) proxy_trusted: Option<Vec<Network>>,
    pub(crate) max_connections: u32,
    /// Open connections that came through here.
    pub(crate) connections: AtomicU32,
    /// Connections closed at once since the server started.
    pub(crate) refused: AtomicU64,
}

/// A socket file of ours, told from one that another process put in its place.
#[derive(Debug)]
struct UnixFile {
    path: std::path::PathBuf,
    device: u64,
    inode: u64,
}

impl Listener {
    /// Binds and listens.
    ///
    /// `all`: every listener of the server, for IPv6 wildcards beside IPv4 ones. The socket is the
    /// event loops': it is closed when they stop accepting.
    pub(crate) fn bind(
        config: &ListenerConfig,
        all: &[ListenerConfig],
    ) -> Result<(Self, OwnedFd), ServerError> {
        let name = config.profile.name.as_ref();
        let wrong = |why| ServerError::Listener { listener: name.to_owned(), why };
        if !config.mqtt && config.websocket.is_none() {
            return Err(wrong("it speaks neither MQTT nor WebSocket; allow one of them"));
        }
        let tls = config.tls.as_ref().map(|tls| server_config(name, tls)).transpose()?;
        let frame_bytes_max = config.profile.maximum_packet_size.max(FRAME_BYTES_MIN);
        let plan = LayerPlan {
            proxy: config.proxy_trusted.is_some(),
            tls,
            mqtt: config.mqtt,
            websocket: config.websocket.clone().map(Arc::new),
            frame_bytes_max: u64::from(frame_bytes_max),
        };
        let backlog = i32::try_from(config.backlog.max(BACKLOG_MIN)).unwrap_or(i32::MAX);
        let (fd, place, unix_path) = match &config.address {
            Address::Tcp(address) => {
                let fd = bind_tcp(*address, is_dual_stack(*address, all), backlog)
                    .map_err(|source| bind_error(name, &address.to_string(), source))?;
                let bound = getsockname(&fd)
                    .and_then(SocketAddr::try_from)
                    .map_err(ServerError::system("ask a listener for its address"))?;
                (fd, bound.to_string(), None)
            }
            Address::Unix { path, mode } => {
                if config.proxy_trusted.is_some() {
                    return Err(wrong(
                        "a Unix socket takes no PROXY header: its peers have no address to trust",
                    ));
                }
                let (fd, file) = bind_unix(name, path, *mode, backlog)?;
                (fd, path.display().to_string(), Some(file))
            }
        };
        let listener = Self {
            profile: Arc::new(config.profile.clone()),
            address: describe(config, &place),
            unix_path,
            plan: RwLock::new(plan),
            proxy_trusted: config.proxy_trusted.clone(),
            max_connections: config.max_connections,
            connections: AtomicU32::new(0),
            refused: AtomicU64::new(0),
        };
        Ok((listener, fd))
    }

    /// What a new connection gets around its MQTT.
    pub(crate) fn plan(&self) -> LayerPlan {
        self.plan.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a new certificate for new connections.
    pub(crate) fn reload_tls(&self, tls: &TlsConfig) -> Result<(), ServerError> {
        let name = self.profile.name.as_ref();
        let config = server_config(name, tls)?;
        let mut plan = self.plan.write().unwrap_or_else(PoisonError::into_inner);
        if plan.tls.is_none() {
            let why = "it does not speak TLS; there is no certificate to reload";
            return Err(ServerError::Listener { listener: name.to_owned(), why });
        }
        plan.tls = Some(config);
        Ok(())
    }

    /// Removes the socket file, if it is still ours.
    pub(crate) fn remove_file(&self) {
        if let Some(file) = &self.unix_path {
            let ours = std::fs::symlink_metadata(&file.path)
                .is_ok_and(|found| (found.dev(), found.ino()) == (file.device, file.inode));
            if ours {
                // Somebody may have removed it meanwhile, which is what is wanted.
                let _ = std::fs::remove_file(&file.path);
            }
        }
    }

    /// A connection ended.
    pub(crate) fn release(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn server_config(name: &str, tls: &TlsConfig) -> Result<Arc<rustls::ServerConfig>, ServerError> {
    tls::server_config(tls).map_err(|why| ServerError::Tls { listener: name.to_owned(), why })
}

/// The address with its scheme; a listener of both kinds shows as MQTT.
fn describe(config: &ListenerConfig, place: &str) -> String {
    let secure = config.tls.is_some();
    let path = config.websocket.as_ref().and_then(|websocket| websocket.path.as_deref());
    match (&config.address, config.mqtt) {
        (Address::Unix { .. }, _) => format!("unix:{place}"),
        (_, true) => format!("{}://{place}", if secure { "tls" } else { "tcp" }),
        (_, false) => {
            format!("{}://{place}{}", if secure { "wss" } else { "ws" }, path.unwrap_or(""))
        }
    }
}

/// `[::]` takes IPv4 too, unless a listener of its own does that on the same port.
fn is_dual_stack(address: SocketAddr, all: &[ListenerConfig]) -> bool {
    let is_taken = all.iter().any(|other| {
        matches!(other.address, Address::Tcp(SocketAddr::V4(v4)) if v4.port() == address.port())
    });
    address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && (address.port() == 0 || !is_taken)
}

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

fn bind_tcp(address: SocketAddr, dual_stack: bool, backlog: i32) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket_with(family, SocketType::STREAM, FLAGS, Some(ipproto::TCP))?;
    // A restart need not wait for the old connections' TIME_WAIT.
    sockopt::set_socket_reuseaddr(&fd, true)?;
    // Accepted sockets inherit it: small packets do not wait for acknowledgements.
    sockopt::set_tcp_nodelay(&fd, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, !dual_stack)?;
    }
    bind(&fd, &address)?;
    listen(&fd, backlog)?;
    Ok(fd)
}

fn bind_unix(
    name: &str,
    path: &Path,
    mode: u32,
    backlog: i32,
) -> Result<(OwnedFd, UnixFile), ServerError> {
    let failed = |source: io::Error| bind_error(name, &format!("unix:{}", path.display()), source);
    let address = SocketAddrUnix::new(path).map_err(|error| failed(error.into()))?;
    remove_stale_socket(name, path, &address)?;
    let bound = || -> io::Result<(OwnedFd, UnixFile)> {
        let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
        let mode = rustix::fs::Mode::from_raw_mode(mode);
        // Before `bind`, so that the file is never wider open than asked; after it, because the
        // umask took its share.
        rustix::fs::fchmod(&fd, mode)?;
        bind(&fd, &address)?;
        rustix::fs::chmod(path, mode)?;
        listen(&fd, backlog)?;
        let created = std::fs::symlink_metadata(path)?;
        let file = UnixFile { path: path.to_owned(), device: created.dev(), inode: created.ino() };
        Ok((fd, file))
    };
    bound().map_err(failed)
}

/// Removes a socket file that nobody listens on any more.
fn remove_stale_socket(
    name: &str,
    path: &Path,
    address: &SocketAddrUnix,
) -> Result<(), ServerError> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let listener = name.to_owned();
    if !found.file_type().is_socket() {
        return Err(ServerError::NotASocket { listener, path: path.to_owned() });
    }
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)
        .map_err(ServerError::system("create a socket"))?;
    match connect(&probe, address) {
        Err(rustix::io::Errno::CONNREFUSED) => std::fs::remove_file(path)
            .map_err(|source| bind_error(name, &format!("unix:{}", path.display()), source)),
        Err(rustix::io::Errno::NOENT) => Ok(()),
        _ => Err(ServerError::SocketInUse { listener, path: path.to_owned() }),
    }
}

fn bind_error(listener: &str, address: &str, source: io::Error) -> ServerError {
    let advice = match source.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there or choose another port",
        io::ErrorKind::AddrNotAvailable => "use an address of this machine",
        io::ErrorKind::PermissionDenied => "choose a port from 1024 on, or a folder of yours",
        io::ErrorKind::NotFound => "create the folder first",
        _ => "check the address",
    };
    ServerError::Bind { listener: listener.to_owned(), address: address.to_owned(), source, advice }
}

#[cfg(test)]
mod tests {
    use super::{ListenerConfig, is_dual_stack};

    #[test]
    fn an_ipv6_wildcard_takes_ipv4_unless_another_listener_does() {
        let v6 = ListenerConfig::tcp("six", "[::]:1883".parse().unwrap());
        let v4 = ListenerConfig::tcp("four", "0.0.0.0:1883".parse().unwrap());
        let other = ListenerConfig::tcp("other", "0.0.0.0:1884".parse().unwrap());
        let address = "[::]:1883".parse().unwrap();

        assert!(is_dual_stack(address, &[v6.clone(), other]));
        assert!(!is_dual_stack(address, &[v6, v4]));
        assert!(!is_dual_stack("[::1]:1883".parse().unwrap(), &[]));
    }
}
