"""The repository uses the terms of the glossary: retired words and figures of speech do not come back."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
OLD_SPELLINGS = (
    "swarm/config/former.py",
    "swarm/former.py",
    "tests/codec/test_former.py",
    "tests/config/test_former.py",
    "tests/house/test_former.py",
    "tests/house/test_words.py",
)
"""Files that must name the old words: the tables of old spellings, and their tests."""
OLD_TABLE = re.compile(r"^\| (old|before) \| (new|now) \|\n(\|.*\n?)*", re.MULTILINE)
"""Tables of old spellings in the documentation."""
FORMER_VARIABLES = re.compile(r"\bSWARM_(BULK_LANE|LANE|MEMBERSHIP|GRACE)\w*")
"""Former names of settings, which tests set."""
GENERATED = re.compile(r"_pb2|^LICENSE$|/page/uplot/|^tests/fuzz/corpus/|\.(png|svg|so|sha256)$")
EVERYWHERE = ""
C = r"\.(c|h)$"
CODECS = r"codec|coding"
FRAMES = r"transport|exchange"
SOURCES_OF_ADDRESSES = r"discovery|config"


class Word(NamedTuple):
    """A word or phrase that is not used any more, as a pattern on normalized text."""

    pattern: str
    only: str = EVERYWHERE
    """Paths in which the word is retired; elsewhere it has another meaning."""
    besides: str = r"(?!)"
    """Paths in which it may stand."""

    def concerns(self, path: str) -> bool:
        """Whether the word is retired in this file."""
        return bool(re.search(self.only, path)) and not re.search(self.besides, path)


RETIRED = (
    Word(r"\bpieces?\b"),
    Word(r"\b(said|say|says|saying)\W+again\b"),
    Word(r"\b(hearsay|rumou?rs?)\b"),
    Word(r"\boutbid(s|ding)?\b"),
    Word(r"(?<!\bnum )\btickets?\b"),  # Python's `ssl` has `num_tickets`
    Word(r"\bcrews?\b"),
    Word(r"\bcrowds?\b"),
    Word(r"\bdoors?\b"),
    Word(r"(?<!\bnode )\bweightages?\b"),
    Word(r"\bgrace\b"),
    Word(r"\b(lends?|lending|lent)\b"),
    Word(r"(?<!\bin )\bsuccession\b"),
    Word(r"\bvoid(s|ed|ing)?\b", besides=C),
    Word(r"\blanes?\b", besides=C),
    Word(r"\b(keep|keeps|keeping|kept)\W+house\b"),
    Word(r"\bmemberships\b|\bmembership\W+(backends?|settings?)\b"),
    Word(r"\bmembership\b", only=SOURCES_OF_ADDRESSES),
    Word(r"(?<=\bclass )columns\b|\bcolumns(?=\.py\b)"),
    Word(r"(?<!pytest\.)\bmarks?\b", only=FRAMES),
    Word(r"\b(carry|carries|carried|carrying|lost)\b", only=CODECS),
)
TURNS = (
    Word(r"\bbabbl\w+"),
    Word(r"\bknock(s|ed|ing)?\b"),
    Word(r"\b(come|comes|came|coming)\W+to\W+(a|an|its|the|their)\W+sync\W+point"),
    Word(r"\b(take|takes|taken|taking|took)\W+on\W+(\w+\W+){0,3}(models?|weights)\b"),
    Word(r"\bmend(s|ed|ing)?\b"),
    Word(r"\bphysics\W+asks?\b"),
)


def files() -> dict[str, str]:
    """The text of every tracked file, by its path."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [path for path in listed.splitlines() if (ROOT / path).is_file() and not GENERATED.search(path)]
    return {path: (ROOT / path).read_text(encoding="utf-8") for path in paths if path not in OLD_SPELLINGS}


def normalized(text: str) -> str:
    """Identifiers as separate lower-case words, without moving a line."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text).replace("_", " ").lower()


def found(path: str, text: str) -> list[str]:
    """Each use of a retired word, as ``path:line: word``."""
    text = OLD_TABLE.sub(lambda table: "\n" * table[0].count("\n"), text)
    if path.startswith("tests/"):
        text = FORMER_VARIABLES.sub("", text)
    searched = f"{path}\n{text}"
    return [
        f"{path}:{plain.count(chr(10), 0, match.start())}: {match[0]}"
        for word in (*RETIRED, *TURNS)
        if word.concerns(path)
        for plain in [normalized(searched)]
        for match in re.finditer(word.pattern, plain)
    ]


def test_no_file_uses_a_retired_word() -> None:
    texts = files()
    assert len(texts) > 100
    assert [use for path, text in texts.items() for use in found(path, text)] == []


@pytest.mark.parametrize(
    ("path", "text", "uses"),
    [
        ("swarm/a.py", "class LaneBroken:", ["lane"]),
        ("swarm/a.py", "\nBULK_LANE = 1", ["lane"]),
        ("swarm/a.py", "def keep_house(self):", ["keep house"]),
        ("swarm/a.py", "a piece of it, and what was said\n    again", ["piece", "said\n    again"]),
        ("swarm/a.py", "node_weightage, nodeWeightage, its weightage", ["weightage"]),
        ("swarm/a.py", "the attempt is void", ["void"]),
        ("swarm/crew.py", "", ["crew"]),
        ("swarm/a.py", "it takes on the merged model", ["takes on the merged model"]),
        ("swarm/a.py", "where it comes to a sync point", ["comes to a sync point"]),
        ("swarm/a.py", "where one may knock", ["knock"]),
        ("swarm/codec/a.py", "carry, lost = codec.split()", ["carry", "lost"]),
        ("swarm/transport/a.py", "def read_mark(self):", ["mark"]),
        ("swarm/exchange/columns.py", "", ["columns"]),
        ("swarm/config/a.py", "membership: str", ["membership"]),
        ("docs/a.md", "the membership backend", ["membership backend"]),
        ("docs/a.md", "the membership, which a graceful stop avoids; a peer is lost; two columns; in succession", []),
        ("swarm/k.c", "static void add(int lane)", []),
        ("tests/transport/a.py", "@pytest.mark.parametrize", []),
        ("docs/a.md", "| old | new |\n| --- | --- |\n| piece | chunk |\n\nin succession", []),
        ("docs/a.md", "| a | b |\n| --- | --- |\n| piece | chunk |\n", ["piece"]),
        ("tests/a.py", "SWARM_LANE_PORT=1", []),
    ],
)
def test_a_retired_word_is_found_and_other_meanings_are_not(path, text, uses) -> None:
    assert sorted(use.split(": ", 1)[1] for use in found(path, text)) == sorted(uses)


def test_every_retired_word_is_in_the_table_of_old_spellings() -> None:
    table = normalized((ROOT / "docs/glossary.md").read_text(encoding="utf-8").partition("## Old spellings")[2])
    missing = [word.pattern for word in RETIRED if not re.search(word.pattern, table)]
    assert missing == []
