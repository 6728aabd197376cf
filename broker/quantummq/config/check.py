"""What no single value shows: files that are missing, listeners open to strangers."""

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

from quantummq.config.config import Config
from quantummq.config.listener import Listener
from quantummq.config.tls import Tls
from quantummq.errors import ConfigError


def check_config(config: Config, *, authenticated: bool = False) -> list[ConfigError]:
    """Every reason why a broker with `config` would not start on this machine, as far as seen.

    Reads the files it names; binds and writes nothing.

    Args:
        config: What to look at.
        authenticated: Whether there are authenticators besides those configured.
    """
    errors = [*_check_broker(config), *_check_authentication(config)]
    for index, listener in enumerate(config.listeners):
        where = f"listener[{index}]"
        if not (authenticated or config.authentication.is_configured):
            errors += _check_anonymous(config, listener, where)
        errors += _check_tls(config, listener, where)
        errors += _check_transport(listener, where)
    return [
        *errors,
        *_check_addresses(config),
        *_check_redirect(config),
    ]


def _check_broker(config: Config) -> Iterator[ConfigError]:
    folder = config.broker.data_path
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        yield ConfigError("broker.data_dir", f"{existing} is not a folder; name another")
    elif not os.access(existing, os.W_OK | os.X_OK):
        why = f"{existing} cannot be written by this user; name another, or run with --data DIR"
        yield ConfigError("broker.data_dir", why)


def _check_authentication(config: Config) -> Iterator[ConfigError]:
    table = config.authentication
    for key, path, option in (
        ("password_file", table.password_file, ""),
        ("scram_file", table.scram_file, " --scram"),
    ):
        if path is not None and (why := _unreadable(path)):
            way_out = f'run "quantummq passwd{option} {path} USER" to make it'
            yield ConfigError(f"authentication.{key}", f"{why}; {way_out}")


def _check_transport(listener: Listener, where: str) -> Iterator[ConfigError]:
    if listener.address.is_unix:
        folder = Path(listener.address.path).absolute().parent
        if not folder.is_dir():
            yield ConfigError(f"{where}.address", f"no folder {folder}; make it first")
        if listener.proxy is not None:
            why = f"{listener.address} takes no PROXY header: its peers have no address to trust"
            yield ConfigError(f"{where}.proxy", f"{why}; use tcp://, or remove the table")
    if listener.address.scheme in ("ws", "wss") and not listener.ws.enabled:
        why = f"{listener.address} takes nothing but WebSocket; use tcp:// or tls:// without it"
        yield ConfigError(f"{where}.ws.enabled", why)


def _check_anonymous(config: Config, listener: Listener, where: str) -> Iterator[ConfigError]:
    """Safe first run: nobody is let in from elsewhere by accident, and nobody is locked out."""
    if config.allows_anonymous(listener):
        return
    if listener.anonymous is False or config.broker.anonymous is False:
        key = f"{where}.anonymous" if listener.anonymous is False else "broker.anonymous"
        why = "nobody could connect: anonymous clients are refused and no authentication is set"
        yield ConfigError(key, f"{why}; set authentication.password_file")
        return
    why = (
        f"{listener.address} can be reached from other machines and no authentication is set; "
        "listen on 127.0.0.1, set authentication.password_file, run with --lan for generated "
        "credentials, or set broker.anonymous = true to let everyone in"
    )
    yield ConfigError(f"{where}.address", why)


def _check_tls(config: Config, listener: Listener, where: str) -> Iterator[ConfigError]:
    if not listener.address.is_tls:
        if listener.tls is not None:
            why = f"{listener.address} has no TLS; write tls:// or wss://, or remove the table"
            yield ConfigError(f"{where}.tls", why)
        return
    tls = config.tls_of(listener)
    if tls is None:
        why = f"{listener.address} needs a certificate; set certificate and key here or in [tls]"
        yield ConfigError(f"{where}.tls", why)
        return
    yield from check_tls_files(tls, f"{where}.tls" if listener.tls is not None else "tls")


def check_tls_files(tls: Tls, where: str) -> Iterator[ConfigError]:
    """Whether the files can be read, fit together, and are enough for what is asked."""
    unreadable = False
    files = (("certificate", tls.certificate), ("key", tls.key), ("client_ca", tls.client_ca))
    for key, path in files:
        if path is not None and (why := _unreadable(path)):
            unreadable = True
            yield ConfigError(f"{where}.{key}", f"{why}; name a PEM file that can be read")
    if tls.client_certificate != "none" and tls.client_ca is None:
        why = f'client_certificate = "{tls.client_certificate}" needs the authorities to check by'
        yield ConfigError(f"{where}.client_ca", f"{why}; name their PEM file")
    if not unreadable:
        yield from _check_pem(tls, where)


def _check_pem(tls: Tls, where: str) -> Iterator[ConfigError]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password, else OpenSSL asks for one on the terminal.
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        why = f"{tls.key} is no unencrypted private key of {tls.certificate} ({reason})"
        yield ConfigError(f"{where}.key", f"{why}; both must be PEM files and belong together")
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(tls.client_ca)
        except ssl.SSLError as error:
            why = f"{tls.client_ca} holds no certificates ({error.reason}); name a PEM file"
            yield ConfigError(f"{where}.client_ca", why)


def _check_addresses(config: Config) -> Iterator[ConfigError]:
    seen: dict[str, int] = {}
    for index, listener in enumerate(config.listeners):
        address = listener.address
        place = address.path if address.is_unix else f"{address.host} port {address.port}"
        if address.port or address.is_unix:
            if place in seen:
                why = f"listener[{seen[place]}] listens on {place} already; choose another"
                yield ConfigError(f"listener[{index}].address", why)
            seen.setdefault(place, index)


def _check_redirect(config: Config) -> Iterator[ConfigError]:
    if config.mqtt.redirect != "none" and not config.mqtt.server_reference:
        why = "clients are sent away but not told where to; set mqtt.server_reference"
        yield ConfigError("mqtt.server_reference", why)


def _unreadable(path: Path) -> str:
    """Why `path` cannot be read, or nothing."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        return f"no file at {path}"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror or error})"
    return ""
