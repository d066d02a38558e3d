"""The studies: videos, policies, the loop, resuming, ablations, figures and the page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset_torch.errors import UserError
from libs.checkpoints import save_checkpoint
from libs.guidance import INTERACTIVE, PUBLISHED, expected_help, help_reach
from libs.metrics import rank_correlation
from libs.segmenter import Segmenter, SegmenterOptions
from libs.studies import ablation, command, summary
from libs.studies.__main__ import main
from libs.studies.data import DataRoot, StudyVideo, plan_videos, working_size
from libs.studies.methods import ABLATIONS, FULL, NETWORK, Method, weights_digest
from libs.studies.page import About, write_page
from libs.studies.play import Measure, RoundResult, first_round, play
from libs.studies.policies import Policy
from libs.studies.records import RunKey, VideoRecord
from libs.studies.runner import Runner, Task, tasks_for
from networks.attention import ReliabilityAttention
from networks.compact.network import CompactGIS
from tests.fakes import ColourNetwork, squares_video

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "e2e" / "DAVIS"


@pytest.fixture
def video() -> StudyVideo:
    frames, masks = squares_video(num_frames=6, height=80, width=120, side=30)
    return StudyVideo("toy", "squares", frames, masks, (1, 2))


@pytest.fixture(scope="module")
def compact() -> CompactGIS:
    torch.manual_seed(0)
    return CompactGIS().eval()


def colour_segmenter() -> Segmenter:
    return Segmenter(ColourNetwork(), options=SegmenterOptions())


# ---- data ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [((480, 854), (240, 432)), ((240, 432), (240, 432)), ((120, 160), (120, 160)), ((854, 480), (432, 240))],
)
def test_working_size(given, expected):
    assert working_size(*given) == expected


def test_data_roots_are_named_by_hand_or_by_their_folder(tmp_path):
    assert DataRoot.parse("mine=/somewhere/DAVIS") == DataRoot("mine", Path("/somewhere/DAVIS"))
    assert DataRoot.parse(str(tmp_path / "real" / "DAVIS")).name == "real"
    assert DataRoot.parse(str(tmp_path / "films")).name == "films"
    with pytest.raises(UserError, match="NAME=FOLDER"):
        DataRoot.parse("=x")


def test_videos_are_cut_and_their_objects_numbered_from_one():
    plans = plan_videos([DataRoot("gold", GOLDEN)], sequences=["gold-three"], max_frames=4)
    assert [(p.key, p.num_frames) for p in plans] == [("gold/gold-three", 4)]
    video = plans[0].load()
    assert video.truth.shape == (4, 100, 150) and len(video.frames) == 4
    assert video.object_ids == (1, 2, 3) and set(np.unique(video.truth)) == {0, 1, 2, 3}


def test_unknown_sequences_and_equal_names_are_refused():
    with pytest.raises(UserError, match="no data set has a sequence 'nowhere'"):
        plan_videos([DataRoot("gold", GOLDEN)], sequences=["nowhere"])
    with pytest.raises(UserError, match="same name"):
        plan_videos([DataRoot("gold", GOLDEN), DataRoot("gold", GOLDEN)])


# ---- policies ------------------------------------------------------------------------------------------------------

QUALITY = np.array([0.9, 0.2, 0.5, 0.6, 0.2, 0.8])
SCORES = np.array([0.1, 0.9, 0.3, 0.2, 0.8, 0.7])


@pytest.mark.parametrize(
    ("policy", "annotated", "expected"),
    [
        ("wo_RS", {0}, 1),  # the worst; of two as bad the earlier
        ("wo_RS", {0, 1}, 4),
        ("RS1", set(), 0),
        ("RS1", {0}, 3),
        ("RS4", set(), 2),  # proposals 0, 3, 2, 5: the truly worst of them
        ("RS4", {2, 3}, 1),  # proposals 0, 5, 4, 1: frames 4 and 1 are as bad
    ],
)
def test_policies_choose_by_truth_score_or_both(policy, annotated, expected):
    chosen = Policy(policy).chooser("v").choose(QUALITY, SCORES, annotated, PUBLISHED)
    assert chosen == expected


def test_policies_follow_the_rule_of_the_method_that_plays():
    scores = np.array([0.1, 0.2, 0.9, 0.4, 0.3, 0.4])
    for rule, expected in ((PUBLISHED, 1), (INTERACTIVE, 4)):  # frame 1 is beside the annotated one
        assert Policy("RS1").chooser("v").choose(np.ones(6), scores, {0}, rule) == expected
        # Whatever the rule, no frame comes twice while others are left.
        assert Policy("RS1").chooser("v").choose(np.ones(6), scores, {0, 1, 2, 4, 5}, rule) == 3


def test_random_policies_repeat_themselves_differ_by_seed_and_avoid_annotated_frames():
    def choices(name: str, video: str = "v") -> list[int]:
        chooser = Policy(name).chooser(video)
        return [chooser.choose(np.ones(50), np.ones(50), {3}) for _ in range(30)]

    assert choices("random-1") == choices("random-1")
    assert choices("random-1") != choices("random-2") != choices("random-2", "w")
    assert 3 not in choices("random-1") + choices("random4-1")
    assert len(set(choices("random-1"))) > 10


def test_the_worst_of_four_random_frames_is_worse_than_one_on_average():
    quality = np.linspace(0, 1, 40)

    def mean(name: str) -> float:
        chooser = Policy(name).chooser("v")
        return float(np.mean([quality[chooser.choose(quality, quality, set())] for _ in range(200)]))

    assert mean("random4-0") == pytest.approx(0.2, abs=0.05) and mean("random-0") == pytest.approx(0.5, abs=0.06)


def test_when_all_frames_are_annotated_any_may_come_again():
    assert Policy("wo_RS").chooser("v").choose(QUALITY, SCORES, set(range(6))) == 1


@pytest.mark.parametrize("name", ["RS2", "random", "random-x", ""])
def test_unknown_policies_are_refused(name):
    with pytest.raises(UserError, match="unknown policy"):
        Policy(name)


# ---- the loop ------------------------------------------------------------------------------------------------------


def test_rounds_start_in_the_middle_and_do_not_get_worse(video):
    segmenter = colour_segmenter()
    rounds = play(segmenter, first_round(segmenter, video), Policy("wo_RS"), rounds=3)
    assert rounds[0].frame == 3 and len(rounds) == 3
    assert rounds[-1].quality.mean() >= rounds[0].quality.mean() > 0.9
    assert len({r.frame for r in rounds}) == 3


def test_runs_from_one_start_do_not_disturb_each_other(video):
    segmenter = colour_segmenter()
    start = first_round(segmenter, video)
    alone = play(segmenter, start, Policy("RS1"), rounds=3)
    play(segmenter, start, Policy("random-0"), rounds=3)
    again = play(segmenter, start, Policy("RS1"), rounds=3)
    assert [r.frame for r in alone] == [r.frame for r in again]
    for a, b in zip(alone, again, strict=True):
        assert np.array_equal(a.j, b.j) and np.array_equal(a.scores, b.scores)


def test_measuring_only_what_changed_gives_the_same_figures(video):
    measure, masks = Measure(video), video.truth.copy()
    measure(masks)
    masks = masks.copy()
    masks[2] = 0
    assert [x.tolist() for x in measure(masks)] == [x.tolist() for x in Measure(video)(masks)]
    assert measure(masks)[0].tolist() == [1, 1, 0, 1, 1, 1]


# ---- ablations -----------------------------------------------------------------------------------------------------


def compact_inputs(network: CompactGIS, count: int = 3) -> tuple:
    """A query, a neighbour, a neighbouring mask and `count` annotated frames."""
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(1, 3, 64, 96, generator=generator) * 2 - 1 for _ in range(2 + count)]
    features = [network.encode_frame(image) for image in images]
    entries = []
    for image, frame in zip(images[2:], features[2:], strict=True):
        planes = (torch.rand(2, 3, 64, 96, generator=generator) > 0.8).float()
        entries.append(network.memorise(frame, network.interact(image, frame, planes)))
    return features[0], features[1], torch.rand(2, 1, 64, 96, generator=generator), entries


ABLATED = {
    "average": ablation.averaged,
    "best": ablation.best_single,
    "no-reliability": ablation.without_reliability,
    "no-share": ablation.without_share,
}


@pytest.mark.parametrize("name", ABLATED)
def test_with_one_annotated_frame_attention_over_frames_changes_nothing(compact, name):
    with torch.inference_mode():
        query, neighbour, mask, entries = compact_inputs(compact, 1)
        expected = compact.propagate(query, neighbour, mask, entries)
        found = ABLATED[name](compact).propagate(query, neighbour, mask, entries)
    assert torch.allclose(expected.foreground, found.foreground, atol=1e-5)
    assert float(expected.score) == pytest.approx(float(found.score), abs=1e-5)


def test_averaging_is_the_mean_of_the_frames_answers_and_best_is_one_of_them(compact):
    changed = compact.propagation.global_transfer
    with torch.inference_mode():
        query, _, _, entries = compact_inputs(compact)
        single = [changed(query, [entry]) for entry in entries]
        mean = ablation.averaged(compact).propagation.global_transfer(query, entries)
        best = ablation.best_single(compact).propagation.global_transfer(query, entries)
    assert torch.allclose(mean.mask, sum(s.mask for s in single) / 3, atol=1e-6)
    assert mean.frame_mask.shape[0] == 3
    surest = max(single, key=lambda s: float(s.frame_reliability.detach().mean()))
    assert torch.equal(best.mask, surest.mask)


def test_without_reliability_all_positions_share_one_softmax(compact):
    trained = ablation.without_reliability(compact)  # a copy that may be changed
    with torch.no_grad():
        trained.propagation.global_transfer.reliability_weight.fill_(3.0)
        trained.propagation.global_transfer.balance.zero_()  # every annotated frame is balanced on its own
    without = ablation.without_reliability(trained)
    assert float(trained.propagation.global_transfer.reliability_weight.detach()) == 3
    with torch.inference_mode():
        query, _, _, entries = compact_inputs(compact)
        transfer = trained.propagation.global_transfer  # one entry: its weight is 1 whatever its reliability
        one = replace(
            entries[0],
            **{n: torch.cat([getattr(e, n) for e in entries], -1) for n in ("key", "value", "object_value", "mask")},
        )
        joint = transfer(query, [one])
        found = without.propagation.global_transfer(query, entries)
    assert torch.allclose(joint.mask, found.mask, atol=1e-5) and torch.allclose(joint.feature, found.feature, atol=1e-4)


def test_without_local_propagation_the_neighbour_has_no_say(compact):
    changed = ablation.without_local(compact)
    with torch.inference_mode():
        query, neighbour, mask, entries = compact_inputs(compact)
        first = changed.propagate(query, neighbour, mask, entries)
        other = changed.propagate(query, entries_frame(compact), 1 - mask, entries)
        full = compact.propagate(query, neighbour, mask, entries)
    assert torch.equal(first.foreground, other.foreground)
    assert not torch.allclose(first.foreground, full.foreground, atol=1e-3)


def entries_frame(network: CompactGIS):
    return network.encode_frame(torch.zeros(1, 3, 64, 96))


def test_masks_drawn_anew_keep_nothing(compact):
    changed = ablation.without_share(compact)
    with torch.inference_mode():
        query, neighbour, mask, entries = compact_inputs(compact)
        share = compact.propagate(query, neighbour, mask, entries)
        anew = changed.propagate(query, neighbour, mask, entries)
        one = [network.propagate(query, neighbour, mask, entries[:1]) for network in (compact, changed)]
    assert torch.equal(share.warped, anew.warped) and not torch.allclose(share.logits, anew.logits, atol=1e-2)
    assert torch.equal(one[0].logits, one[1].logits), "with one annotated frame there is no share"
    assert ablation.WithoutKeeping(changed).options == replace(
        SegmenterOptions.for_network(compact), keep_corrected=False
    )


def test_the_published_attention_can_be_averaged_too():
    torch.manual_seed(0)
    attention = ReliabilityAttention(8, 4)
    generator = torch.Generator().manual_seed(2)
    keys = [attention.keys(torch.randn(1, 8, 3, 4, generator=generator)) for _ in range(3)]
    memory = [(k, attention.values(k), torch.randn(2, 5, 3, 4, generator=generator)) for k in keys[1:]]
    arguments = keys[0], attention.self_transfer(keys[0])
    single = [attention(*arguments, [m], (3, 4)) for m in memory]
    mean = ablation.OneByOne(attention, best=False)(*arguments, memory, (3, 4))
    assert torch.allclose(mean.feature, (single[0].feature + single[1].feature) / 2)
    assert torch.allclose(mean.reliability, attention(*arguments, memory, (3, 4)).reliability)
    best = ablation.OneByOne(attention, best=True)(*arguments, memory, (3, 4))
    surest = max(single, key=lambda s: float(s.reliability.detach().mean()))
    assert torch.equal(best.feature, surest.feature)
    assert ablation.OneByOne(attention, best=True).keys(torch.zeros(1, 8, 3, 4)).shape == (1, 4, 12)


def test_nearest_memory_reads_one_annotated_frame(video, monkeypatch):
    network = ColourNetwork()
    read: list[int] = []
    original = network.propagate

    def spy(query, neighbour, foreground, memory):
        read.append(len(memory))
        return original(query, neighbour, foreground, memory)

    monkeypatch.setattr(network, "propagate", spy)
    segmenter = ablation.NearestMemory(network, options=SegmenterOptions())
    play(segmenter, first_round(segmenter, video), Policy("wo_RS"), rounds=3)
    assert set(read) == {1}


# ---- records and runner --------------------------------------------------------------------------------------------


def result(frame: int, j: list[float], scores: list[float], *, empty: bool = False) -> RoundResult:
    return RoundResult(frame, empty, np.array(j), np.array(j), np.array(scores), 0.5)


def test_records_come_back_and_another_identity_does_not(tmp_path):
    key = RunKey("network", "RS1", "abc", "3 frames")
    record = VideoRecord.open(tmp_path, "real", "cat")
    assert record.get(key) is None
    record.put(key, [result(1, [0.25, 0.5, 1], [np.nan, 0.125, 0.5])])
    again = VideoRecord.open(tmp_path, "real", "cat").get(key)
    assert again is not None and again[0].frame == 1
    assert again[0].j.tolist() == [0.25, 0.5, 1] and np.isnan(again[0].scores[0]) and again[0].scores[1] == 0.125
    assert VideoRecord.open(tmp_path, "real", "cat").get(replace(key, identity="abd")) is None
    assert VideoRecord.open(tmp_path, "real", "cat").get(replace(key, protocol="4 frames")) is None


def test_two_processes_on_one_video_keep_each_others_runs(tmp_path):
    first, second = (VideoRecord.open(tmp_path, "real", "cat") for _ in range(2))
    keys = [RunKey("network", policy, "abc", "3 frames") for policy in ("RS1", "RS4")]
    for record, key in zip((first, second), keys, strict=True):
        record.put(key, [result(1, [0.5], [0.5])])
    both = VideoRecord.open(tmp_path, "real", "cat")
    assert all(both.get(key) is not None for key in keys)


def test_a_foreign_file_among_the_records_is_refused(tmp_path):
    (tmp_path / "real-cat.json").write_text("[1]")
    with pytest.raises(UserError, match="no record of a study"):
        VideoRecord.open(tmp_path, "real", "cat")


def test_runs_of_a_data_set_whose_name_begins_alike_are_not_taken_for_its_own(tmp_path):
    root = DataRoot("gold", GOLDEN)
    for name in ("gold-gold-one", "gold-gold-gone", "gold-hd-gold-two"):
        (tmp_path / f"{name}.json").write_text("{}")
    assert command.recorded(tmp_path, [root]) == ["gold-one"]


def toy_method() -> Method:
    return replace(FULL, build=lambda network: Segmenter(network, options=SegmenterOptions()))


def test_a_stopped_study_goes_on_and_plays_nothing_twice(tmp_path):
    plans = plan_videos([DataRoot("gold", GOLDEN)], sequences=["gold-one"], max_frames=3)
    network = ColourNetwork()
    tasks = [Task(toy_method(), Policy(p)) for p in ("wo_RS", "RS1")]
    lines: list[str] = []
    assert Runner(network, tmp_path, rounds=2, say=lines.append).run(plans, tasks[:1])
    encoded = network.encoded
    assert not Runner(network, tmp_path, rounds=2, say=lines.append).run(plans, tasks, deadline=0.0)
    assert network.encoded == encoded  # the time was up before anything was played
    assert Runner(network, tmp_path, rounds=2, say=lines.append).run(plans, tasks)
    after = network.encoded
    assert after > encoded
    runner = Runner(network, tmp_path, rounds=2, say=lines.append)
    assert runner.run(plans, tasks) and network.encoded == after
    assert lines[-1].startswith("0 runs to play, 2 kept")
    assert [t.policy.name for t, _ in runner.all_results(plans[0], tasks)] == ["wo_RS", "RS1"]


def test_digests_depend_on_the_weights_alone(compact):
    other = CompactGIS().eval()
    other.load_state_dict(compact.state_dict())
    assert weights_digest(other) == weights_digest(compact)
    with torch.no_grad():
        other.encoder.mix.bias[0] += 1
    assert weights_digest(other) != weights_digest(compact)
    assert weights_digest(other.encoder.backbone) == weights_digest(compact.encoder.backbone)


def test_other_networks_get_the_studies_that_suit_them(compact):
    names = {t.method.name for t in tasks_for(compact, ("attention", "baselines"), random=0)}
    assert names == {NETWORK, "label-propagation", "grabcut-flow", *(m.name for m in ABLATIONS)}
    names = {t.method.name for t in tasks_for(ColourNetwork(), ("attention", "baselines"), random=0)}
    assert names == {NETWORK, "grabcut-flow", "average", "best-frame", "nearest-frame"}
    policies = [t.policy.name for t in tasks_for(compact, ("guidance",), random=3, random_four=1)]
    assert policies == ["wo_RS", "RS1", "RS4", "random-0", "random-1", "random-2", "random4-0"]


# ---- figures -------------------------------------------------------------------------------------------------------


def rounds_of(*means: float) -> list[RoundResult]:
    return [result(0, [m, m], [m, m]) for m in means]


def test_guidance_is_judged_by_area_against_mean_spread_and_oracle():
    runs = {
        "a": {
            (NETWORK, "wo_RS"): rounds_of(0.5, 0.9),
            (NETWORK, "RS1"): rounds_of(0.5, 0.88),
            (NETWORK, "RS4"): rounds_of(0.5, 0.72),
            (NETWORK, "random-0"): rounds_of(0.5, 0.6),
            (NETWORK, "random-1"): rounds_of(0.5, 0.8),
        }
    }
    guidance = summary.findings("real", runs).guidance
    assert guidance is not None
    assert guidance.random_areas.tolist() == pytest.approx([0.55, 0.65])  # mean .6, standard deviation .0707
    rs1, rs4 = guidance.guided
    assert (rs1.area, rs4.area) == pytest.approx((0.69, 0.61))
    assert guidance.beats_chance(rs1) and not guidance.beats_chance(rs4)
    assert guidance.near_oracle(rs1) and not guidance.near_oracle(rs4)


def test_videos_without_all_runs_of_a_study_are_left_out():
    whole = {(NETWORK, "wo_RS"): rounds_of(0.5, 0.7), ("grabcut-flow", "wo_RS"): rounds_of(0.2, 0.4)}
    found = summary.findings("real", {"a": whole, "b": {(NETWORK, "wo_RS"): rounds_of(0.9, 0.9)}})
    assert [c.videos for c in found.baselines] == [("a",), ("a",)]
    assert found.baselines[1].rounds.tolist() == [0.2, 0.4]
    assert found.attention == () and found.guidance is None
    assert len(found.correlations) == 2


def test_what_foretells_a_gain_is_measured_over_choices_by_chance():
    frames = 20
    scores = np.linspace(0.9, 0.5, frames)  # doubt grows towards the end, far from frame 0

    def played(frame: int, gain: float) -> list[RoundResult]:
        quality = np.linspace(0.3, 0.8, frames)  # the R-scores are wrong
        return [result(0, quality, scores), result(frame, quality + gain, scores)]

    picks = (2, 5, 8, 11, 14, 17)
    runs = {(NETWORK, f"random-{i}"): played(f, 0.01 * f) for i, f in enumerate(picks)}
    runs[NETWORK, "wo_RS"] = played(3, 0.4)  # not by chance
    runs[NETWORK, "random-9"] = played(0, 0.4)  # annotated before
    found = {x.measure: x for x in summary.foresight({"a": runs})}
    assert len(found) == 4 and {x.groups for x in found.values()} == {1}
    assert found["distance from annotated frames"].correlation == pytest.approx(1)
    assert found["the frame's own doubt, 1 - R-score (published)"].correlation == pytest.approx(1)
    assert found["the frame's true error, 1 - J&F"].correlation == pytest.approx(-1)
    wins = np.array([expected_help(scores, {0}, help_reach(INTERACTIVE, frames))[f] for f in picks])
    expected = rank_correlation(wins, np.arange(6))
    assert found["expected help (guidance)"].correlation == pytest.approx(expected)
    # One less than a group needs.
    del runs[NETWORK, "random-0"]
    assert summary.foresight({"a": runs}) == ()


def test_correlation_per_round_and_pooled():
    rounds = [
        result(0, [0.1, 0.2, 0.3, 0.4], [1, 2, 3, 4]),  # 1
        result(0, [0.5, 0.6, 0.7, 0.8], [8, 7, 6, 5]),  # -1
        result(0, [0.5, 0.6, 0.7, 0.8], [8, 7, 6, 5], empty=True),  # nothing was played
    ]
    found = summary.correlation("v", rounds)
    assert found.first == pytest.approx(1) and found.mean == pytest.approx(0)
    # ranks of J 1..8 against 1 2 3 4 8 7 6 5: sum of squared differences 9 + 1 + 1 + 9 = 20
    assert found.pooled == pytest.approx(1 - 6 * 20 / (8 * 63))


def test_the_table_of_rounds_has_every_run_once(tmp_path):
    random = {(NETWORK, f"random-{i}"): rounds_of(0.9, 0.9) for i in range(2)}
    both = {(NETWORK, "wo_RS"): rounds_of(0.5, 0.7), ("grabcut-flow", "wo_RS"): rounds_of(0.2, 0.4)}
    runs = {"a": both | random | {(NETWORK, "RS1"): rounds_of(0.5, 0.6)}, "b": both}  # guidance on one of them only
    write_page(tmp_path, {"real": runs}, About("x", "y", "z", {}))
    rows = [line.split(",")[1:6] for line in (tmp_path / "rounds.csv").read_text().splitlines()[1:]]
    assert [r[:3] for r in rows if r[0] == NETWORK and r[1] == "wo_RS"] == [[NETWORK, "wo_RS", v] for v in "ab"]
    assert len(rows) == len({tuple(r[:3]) for r in rows}) == 7


# ---- the command ---------------------------------------------------------------------------------------------------


def test_the_command_plays_resumes_and_writes_one_page(tmp_path, compact, capsys):
    checkpoint = tmp_path / "toy.pth"
    save_checkpoint(checkpoint, compact)
    out = tmp_path / "out"
    argv = ["--davis-root", f"gold={GOLDEN}", "--out", str(out), "--checkpoint", str(checkpoint), "--rounds", "2"]
    argv += ["--sequences", "gold-one", "--max-frames", "3", "--random", "2", "--device", "cpu"]
    assert main(argv) == 0
    page = (out / "index.html").read_text()
    for text in ("label propagation", "GrabCut", "plain averaging", "random, mean of 2", "Spearman"):
        assert text in page
    assert not re.search(r"""(src|href)=["']https?:""", page) and str(tmp_path) not in page and str(GOLDEN) not in page
    found = json.loads((out / "summary.json").read_text())
    assert found[0]["dataset"] == "gold" and len(found[0]["baselines"]) == 6
    assert len(found[0]["attention"]) == 1 + len(ABLATIONS)
    assert found[0]["guidance"]["random"]["seeds"] == 2
    lines = (out / "rounds.csv").read_text().splitlines()
    assert len(lines) == 1 + 5 + len(ABLATIONS) + 4  # network, ablations, baselines
    capsys.readouterr()
    assert main([*argv, "--page-only"]) == 0
    assert main(argv) == 0
    assert "0 runs to play" in capsys.readouterr().out


def test_wrong_settings_end_with_2_and_a_reason(tmp_path, capsys):
    assert main(["--davis-root", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main(["--davis-root", str(GOLDEN), "--studies", "magic"]) == 2
    assert "no study 'magic'" in capsys.readouterr().err
    assert main(["--davis-root", str(GOLDEN), "--out", str(tmp_path), "--methods", "magic", "--device", "cpu"]) == 2
    assert re.search(r"no run 'magic'.*Choose from network, .*grabcut-flow", capsys.readouterr().err)


def test_help_names_what_can_be_chosen_and_the_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    words = " ".join(capsys.readouterr().out.split())
    for name in ("best-frame", "grabcut-flow", "random4-N", "[results/studies]", "[baselines,guidance,attention]"):
        assert name in words


def test_ctrl_c_ends_in_words(monkeypatch, tmp_path, capsys):
    def interrupted(roots, **limits):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "plan_videos", interrupted)
    assert main(["--davis-root", str(GOLDEN), "--out", str(tmp_path)]) == 130
    assert "the same command goes on" in capsys.readouterr().err
