"""One target under atheris: ``python -m tests.fuzz.guided TARGET [-max_total_time=600 ...]``, with libFuzzer's options.

atheris (``pip install atheris``) has wheels for Linux on x86-64 alone, and so is no part of ``make fuzz``. libFuzzer
writes an input that fails to the working directory.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["swarm"]):
    from tests.fuzz.targets import TARGETS

from tests.fuzz.inputs import CORPUS
from tests.fuzz.trial import quiet


def main(name: str, *options: str) -> None:
    """Fuzz the target ``name``; does not return."""
    target = TARGETS[name]

    def run(data: bytes) -> None:
        with suppress(*target.refusals):
            target.run(data)

    quiet()
    new = tempfile.mkdtemp(prefix="swarm-fuzz-")  # libFuzzer writes what it keeps to the first directory
    atheris.Setup([name, *options, new, str(CORPUS / name)], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
