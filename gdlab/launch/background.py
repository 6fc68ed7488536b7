"""Two threads beside the computation: one computes ahead, one stores behind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from gdlab.tracking.keys import RunData

T = TypeVar("T")


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, the next one being made while one is used."""
    made: queue.Queue[Any] = queue.Queue(maxsize=1)
    done = object()

    def make() -> None:
        try:
            for item in items:
                made.put(item)
            made.put(done)
        except BaseException as error:  # carried over to the thread that waits
            made.put(error)

    threading.Thread(target=make, daemon=True).start()
    while (item := made.get()) is not done:
        if isinstance(item, BaseException):
            raise item
        yield item


class Writes:
    """Runs on their way to the store, one batch behind the computation.

    Args:
        store: None keeps nothing.
        force: whether finished runs are replaced.
    """

    def __init__(self, writer: ThreadPoolExecutor, store: Any, force: bool) -> None:
        self.writer, self.store, self.force = writer, store, force
        self.pending: Future[None] | None = None

    def __enter__(self) -> Writes:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self._wait()

    def add(
        self,
        runs: Sequence[RunData],
        then: Callable[[], None],
        around: AbstractContextManager[None] | None = None,
    ) -> None:
        """Stores the runs within a context."""
        self._wait()
        self.pending = self.writer.submit(self._write, runs, then, around or nullcontext())

    def _write(
        self,
        runs: Sequence[RunData],
        then: Callable[[], None],
        around: AbstractContextManager[None],
    ) -> None:
        with around:
            if self.store is not None:
                self.store.write(runs, force=self.force)
        then()

    def _wait(self) -> None:
        if self.pending is not None:
            self.pending.result()
