"""Checks whether an inherited faster method is still valid for a class that overrides other methods."""

from __future__ import annotations


def is_outdated(cls: type, shortcut: str, *methods: str) -> bool:
    """Whether ``cls`` gets one of ``methods`` from a more derived class than ``shortcut``, which computes the same.

    The shortcut was then written for another version of the method, and must not be used for ``cls``. The order of
    classes, including mixins, is the method resolution order. All names must be attributes of ``cls``.
    """
    return any(definer(cls, method) < definer(cls, shortcut) for method in methods)


def definer(cls: type, attribute: str) -> int:
    """Position of the class that defines ``attribute``, in the method resolution order of ``cls``."""
    return next(place for place, base in enumerate(cls.__mro__) if attribute in vars(base))
