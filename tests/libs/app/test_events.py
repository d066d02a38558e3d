from __future__ import annotations

import asyncio
import json

from libs.app import events
from libs.app.events import Hub


def read(text: str) -> dict:
    return json.loads(text.removeprefix("data: "))


def test_every_listener_gets_every_event_in_order_from_any_thread():
    async def scenario():
        hub = Hub()
        first, second = hub.listen(), hub.listen()
        assert (await anext_(first)).startswith("retry") and (await anext_(second)).startswith("retry")
        await asyncio.to_thread(lambda: [hub.publish("frame", number=i) for i in range(3)])
        for listener in (first, second):
            assert [read(await anext_(listener))["number"] for _ in range(3)] == [0, 1, 2]
        await first.aclose()
        hub.close()
        assert read(await anext_(second))["type"] == "bye"
        assert [text async for text in second] == []
        assert hub._listeners == {}

    asyncio.run(scenario())


def test_a_page_that_does_not_read_costs_no_memory_and_is_told_to_refresh(monkeypatch):
    monkeypatch.setattr(events, "QUEUE", 5)

    async def scenario():
        hub = Hub()
        listener = hub.listen()
        await anext_(listener)
        for i in range(12):
            hub.publish("frame", number=i)
        await asyncio.sleep(0.05)
        [queue] = hub._listeners
        assert queue.qsize() <= 5
        assert read(await anext_(listener))["type"] == "refresh"
        await listener.aclose()

    asyncio.run(scenario())


async def anext_(iterator):
    return await iterator.__anext__()
