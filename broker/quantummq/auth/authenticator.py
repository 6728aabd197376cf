"""The protocols an authenticator keeps, in the core and in plugins alike."""

from typing import Protocol, runtime_checkable

from quantummq.auth.decision import AuthenticationRequest, Identity, Refusal, Step


@runtime_checkable
class Authenticator(Protocol):
    """Decides about a CONNECT by its user name, password, certificate or address."""

    async def authenticate(self, request: AuthenticationRequest) -> Identity | Refusal:
        """Who it is, or why it is not let in. An exception counts as a refusal."""
        ...


@runtime_checkable
class Exchange(Protocol):
    """One client's enhanced authentication, from its first data to a decision."""

    async def step(self, data: bytes | None) -> Step:
        """Takes the client's next Authentication Data; after a decision it is not called again."""
        ...


@runtime_checkable
class EnhancedAuthenticator(Protocol):
    """A mechanism of MQTT 5 enhanced authentication.

    Source: MQTT 5 §4.12.
    """

    @property
    def name(self) -> str:
        """The Authentication Method it answers to."""
        ...

    def start(self, request: AuthenticationRequest) -> Exchange:
        """A new exchange for the connection of `request`; its data goes to the first step."""
        ...
