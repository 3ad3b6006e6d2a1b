"""The corpus: ``python -m tests.fuzz.inputs`` writes the real inputs of every target anew, and keeps what was found."""

from __future__ import annotations

from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
FOUND = "found-"
"""Before the name of an input with which a target once failed."""


def entries(target: str) -> dict[str, bytes]:
    """The corpus of a target, by file name and in their order."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / target).glob("*"))}


def write() -> None:
    """Write the real inputs of all targets, and remove those that no target has any more."""
    from tests.fuzz.targets import TARGETS

    for target in TARGETS.values():
        folder = CORPUS / target.name
        folder.mkdir(parents=True, exist_ok=True)
        values = target.values()
        for path in folder.glob("*"):
            if path.name not in values and not path.name.startswith(FOUND):
                path.unlink()
        for name, data in values.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    write()
