"""Writes the rows of the parameter tables in ``docs/parameters.md``: ``python tests/docs/tables.py``."""

from __future__ import annotations

import re
from pathlib import Path

from swarm.config import SETTINGS
from swarm.config.arguments import OBJECTS

PAGE = Path(__file__).parents[2] / "docs" / "parameters.md"
PARAMETERS = "| parameter | default | variable | agree | meaning |"
ARGUMENTS = "| argument | meaning |"
ROW = re.compile(r"\| `(\w+)` \|.*")


def written(text: str) -> str:
    """The page with each row of a parameter as the table of settings has it."""
    lines, header = [], ""
    for line in text.split("\n"):
        found = ROW.fullmatch(line)
        if found and header == PARAMETERS and found[1] in SETTINGS:
            row = SETTINGS[found[1]]
            lines.append(f"| `{row.name}` | {row.default_text} | `{row.variable}` | {row.agree} | {row.meaning} |")
        elif found and header == ARGUMENTS and found[1] in OBJECTS:
            lines.append(f"| `{found[1]}` | {OBJECTS[found[1]]} |")
        else:
            lines.append(line)
        if not line.startswith("| "):
            header = ""
        header = header or line
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
