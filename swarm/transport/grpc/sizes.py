"""How large a message may be, by its kind. ``docs/limits.md`` has the same as a table."""

from __future__ import annotations

from swarm.errors import ExchangeError
from swarm.limits import check_items
from swarm.messages import Accept, Decide, Hello, Promise, Propose, Ready
from swarm.transport.base import MAX_MESSAGE_BYTES

_LONG_BYTES = 512 * 2**10
_PROPOSAL_BYTES = 2 * 2**20
"""A proposal has the offer and the promise of each of its members."""
_SHORT_BYTES = 16 * 2**10
_BYTES: dict[type, int] = {
    Hello: MAX_MESSAGE_BYTES,
    **dict.fromkeys((Propose, Promise, Accept, Decide), _PROPOSAL_BYTES),
    Ready: _LONG_BYTES,
}


_ITEM_BYTES = {"schema": 4 * 2**10, "roster": 64 * 2**10}
"""Of one item of the long lists of a greeting."""


def max_bytes(kind: type) -> int:
    """The most bytes of an encoded message of this kind, its envelope included.

    An empty record in a list takes 2 bytes when it is sent, and about 100 in memory. So messages with lists of peers
    are bounded before they are decoded, and the lists of a greeting are decoded item by item.
    """
    return _BYTES.get(kind, _SHORT_BYTES)


def check_size(kind: type, size: int) -> None:
    """Check the encoded size of a message.

    Raises:
        ExchangeError: it is too large.
    """
    if size > max_bytes(kind):
        raise ExchangeError(f"a {kind.__name__} of {size} bytes exceeds the limit of {max_bytes(kind)}")


def check_item(name: str, count: int, size: int) -> None:
    """Check an encoded item of a list before it is decoded: the number of items so far, and its size.

    Raises:
        ExchangeError: there are too many, or it is too large.
    """
    check_items(name, count)
    if size > _ITEM_BYTES[name]:
        raise ExchangeError(f"an entry of {name} of {size} bytes exceeds the limit of {_ITEM_BYTES[name]}")


def check_rest(size: int) -> None:
    """Check the encoded size of a greeting without its long lists.

    Raises:
        ExchangeError: it is too large.
    """
    if size > _LONG_BYTES:
        raise ExchangeError(f"a greeting of {size} bytes without its lists exceeds the limit of {_LONG_BYTES}")
