"""What frames read from annotated frames is kept over rounds, and changes nothing but time."""

from __future__ import annotations

import copy
import gc
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from libs.feature_cache import FeatureCache
from libs.segmenter import Segmenter, SegmenterOptions
from libs.session import Session
from networks.compact import CompactGIS
from networks.inference import prepare_for_inference
from networks.interface import FrameFeatures, MemoryEntry
from networks.network import GISNet
from tests.benchmarks.scenes import Discs


@dataclass(frozen=True)
class Numbers(FrameFeatures):
    values: Tensor


@dataclass(frozen=True)
class Entry(MemoryEntry):
    value: Tensor


class Reader:
    """Reads an entry as its value plus one; counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, entry: Entry) -> Entry:
        self.count += 1
        return Entry(entry.value + 1)


def cache_with(frames: int, budget: int) -> FeatureCache:
    cache = FeatureCache(budget)
    for frame in range(frames):
        cache.get(frame, lambda frame: Numbers(torch.zeros(25)))  # 100 bytes
    return cache


def test_a_reading_is_made_once_and_counted():
    cache, read, entries = cache_with(2, 1000), Reader(), [Entry(torch.zeros(10)), Entry(torch.ones(10))]  # 40 bytes
    cache.read(0, entries[:1], read)
    found = cache.read(0, [entries[1], entries[0], entries[1]], read)
    assert [float(e.value[0]) for e in found] == [2, 1, 2] and read.count == 2
    assert cache.bytes == 2 * 100 + 2 * 40
    cache.read(0, entries[1:], read)  # the other one is not wanted any more
    assert cache.bytes == 2 * 100 + 40 and read.count == 2
    cache.read(1, entries[1:], read)  # another frame reads for itself
    assert read.count == 3
    cache.clear()
    assert cache.bytes == 0


def test_readings_go_with_the_features_and_never_exceed_the_budget():
    read, entry = Reader(), Entry(torch.zeros(10))
    cache = cache_with(2, 220)
    cache.read(1, [entry], read)  # 240 bytes: frame 0 goes
    assert 0 not in cache and cache.bytes == 140
    cache.get(2, lambda frame: Numbers(torch.zeros(25)))
    assert 1 not in cache and cache.bytes == 100
    cache.get(1, lambda frame: Numbers(torch.zeros(25)))
    cache.read(1, [entry], read)
    assert read.count == 2
    small = cache_with(1, 120)
    small.read(0, [entry], read)
    assert 0 in small and small.bytes == 100


@dataclass(frozen=True)
class MoreNumbers(Numbers):
    difference: Tensor | None = None


def test_what_comparing_gave_is_kept_by_neighbour_and_goes_with_the_features():
    cache = FeatureCache(340)
    for frame in range(2):
        cache.get(frame, lambda frame: MoreNumbers(torch.zeros(25)))
    features = cache.get(1, None)
    assert cache.beside(1, 0) is None
    for neighbour in (0, 2, 0):
        cache.put_beside(1, neighbour, replace(features, difference=torch.full((10,), float(neighbour))))
    assert cache.bytes == 2 * 100 + 2 * 40
    found = cache.beside(1, 2)
    assert found.values is features.values and float(found.difference[0]) == 2 and cache.beside(0, 1) is None
    assert cache.get(1, None).difference is None, "the features alone are of no neighbour"
    cache.put_beside(0, 1, cache.get(0, None))  # nothing more is known
    assert cache.bytes == 280
    cache.put_beside(1, 3, replace(features, difference=torch.zeros(25)))  # 380 bytes: frame 0 goes
    assert 0 not in cache and cache.bytes == 280
    cache.put_beside(0, 1, replace(features, difference=torch.zeros(25)))  # not kept any more
    assert cache.bytes == 280
    cache.get(2, lambda frame: MoreNumbers(torch.zeros(50)))
    assert 1 not in cache and cache.bytes == 200 and cache.beside(1, 0) is None


def test_another_entry_at_the_same_address_is_another_entry():
    cache, read = cache_with(1, 10_000), Reader()
    for value in range(20):
        entry = Entry(torch.full((10,), float(value)))
        assert float(cache.read(0, [entry], read)[0].value[0]) == value + 1
        del entry
        gc.collect()


def test_an_entry_that_is_its_own_reading_is_not_kept():
    cache, entry = cache_with(1, 1000), Entry(torch.zeros(10))
    assert cache.read(0, [entry], lambda e: e) == [entry] and cache.bytes == 100


class Counting(GISNet):
    """Counts readings; the golden network takes this class in the test."""

    def read(self, query, entry):
        self.count = getattr(self, "count", 0) + 1
        return super().read(query, entry)


@pytest.fixture(scope="module")
def network(golden_network):
    network = prepare_for_inference(copy.deepcopy(golden_network))
    network.__class__ = Counting
    return network


VIDEO = Discs(4, 40, 64, 3)


def play(segmenter: Segmenter, frames: tuple[int, ...], session: Session | None = None) -> Session:
    session = session or segmenter.open(VIDEO, object_ids=[1, 2, 3])
    for frame in frames:
        strokes = VIDEO.strokes(frame)
        known = tuple(s for s in strokes.scribbles if s.object_id in session.object_ids)
        segmenter.annotate(session, replace(strokes, scribbles=known))
        for _ in segmenter.propagate(session):
            pass
    return session


def without_cache(network: GISNet) -> Segmenter:
    return Segmenter(network, options=SegmenterOptions(feature_budget_bytes=0))


def same(one: Session, other: Session) -> bool:
    return all(np.array_equal(one.probabilities(f), other.probabilities(f)) for f in range(4)) and np.array_equal(
        one.scores, other.scores
    )


def test_only_the_newest_annotated_frame_is_read(network):
    segmenter = Segmenter(network)
    network.count = 0
    session = play(segmenter, (0,))
    assert network.count == 3
    play(segmenter, (0,), session)  # annotated again: another entry, though of the same frame
    assert network.count == 6
    play(segmenter, (3,), session)  # frames 2 and 1 know both earlier ones
    assert network.count == 8
    assert same(session, play(without_cache(network), (0, 0, 3)))


def test_undo_and_other_annotations_give_what_no_cache_gives(network):
    segmenter = Segmenter(network)
    session = play(segmenter, (0,))
    before = session.snapshot()
    play(segmenter, (3,), session)
    session.restore(before)
    play(segmenter, (2, 3), session)
    assert same(session, play(without_cache(network), (0, 2, 3)))


def test_objects_that_come_and_go_give_what_no_cache_gives(network):
    results = []
    for segmenter in (Segmenter(network), without_cache(network)):
        session = segmenter.open(VIDEO, object_ids=[1, 2])
        play(segmenter, (0,), session)
        session.add_object(3)
        play(segmenter, (3,), session)
        session.remove_object(1)
        results.append(play(segmenter, (1,), session))
    assert same(*results)


class CountingMotion(CompactGIS):
    """Counts how often the motion between two frames is refined."""

    def propagate(self, query, *rest):
        self.count = getattr(self, "count", 0) + (query.flow is None)
        return super().propagate(query, *rest)


def test_motion_is_found_once_for_two_frames_and_direction():
    torch.manual_seed(0)
    network = CountingMotion().eval()
    options = SegmenterOptions.for_network(network, short_side=32, second_opinions=0, crossings=0)
    segmenter = Segmenter(network, options=options)
    session = play(segmenter, (0,))
    assert network.count == 1 + 3  # the annotated frame itself, and the steps on from it
    play(segmenter, (0,), session)
    assert network.count == 5
    play(segmenter, (3,), session)
    assert network.count == 8, "two steps back"
    afresh = Segmenter(network, options=replace(options, feature_budget_bytes=0))
    assert same(session, play(afresh, (0, 0, 3)))


def test_a_range_away_from_the_annotated_frame_leaves_no_motion_of_its_gap():
    """Its first frame takes its masks from frame 0, not from the frame beside it, as a whole round does."""
    torch.manual_seed(0)
    network = CompactGIS().eval()
    segmenter = Segmenter(network, options=SegmenterOptions.for_network(network, short_side=32, second_opinions=0))
    session = play(segmenter, (0,))
    for _ in segmenter.propagate(session, first=3, last=3):
        pass
    afresh = Segmenter(network, options=replace(segmenter.options, feature_budget_bytes=0))
    whole = play(afresh, (0,))
    for _ in afresh.propagate(whole, first=3, last=3):
        pass
    for frame in range(4):
        np.testing.assert_allclose(session.probabilities(frame), whole.probabilities(frame), atol=1e-6)
    play(segmenter, (0,), session)
    play(afresh, (0,), whole)
    for frame in range(4):
        np.testing.assert_allclose(session.probabilities(frame), whole.probabilities(frame), atol=1e-6)


def test_a_loaded_session_reads_again_and_goes_on_alike(network, tmp_path):
    segmenter = Segmenter(network)
    session = play(segmenter, (0, 3))
    session.save(tmp_path / "session")
    loaded = segmenter.load(tmp_path / "session", VIDEO)
    assert same(play(segmenter, (1,), session), play(segmenter, (1,), loaded))
