"""`quantummq pub`: the options; what they do is in `publishing`."""

import sys
from dataclasses import dataclass
from pathlib import Path

import click

from quantummq.cli.connection import (
    ClientCommand,
    Connection,
    Property,
    connection_options,
    from_url,
    given_properties,
    take,
)

_EPILOG = """\b
Examples:
  quantummq pub -t lab/temp -m 21
  quantummq pub -t lab/temp -m 21 -q 1 -r        QoS 1, retained
  quantummq pub -t lab/temp -r -n                remove the retained message
  quantummq pub -t cam/picture -f picture.jpg    a file
  sensor | quantummq pub -t lab/log -l           each line of standard input
  quantummq pub -L mqtts://me:secret@broker.example/lab/temp -m 21
  quantummq pub -t a -m b -D publish user-property key value
"""


@dataclass(frozen=True, slots=True)
class Publication:
    """What `pub` sends.

    Attributes:
        connection: To which broker.
        properties: What -D gave.
        topic: Topic Name.
        payload: The one message, or None for one per line of standard input.
        qos: 0, 1 or 2.
        retain: RETAIN.
        repeat: How often, 1 or more.
        repeat_delay_s: Seconds between two.
        inflight_max: Messages of QoS 1 and 2 under way at a time.
    """

    connection: Connection
    properties: list[Property]
    topic: str
    payload: bytes | None
    qos: int
    retain: bool
    repeat: int
    repeat_delay_s: float
    inflight_max: int


@click.command("pub", cls=ClientCommand, epilog=_EPILOG)
@click.option("-t", "--topic", help="Topic Name.")
@click.option("-m", "--message", help="The payload.")
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The payload is in this file.",
)
@click.option("-l", "--stdin-line", is_flag=True, help="A message per line of standard input.")
@click.option("-s", "--stdin-file", is_flag=True, help="The payload is all of standard input.")
@click.option("-n", "--null-message", is_flag=True, help="An empty payload.")
@click.option("-q", "--qos", default=0, type=click.IntRange(0, 2), help="QoS.  [0]")
@click.option("-r", "--retain", is_flag=True, help="Retain the message.")
@click.option("--repeat", default=1, type=click.IntRange(1), help="Publish so often.  [1]")
@click.option("--repeat-delay", default=0.0, type=click.FloatRange(0), help="Seconds between.  [0]")
@click.option(
    "-M",
    "--max-inflight",
    default=1_000,
    type=click.IntRange(1, 65_535),
    help="QoS 1 and 2 messages under way at a time.  [1000]",
)
@connection_options
@click.pass_context
def command(
    ctx: click.Context,
    *,
    topic: str | None,
    message: str | None,
    file: Path | None,
    stdin_line: bool,
    stdin_file: bool,
    null_message: bool,
    qos: int,
    retain: bool,
    repeat: int,
    repeat_delay: float,
    max_inflight: int,
    **given: object,
) -> None:
    """Publish messages, with the options of mosquitto_pub.

    -D COMMAND PROPERTY VALUE sets an MQTT 5 property of connect, publish, will or disconnect.
    """
    connection, url_topic = from_url(take(given))
    name = topic or url_topic
    if name is None:
        raise click.UsageError("name a topic with -t")
    if "+" in name or "#" in name:
        why = f"{name!r} is a Topic Filter; name one topic, without the wildcards + and #"
        raise click.UsageError(why)
    sources = [message is not None, file is not None, stdin_line, stdin_file, null_message]
    if sum(sources) != 1:
        raise click.UsageError("give exactly one of -m, -f, -l, -s and -n")
    payload: bytes | None = b""
    if message is not None:
        payload = message.encode("utf-8", "surrogateescape")
    elif file is not None:
        payload = file.read_bytes()
    elif stdin_file:
        payload = sys.stdin.buffer.read()
    elif stdin_line:
        payload = None
    from quantummq.cli.publishing import publish

    publication = Publication(
        connection=connection,
        properties=given_properties(ctx),
        topic=name,
        payload=payload,
        qos=qos,
        retain=retain,
        repeat=repeat,
        repeat_delay_s=repeat_delay,
        inflight_max=max_inflight,
    )
    sys.exit(publish(publication))
