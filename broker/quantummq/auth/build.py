"""From the configuration to the one thing the broker asks when a client connects."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from quantummq.auth.authenticator import Authenticator, EnhancedAuthenticator, Exchange
from quantummq.auth.decision import (
    BAD_AUTHENTICATION_METHOD,
    NOT_AUTHORIZED,
    AuthenticationRequest,
    Identity,
    Refusal,
    Step,
)
from quantummq.config import Config

_NEEDED = Refusal(NOT_AUTHORIZED, "credentials are needed")


@dataclass(frozen=True, slots=True)
class Authenticators:
    """All that decides who is let in.

    Attributes:
        anonymous_listeners: Names of the listeners that let in clients without credentials.
        passwords: Checks user name and password, or None.
        methods: Enhanced mechanisms by Authentication Method.
    """

    anonymous_listeners: frozenset[str] = frozenset()
    passwords: Authenticator | None = None
    methods: Mapping[str, EnhancedAuthenticator] | None = None

    async def authenticate(self, request: AuthenticationRequest) -> Identity | Refusal:
        """Decides about a CONNECT without Authentication Method."""
        if request.username is None and request.password is None:
            if request.listener in self.anonymous_listeners:
                return Identity("")
            return _NEEDED
        if self.passwords is None:
            return _NEEDED
        return await self.passwords.authenticate(request)

    def begin(self, request: AuthenticationRequest) -> Exchange | Refusal:
        """The exchange for the Authentication Method of `request`; keep it until it decides.

        Give `request.data` to its first step.
        """
        mechanism = (self.methods or {}).get(request.method or "")
        if mechanism is None:
            return Refusal(BAD_AUTHENTICATION_METHOD, "unknown authentication method")
        exchange = mechanism.start(request)
        if request.current_user is None:
            return exchange
        return _SameUser(exchange, request.current_user)

    def close(self) -> None:
        """Ends threads that authenticators have."""
        for part in (self.passwords, *(self.methods or {}).values()):
            close = getattr(part, "close", None)
            if close is not None:
                close()


class _SameUser:
    """A re-authentication: another identity cannot take over the connection and its session."""

    def __init__(self, exchange: Exchange, user: str) -> None:
        self._exchange = exchange
        self._user = user

    async def step(self, data: bytes | None) -> Step:
        """As the exchange decides, but for that one user alone."""
        result = await self._exchange.step(data)
        if isinstance(result, Identity):
            if result.user != self._user:
                return Refusal(NOT_AUTHORIZED, "authentication failed")
            return replace(result, client_id=None)
        return result


def build(config: Config, *, monotonic: Callable[[], float] = time.monotonic) -> Authenticators:
    """The authenticators `config` asks for; loads only what they need.

    Args:
        config: `[authentication]`, `[limits]` and who may be anonymous are used.
        monotonic: The clock, in seconds.

    Raises:
        CredentialsError: a file of users cannot be used.
    """
    table = config.authentication
    passwords: Authenticator | None = None
    if table.password_file is not None:
        from quantummq.auth.password_file import PasswordFile, PasswordFileOptions

        options = PasswordFileOptions(
            threads=table.verification_threads,
            patience_s=config.limits.decision_timeout_s,
            reload_interval_s=table.reload_interval_s,
            monotonic=monotonic,
        )
        passwords = PasswordFile(table.password_file, options)
    methods: dict[str, EnhancedAuthenticator] = {}
    if table.scram_file is not None:
        from quantummq.auth.scram import Scram

        scram = Scram(
            table.scram_file, reload_interval_s=table.reload_interval_s, monotonic=monotonic
        )
        methods[scram.name] = scram
    anonymous = frozenset(
        listener.name for listener in config.listeners if config.allows_anonymous(listener)
    )
    return Authenticators(anonymous, passwords, methods)
