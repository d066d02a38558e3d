"""Reading ahead: the order, errors, and that no thread stays behind."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor

from libs.prefetch import Prefetcher


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("frames")]


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_frames_come_as_asked(ahead):
    with Prefetcher(lambda frame: torch.tensor(frame), [3, 2, 1, 5, 6], ahead=ahead) as reader:
        assert [int(reader.take(frame)) for frame in (3, 1, 5, 4, 6)] == [3, 1, 5, 4, 6]  # 2 skipped, 4 not announced
    assert not reading_threads()


def test_only_needed_frames_are_read_and_never_more_than_asked_ahead():
    read, enough = [], threading.Event()

    def prepare(frame: int) -> Tensor:
        read.append(frame)
        if len(read) == 2:
            enough.set()
        return torch.tensor(frame)

    with Prefetcher(prepare, range(10), ahead=2, needed=lambda frame: frame % 2 == 0) as reader:
        assert enough.wait(10)
        assert read == [0, 2]
        reader.take(0)
    assert read[:2] == [0, 2] and set(read) <= {0, 2, 4}


def test_an_error_is_raised_where_the_frame_is_taken_and_stops_the_thread():
    def prepare(frame: int) -> Tensor:
        if frame == 1:
            raise ValueError("frame 1 is damaged")
        return torch.tensor(frame)

    with pytest.raises(ValueError, match="damaged"), Prefetcher(prepare, range(4), ahead=2) as reader:
        reader.take(0)
        reader.take(1)
    assert not reading_threads()
