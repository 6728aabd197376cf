"""From the configuration to what the engine is made from."""

import secrets
import socket
from pathlib import Path
from typing import Final

from quantummq.config import Address, Config, Listener, Tls
from quantummq.engine import EngineOptions, ListenerOptions, StoreOptions, TlsOptions
from quantummq.errors import ConfigError

_REDIRECT: Final = {"none": 0, "temporary": 0x9C, "permanent": 0x9D}


def engine_options(config: Config, *, manual_clock: bool) -> EngineOptions:
    """What holds for the whole engine.

    Args:
        config: `[broker]` and `[limits]` are used.
        manual_clock: Whether time stands still until it is moved.
    """
    limits, seed = config.limits, config.broker.seed
    return EngineOptions(
        shards=config.broker.shard_count,
        pin_cpus=(),
        seed=secrets.randbits(64) if seed is None else seed,
        manual_clock=manual_clock,
        connections=limits.connections,
        sessions=limits.sessions,
        session_queue_messages=limits.session_queue_messages,
        session_queue_bytes=limits.session_queue_bytes,
        session_queue_overflow=limits.session_queue_overflow,
        queued_messages=limits.queued_messages,
        queued_bytes=limits.queued_bytes,
        queued_memory_bytes=limits.queued_memory_bytes,
        subscriptions_per_session=limits.subscriptions_per_session,
        subscriptions=limits.subscriptions,
        retained_messages=limits.retained_messages,
        retained_bytes=limits.retained_bytes,
        output_bytes=limits.output_bytes,
        output_bytes_total=limits.output_bytes_total,
        input_bytes_total=limits.input_bytes_total,
        subscription_bytes_per_session=limits.subscription_bytes_per_session,
        subscription_bytes=limits.subscription_bytes,
        match_cache_entries=limits.match_cache_entries,
        host_records=limits.host_records,
        host_subscription_bytes=limits.host_subscription_bytes,
        authentications=limits.authentications,
        decision_timeout_ms=_milliseconds(limits.decision_timeout_s),
    )


def store_options(config: Config) -> StoreOptions | None:
    """Where what lasts is kept; None if nothing is.

    Args:
        config: `[store]` and the data folder are used.
    """
    store = config.store
    if store.profile == "memory":
        return None
    return StoreOptions(
        folder=config.broker.data_path,
        profile=store.profile,
        stops_on_damage=store.on_damage == "stop",
        reserve_bytes=store.reserve_bytes,
        wal_bytes_max=store.wal_bytes_max,
    )


def listener_options(
    config: Config, index: int, *, authenticate: bool, enhanced: bool
) -> ListenerOptions:
    """One listener.

    Args:
        config: `[[listener]]`, `[tls]` and `[mqtt]` are used.
        index: Which of `config.listeners`.
        authenticate: Whether each CONNECT is asked about.
        enhanced: Whether an Authentication Method may be used.

    Raises:
        ConfigError: a file or an address cannot be used.
    """
    listener, mqtt = config.listeners[index], config.mqtt
    return ListenerOptions(
        name=listener.name,
        address=_address(listener.address, f"listener[{index}].address"),
        unix_mode=listener.unix_mode,
        backlog=listener.backlog,
        connections=listener.max_connections,
        tls=tls_options(config, index),
        mqtt=listener.accepts_mqtt,
        websocket=listener.accepts_websocket,
        websocket_path=listener.ws.path or None,
        websocket_origins=listener.ws.allowed_origins,
        proxy_trusted=None if listener.proxy is None else listener.proxy.trusted,
        mount_point=listener.mount_point,
        authenticate=authenticate,
        enhanced_authentication=enhanced,
        maximum_packet_size=listener.maximum_packet_size,
        receive_maximum=listener.receive_maximum,
        inflight_maximum=listener.inflight_maximum,
        topic_alias_maximum=listener.topic_alias_maximum,
        topic_alias_maximum_out=listener.topic_alias_maximum_out,
        maximum_qos=listener.maximum_qos,
        retain_available=mqtt.retain_available,
        keep_alive_max_s=listener.keep_alive_max_s,
        session_expiry_max_s=listener.session_expiry_max_s,
        connect_timeout_ms=_milliseconds(listener.connect_timeout_s),
        response_information=mqtt.response_information,
        server_reference=mqtt.server_reference,
        redirect=_REDIRECT[mqtt.redirect],
    )


def tls_options(config: Config, index: int) -> TlsOptions | None:
    """The certificates of a listener, read from their files; None if it has no TLS.

    Args:
        config: `[[listener]]` and `[tls]` are used.
        index: Which of `config.listeners`.

    Raises:
        ConfigError: a file cannot be read, or TLS is asked for and not configured.
    """
    listener = config.listeners[index]
    tls = config.tls_of(listener)
    if tls is None:
        if listener.address.is_tls:
            why = (
                f"{listener.address} needs a certificate; set certificate and key here or in [tls]"
            )
            raise ConfigError(f"listener[{index}].tls", why)
        return None
    return _read_tls(tls, _tls_key(listener, index))


def _tls_key(listener: Listener, index: int) -> str:
    return "tls" if listener.tls is None else f"listener[{index}].tls"


def _read_tls(tls: Tls, where: str) -> TlsOptions:
    return TlsOptions(
        certificate_chain=_read(tls.certificate, f"{where}.certificate"),
        private_key=_read(tls.key, f"{where}.key"),
        client_ca=None if tls.client_ca is None else _read(tls.client_ca, f"{where}.client_ca"),
        client_certificate=tls.client_certificate,
        minimum_version=tls.minimum_version,
    )


def _read(path: Path, where: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(where, f"no file at {path}; name a PEM file that can be read") from None
    except OSError as error:
        why = f"{path} cannot be read ({error.strerror}); name a PEM file that can be read"
        raise ConfigError(where, why) from error


def _address(address: Address, where: str) -> str:
    """`192.0.2.1:1883`, `[fe80::1%2]:1883` or `unix:/path`; a zone becomes its number."""
    if address.is_unix:
        return str(address)
    host, separator, zone = address.host.partition("%")
    if separator and not zone.isdigit():
        try:
            zone = str(socket.if_nametoindex(zone))
        except OSError:
            why = f"there is no network interface {zone}; see `ip link` for their names"
            raise ConfigError(where, why) from None
    if ":" in host:
        host = f"[{host}{separator}{zone}]"
    return f"{host}:{address.port}"


def _milliseconds(seconds: float) -> int:
    """At least one: 0 would mean something else to some."""
    return max(1, round(seconds * 1_000))
