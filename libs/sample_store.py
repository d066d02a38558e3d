"""Keeping samples on disk while they are played, so that a killed run loses the round in progress at most."""

from __future__ import annotations

import glob
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset_torch.atomic import remedy
from dataset_torch.errors import UserError
from dataset_torch.frames import FrameSource
from dataset_torch.masks import encode_mask
from libs.reports.records import SampleRecord, Variant
from libs.reports.storage import load_sample, sample_path, save_sample
from libs.segmenter import Segmenter
from libs.session import Session

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleStore:
    """The files of one variant's samples in a run's folder.

    A sample in progress is two files: its record, and the session after its last round.  The session of round k is
    written first, under a name with k in it, then the record, then the session of round k - 1 is removed: whenever the
    run is killed, the record names a session that is there.
    """

    run_dir: Path
    variant: Variant

    def load(self, sequence: str, scribble_set: int = 1) -> SampleRecord | None:
        """The record so far, finished or not; `None` if there is none.  Raises `UserError` if it is damaged."""
        return load_sample(sample_path(self.run_dir, self.variant, sequence, scribble_set))

    def resume(self, segmenter: Segmenter, record: SampleRecord, frames: FrameSource) -> Session:
        """The session after the record's last round.  Raises `UserError` if its file is missing or damaged."""
        return segmenter.load(self._session_file(record), frames)

    def save_session(self, record: SampleRecord, session: Session) -> None:
        """Keep the session of the round after the record's last one, before anyone else learns of that round."""
        session.save(self._session_file(record, ahead=1))

    def resume_ahead(self, segmenter: Segmenter, record: SampleRecord, frames: FrameSource) -> Session:
        """What `save_session` kept.  Raises `UserError` if its file is missing or damaged."""
        return segmenter.load(self._session_file(record, ahead=1), frames)

    def has_session(self, record: SampleRecord, *, ahead: int = 0) -> bool:
        """Whether there is the session after the record's last round, or after the round behind that (`ahead` 1)."""
        return self._session_file(record, ahead=ahead).is_file()

    def forget(self, record: SampleRecord) -> None:
        """Remove the sample's record and sessions, if there are any."""
        sample_path(self.run_dir, self.variant, record.sequence, record.scribble_set).unlink(missing_ok=True)
        for file in self._session_files(record):
            file.unlink(missing_ok=True)

    def save(self, record: SampleRecord, session: Session | None) -> None:
        """Keep a sample after a round; a finished one needs no session."""
        if not record.finished and session is not None and not self._session_file(record).is_file():
            session.save(self._session_file(record))
        save_sample(self.run_dir, self.variant, record)
        kept = None if record.finished else self._session_file(record)
        for file in self._session_files(record):
            if file != kept:
                file.unlink(missing_ok=True)

    def warn_without_masks(self, record: SampleRecord) -> None:
        """Say so where a finished sample's masks are wanted, but were not when it was played."""
        if not (self._masks_folder(record) / f"round{len(record.rounds)}").is_dir():
            logger.warning(
                "the masks of %s were not kept when it was played (--save-masks); to have them, play it again: "
                "--resume false, or another --run-name",
                record.name,
            )

    def save_masks(self, record: SampleRecord, masks: np.ndarray, names: Sequence[str]) -> Path:
        """Write the masks of the latest round, uint8 F x H x W, as palette PNGs; the folder is whole or not there."""
        folder = self._masks_folder(record) / f"round{len(record.rounds)}"
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".round") as temporary:
                whole = Path(temporary) / "masks"
                whole.mkdir()
                for name, mask in zip(names, masks, strict=True):
                    (whole / f"{name}.png").write_bytes(encode_mask(mask))
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(whole, folder)
        except OSError as error:
            raise UserError(
                f"cannot write masks to {folder}: {error.strerror}. {remedy(error)} Or use --save-masks false."
            ) from error
        return folder

    def _masks_folder(self, record: SampleRecord) -> Path:
        return self.run_dir / self.variant.label / "masks" / record.name

    def _session_files(self, record: SampleRecord) -> list[Path]:
        return list(self._session_file(record).parent.glob(f"{glob.escape(record.name)}-round*.pt"))

    def _session_file(self, record: SampleRecord, *, ahead: int = 0) -> Path:
        folder = self.run_dir / self.variant.label / "sessions"
        return folder / f"{record.name}-round{len(record.rounds) + ahead}.pt"
