"""A progress bar over samples, rounds and frames with the running score, and a log file with a line per round."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

from tqdm import tqdm
from typing_extensions import Self

from libs.reports.records import METRIC_NAMES, RoundRecord, SampleRecord, Variant
from libs.runs import Shard, now


class RunProgress:
    """Shown on a terminal as one bar; elsewhere as one line per finished sample.  Use it as a context manager."""

    def __init__(self, total: int, *, log: Path, shard: Shard | None = None, metric: str = "J_AND_F"):
        self.metric = metric
        shard = shard or Shard()
        self._log_path = log if shard.is_main else log.with_name(f"{log.stem}-{shard.rank}{log.suffix}")
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        self._log = self._log_path.open("a", encoding="utf-8")
        self._bar = tqdm(total=total, unit="sample", disable=None, position=shard.rank, dynamic_ncols=True)
        self._final: list[float] = []
        self._label = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.log(f"stopped: {kind.__name__ if kind else ''} {error}".rstrip())
        self._bar.close()
        self._log.close()

    def log(self, text: str) -> None:
        """One line into the log file, with the time."""
        self._log.write(f"{now()}  {text}\n")
        self._log.flush()

    def extend(self, samples: int, *, metric: str) -> None:
        """More samples are to come, judged by this metric; the running score starts again."""
        self.metric, self._final = metric, []
        self._bar.total = (self._bar.total or 0) + samples
        self._bar.refresh()

    def begin(self, variant: Variant, name: str, number: int, num_rounds: int) -> None:
        """A round begins."""
        self._label = f"{variant.title}  {name}  round {number}/{num_rounds}"
        self._bar.set_description_str(self._label)

    def frame(self, done: int, total: int) -> None:
        """A frame of the round is done."""
        running = (
            f"  {METRIC_NAMES[self.metric]} so far {sum(self._final) / len(self._final):.3f}" if self._final else ""
        )
        self._bar.set_postfix_str(f"frame {done}/{total}{running}")

    def round_done(self, variant: Variant, sample: SampleRecord, record: RoundRecord) -> None:
        """A round was measured."""
        value = record.object_means(self.metric).mean()
        what = "nothing to correct" if record.empty else f"frame {record.annotated_frame}"
        self.log(
            f"{variant.label}  {sample.name}  round {record.round}  {what}  "
            f"{METRIC_NAMES[self.metric]} {value:.4f}  {record.seconds:.2f} s" + ("  LATE" if record.late else "")
        )

    def sample_done(self, variant: Variant, sample: SampleRecord, *, earlier: bool = False) -> None:
        """A sample is finished, now or (`earlier`) by a run before this one."""
        value = float(sample.rounds[-1].object_means(self.metric).mean())
        self._final.append(value)
        self._bar.update()
        if self._bar.disable and not earlier:
            print(
                f"{variant.title}  {sample.name}: {METRIC_NAMES[self.metric]} {value:.3f}", file=sys.stderr, flush=True
            )
