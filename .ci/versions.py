"""Whether the repository is ready for a release, and built files are of it: versions.py vX.Y.Z [DIRECTORY]."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def problems(tag: str, directory: str | None = None) -> list[str]:
    """What keeps a tag from being released: a sentence for each.

    Args:
        tag: such as "v1.2.3" or "v1.2.3rc1".
        directory: of built wheels and source distributions, each of which must have the version of the tag.
    """
    if not re.fullmatch(r"v\d+\.\d+\.\d+(rc\d+)?", tag):
        return [f"the tag {tag!r} is not vX.Y.Z"]
    version = tag.removeprefix("v")
    found = []
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    if not cited or cited[1] != version:
        found.append(f"CITATION.cff has the version {cited[1] if cited else 'none'}: make it {version}")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(?:(?!## )[^\n]*\n)*?- \S", changes, re.MULTILINE):
        found.append(f'CHANGELOG.md lists nothing under "## [{version}]": make "Unreleased" that, with the date')
    if directory is not None:
        built = sorted(path.name for path in Path(directory).glob("*") if path.name.endswith((".whl", ".tar.gz")))
        found += [] if built else [f"there is nothing built in {directory}"]
        found += [
            f"{name} is not of {version}: build it in a clone that has the tag, with no file changed"
            for name in built
            if name.split("-")[1].removesuffix(".tar.gz") != version
        ]
    return found


def main(tag: str = "", directory: str | None = None) -> int:
    """The exit code: 0 where nothing keeps the tag from being released."""
    found = problems(tag, directory)
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
