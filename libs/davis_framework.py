"""The framework's session, set up so that its own files, caps and copies stay out of the way."""

from __future__ import annotations

from libs import davis_speed  # noqa: F401  lets our measures stand in for the framework's
from libs.davis_registry import RegisteredDataset
from libs.scribble_robot import scribble_robot

# isort: split
from davisinteractive.session import DavisInteractiveSession

MIN_NODES = 2  # the published runs' shortest skeleton that becomes a stroke


def start_framework(
    registered: RegisteredDataset,
    *,
    metric: str,
    max_rounds: int,
    max_time: float | None,
    horizon: float,
    fast: bool,
    folder: str,
) -> DavisInteractiveSession:
    """A started `DavisInteractiveSession` on the registered data set; arguments as for `DavisEvaluationSession`.

    `folder` must exist; nothing is written there.
    """
    framework = DavisInteractiveSession(
        host="localhost",
        user_key="local",  # else it asks for the user's name, which a container may not have
        davis_root=str(registered.davis_root),
        subset=registered.subset,
        max_nb_interactions=max_rounds,
        metric_to_optimize=metric,
        report_save_dir=folder,
    )
    framework.max_nb_interactions, framework.max_time = max_rounds, max_time  # it caps them at 16 and 600 s
    framework.__enter__()
    connector = framework.connector
    connector.service.davis = registered
    connector.service.robot = scribble_robot(min_nb_nodes=MIN_NODES, fast=fast)
    connector.service.max_t = horizon  # for the summary; the limit itself is framework.max_time
    connector.post_finish = dict  # it would summarise the last sample alone
    framework.get_report = framework.report_save_dir = _Discarded()
    return framework


class _Discarded:
    """Takes the place of the framework's running report, which it would write whole at every step, not atomically."""

    def __call__(self) -> _Discarded:
        return self

    def joinpath(self, *_: str) -> _Discarded:
        return self

    def to_csv(self, _: object) -> None:
        """Write nothing: `libs.davis_progress` keeps what was done."""

    def unlink(self) -> None:
        """There is no file."""


class IdleRobot:
    """Draws nothing: after the last round nobody sees the strokes."""

    def interact(self, sequence: str, pred_masks: object, gt_masks: object, **_: object) -> dict:
        """No stroke on any frame of `gt_masks` (F x H x W)."""
        return {"sequence": sequence, "scribbles": [[] for _ in gt_masks]}


class SharedPath(list):
    """A stroke's points that are never changed: the framework's deep copies of all strokes, every round, share them."""

    def __deepcopy__(self, memo: dict) -> SharedPath:
        return self


def share_paths(scribbles: dict) -> None:
    """Make every path of a scribble dictionary a `SharedPath`, in place."""
    for strokes in scribbles["scribbles"]:
        for stroke in strokes:
            stroke["path"] = SharedPath(stroke["path"])
