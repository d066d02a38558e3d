"""Makes davisinteractive 1.0.4 (2020) run, and give its own numbers, on today's libraries.

Import this module before anything of `davisinteractive`; it patches when it is imported, once per process, and edits no
installed file.  Each shim stands with its reason; `tests/libs/test_davis_compat.py` pins what they lead to.  What was
measured: with the shims J and F equal a 2020 installation's exactly, AUC and metric@60 to 1e-12.

Left as it is: scikit-learn lists the neighbours of large skeletons in another order than in 2020, which moves a few
strokes by up to 0.06 of the image.  That is deterministic, and no option gives the old order back.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import sys
import types

import networkx
import numpy as np
import pandas as pd

from dataset_torch.errors import UserError

VERSION = "1.0.4"
_REMEDY = "Install what the project needs: pip install -r requirements.txt (or make install)."


def _check_installation() -> None:
    """Refuse a missing framework, another version, and one that was imported without the shims."""
    try:
        found = importlib.metadata.version("davisinteractive")
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(f"davisinteractive is not installed. {_REMEDY}") from error
    if found != VERSION:
        raise UserError(f"davisinteractive {found} is installed, but only {VERSION} can be patched safely. {_REMEDY}")
    loaded = sorted(name for name in sys.modules if name.startswith("davisinteractive."))
    if loaded:
        raise UserError(
            f"davisinteractive was imported before libs.davis_compat ({loaded[0]} is loaded), so its numbers would not "
            "be those of 2020. Import libs.davis_compat first."
        )


def _restore_names() -> None:
    """Give back names that newer libraries dropped; the framework reads them while it is imported and later."""
    for name, value in {"int": int, "float": float, "bool": bool}.items():  # gone since NumPy 1.24 (bool: back in 2.0)
        if not hasattr(np, name):
            setattr(np, name, value)
    if hasattr(np, "trapezoid"):  # its new name since NumPy 2.0; the old one warns, and is gone since 2.4
        np.trapz = np.trapezoid
    if not hasattr(networkx, "from_scipy_sparse_matrix"):  # gone since networkx 3.0
        networkx.from_scipy_sparse_matrix = networkx.from_scipy_sparse_array


def _stub_extension() -> None:
    """Stand in for the C extension, which only the client of the remote challenge server uses.

    It needs a compiler, and the framework imports it in any case.
    """

    def missing(name: str) -> object:
        raise AttributeError(f"{name}: the C extension of davisinteractive is left out; only host='localhost' works")

    stub = types.ModuleType("davisinteractive.third_party.mask_api._mask", "Stands in for the C extension.")
    stub.__getattr__ = missing
    sys.modules[stub.__name__] = stub


class _PermutationOf2020(np.random.Generator):
    """Breaks ties as `numpy.random.RandomState(0)`, made anew for every skeleton, did."""

    def permutation(self, x: np.ndarray, axis: int = 0) -> np.ndarray:
        return np.random.RandomState(0).permutation(x)


def _seed_skeletons(robot: types.ModuleType) -> None:
    """scikit-image's medial axis used a fixed seed in 2020; without one, two runs draw different scribbles."""
    medial_axis = robot.medial_axis

    def seeded_medial_axis(image: np.ndarray) -> np.ndarray:
        return medial_axis(image, rng=_PermutationOf2020(np.random.MT19937(0)))

    robot.medial_axis = seeded_medial_axis


class StableOrder(np.ndarray):
    """An array whose `argsort` keeps the order of equal values; views and results of arithmetic stay one."""

    def argsort(self, axis: int = -1, kind: str | None = None, order: object = None) -> np.ndarray:
        return np.asarray(self).argsort(axis=axis, kind="stable")


def _order_ties(service: types.ModuleType) -> None:
    """Among equally bad frames the framework takes the one that `argsort` puts first, which depends on the CPU.

    With a stable order it is the earliest frame, everywhere.
    """
    for name in ("batched_jaccard", "batched_f_measure"):
        measure = getattr(service, name)
        setattr(service, name, lambda *a, _measure=measure, **k: np.asarray(_measure(*a, **k)).view(StableOrder))


