"""Telling systemd how the service does, by the protocol of sd_notify(3)."""

import contextlib
import os
import socket
import time


def notify(*lines: str) -> None:
    """Sends `READY=1`, `STOPPING=1` and the like; does nothing where nobody asked."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path or path[0] not in "@/":
        return
    # A name that begins with @ is in the abstract namespace: its first byte is null.
    address = f"\0{path[1:]}" if path[0] == "@" else path
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier,
    ):
        notifier.sendto("\n".join(lines).encode(), address)


def notify_reloading() -> None:
    """Says that a reload began; READY=1 ends it (Type=notify-reload)."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
