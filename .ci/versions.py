"""Compares the versions that the repository states with one another, and with a tag: versions.py [vX.Y.Z]."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def stated() -> dict[str, str]:
    """The version that each file states."""
    projects = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    found = {
        str(path.relative_to(ROOT)): tomllib.loads(path.read_text(encoding="utf-8"))["project"]["version"]
        for path in projects
    }
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    return found | {"CITATION.cff": cited[1] if cited else "none"}


def main(*tags: str) -> int:
    """The exit code: 0 where all are the same."""
    versions = stated() | {f"the tag {tag}": tag.removeprefix("v") for tag in tags}
    if len({*versions.values()}) == 1:
        return 0
    for file, version in versions.items():
        print(f"{file}: {version}")
    print("these versions differ: make them the same")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
