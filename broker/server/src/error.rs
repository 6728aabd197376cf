//! Why a server does not start, or a certificate is not taken: what, where, and what to do.

use std::io;
use std::path::PathBuf;

/// The server cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("listener {listener}: cannot listen on {address}: {source}; {advice}")]
    Bind {
        /// Its name.
        listener: String,
        /// What was asked for.
        address: String,
        /// What the kernel said.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// Somebody listens on the Unix socket.
    #[error(
        "listener {listener}: {path} is in use by another process; \
         stop it or choose another path"
    )]
    SocketInUse {
        /// Its name.
        listener: String,
        /// The socket file.
        path: PathBuf,
    },
    /// Something that is no socket has the Unix socket's name.
    #[error(
        "listener {listener}: {path} exists and is not a socket; \
         remove it or choose another path"
    )]
    NotASocket {
        /// Its name.
        listener: String,
        /// The file.
        path: PathBuf,
    },
    /// Certificate, key or authorities cannot be used.
    #[error("listener {listener}: tls: {why}")]
    Tls {
        /// Its name.
        listener: String,
        /// A full sentence.
        why: String,
    },
    /// The parts of a listener's configuration contradict each other.
    #[error("listener {listener}: {why}")]
    Listener {
        /// Its name.
        listener: String,
        /// A full sentence.
        why: &'static str,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// No listener has this name.
    #[error("listener {listener}: there is no such listener")]
    UnknownListener {
        /// The name.
        listener: String,
    },
    /// The kernel refused something the server cannot do without.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl ServerError {
    /// For `map_err`: the kernel refused `what`.
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { what, source: source.into() }
    }
}
