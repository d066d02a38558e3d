"""Makes any DAVIS-layout data set known to the framework, beside the 150 sequences that it knows.

The framework looks everything up in class-wide tables by sequence name.  A data set is entered there under keys of its
own (`gis1/bear`), so that a sequence may be called as one of DAVIS, and two data sets may be open at once; it leaves
when it is closed.  The framework wants object ids 1, 2, 3 without gaps: they are translated here, both ways.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import numpy as np

from dataset_torch.davis import DavisDataset, DavisSequence
from libs import davis_compat  # noqa: F401  patches davisinteractive before it is imported

# isort: split
from davisinteractive.connector.local import LocalConnector
from davisinteractive.dataset import Davis

_numbers = itertools.count(1)


class MaskStack(np.ndarray):
    """Masks of a video, F x H x W; tells the framework's measures that the fast ones may stand in for them."""


class RegisteredDataset(Davis):
    """A data set that the framework can evaluate, and the reader that it gets masks and scribbles from.

    Args:
        dataset: the checked data set; every sequence needs first-round scribbles.
        fast: hand out `MaskStack`s of one byte per pixel, kept while the sequence stays the same, instead of reading
            all masks into 8-byte integers at every submission.
    """

    def __init__(self, dataset: DavisDataset, *, fast: bool):
        super().__init__(davis_root=str(dataset.root))
        self.subset = f"gis{next(_numbers)}"
        self._fast = fast
        self._sequences: dict[str, DavisSequence] = {self.key(s.name): s for s in dataset.sequences}
        self._loaded: tuple[str, np.ndarray] | None = None
        self.open()

    def open(self) -> None:
        """Enter the framework's tables; nothing happens when it is there already."""
        if self.subset in Davis.sets:
            return
        for key, sequence in self._sequences.items():
            Davis.dataset[key] = {
                "name": key,
                "num_frames": sequence.num_frames,
                "num_objects": len(sequence.object_ids),
                "num_scribbles": len(sequence.scribble_files),
                "image_size": [sequence.width, sequence.height],
                "set": self.subset,
                "validated": True,  # by dataset_torch.davis: the framework need not look for the files
            }
        Davis.sets[self.subset] = list(self._sequences)
        LocalConnector.VALID_SUBSETS.append(self.subset)

    def close(self) -> None:
        """Leave the framework's tables."""
        for key in self._sequences:
            Davis.dataset.pop(key, None)
        Davis.sets.pop(self.subset, None)
        if self.subset in LocalConnector.VALID_SUBSETS:
            LocalConnector.VALID_SUBSETS.remove(self.subset)
        self._loaded = None

    @contextlib.contextmanager
    def listed(self) -> Iterator[None]:
        """Inside, the data set is in the framework's tables; afterwards as before."""
        was_open = self.subset in Davis.sets
        self.open()
        try:
            yield
        finally:
            if not was_open:
                self.close()

    def key(self, name: str) -> str:
        """The framework's name of sequence `name`."""
        return f"{self.subset}/{name}"

    def __getitem__(self, key: str) -> DavisSequence:
        return self._sequences[key]

    def load_annotations(self, sequence: str, dtype: type = int) -> np.ndarray:
        """Masks of a sequence (framework's name), F x H x W with ids 1 to O; called by the framework."""
        if not self._fast:
            return to_consecutive(self[sequence].ground_truth(), self[sequence].object_ids).astype(dtype)
        if self._loaded is None or self._loaded[0] != sequence:
            masks = to_consecutive(self[sequence].ground_truth(), self[sequence].object_ids)
            self._loaded = sequence, masks.view(MaskStack)
        return self._loaded[1]

    def load_scribble(self, sequence: str, scribble_idx: int) -> dict:
        """First-round scribbles (framework's name, number from 1) with ids 1 to O; called by the framework."""
        scribbles = self[sequence].scribbles(scribble_idx)
        return {**translated(scribbles, self.to_internal(sequence)), "sequence": sequence}

    def internal_masks(self, key: str, masks: np.ndarray) -> np.ndarray:
        """A prediction in the data set's ids, F x H x W, as uint8 with ids 1 to O.

        Raises:
            ValueError: Another shape or type, or an id that is no object's.
        """
        masks, sequence = np.asarray(masks), self[key]
        shape = sequence.num_frames, sequence.height, sequence.width
        if masks.shape != shape or not np.issubdtype(masks.dtype, np.integer):
            raise ValueError(f"masks of {sequence.name} must be integers {shape}, got {masks.dtype} {masks.shape}")
        allowed = np.zeros(256, bool)
        allowed[[0, *sequence.object_ids]] = True
        in_range = masks.dtype == np.uint8 or (masks.min() >= 0 and masks.max() <= 255)
        if not in_range or not allowed[masks].all():
            unknown = sorted(set(np.unique(masks).tolist()) - {0, *sequence.object_ids})
            raise ValueError(f"masks of {sequence.name} hold {unknown[:5]}; its object ids are {sequence.object_ids}")
        return to_consecutive(masks, sequence.object_ids)

    def to_internal(self, key: str) -> dict[int, int]:
        """Object id in the files -> 1 to O."""
        return {object_id: index for index, object_id in enumerate((0, *self[key].object_ids))}

    def to_original(self, key: str) -> dict[int, int]:
        """1 to O -> object id in the files."""
        return dict(enumerate((0, *self[key].object_ids)))


def to_consecutive(masks: np.ndarray, object_ids: tuple[int, ...]) -> np.ndarray:
    """Masks (integer, any shape) with `object_ids` replaced by 1 to O and everything else by 0, as uint8."""
    table = np.zeros(256, np.uint8)
    table[list(object_ids)] = np.arange(1, len(object_ids) + 1)
    return table[masks]


def translated(scribbles: dict, ids: dict[int, int]) -> dict:
    """A scribble dictionary with the object ids looked up in `ids`; strokes are new, paths are shared."""
    frames = [[{**stroke, "object_id": ids[stroke["object_id"]]} for stroke in f] for f in scribbles["scribbles"]]
    return {**scribbles, "scribbles": frames}
