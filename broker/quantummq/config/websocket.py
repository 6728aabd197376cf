"""Table `[listener.ws]`: MQTT over WebSocket."""

from typing import Annotated

from pydantic import AfterValidator, Field

from quantummq.config.table import Table


def _origin(text: str) -> str:
    """An origin as browsers send it: scheme, host and port, no path; or `*` for any."""
    if text == "*":
        return text
    scheme, separator, host = text.partition("://")
    if not separator or not scheme or not host or "/" in host:
        raise ValueError('write an origin like "https://example.org", without a path')
    return text.lower()


class WebSocket(Table):
    """WebSocket on this listener; `ws://` and `wss://` take nothing else."""

    enabled: bool = Field(
        default=True,
        description="Whether WebSocket is accepted beside MQTT on the same port (tcp, tls, unix).",
    )
    path: str = Field(
        default="",
        max_length=1_024,
        pattern=r"^(/[^\s?#]*)?$",
        description="The only request path accepted, such as /mqtt. Empty: any.",
    )
    allowed_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        default=(),
        max_length=1_024,
        description="Origins of web pages that may connect. A request with another Origin header "
        'is refused; programs send none. ["*"] allows every page.',
    )
