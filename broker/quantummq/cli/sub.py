"""`quantummq sub`: the options; what they do is in `subscribing`."""

import sys
from dataclasses import dataclass

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
  quantummq sub -t 'lab/#' -v                topic and payload, a line each
  quantummq sub -t lab/temp -C 1 -W 5        one message, in five seconds
  quantummq sub -t '#' --json                a JSON object per message
  quantummq sub -t '#' -F '%I %t %q %x'      a format of your own
  quantummq sub -t 'old/#' --remove-retained -W 2
  quantummq sub -i desk -c -q 1 -t 'lab/#'   a session that outlives this one

\b
Formats of -F:
  %t topic  %p payload  %x %X payload in hex  %l its length  %q QoS
  %r retain  %m packet id  %j JSON  %J JSON with a JSON payload
  %I time (ISO 8601)  %U time (Unix)  %@X strftime's %X  %% a percent sign
  %A alias  %C content type  %D correlation data  %E expiry
  %F payload format  %P user properties  %R response topic
  %S subscription ids
  \\n \\t \\0 and the like; %10t, %-10t and %05l set a width
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `sub` asks for and how it prints it.

    Attributes:
        connection: From which broker.
        properties: What -D gave.
        filters: Topic Filters to subscribe to.
        dropped_filters: Topic Filters whose messages are not printed.
        unsubscribe: Topic Filters to unsubscribe from.
        qos: 0, 1 or 2.
        count: Messages until the end; 0: no end.
        timeout_s: Seconds until the end; 0: no end.
        form: A format of `output_format`, or empty for the payload.
        verbose: Whether the topic comes before the payload.
        pretty: Whether JSON is spread over lines.
        percentage: How many of the messages are printed.
        newline: Whether each message ends with a line feed.
        ignore_stale: Whether messages retained before are not printed.
        retained_only: Whether to end at the first message that was not retained before.
        remove_retained: Whether to remove the retained messages that come.
        retain_as_published: Whether RETAIN is kept as it was published.
        exit_after_subscribe: Whether to end once subscribed.
    """

    connection: Connection
    properties: list[Property]
    filters: tuple[str, ...]
    dropped_filters: tuple[str, ...]
    unsubscribe: tuple[str, ...]
    qos: int
    count: int
    timeout_s: float
    form: str
    verbose: bool
    pretty: bool
    percentage: float
    newline: bool
    ignore_stale: bool
    retained_only: bool
    remove_retained: bool
    retain_as_published: bool
    exit_after_subscribe: bool


@click.command("sub", cls=ClientCommand, epilog=_EPILOG)
@click.option("-t", "--topic", "filters", multiple=True, help="Topic Filter; may be repeated.")
@click.option("-T", "--filter-out", multiple=True, help="Do not print what matches this filter.")
@click.option("-U", "--unsubscribe", multiple=True, help="Unsubscribe from this filter.")
@click.option("-q", "--qos", default=0, type=click.IntRange(0, 2), help="QoS.  [0]")
@click.option(
    *("-C", "count"),
    default=0,
    type=click.IntRange(0),
    metavar="COUNT",
    help="End after COUNT messages.",
)
@click.option(
    *("-W", "timeout"),
    default=0.0,
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="End after SECONDS.",
)
@click.option("-F", "form", default="", metavar="FORMAT", help="Print messages so; see below.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per message.")
@click.option("--pretty", is_flag=True, help="Spread JSON over lines.")
@click.option(
    "--random-filter",
    default=100.0,
    type=click.FloatRange(0.1, 100),
    help="Print about this percentage of the messages.  [100]",
)
@click.option("-v", "--verbose", is_flag=True, help="Print the topic before the payload.")
@click.option("-N", "no_newline", is_flag=True, help="No line feed after a message.")
@click.option("-R", "ignore_stale", is_flag=True, help="Skip messages retained before.")
@click.option("--retained-only", is_flag=True, help="End at the first that was not retained.")
@click.option("--remove-retained", is_flag=True, help="Remove the retained messages that come.")
@click.option("--retain-as-published", is_flag=True, help="Keep RETAIN as it was published.")
@click.option("-E", "exit_after_subscribe", is_flag=True, help="End once subscribed.")
@connection_options
@click.pass_context
def command(
    ctx: click.Context,
    *,
    filters: tuple[str, ...],
    filter_out: tuple[str, ...],
    unsubscribe: tuple[str, ...],
    qos: int,
    count: int,
    timeout: float,
    form: str,
    as_json: bool,
    pretty: bool,
    random_filter: float,
    verbose: bool,
    no_newline: bool,
    ignore_stale: bool,
    retained_only: bool,
    remove_retained: bool,
    retain_as_published: bool,
    exit_after_subscribe: bool,
    **given: object,
) -> None:
    """Subscribe to topics and print what comes, with the options of mosquitto_sub.

    -D COMMAND PROPERTY VALUE sets an MQTT 5 property of connect, subscribe, unsubscribe,
    will or disconnect.

    Exit codes: 0 at the end, 1 for an error, 27 when -W ran out.
    """
    connection, url_topic = from_url(take(given))
    topics = (*filters, url_topic) if url_topic else filters
    if not topics and not unsubscribe:
        raise click.UsageError("name a topic filter with -t")
    for each in (*topics, *filter_out, *unsubscribe):
        _check_filter(each)
    if as_json and form:
        raise click.UsageError("give --json or -F, not both")
    wanted = Wanted(
        connection=connection,
        properties=given_properties(ctx),
        filters=topics,
        dropped_filters=filter_out,
        unsubscribe=unsubscribe,
        qos=qos,
        count=count,
        timeout_s=timeout,
        form="%j" if as_json else form,
        verbose=verbose,
        pretty=pretty,
        percentage=random_filter,
        newline=not no_newline,
        ignore_stale=ignore_stale,
        retained_only=retained_only,
        remove_retained=remove_retained,
        retain_as_published=retain_as_published,
        exit_after_subscribe=exit_after_subscribe,
    )
    from quantummq.cli.subscribing import subscribe

    sys.exit(subscribe(wanted))


def _check_filter(topic_filter: str) -> None:
    """Whether the wildcards are where MQTT 5 §4.7.1 allows them.

    Raises:
        click.UsageError: they are not, or it is empty.
    """
    *levels, last = topic_filter.split("/")
    misplaced = [level for level in levels if (len(level) > 1 and "+" in level) or "#" in level]
    if not topic_filter or misplaced or (len(last) > 1 and ("+" in last or "#" in last)):
        why = "+ stands for one whole level, # for all that follow, at the end"
        raise click.UsageError(f"{topic_filter!r} is not a Topic Filter: {why}")
