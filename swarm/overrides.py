"""Whether a shortcut that a class inherits still does what the methods do that it stands for."""

from __future__ import annotations


def is_outdated(cls: type, shortcut: str, *methods: str) -> bool:
    """Whether ``cls`` gets one of ``methods`` from a more derived class than ``shortcut``, which computes the same.

    The shortcut was then written for another version of the method, and must not be used for ``cls``. Mixins count as
    Python counts them, by the method resolution order; all the names must be attributes of ``cls``.
    """
    return any(definer(cls, method) < definer(cls, shortcut) for method in methods)


def definer(cls: type, attribute: str) -> int:
    """Position of the class that defines ``attribute``, in the method resolution order of ``cls``."""
    return next(place for place, base in enumerate(cls.__mro__) if attribute in vars(base))
