"""The training engine: steps of several passes, averaged weights, validation, files that survive a kill."""

from __future__ import annotations

import csv
import dataclasses
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dataset_torch.atomic import write_atomic
from dataset_torch.errors import UserError
from libs.checkpoints import save_checkpoint
from libs.training.board import Board
from libs.training.data import TrainingSet, refresh, skipped, stage_source
from libs.training.parallel import Processes
from libs.training.passes import PassResult, run_pass, training_segmenter
from libs.training.recipe import Recipe, Stage
from libs.training.samples import Sample, make_sample
from libs.training.state import (
    MovingAverage,
    RunState,
    learning_rate_factor,
    make_optimiser,
    read_state,
    set_learning_rate,
    trained_parameters,
)
from networks.interface import GuidedNetwork

LOG_FIELDS = (
    *("step", "passes", "seconds", "rate", "loss", "interaction", "round1", "round2", "round3", "rank", "gradient"),
    *("val_round1", "val_round2", "val_round3", "val_jf1", "val_jf2", "val_jf3", "val_rank", "val_score"),
    *("skipped_clips", "bad_steps"),
)


@dataclass(frozen=True)
class Validation:
    """Figures of a network on held-out video; `score` decides which weights are kept."""

    score: float
    figures: dict[str, float]


Validator = Callable[[GuidedNetwork], Validation]


