"""Table `[listener.proxy]`: the PROXY protocol in front of a listener."""

from typing import Annotated

from pydantic import AfterValidator, Field

from quantummq.config.table import Table


def _network(text: str) -> str:
    """A CIDR network in its canonical form; a bare address is a network of one."""
    import ipaddress

    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"{error}; write a network like 10.0.0.0/24 or fd00::/64") from None


class Proxy(Table):
    """PROXY protocol v1 and v2: with this table, every connection must begin with its header."""

    trusted: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        min_length=1,
        max_length=1_024,
        description="Networks (CIDR) of the proxies whose header is believed. Connections from "
        "elsewhere, or without a header, are closed.",
    )
