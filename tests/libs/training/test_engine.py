"""Steps, resuming, averaging, validation, bad numbers."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dataset_torch.errors import UserError
from libs.checkpoints import load_network
from libs.segmenter import Segmenter
from libs.training import engine as engine_module
from libs.training.engine import Engine, Validation
from libs.training.passes import PassResult
from libs.training.state import MovingAverage, learning_rate_factor, make_optimiser, read_state, trained_parameters
from networks.compact import CompactGIS
from tests.libs.training.toys import squares, tiny_recipe


def new_engine(folder: Path, **changes: object) -> Engine:
    torch.manual_seed(0)
    return Engine(CompactGIS(), tiny_recipe(**changes), squares(), folder)


def weights(engine: Engine) -> dict[str, Tensor]:
    return {**engine.network.state_dict(), **{f"average {k}": v for k, v in engine.state.average.values.items()}}


def test_a_resumed_run_gives_the_same_weights_to_the_bit(tmp_path: Path) -> None:
    whole = new_engine(tmp_path / "whole")
    for _ in range(3):
        whole.step()
    first = new_engine(tmp_path / "parts")
    first.step()
    first.save()
    first.step()  # done after the last save, so a kill loses it
    second = new_engine(tmp_path / "parts")
    assert second.resume() and second.state.step == 1
    second.step()
    second.step()
    expected, found = weights(whole), weights(second)
    assert set(expected) == set(found)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_steps_change_the_heads_and_leave_the_backbone(tmp_path: Path) -> None:
    engine = new_engine(tmp_path)
    before = {name: value.clone() for name, value in engine.network.state_dict().items()}
    engine.step()
    changed = {n for n, v in engine.network.state_dict().items() if not torch.equal(v, before[n])}
    assert changed and not any("backbone" in name for name in changed)
    assert {name.split(".")[0] for name in changed} == {"encoder", "interaction", "memoriser", "propagation"}


def test_unfrozen_parts_of_the_backbone_learn_at_their_own_rate() -> None:
    recipe = tiny_recipe(unfrozen=("encoder.backbone.blocks.10.",))
    network = CompactGIS()
    trained = trained_parameters(network, recipe)
    assert "encoder.backbone.blocks.10.expand.weight" in trained and "encoder.backbone.stem.weight" not in trained
    assert not network.encoder.backbone.stem.weight.requires_grad
    groups = make_optimiser(trained, recipe).param_groups
    assert [(g["scale"], g["weight_decay"]) for g in groups] == [(1, 0), (1, 1e-4), (0.1, 0), (0.1, 1e-4)]
    assert len(groups[2]["params"]) == len(groups[3]["params"]) == 3  # expand, depthwise, project


def test_a_recipe_may_train_one_part_only(tmp_path: Path) -> None:
    engine = new_engine(tmp_path, only=("propagation.quality.",))
    before = {name: value.clone() for name, value in engine.network.state_dict().items()}
    engine.step()
    changed = {name for name, value in engine.network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("propagation.quality.") for name in changed)
    assert len(make_optimiser(engine.parameters, engine.recipe).param_groups) == 4


def test_the_learning_rate_warms_up_and_falls_to_its_last_value() -> None:
    recipe = tiny_recipe(steps=100, warm_up_steps=10, final_rate=0.1)
    assert learning_rate_factor(0, recipe) == pytest.approx(0.1)
    assert learning_rate_factor(50, recipe) == pytest.approx(0.55)
    assert learning_rate_factor(100, recipe) == pytest.approx(0.1)


def test_a_loss_that_is_not_finite_is_skipped_then_ends_the_run(tmp_path: Path) -> None:
    engine = new_engine(tmp_path, bad_steps_allowed=2)
    engine.step()
    with torch.no_grad():
        engine.network.propagation.decoder.last.bias.fill_(float("nan"))
    before = {name: value.clone() for name, value in engine.state.average.values.items()}
    engine.step()
    assert engine.state.bad_steps == 1
    assert all(torch.equal(before[name], value) for name, value in engine.state.average.values.items())
    with pytest.raises(UserError, match="not finite in 2 steps in a row"):
        engine.step()


def engine_without_passes(folder: Path, monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> Engine:
    """Its passes cost these, times the sum of one weight."""
    found = iter(losses)

    def passed(segmenter: Segmenter, *_: object) -> PassResult:
        return PassResult(next(found) * segmenter.network.network.propagation.decoder.last.bias.sum())

    monkeypatch.setattr(engine_module, "run_pass", passed)
    return new_engine(folder, clips_per_step=2, bad_steps_allowed=2)


def test_a_steps_gradient_is_the_mean_over_its_clips_each_drawn_by_its_own_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_without_passes(tmp_path, monkeypatch, [1, 2, 3, 5])
    gradients, drawn = [], []
    bias = engine.network.propagation.decoder.last.bias
    monkeypatch.setattr(engine, "_update", lambda: gradients.append(bias.grad.unique().tolist()))
    monkeypatch.setattr(engine, "_draw", lambda _, generator: drawn.append(generator.bit_generator.seed_seq.entropy))
    engine.step()
    engine.step()
    assert gradients == [[1.5], [4]]
    assert drawn == [(1, 0), (1, 1), (1, 2), (1, 3)]  # the run's seed, and how many clips came before


def test_only_bad_steps_in_a_row_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nan = float("nan")
    engine = engine_without_passes(tmp_path, monkeypatch, [nan, nan, 1, 1, 1, nan])
    for _ in range(3):
        engine.step()
    assert engine.state.bad_steps == 2


def test_batch_norms_keep_their_statistics(tmp_path: Path) -> None:
    engine = new_engine(tmp_path)
    engine.network.norm = nn.BatchNorm2d(3)
    engine._training_mode()
    assert engine.network.training and engine.network.propagation.training and not engine.network.norm.training


def test_the_average_is_short_sighted_at_first() -> None:
    average = MovingAverage({"w": torch.tensor([0.0])}, 0.5)
    seen = []
    for _ in range(9):
        average.update({"w": torch.tensor([1.0])})
        seen.append(1 - float(average.values["w"]))
    # What is left of the first value: 2 of 11 parts, of that 3 of 12, ..., from the eighth time on half.
    assert seen[:2] == pytest.approx([2 / 11, 2 / 11 * 3 / 12])
    assert seen[8] == pytest.approx(seen[7] / 2, rel=1e-2) and seen[7] == pytest.approx(seen[6] / 2, rel=1e-2)


def test_a_run_writes_log_state_and_the_best_weights(tmp_path: Path) -> None:
    scores = iter([0.5, 0.9, 0.7])
    seen: list[float] = []

    def validator(network: CompactGIS) -> Validation:
        assert not network.training
        seen.append(next(scores))
        return Validation(seen[-1], {"val_round1": seen[-1]})

    torch.manual_seed(0)
    engine = Engine(CompactGIS(), tiny_recipe(steps=3), squares(), tmp_path, validator=validator)
    for _ in range(3):
        engine.step()
        before = {name: value.clone() for name, value in engine.network.state_dict().items()}
        engine.validate()
        after = engine.network.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)  # averaged weights were only lent
        if seen[-1] == 0.9:
            best = engine.averaged()
            best = {name: value.clone() for name, value in best.items()}
    engine.save()
    assert engine.state.best == 0.9
    kept = load_network(tmp_path / "best.pth").state_dict()
    assert all(torch.equal(kept[name], best[name].half().float()) for name in best)  # exported in half precision
    assert read_state(tmp_path / "state.pth")["step"] == 3
    with (tmp_path / "log.csv").open(newline="") as file:
        assert [row["val_round1"] for row in csv.DictReader(file)] == ["0.5", "0.9", "0.7"]


def test_a_damaged_or_foreign_state_is_refused(tmp_path: Path) -> None:
    engine = new_engine(tmp_path)
    engine.save()
    other = new_engine(tmp_path, seed=2)
    with pytest.raises(UserError, match="seed 1, not of 'tiny' with seed 2"):
        other.resume()
    (tmp_path / "state.pth").write_bytes(b"no state")
    with pytest.raises(UserError, match="Delete it to start afresh"):
        engine.resume()


def test_a_kill_after_a_validation_does_not_forget_how_good_the_best_weights_are(tmp_path: Path) -> None:
    torch.manual_seed(0)
    recipe = tiny_recipe(steps=3, validate_seconds=0, save_seconds=1e9)
    engine = Engine(CompactGIS(), recipe, squares(), tmp_path, validator=lambda _: Validation(0.7, {}))
    take_step = engine.step

    def killed_in_the_second() -> object:
        if engine.state.step == 1:
            raise KeyboardInterrupt
        return take_step()

    engine.step = killed_in_the_second
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    saved = read_state(tmp_path / "state.pth")
    assert (saved["best"], saved["step"]) == (0.7, 1)


def test_a_run_that_is_stopped_is_saved_before_it_is_validated(tmp_path: Path) -> None:
    def validator(network: CompactGIS) -> Validation:
        raise KeyboardInterrupt  # whoever stopped it does not wait

    torch.manual_seed(0)
    engine = Engine(CompactGIS(), tiny_recipe(), squares(), tmp_path, validator=validator)
    with pytest.raises(KeyboardInterrupt):
        engine.run(stop=lambda: engine.state.step == 1)
    assert read_state(tmp_path / "state.pth")["step"] == 1


def test_a_resumed_run_names_what_is_not_as_it_was(tmp_path: Path) -> None:
    new_engine(tmp_path).save()
    assert new_engine(tmp_path).changes == []
    same, other = new_engine(tmp_path), new_engine(tmp_path, clips_per_step=3, gradient_norm=0.5, validate_seconds=1)
    other.data = [replace(other.data[0], specification="clips:others")]
    assert same.resume() and other.resume()
    assert same.changes == []
    assert other.changes == [
        "clips_per_step was 2, is 3",
        "gradient_norm was 1.0, is 0.5",
        "data was squares, is clips:others",
    ]


def test_settings_changed_on_resuming_have_an_effect(tmp_path: Path) -> None:
    new_engine(tmp_path).save()
    resumed = new_engine(tmp_path, weight_decay=0.5, backbone_rate=0.25)
    assert resumed.resume() and len(resumed.changes) == 2
    groups = resumed.state.optimiser.param_groups
    assert [(g["scale"], g["weight_decay"]) for g in groups] == [(1, 0), (1, 0.5), (0.25, 0), (0.25, 0.5)]


def test_a_best_figure_of_other_clips_is_forgotten(tmp_path: Path) -> None:
    def resumed(validated_on: str) -> Engine:
        engine = Engine(CompactGIS(), tiny_recipe(), squares(), tmp_path, validated_on=validated_on)
        assert engine.resume()
        return engine

    engine = Engine(CompactGIS(), tiny_recipe(), squares(), tmp_path, validated_on="clips:a (8 clips)")
    engine.state.best = 0.9
    engine.save()
    assert (resumed("clips:a (8 clips)").state.best, resumed("clips:a (8 clips)").forgotten) == (0.9, "")
    resumed("").save()  # a part without validation does not forget
    other = resumed("clips:b (8 clips)")
    assert other.forgotten == "validation was on clips:a (8 clips), is on clips:b (8 clips)"
    assert other.state.best == -1 and other.changes == []
    content = read_state(tmp_path / "state.pth")
    del content["best_of"]  # of an earlier version: nothing is known, and nothing forgotten
    torch.save(content, tmp_path / "state.pth")
    assert resumed("clips:b (8 clips)").state.best == 0.9
    other.save()
    assert read_state(tmp_path / "state.pth")["best_of"] == "clips:b (8 clips)"


def test_a_run_tells_how_far_it_is(tmp_path: Path) -> None:
    said: list[str] = []

    def run(steps: int, stop: int) -> Engine:
        engine = Engine(
            CompactGIS(),
            tiny_recipe(steps=steps, clips_per_step=1),
            squares(),
            tmp_path,
            validator=lambda _: Validation(0.5, {}),
            validated_on="clips:a (8 clips)",
            say=said.append,
        )
        engine.resume()
        engine.run(stop=lambda: engine.state.step == stop)
        return engine

    run(2, 1)
    assert re.fullmatch(r"step 1 of 2: loss [\d.]+, J after each round [\d. ]+; about \d+ s to .* end", said[0])
    assert said[1:] == ["validating on clips:a (8 clips)", "validation: 0.5000 (best 0.5000), took 0 s"]
    del said[:]
    run(2, 2)
    assert said[0].startswith("step 2 of 2: loss") and "about" not in said[0]
    assert said[1] == "validating on clips:a (8 clips); the last time it took 0 s"


def test_states_and_logs_of_earlier_versions_go_on(tmp_path: Path) -> None:
    engine = new_engine(tmp_path)
    engine.state.step, engine.state.best = 40, 0.9
    engine.save()
    content = torch.load(tmp_path / "state.pth", weights_only=True)
    del content["settings"], content["score"]
    torch.save(content, tmp_path / "state.pth")
    (tmp_path / "log.csv").write_text("step,val_round1,val_score\n20,,\n40,0.5,0.6\n60,,\n")
    resumed = new_engine(tmp_path)
    assert resumed.resume() and resumed.changes == []
    assert resumed.state.best == -1  # it was another measure
    resumed._write_row({"step": 41, "val_jf1": 0.25})
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["val_round1"], row["val_jf1"]) for row in rows] == [
        ("20", "", ""),
        ("40", "0.5", ""),
        ("41", "", "0.25"),
    ]
    (tmp_path / "log.csv").write_text("step\nno number\n")
    with pytest.raises(UserError, match="Move it away"):
        new_engine(tmp_path).resume()
