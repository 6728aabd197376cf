"""Asks the authenticators about parked connections, within bounds of number and time.

The engine has the last word on time: what is answered too late has no effect there.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from quantummq.auth import AuthenticationRequest, Continue, Exchange, Identity, Refusal, Step
from quantummq.clock import ManualClock, SystemClock, Timer
from quantummq.engine import AuthenticationAnswer
from quantummq.engine import AuthenticationRequest as Question

_log = logging.getLogger("quantummq.auth")

_DENIED: Final = Refusal()
_BUSY: Final = Refusal(0x89)
# An exchange takes a few round trips; one that was left alone is forgotten after this.
_EXCHANGE_S_MAX: Final = 60.0

ConnectionKey = tuple[int, int, int]
"""Shard, slot and generation of a connection."""


class Judge(Protocol):
    """What is asked; `quantummq.auth.Authenticators` is one."""

    async def authenticate(self, request: AuthenticationRequest) -> Identity | Refusal:
        """Decides about a CONNECT without Authentication Method."""
        ...

    def begin(self, request: AuthenticationRequest) -> Exchange | Refusal:
        """Begins an enhanced authentication."""
        ...


@dataclass(frozen=True, slots=True)
class DecisionLimits:
    """Bounds of what is decided at a time.

    Attributes:
        pending: Decisions under way, and exchanges kept between their steps; one more is refused
            with 0x89, and the oldest exchange is forgotten.
        timeout_s: Seconds a decision may take; then it is no.
    """

    pending: int
    timeout_s: float


@dataclass(slots=True)
class _Batch:
    """A task that decides, and what it has decided and not yet said."""

    task: asyncio.Task[None]
    answers: list[AuthenticationAnswer]
    timer: Timer | None = None


class Decisions:
    """Questions in, answers out.

    Coroutines run one after another in one task for each batch; only one that suspends keeps its
    task, and the rest of the batch goes on in another.

    Args:
        judge: Who decides.
        limits: How many and how long.
        clock: Counts the time.
        answer: Takes answers to the engine.
    """

    def __init__(
        self,
        judge: Judge,
        limits: DecisionLimits,
        clock: SystemClock | ManualClock,
        answer: Callable[[list[AuthenticationAnswer]], None],
    ) -> None:
        self._judge = judge
        self._limits = limits
        self._clock = clock
        self._answer = answer
        self._waiting: deque[Question] = deque()
        self._leader: _Batch | None = None
        self._batches: set[asyncio.Task[None]] = set()
        self._deciding = 0
        self._exchanges: dict[ConnectionKey, tuple[Exchange, float]] = {}
        self._stopped = False

    def ask(self, question: Question) -> None:
        """Sees to it that `question` is answered."""
        if len(self._waiting) + self._deciding >= self._limits.pending:
            self._answer([_answer(question, _BUSY)])
            return
        self._waiting.append(question)
        self._lead()

    async def stop(self) -> None:
        """Leaves all questions open; returns when nothing runs any more."""
        self._stopped = True
        self._waiting.clear()
        self._exchanges.clear()
        batches = list(self._batches)
        for task in batches:
            task.cancel()
        await asyncio.gather(*batches, return_exceptions=True)

    def _lead(self) -> None:
        """Starts a batch with what waits, unless one is at it."""
        if self._leader is not None or not self._waiting:
            return
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._work(), name="quantummq decisions")
        self._leader = _Batch(task, [])
        self._batches.add(task)
        task.add_done_callback(self._batches.discard)

    async def _work(self) -> None:
        """Answers what waits, until a decision suspends: then that one is its last."""
        batch = self._leader
        assert batch is not None, "started by _lead alone"
        # It runs when this task has suspended, or has ended.
        asyncio.get_running_loop().call_soon(self._follow, batch)
        try:
            while self._waiting and self._leader is batch:
                question = self._waiting.popleft()
                self._deciding += 1
                try:
                    answer = await self._decide(question)
                finally:
                    self._deciding -= 1
                # Not the list of before: its answers went out while this one waited.
                batch.answers.append(answer)
        finally:
            if batch.timer is not None:
                batch.timer.cancel()
            if self._leader is batch:
                self._leader = None
            self._flush(batch)

    def _follow(self, batch: _Batch) -> None:
        """If `batch` waits for something, its answers go out and another takes the lead."""
        if self._leader is batch:
            self._leader = None
            self._flush(batch)
            batch.timer = self._clock.call_later(self._limits.timeout_s, batch.task.cancel)
            self._lead()

    def _flush(self, batch: _Batch) -> None:
        if batch.answers and not self._stopped:
            self._answer(batch.answers)
            batch.answers = []

    async def _decide(self, question: Question) -> AuthenticationAnswer:
        """One decision; whatever goes wrong means no."""
        try:
            if question.method is None:
                return _answer(question, await self._judge.authenticate(_request(question)))
            return _answer(question, await self._step(question))
        except asyncio.CancelledError:
            if not self._stopped:
                _log.warning("%s: no decision in %g s", _who(question), self._limits.timeout_s)
        except Exception as error:  # The root of a policy: one that fails denies.
            _log.error("%s: the authenticator failed: %s", _who(question), _place(error))
        return _answer(question, _DENIED)

    async def _step(self, question: Question) -> Step:
        """One step of an enhanced authentication."""
        key = (question.shard, question.slot, question.generation)
        known = self._exchanges.pop(key, None)
        if question.step == "continue":
            if known is None:
                return _DENIED
            exchange, began_s = known
        else:
            begun = self._judge.begin(_request(question))
            if isinstance(begun, Refusal):
                return begun
            exchange, began_s = begun, self._clock.seconds()
        step = await exchange.step(question.data)
        if isinstance(step, Continue):
            self._forget(self._clock.seconds() - _EXCHANGE_S_MAX)
            self._exchanges[key] = (exchange, began_s)
        return step

    def _forget(self, before_s: float) -> None:
        """Drops exchanges that began before a moment, and the oldest above the bound."""
        for key, (_, began_s) in list(self._exchanges.items()):
            if began_s >= before_s and len(self._exchanges) < self._limits.pending:
                break
            del self._exchanges[key]


def _request(question: Question) -> AuthenticationRequest:
    """The question in the shape authenticators know."""
    return AuthenticationRequest(
        client_id=question.client_id,
        username=question.username,
        password=question.password,
        listener=question.listener,
        mount_point=question.mount_point,
        peer=question.peer,
        protocol_version=question.protocol_level,
        certificate=question.certificate,
        method=question.method,
        data=question.data,
        current_user=question.user if question.step == "reauthenticate" else None,
    )


def _answer(question: Question, step: Step) -> AuthenticationAnswer:
    """A decision in the shape the engine knows.

    Raises:
        TypeError, ValueError: it is none.
    """
    match step:
        case Identity():
            return AuthenticationAnswer.allow(
                question, user=step.user, data=step.data, assigned_client_id=step.client_id
            )
        case Continue():
            return AuthenticationAnswer.proceed(question, data=step.data)
        case Refusal():
            return AuthenticationAnswer.refuse(
                question, reason=step.reason_code, reason_string=step.reason_string
            )
        case _:
            raise TypeError(f"an authenticator answered with {type(step).__name__}")


def _who(question: Question) -> str:
    return f"client {question.client_id!r}, user {question.username!r} from {question.peer}"


def _place(error: Exception) -> str:
    """Type and place of an error; its message could hold what the client sent."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    return f"{type(error).__name__} in {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
