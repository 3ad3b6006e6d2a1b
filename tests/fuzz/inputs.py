"""The corpus: ``python -m tests.fuzz.inputs`` writes real inputs where they are missing, and keeps what was found."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.target import Target

CORPUS = Path(__file__).with_name("corpus")
FOUND = "found-"
"""Before the name of an input with which a target once failed."""


def entries(target: str) -> dict[str, bytes]:
    """The corpus of a target, by file name and in their order."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / target).glob("*"))}


def write() -> None:
    """Write the real inputs of all targets that are not there or are refused by now; remove those of no target."""
    from tests.fuzz.targets import TARGETS

    for target in TARGETS.values():
        folder = CORPUS / target.name
        folder.mkdir(parents=True, exist_ok=True)
        values = target.values()
        for path in folder.glob("*"):
            if path.name not in values and not path.name.startswith(FOUND):
                path.unlink()
        for name, data in values.items():
            if not _is_accepted(target, folder / name):
                (folder / name).write_bytes(data)


def _is_accepted(target: Target, path: Path) -> bool:
    """Whether there is such an input, which need not be replaced: certificates are never made equal twice."""
    if not path.is_file():
        return False
    try:
        target.run(path.read_bytes())
    except target.refusals:
        return False
    return True


if __name__ == "__main__":
    write()
