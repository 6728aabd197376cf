"""The whole configuration: one model, as the file is."""

from pydantic import Field, model_validator

from quantummq.config.authentication import Authentication
from quantummq.config.broker import Broker
from quantummq.config.limits import Limits
from quantummq.config.listener import Listener
from quantummq.config.log import Log
from quantummq.config.mqtt import Mqtt
from quantummq.config.store import Store
from quantummq.config.table import Table
from quantummq.config.tls import Tls


class Config(Table):
    """The whole configuration. `Config()` is a broker for this machine alone."""

    broker: Broker = Field(default=Broker(), description="The process as a whole.")
    listeners: tuple[Listener, ...] = Field(
        default=(Listener(),),
        validation_alias="listener",
        min_length=1,
        max_length=256,
        description="Where clients connect, one [[listener]] each.",
    )
    tls: Tls | None = Field(
        default=None,
        description="Certificates for every tls:// and wss:// listener without its own.",
    )
    authentication: Authentication = Field(
        default=Authentication(), description="Where users and their secrets are."
    )
    limits: Limits = Field(default=Limits(), description="Bounds of the whole broker.")
    mqtt: Mqtt = Field(default=Mqtt(), description="What the broker offers to every client.")
    store: Store = Field(default=Store(), description="What lasts, and how surely.")
    log: Log = Field(default=Log(), description="What is written to standard error.")

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Config":
        seen: set[str] = set()
        for listener in self.listeners:
            if listener.name in seen:
                raise ValueError(
                    f"two listeners are called {listener.name!r}; give each a name of its own"
                )
            seen.add(listener.name)
        return self

    def tls_of(self, listener: Listener) -> Tls | None:
        """The certificates of `listener`: its own, else those of `[tls]`; None without TLS."""
        if not listener.address.is_tls:
            return None
        return listener.tls or self.tls

    def allows_anonymous(self, listener: Listener, *, authenticated: bool = False) -> bool:
        """Whether `listener` lets in clients that show no credentials.

        By its own word, else by `broker.anonymous`; by default only where no authentication is
        configured and none but this machine, or holders of a certificate, can connect.

        Args:
            listener: One of this configuration.
            authenticated: Whether there are authenticators besides those configured.
        """
        asked = listener.anonymous if listener.anonymous is not None else self.broker.anonymous
        if asked is not None:
            return asked
        if authenticated or self.authentication.is_configured:
            return False
        return listener.address.is_local or self._asks_certificates(listener)

    def needs_verdict(self, listener: Listener, *, authenticated: bool = False) -> bool:
        """Whether each CONNECT on `listener` is put to the authenticators; see above."""
        configured = authenticated or self.authentication.is_configured
        return configured or not self.allows_anonymous(listener)

    def _asks_certificates(self, listener: Listener) -> bool:
        tls = self.tls_of(listener)
        return tls is not None and tls.client_certificate == "require"
