"""News for the open pages, sent as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

QUEUE = 500  # events kept for a page that does not read; beyond, it is told to fetch everything anew
BYE = json.dumps({"type": "bye"})
KEEP_ALIVE = 10.0  # seconds between signs of life, by which a closed page is noticed


class Hub:
    """Everybody who listens.  `publish` may be called from any thread."""

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Queue[str], asyncio.AbstractEventLoop] = {}

    def publish(self, kind: str, **content: Any) -> None:
        """Send one event to every open page."""
        text = json.dumps({"type": kind, **content})
        for queue, loop in list(self._listeners.items()):
            if not loop.is_closed():
                loop.call_soon_threadsafe(_put, queue, text)

    async def listen(self) -> AsyncIterator[str]:
        """The events from now on, in the format of EventSource; ends when the hub is closed."""
        queue: asyncio.Queue[str] = asyncio.Queue(QUEUE)
        self._listeners[queue] = asyncio.get_running_loop()
        try:
            yield "retry: 1000\n\n"
            text = ""
            while text != BYE:
                try:
                    text = await asyncio.wait_for(queue.get(), KEEP_ALIVE)
                except asyncio.TimeoutError:
                    yield ": still here\n\n"
                else:
                    yield f"data: {text}\n\n"
        finally:
            del self._listeners[queue]

    def close(self) -> None:
        """Let every listener go."""
        self.publish("bye")


def _put(queue: asyncio.Queue[str], text: str) -> None:
    if queue.full():
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(json.dumps({"type": "refresh"}))
    queue.put_nowait(text)
