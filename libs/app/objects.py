"""The table of objects as the user sees it: names, colours, hidden, locked."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from dataset_torch.errors import UserError
from libs.interactions import MAX_OBJECT_ID

MAX_NAME = 80


@dataclass(frozen=True)
class ObjectEntry:
    """One object.  `colour` is `#rrggbb`, or `None` for the palette's own."""

    id: int
    name: str
    colour: str | None = None
    hidden: bool = False
    locked: bool = False


@dataclass(frozen=True)
class ObjectTable:
    """All objects, in the order of creation; immutable, so that undo can keep it."""

    entries: tuple[ObjectEntry, ...] = ()
    next_id: int = 1  # ids of deleted objects are not used again: old strokes and exports would mean someone else

    @property
    def ids(self) -> tuple[int, ...]:
        """The objects' ids."""
        return tuple(e.id for e in self.entries)

    @property
    def locked_ids(self) -> tuple[int, ...]:
        """The ids that no run and no stroke may change."""
        return tuple(e.id for e in self.entries if e.locked)

    def get(self, object_id: int) -> ObjectEntry:
        """The entry of this id.  Raises `UserError` if there is none."""
        for entry in self.entries:
            if entry.id == object_id:
                return entry
        raise UserError(f"there is no object {object_id}; the objects are {list(self.ids)}.")

    def add(self, *, name: str | None = None, object_id: int | None = None) -> ObjectTable:
        """One object more, with the next free id unless `object_id` says which."""
        new = self.next_id if object_id is None else object_id
        if not 1 <= new <= MAX_OBJECT_ID:
            raise UserError(f"there is no room for another object: ids go from 1 to {MAX_OBJECT_ID}.")
        if new in self.ids:
            raise UserError(f"object {new} exists already.")
        entry = ObjectEntry(new, _checked_name(name) if name else f"Object {new}")
        return ObjectTable((*self.entries, entry), max(self.next_id, new + 1))

    def remove(self, object_id: int) -> ObjectTable:
        """Without this object."""
        self.get(object_id)
        return replace(self, entries=tuple(e for e in self.entries if e.id != object_id))

    def change(self, object_id: int, **changes: Any) -> ObjectTable:
        """With some fields of one object changed (`name`, `colour`, `hidden`, `locked`)."""
        old = self.get(object_id)
        if "name" in changes:
            changes["name"] = _checked_name(changes["name"])
        colour = changes.get("colour")
        if colour is not None and not (isinstance(colour, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", colour)):
            raise UserError(f"a colour is written #rrggbb, not {str(colour)[:20]!r}.")
        for flag in ("hidden", "locked"):
            if flag in changes and not isinstance(changes[flag], bool):
                raise UserError(f"{flag} is true or false.")
        new = replace(old, **changes)
        return replace(self, entries=tuple(new if e.id == object_id else e for e in self.entries))

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"entries": [asdict(e) for e in self.entries], "next_id": self.next_id}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ObjectTable:
        """What `to_json` wrote."""
        return cls(tuple(ObjectEntry(**e) for e in data["entries"]), data["next_id"])


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip():
        raise UserError("an object's name needs at least one character.")
    text = " ".join(name.split())
    if len(text) > MAX_NAME or not text.isprintable():
        raise UserError(f"an object's name has at most {MAX_NAME} printable characters.")
    return text