_REPORT_TYPES = {
    "sequence": object,
    "scribble_idx": np.int64,
    "interaction": np.int64,
    "object_id": np.int64,
    "frame": np.int64,
    "jaccard": np.float64,
    "contour": np.float64,
    "j_and_f": np.float64,
    "timing": np.float64,
}
_KEY = ["interaction", "sequence", "scribble_idx", "object_id"]


def _summarise_numbers(evaluation_service: type) -> None:
    """Give `summarize_report` a table that today's pandas can average and that `_reconstruct_report` can fill.

    The session's id is a text column (its mean raises), columns of an empty report have no number type (`np.interp`
    raises), and with nothing evaluated at all there is no last interaction to read.
    """
    summarize = evaluation_service.summarize_report

    def summarize_report(self: object, df: pd.DataFrame) -> dict:
        df = df.drop(columns="session_id", errors="ignore")
        return summarize(self, df.astype({name: _REPORT_TYPES[name] for name in df.columns}))

    evaluation_service.summarize_report = summarize_report


def _fill_report(service: types.ModuleType) -> None:
    """Replace `_reconstruct_report`, which writes into arrays that are read-only under pandas' copy-on-write.

    That raises only when a sample has timed out, at the very end of an evaluation.  The rule is the framework's: a
    round that was not evaluated has the scores of the round before, at no time; before the first, everything is 0.
    """
    davis = service.Davis

    def reconstruct_report(self: object, df: pd.DataFrame) -> pd.DataFrame:
        last = df.index.get_level_values("interaction").max() if len(df) else 1
        index = [
            (interaction, sequence, scribble, object_id)
            for interaction in range(1, int(self.max_i or last) + 1)
            for sequence in self.sequences
            for scribble in range(1, davis.dataset[sequence]["num_scribbles"] + 1)
            for object_id in range(1, davis.dataset[sequence]["num_objects"] + 1)
        ]
        df = df.reindex(pd.MultiIndex.from_tuples(index, names=_KEY)).astype(np.float64)
        missing = df.isna().any(axis=1).groupby(level=_KEY[:3]).transform("any")
        df = df.mask(missing).groupby(level=_KEY[1:]).ffill().fillna(0.0)
        df.loc[missing, "timing"] = 0.0
        return df

    service.EvaluationService._reconstruct_report = reconstruct_report


def _type_storage(storage: type) -> None:
    """Start the report with typed columns: columns that begin empty stay of type `object` when rows are added."""
    initialise = storage.__init__

    def __init__(self: object) -> None:
        initialise(self)
        self.report = self.report.astype(_REPORT_TYPES)
        self.annotated_frames = self.annotated_frames.astype(
            {"sequence": object, "scribble_idx": np.int64, "frame": np.int64, "override": bool}
        )

    storage.__init__ = __init__


def _never_download(davis: type) -> None:
    """A missing file starts a download of gigabytes in the framework; say what is missing instead.

    Sequences whose entry says `validated` were checked by `dataset_torch.davis` and need not lie where the framework
    looks (first-round scribbles made by the robot lie in the results).
    """

    def refuse(self: object) -> None:
        raise UserError(
            f"files of the DAVIS data set are missing under {self.davis_root}. They are never downloaded by an "
            "evaluation: DAVIS-2017-trainval-480p.zip and DAVIS-2017-scribbles-trainval.zip are at davischallenge.org."
        )

    check_files = davis.check_files

    def check(self: object, sequences: list[str]) -> bool:
        return check_files(self, [s for s in sequences if not davis.dataset[s].get("validated")])

    davis._download_scribbles = davis._download_annotations = refuse
    davis.check_files = check


def _quieten() -> None:
    """The framework logs several lines per round, for debugging; only its warnings are for users."""
    logging.getLogger("absl").setLevel(logging.WARNING)


def _patch() -> None:
    _check_installation()
    _restore_names()
    _stub_extension()
    robot = importlib.import_module("davisinteractive.robot.interactive_robot")
    service = importlib.import_module("davisinteractive.evaluation.service")
    _seed_skeletons(robot)
    _order_ties(service)
    _fill_report(service)
    _summarise_numbers(service.EvaluationService)
    _type_storage(service.LocalStorage)
    _never_download(service.Davis)
    _quieten()


_patch()