class Engine:
    """One run in one folder: `state.pth` (to resume), `best.pth` and `last.pth` (averaged weights), `log.csv`.

    `validated_on` says in words which clips `validator` measures by; on resuming, best figures of others are forgotten.
    """

    def __init__(
        self,
        network: GuidedNetwork,
        recipe: Recipe,
        data: Sequence[TrainingSet],
        folder: Path,
        *,
        validator: Validator | None = None,
        validated_on: str = "",
        processes: Processes | None = None,
        board: Board | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.recipe, self.data, self.folder = recipe, data, Path(folder)
        self.validator, self.validated_on = validator, validated_on
        self.processes, self.board, self.say = processes or Processes(), board, say
        self.network = network
        self.segmenter = training_segmenter(network, recipe)
        self.parameters = trained_parameters(network, recipe)
        self.processes.same_weights(network.state_dict().values())
        self.state = RunState(
            network,
            make_optimiser(self.parameters, recipe),
            MovingAverage(self.parameters, recipe.average_decay),
            best_of=validated_on,
        )
        self.bad_in_a_row = 0
        self.log_rows: list[dict[str, float]] = []
        self.changes: list[str] = []  # since the run began: settings that `resume` found different
        self.forgotten = ""  # why `resume` forgot the best figure, if it did

    # ---- running -------------------------------------------------------------------------------------------------

    def resume(self) -> bool:
        """Continue from `state.pth` if there is one; whether there was."""
        path = self.folder / "state.pth"
        content = self.processes.from_first(lambda: read_state(path) if path.is_file() else None)
        if content is None:
            return False
        self.changes = self.state.restore(content, path, self.recipe, self._specifications())
        self.forgotten = self.state.validate_on(self.validated_on)
        if self.processes.is_first:
            self.log_rows = read_log(self.folder / "log.csv", self.state.step)
        return True

    def _specifications(self) -> list[str]:
        return [one.specification or one.kind for one in self.data]

    def run(self, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Train until the recipe's last step, or until `stop()`; saves before it returns.

        Raises `UserError` when the loss stays not finite, or the data yields nothing to train on.
        """
        saved = validated = time.monotonic()
        collected: list[PassResult] = []
        logged = self.state.step, self.state.seconds

        def log() -> None:
            nonlocal logged
            self._log(collected, norm, (self.state.seconds - logged[1]) / (self.state.step - logged[0]))
            logged = self.state.step, self.state.seconds

        # Processes agree on when to stop: one that goes on alone would wait for the others for ever.
        while self.state.step < self.recipe.steps and not self.processes.any(stop()):
            start = time.monotonic()
            results, norm = self.step()
            self.state.seconds += time.monotonic() - start
            collected += results
            if self.state.step % 20 == 0:
                log()
                collected = []
                refresh(self.data)
            now = time.monotonic()
            if now - validated > self.recipe.validate_seconds:
                self.validate()
                validated = time.monotonic()
                self.save()  # lest a kill forgets how good the best weights are, and worse ones replace them
                saved = time.monotonic()
            elif now - saved > self.recipe.save_seconds:
                self.save()
                saved = time.monotonic()
        if collected:
            log()
        self.save()  # a validation takes minutes, and whoever stopped the run may not wait for it
        self.validate()
        self.save()

    def step(self) -> tuple[list[PassResult], float]:
        """One optimiser step over `clips_per_step` passes, shared out over the processes."""
        recipe, state = self.recipe, self.state
        stage = recipe.stage_at(state.step)
        self._training_mode()
        set_learning_rate(state.optimiser, recipe.learning_rate * learning_rate_factor(state.step, recipe))
        state.optimiser.zero_grad(set_to_none=True)
        results = []
        for index in range(self.processes.rank, recipe.clips_per_step, self.processes.count):
            number = state.step * recipe.clips_per_step + index
            generator = np.random.default_rng((recipe.seed, number))
            torch.manual_seed(((recipe.seed << 32) + number) % (1 << 63))  # dropout, of networks that have it
            result = run_pass(self.segmenter, self._draw(stage, generator), recipe, stage, generator)
            if result.loss.requires_grad:
                (result.loss / recipe.clips_per_step).backward()
            result.loss = result.loss.detach()
            results.append(result)
        self.processes.add_gradients(self.parameters.values())
        norm = self._update()
        state.step += 1
        state.passes += recipe.clips_per_step
        return results, norm

    def _update(self) -> float:
        """Clip the gradient and take the step, unless a number is not finite."""
        parameters = [p for p in self.parameters.values() if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(parameters, self.recipe.gradient_norm)
        if not torch.isfinite(norm):
            self.state.bad_steps += 1
            self.bad_in_a_row += 1
            if self.bad_in_a_row >= self.recipe.bad_steps_allowed:
                raise UserError(
                    f"the loss was not finite in {self.bad_in_a_row} steps in a row (step {self.state.step}). The last "
                    f"good state is in {self.folder}. Lower the learning rate, or use precision=float32."
                )
            return float("nan")
        self.bad_in_a_row = 0
        self.state.optimiser.step()
        self.state.average.update(self.parameters)
        return float(norm)

    def _draw(self, stage: Stage, generator: np.random.Generator) -> Sample:
        """A sample of a random clip; what cannot be used is skipped and counted by the source."""
        source = stage_source(self.data, self.recipe, stage)
        length = int(generator.integers(stage.length[0], stage.length[1] + 1))
        return make_sample(source.clip(int(generator.integers(len(source))), generator, steps=length), generator)

    def _training_mode(self) -> None:
        """Training mode, but batch norms keep their statistics: a batch is the objects of one clip."""
        self.network.train()
        for module in self.network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()

    # ---- validation and files --------------------------------------------------------------------------------------

    def averaged(self) -> dict[str, torch.Tensor]:
        """The network's weights with the averaged ones in place."""
        return {**self.network.state_dict(), **self.state.average.values}

    def validate(self) -> Validation | None:
        """Validate the averaged weights, export them, and keep them as `best.pth` if they are the best so far."""
        if not self.processes.is_first:
            return None
        present = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.averaged())
        try:
            self.network.eval()
            start = time.monotonic()
            self._say_validation()
            outcome = self.validator(self.network) if self.validator else None
            self._export("last.pth", outcome)
            if outcome is not None and outcome.score > self.state.best:
                self.state.best = outcome.score
                self._export("best.pth", outcome)
        finally:
            self.network.load_state_dict(present)
        if outcome is not None:
            figures = {"step": self.state.step, "val_score": outcome.score, **outcome.figures}
            seconds = time.monotonic() - start
            self.state.history.append({**figures, "val_seconds": seconds})
            self.say(f"validation: {outcome.score:.4f} (best {self.state.best:.4f}), took {in_words(seconds)}")
            self._write_row({**figures, "passes": self.state.passes, "seconds": self.state.seconds})
        return outcome

    def _say_validation(self) -> None:
        """That it begins, and how long it may take: nothing else is heard of it before its end."""
        if self.validator:
            last = self.state.history[-1].get("val_seconds") if self.state.history else None
            took = "" if last is None else f"; the last time it took {in_words(last)}"
            self.say(f"validating on {self.validated_on or 'held-out clips'}{took}")

    def save(self) -> None:
        """Write the state, from the first process."""
        if self.processes.is_first:
            self.state.save(self.folder / "state.pth", self.recipe, self._specifications())

    def _export(self, name: str, outcome: Validation | None) -> None:
        meta = {
            "recipe": self.recipe.name,
            "step": self.state.step,
            "passes": self.state.passes,
            "hours": round(self.state.seconds / 3600, 3),
            "validation": dict(outcome.figures) if outcome else {},
        }
        save_checkpoint(self.folder / name, self.network, meta, half=True)

    def _log(self, results: Sequence[PassResult], norm: float, pace: float) -> None:
        """Write and print the figures of the steps since the last time; `pace` in seconds a step."""
        if not self.processes.is_first or not results:
            return

        def mean(values: Sequence[float]) -> float:
            return float(np.mean(values)) if len(values) else float("nan")

        rounds = [[r.round_quality[i] for r in results if len(r.round_quality) > i] for i in range(3)]
        state = self.state
        row = {
            "step": state.step,
            "passes": state.passes,
            "seconds": state.seconds,
            "rate": self.recipe.learning_rate * learning_rate_factor(state.step, self.recipe),
            "loss": mean([float(r.loss) for r in results]),
            "interaction": mean([q for r in results for q in r.interaction_quality]),
            "round1": mean(rounds[0]),
            "round2": mean(rounds[1]),
            "round3": mean(rounds[2]),
            "rank": mean([q for r in results for q in r.rank_agreement]),
            "gradient": norm,
            "skipped_clips": skipped(self.data),
            "bad_steps": state.bad_steps,
        }
        self._write_row(row)
        steps = self.recipe.steps
        played = " ".join(f"{row[name]:.3f}" for name in ("round1", "round2", "round3") if np.isfinite(row[name]))
        left = f"; about {in_words(pace * (steps - state.step))} to the recipe's end" if state.step < steps else ""
        self.say(
            f"step {state.step} of {steps}: loss {row['loss']:.3f}, J after each round {played or 'unknown'}{left}"
        )

    def _write_row(self, row: dict[str, float]) -> None:
        """Append to the log, and to TensorBoard if it is there."""
        shown = {name: f"{row[name]:.5g}" if isinstance(row[name], float) else row[name] for name in row}
        self.log_rows.append({name: shown.get(name, "") for name in LOG_FIELDS})
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, LOG_FIELDS)
        writer.writeheader()
        writer.writerows(self.log_rows)
        write_atomic(self.folder / "log.csv", buffer.getvalue())
        if self.board is not None:
            self.board.write({k: float(v) for k, v in row.items() if k != "step"}, int(row["step"]))


def read_log(path: Path, last_step: int) -> list[dict[str, Any]]:
    """The rows of a run's log up to a step; later ones are done again.  Columns it lacks stay empty.

    Raises `UserError` if it is no log.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) <= last_step]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(
            f"{path} cannot be read as the run's log ({error}). Move it away; a new one is begun."
        ) from error
    return [{name: row.get(name, "") for name in LOG_FIELDS} for row in rows]


def in_words(seconds: float) -> str:
    """A duration, such as `75 s`, `12 min` or `3.2 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def recipe_in_words(recipe: Recipe) -> str:
    """The recipe's plain values, a line each, for the model card and the log."""
    return "\n".join(f"{f.name} = {getattr(recipe, f.name)!r}" for f in dataclasses.fields(recipe))
