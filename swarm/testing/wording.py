"""What a contract says when it is broken: the property, for which input, what came out, and what to do."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from swarm.tensors.state import Array

SHOWN = 300
"""Characters that are shown of a value."""


def broken(required: str, *, given: str, got: str, do: str) -> str:
    """The message of an assertion.

    Args:
        required: the property, as a sentence.
        given: the input for which it does not hold.
        got: what came out.
        do: what the author should change.
    """
    return f"{required}\n  given: {given}\n  got:   {got}\n  to do: {do}"


def shown(value: object) -> str:
    """A value as text, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"


def differing(actual: Array, expected: NDArray[np.generic]) -> str:
    """How one array differs from another: type, shape, or the first value whose bits are others and how many are."""
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return f"{actual.dtype}{list(actual.shape)} instead of {expected.dtype}{list(expected.shape)}"
    size = expected.itemsize
    pairs = zip(_cells(actual.tobytes(), size), _cells(expected.tobytes(), size), strict=True)
    places = [place for place, (one, other) in enumerate(pairs) if one != other]
    if not places:
        return "the same bytes"
    first = places[0]
    return f"value {first} is {actual[first]} instead of {expected[first]}, {len(places)} of {expected.size} differ"


def farthest(actual: Array, expected: NDArray[np.generic]) -> str:
    """The value that is farthest off."""
    ours, theirs = actual.astype(np.float64), expected.astype(np.float64)
    if ours.shape != theirs.shape:
        return f"{ours.size} values instead of {theirs.size}"
    if not ours.size:
        return "no values"
    with np.errstate(invalid="ignore"):
        off = np.nan_to_num(np.abs(ours - theirs), nan=np.inf)
    place = int(off.argmax())
    return f"value {place} is {ours[place]:.9g} instead of {theirs[place]:.9g}"


@contextmanager
def raises(
    error: type[Exception], required: str, *, given: str, do: str, saying: tuple[str, ...] = ()
) -> Iterator[None]:
    """The block must raise ``error``, with each of the texts ``saying`` in its message.

    Raises:
        AssertionError: it did not.
    """
    wanted = error.__name__ + "".join(f", with {text!r} in its message" for text in saying)
    try:
        yield
    except error as raised:
        if all(text in str(raised) for text in saying):
            return
        got = f"{type(raised).__name__}: {raised}"
    except Exception as other:
        message = broken(required, given=given, got=f"{type(other).__name__}: {other}, not {wanted}", do=do)
        raise AssertionError(message) from other
    else:
        got = "no error"
    raise AssertionError(broken(required, given=given, got=f"{got}, instead of {wanted}", do=do))


def instance_of(kind: type, value: object, name: str) -> Any:
    """``value``, which the author of a test set as the class attribute ``name``.

    Raises:
        AssertionError: it is missing, or no instance of ``kind``.
    """
    if isinstance(value, kind):
        return value
    if isinstance(value, type):
        got = f"the class {value.__name__}"
    else:
        got = "nothing" if value is None else f"a {type(value).__name__}"
    raise AssertionError(
        broken(
            f"A contract is run on an instance of {kind.__module__}.{kind.__qualname__}, or of a subclass.",
            given=f"the attribute {name!r} of the test class",
            got=got,
            do=f"derive a class from {kind.__name__}, and set {name} to an instance of it: {name} = Mine()",
        )
    )


def _cells(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
