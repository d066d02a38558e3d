"""Frames read, resized and normalised ahead of the network, in a thread of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from torch import Tensor


class Prefetcher:
    """Prepares up to `ahead` frames before they are asked for, in a given order; use it in a `with` statement.

    Decoding and resizing release Python's lock, so they cost the network's thread nothing where a core is free.
    Leaving the block drops what was not begun and waits for the one frame in work: no thread outlives it.  `ahead` 0
    prepares every frame when it is asked for.
    """

    def __init__(
        self,
        prepare: Callable[[int], Tensor],
        frames: Iterable[int],
        *,
        ahead: int,
        needed: Callable[[int], bool] = lambda frame: True,
    ):
        """`prepare` makes the network's input of a frame; `needed` is asked, in the caller's thread, before a frame is
        begun (a frame whose features are cached is not read at all)."""
        self._prepare, self._needed, self._ahead = prepare, needed, ahead
        self._order = iter(frames)
        self._waiting: deque[tuple[int, Future[Tensor]]] = deque()
        self._worker: ThreadPoolExecutor | None = None

    def __enter__(self) -> Prefetcher:
        if self._ahead > 0:
            self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="frames")
            self._fill()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.clear()
        if self._worker is not None:
            self._worker.shutdown(wait=True, cancel_futures=True)

    def take(self, frame: int) -> Tensor:
        """The prepared frame.  What `prepare` raised is raised here."""
        while self._waiting and any(waiting == frame for waiting, _ in self._waiting):
            number, future = self._waiting.popleft()
            self._fill()
            if number == frame:
                return future.result()
        return self._prepare(frame)

    def _fill(self) -> None:
        while self._worker is not None and len(self._waiting) < self._ahead:
            frame = next((f for f in self._order if self._needed(f)), None)
            if frame is None:
                return
            self._waiting.append((frame, self._worker.submit(self._prepare, frame)))
