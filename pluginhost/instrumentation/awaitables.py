"""Timing over an await: wall time from the first step to the last, CPU only while it runs.

A 1:N hook hands its results to a program that may look at them, so a coroutine is replaced by a
coroutine, and nothing else is replaced at all.
"""

from __future__ import annotations

import sys
import types
import weakref
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from pluginhost.instrumentation.failures import failure_of, without_caller
from pluginhost.journal import Failure


def driven(
    steps: Any, step: Callable[[Callable[[Any], Any], Any], Any]
) -> Generator[Any, Any, Any]:
    """Drive `steps` as `yield from` would (PEP 380), each step made by `step(call, argument)`."""
    value: Any = None
    thrown: BaseException | None = None
    while True:
        try:
            if thrown is not None:
                throw = getattr(steps, "throw", None)
                if throw is None:
                    raise thrown  # noqa: TRY301  # as `yield from` does
                awaited = step(throw, thrown)
            elif value is None:
                awaited = (
                    step(next, steps) if hasattr(steps, "__next__") else step(steps.send, None)
                )
            else:
                awaited = step(steps.send, value)
        except StopIteration as stop:
            return stop.value
        except BaseException as error:
            without_caller(error)
            raise
        thrown = None
        try:
            value = yield awaited
        except GeneratorExit:
            close = getattr(steps, "close", None)
            if close is not None:
                close()
            raise
        except BaseException as error:
            without_caller(error)
            thrown = error


def awaited(
    coroutine: types.CoroutineType[Any, Any, Any],
    clock: Callable[[], int],
    step: Callable[[Callable[[Any], Any], Any], Any],
    record_span: Callable[[int, Failure | None], None],
    plugin_id: str,
) -> Coroutine[Any, Any, Any]:
    """Return a coroutine that is `coroutine` and has every step of it made by `step`.

    When it is done, `record_span(start_ns, failure)` is told of all of its time from the first step
    on, waiting included. One that is never awaited says so once, as it would have without us.
    """

    async def awaiting() -> Any:
        start, failure = clock(), None
        try:
            return await _steps(coroutine, step)
        except BaseException as error:
            failure = failure_of(error, plugin_id)
            without_caller(error)
            raise
        finally:
            record_span(start, failure)

    mine: Any = awaiting()
    mine.__name__, mine.__qualname__ = coroutine.__name__, coroutine.__qualname__
    weakref.finalize(mine, coroutine.close).atexit = False
    return mine  # type: ignore[no-any-return]


@types.coroutine
def _steps(
    coroutine: Any, step: Callable[[Callable[[Any], Any], Any], Any]
) -> Generator[Any, Any, Any]:
    try:
        return (yield from driven(coroutine, step))
    except BaseException as error:
        without_caller(error)
        raise


def future_watched(
    result: object,
    clock: Callable[[], int],
    record_span: Callable[[int, Failure | None], None],
) -> None:
    """If `result` is a future, have `record_span(start_ns, None)` called when it is done."""
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is not None and asyncio.isfuture(result):
        future: Any = result
        start = clock()
        future.add_done_callback(lambda _: record_span(start, None))
