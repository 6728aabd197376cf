"""The configuration: TOML into frozen models, one per table.

Stable names, for the rest of the package and for programs that embed the broker:

    Config           .broker .listeners .tls .authentication .limits .mqtt .log
                     .tls_of(listener) .allows_anonymous(listener) .needs_verdict(listener)
    Broker           [broker]          .shard_count .data_path
    Listener         [[listener]]      .address .accepts_mqtt .accepts_websocket …
    Address          of a listener     .scheme .host .port .path .is_unix .is_tls .is_local
    Tls              [tls], [listener.tls]
    Proxy            [listener.proxy]
    WebSocket        [listener.ws]
    Authentication   [authentication]
    Limits           [limits]
    Mqtt             [mqtt]
    Store            [store]
    Log              [log]
    load, check      in config.load and config.check
"""

from quantummq.config.address import Address, parse_address
from quantummq.config.authentication import Authentication
from quantummq.config.broker import Broker
from quantummq.config.config import Config
from quantummq.config.limits import Limits
from quantummq.config.listener import Listener
from quantummq.config.log import Log
from quantummq.config.mqtt import Mqtt
from quantummq.config.proxy import Proxy
from quantummq.config.store import Store
from quantummq.config.tls import Tls
from quantummq.config.websocket import WebSocket

__all__ = [
    "Address",
    "Authentication",
    "Broker",
    "Config",
    "Limits",
    "Listener",
    "Log",
    "Mqtt",
    "Proxy",
    "Store",
    "Tls",
    "WebSocket",
    "parse_address",
]
