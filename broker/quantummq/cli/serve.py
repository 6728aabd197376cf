"""What `run` does once its options are read: set up, serve until told to stop, report."""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING, Final

import click

from quantummq import __version__
from quantummq.broker import Broker
from quantummq.cli.notify import notify, notify_reloading
from quantummq.cli.observe import Observer
from quantummq.cli.reload import CertificateWatch
from quantummq.cli.settings import check_settings, read_settings
from quantummq.cli.sources import Sources
from quantummq.config import Config
from quantummq.config.store import PROFILES
from quantummq.errors import ConfigError, QuantumMQError
from quantummq.log import formatter, set_up, tell

if TYPE_CHECKING:
    from quantummq.cli.lan import LanCredentials

_LOG: Final = logging.getLogger("quantummq.run")
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def serve(sources: Sources) -> int:
    """Runs a broker until SIGTERM or SIGINT; the exit code of the process."""
    set_up("info", "auto")
    try:
        settings = read_settings(sources)
        config = settings.config
        set_up(config.log.level, config.log.format)
        if sources.lan:
            config = _prepare_lan(config)
        check_settings(config)
        _prepare_process(config)
        tell(_LOG, logging.INFO, "starting", version=__version__, configuration=settings.source)
        _say_who_is_let_in(config)
        _say_what_lasts(config)
        asyncio.run(_serve(config))
    except ConfigError as error:
        for each in error.all:
            tell(_LOG, logging.ERROR, str(each), where=each.where)
        return 1
    except QuantumMQError as error:
        tell(_LOG, logging.ERROR, str(error))
        return 1
    return 0


async def _serve(config: Config) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    hang_up = asyncio.Event()

    def stop_on(number: signal.Signals) -> None:
        for each in _STOP_SIGNALS:
            # A second signal, the same or the other, ends the process the hard way.
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        tell(_LOG, logging.INFO, "stopping; once more to stop at once", signal=number.name)
        stop.set()

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop_on, number)
    loop.add_signal_handler(signal.SIGHUP, hang_up.set)
    broker = Broker(config)
    observer = Observer(broker)
    async with broker:
        watch = CertificateWatch(config, broker.reload_tls)
        tasks: list[asyncio.Task[object]] = [
            asyncio.create_task(watch.follow(), name="certificates"),
            asyncio.create_task(_reload_on(hang_up, watch), name="SIGHUP"),
        ]
        observing = asyncio.create_task(observer.follow(stop), name="log")
        _announce(config, list(broker.addresses))
        notify("READY=1", f"STATUS=listening on {' '.join(broker.addresses)}")
        failure = asyncio.create_task(broker.failure(), name="failure")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait((failure, stopping), return_when=asyncio.FIRST_COMPLETED)
        notify("STOPPING=1")
        tasks += [stopping, failure]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        stop.set()
        in_time = await broker.stop()
        await observing
    if not failure.cancelled():
        # What is left cannot be trusted: whoever supervises this process starts it again.
        raise failure.result()
    if not in_time:
        tell(_LOG, logging.WARNING, "clients were cut off that did not read in time")
    tell(_LOG, logging.INFO, "stopped")


async def _reload_on(hang_up: asyncio.Event, watch: CertificateWatch) -> None:
    """Loads certificates at each SIGHUP."""
    while True:
        await hang_up.wait()
        hang_up.clear()
        notify_reloading()
        await watch.load()
        notify("READY=1")


def _announce(config: Config, addresses: list[str]) -> None:
    """The line that says ready: in the log, and on standard output if that is another file.

    So a terminal, or a script that reads both as one, sees it once; one that reads either, too.
    """
    tell(_LOG, logging.INFO, "ready", addresses=addresses)
    with contextlib.suppress(OSError, ValueError):
        if os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno()):
            return
        if sys.stdout.isatty() and sys.stderr.isatty():
            return
        record = _LOG.makeRecord(_LOG.name, logging.INFO, "", 0, "ready", (), None)
        record.quantummq_fields = {"addresses": addresses}
        form = formatter(config.log.format, is_terminal=sys.stdout.isatty())
        click.echo(form.format(record))
        sys.stdout.flush()


def _prepare_process(config: Config) -> None:
    """Makes the data folder, and lets the process open as many files as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    # Each connection is one; the rest are listeners, files and the interpreter's own.
    if files < config.limits.connections + 64:
        tell(
            _LOG,
            logging.WARNING,
            "the limit of open files is below limits.connections; raise it (ulimit -n)",
            open_files=files,
            connections=config.limits.connections,
        )
    try:
        config.broker.data_path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        why = f"cannot be made: {error.strerror or error}; name another folder with --data DIR"
        raise ConfigError("broker.data_dir", f"{config.broker.data_path} {why}") from None


def _prepare_lan(config: Config) -> Config:
    # Hashing passwords takes memory that other brokers need not spend.
    from quantummq.cli.lan import with_credentials

    made = with_credentials(config)
    if made is None:
        message = "--lan: authentication is configured, so no credentials were made"
        tell(_LOG, logging.INFO, message)
        return config
    _say_credentials(made)
    return made.config


def _say_credentials(made: "LanCredentials") -> None:
    """Prints the new password once, to standard output; it never reaches a log."""
    if made.password is None:
        message = "--lan: the user was made on an earlier start, its password was printed then"
        way_out = f"quantummq passwd {made.file} {made.user}"
        tell(_LOG, logging.INFO, message, user=made.user, file=str(made.file), new_one_with=way_out)
        return
    message = "--lan: made a user; the password is on standard output, this once"
    tell(_LOG, logging.INFO, message, user=made.user, file=str(made.file))
    click.echo(f"user: {made.user}\npassword: {made.password}")
    sys.stdout.flush()


def _say_what_lasts(config: Config) -> None:
    """Says what the store promises, and where it is."""
    profile = config.store.profile
    folder = {} if profile == "memory" else {"folder": str(config.broker.data_path)}
    tell(_LOG, logging.INFO, f"store: {PROFILES[profile]}", profile=profile, **folder)


def _say_who_is_let_in(config: Config) -> None:
    """Says for each listener what the safe defaults, or the configuration, came to."""
    for listener in config.listeners:
        anonymous = config.allows_anonymous(listener)
        authenticates = config.needs_verdict(listener)
        if anonymous and not listener.address.is_local:
            message = "ANYONE who reaches this address is let in without a password"
            tell(_LOG, logging.WARNING, message, listener=listener.name)
        elif anonymous and not authenticates:
            message = "clients of this machine are let in without a password"
            tell(_LOG, logging.INFO, message, listener=listener.name)
        elif anonymous:
            message = "clients are let in without a password, or with one of a known user"
            tell(_LOG, logging.INFO, message, listener=listener.name)
        else:
            tell(_LOG, logging.INFO, "clients need credentials", listener=listener.name)
