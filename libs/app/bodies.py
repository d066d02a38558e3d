"""The JSON that requests carry."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request

from dataset_torch.errors import UserError


async def read_json(request: Request) -> dict[str, Any]:
    """The request's body as a JSON object.  Raises `UserError` for anything else."""
    try:
        payload = json.loads(await request.body(), parse_int=_whole)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        raise UserError("the request's body must be a JSON object.")
    return payload


def _whole(text: str) -> int | float:
    """A whole number; one that no float can hold becomes infinity, which every check refuses."""
    return int(text) if len(text) <= 18 else float(text)
