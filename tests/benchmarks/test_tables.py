"""The page and the pieces that it is made of, on the smallest cases."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
from torch import nn

from libs.segmenter import Segmenter
from tests.benchmarks.measure import PartClock, PeakMemory, Timing, machine
from tests.benchmarks.memory import StandIn, Working, run_session
from tests.benchmarks.precision import Precision
from tests.benchmarks.scenes import Discs
from tests.benchmarks.speed import Case, Runner, run_cases
from tests.benchmarks.subjects import annotated_session, repeat_memory
from tests.benchmarks.switches import Switch
from tests.benchmarks.tables import disturbance, milliseconds, page


def section(rows: list) -> dict:
    return {"date": "2026-01-01", "command": "python -m tests.benchmarks", "machine": machine(), "rows": rows}


def test_a_case_becomes_a_row():
    case = Case("compact", 64, 96, 3, 3, frames=2, repeats=1, short_side=96)
    result, copies = run_cases([case, replace(case, objects=5)])
    assert copies.case.objects == 5 and copies.later.wall > 0
    assert result.plain is None and result.first.wall > 0 and result.later.wall > 0
    assert set(result.parts_later) == {"global_transfer", "local_transfer", "trunk", "decoder", "quality"}
    assert set(result.parts_first) == {*result.parts_later, "encoder"}
    text = page({"compact": section([asdict(result), asdict(copies)])})
    assert "| compact | 64x96 at 96 | 3 | 3 |" in text and "| 64x96 at 96, 5 objects, 3 annotated |" in text


def test_ratios_and_floors_are_in_the_page():
    case = asdict(Case("resnet50", 480, 854, 3, 1))
    times = {kind: {"wall": wall, "processor": 2 * wall} for kind, wall in (("first", 2), ("later", 1), ("plain", 5))}
    row = {"case": case, **times, "annotate": 1, "agreement": 1.0, "peak_megabytes": 7}
    row |= {"parts_first": {"head": 0.5}, "parts_later": {"head": 0.25}, "parts_plain": {}}
    switch = asdict(Switch("no cache", 1.0, 2.0, 1.5, 1.0, 1.0))
    text = page({"speed": section([row]), "switches": section([{"case": "c", "switches": [switch]}])})
    assert "| 480x854 | 3 | 1 | first | 5000 | 2000 | **2.50** | 2.50 | 2.0 | 100.000 % |  |" in text
    assert "| 480x854 | 3 | 1 | later | 5000 | 1000 | **5.00** | 5.00 | 3.0 | 100.000 % |  |" in text
    assert "| no cache | 1.00 | 2.00 | 1.50 | 100.000 % | 1.0000 |" in text


def test_rows_that_other_programs_disturbed_are_marked():
    calm, disturbed = asdict(Timing(2.0, 4.0, 0.3)), asdict(Timing(2.0, 3.0, 1.0))
    assert disturbance([calm], 2) == "" and disturbance([calm, None, disturbed], 2) == "by 25 %"
    assert disturbance([{"wall": 1, "processor": 1}], 2) == ""


def test_memory_and_precision_have_their_tables():
    session = run_session(3, 40, 64, 2, rounds=2)
    assert session.budget_megabytes > session.predictions_megabytes
    half = asdict(Precision("bfloat16", 0.5, 0.25, Timing(1, 2), Timing(0.5, 1), 3.0))
    memory = section([asdict(session), asdict(Working(2, 40, 64, 1000.0))])
    text = page({"memory": memory, "precision": section([half])})
    assert f"**{session.peak_megabytes + 1000:.0f} MB**" in text
    assert "| bfloat16 | 0.5000 | 25.000 % | 1000 | 500 | 3.0 |  |" in text


def test_the_median_is_taken_of_each_time():
    assert Timing.median([Timing(1, 5, 0), Timing(2, 4, 7), Timing(9, 6, 1)]) == Timing(2, 5, 1)


def test_a_later_run_reads_the_newest_annotated_frame_only(golden_network, monkeypatch):
    segmenter, video, reads = Segmenter(golden_network), Discs(2, 40, 64, 1), []
    read = type(golden_network).read
    monkeypatch.setattr(type(golden_network), "read", lambda *a: reads.append(1) or read(*a))
    session = annotated_session(segmenter, video, 1)
    repeat_memory(session, 3)
    runner, counts = Runner(segmenter, session, 1), []
    for cached in (False, True, True, False):
        reads.clear()
        runner.run(cached=cached)
        counts.append(len(reads))
    assert counts == [3, 1, 1, 3]


def test_milliseconds_have_three_digits():
    assert [milliseconds(s) for s in (0.0012345, 0.12345, 1.2345, None)] == ["1.23", "123", "1234", ""]


def test_peak_memory_sees_what_was_there_for_a_moment():
    with PeakMemory() as memory:
        block = np.ones(40_000_000, np.uint8)
        del block
    assert memory.megabytes == 0 or memory.megabytes > 30  # 0: a system that does not say


def test_the_clock_adds_up_calls_of_a_module():
    network, clock = StandIn(), PartClock()
    network.part = nn.Identity()
    with clock.watch(network, ("part",)):
        network.part(1)
    before = dict(clock.seconds)
    network.part(1)
    assert before["part"] > 0 and clock.seconds == before


def test_the_stand_in_keeps_what_the_published_network_keeps(golden_network):
    video = Discs(2, 40, 64, 2)
    kept = []
    for network in (StandIn(), golden_network):
        segmenter = Segmenter(network)
        session = segmenter.open(video, object_ids=[1, 2])
        segmenter.annotate(session, video.strokes(0))
        kept.append((session.features.bytes, session.state.memory[0].entry.nbytes))
    assert kept[0] == kept[1]
    assert run_session(3, 40, 64, 2, rounds=2).predictions_megabytes > 0
