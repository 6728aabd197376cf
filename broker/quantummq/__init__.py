"""QuantumMQ: an MQTT broker on a queue engine.

`async with Broker(config) as broker:` is the whole entry point; see `quantummq.broker`,
`quantummq.config` and `quantummq.auth`. Importing this package loads none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantummq.broker import Broker
    from quantummq.clock import ManualClock
    from quantummq.config import Config
    from quantummq.engine import EngineError, Message, RefusedError
    from quantummq.errors import ConfigError, QuantumMQError

__version__ = "0.1.0"

__all__ = [
    "Broker",
    "Config",
    "ConfigError",
    "EngineError",
    "ManualClock",
    "Message",
    "QuantumMQError",
    "RefusedError",
    "__version__",
]

_HOMES = {
    "Broker": "quantummq.broker",
    "Config": "quantummq.config",
    "ConfigError": "quantummq.errors",
    "EngineError": "quantummq.engine",
    "ManualClock": "quantummq.clock",
    "Message": "quantummq.engine",
    "QuantumMQError": "quantummq.errors",
    "RefusedError": "quantummq.engine",
}


def __getattr__(name: str) -> object:
    """Loads a public name when it is first asked for, so that commands load what they need."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
