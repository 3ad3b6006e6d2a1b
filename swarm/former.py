"""Former names, which are still accepted with a ``DeprecationWarning``: all of them but those of settings.

``swarm.config`` has the former names of settings.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import MappingProxyType, ModuleType
from typing import Any, TypeVar, cast

from swarm.callers import users_level

MODULES: Mapping[str, str] = MappingProxyType(
    {
        "swarm.hookspecs": "swarm.plugins.hookspecs",
        "swarm.membership": "swarm.discovery.base",
        "swarm.membership.base": "swarm.discovery.base",
        "swarm.model": "swarm.tensors.model",
        "swarm.selection": "swarm.tensors.selection",
        "swarm.state": "swarm.tensors.state",
        "swarm.testing.memberships": "swarm.testing.discoveries",
    }
)
"""The module that now has the names of a former one. The package that it lies in exports those that are public."""
NAMES: Mapping[str, str] = MappingProxyType(
    {
        "Membership": "Discovery",
        "MembershipContract": "DiscoveryContract",
        "MembershipFactory": "DiscoveryFactory",
    }
)
"""The present names of what was renamed in those modules."""
ATTRIBUTES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "Codec": {"carry": "update_residual"},
        "ContributionStats": {"carried": "residual", "loss": "signal", "weightage": "weight"},
        "ModelPort": {"lend": "borrow"},
        "PeerInfo": {"weightage": "weight"},
        "Register": {"membership": "discovery"},
        "SyncState": {"loss": "reference"},
    }
)
"""By class, the present names of attributes and methods, and of arguments with which an instance is made."""

_Class = TypeVar("_Class", bound=type)


def warn(old: str, new: str) -> None:
    """Warn of a former name, at the line of the user's code that has it."""
    text = f"{old} is a former name, which will be removed: write {new}"
    warnings.warn(text, DeprecationWarning, stacklevel=users_level())


def accepts_former_names(cls: _Class) -> _Class:
    """Let a class have the names that ``ATTRIBUTES`` lists for it: when read, called or overridden.

    A dataclass is made with them as well.
    """
    names, changed = ATTRIBUTES[cls.__name__], cast("Any", cls)
    own = vars(cls).get("__init_subclass__")

    def init_subclass(derived: type, /, **arguments: Any) -> None:
        for old in names.keys() & vars(derived).keys():
            warn(f"{derived.__name__}.{old}", names[old])
            setattr(derived, names[old], vars(derived)[old])
        if own:
            own.__func__(derived, **arguments)
        else:
            super(cast("Any", cls), derived).__init_subclass__(**arguments)

    changed.__init_subclass__ = classmethod(init_subclass)
    for old, new in names.items():
        setattr(cls, old, _former_attribute(cls, old, new))
    if hasattr(cls, "__dataclass_fields__"):
        _accept_arguments(changed, names)
    return cls


def _former_attribute(cls: type, old: str, new: str) -> property:
    def read(self: object) -> Any:
        warn(f"{cls.__name__}.{old}", new)
        if getattr(type(self), old) is attribute:
            return getattr(self, new)
        # By super(), from what overrides the former name: what it inherits under the present one.
        bases = type(self).__mro__
        last = max(index for index, base in enumerate(bases) if old in vars(base) and base is not cls)
        return next(vars(base)[new] for base in bases[last + 1 :] if new in vars(base)).__get__(self)

    attribute = property(read)
    return attribute


def _accept_arguments(cls: Any, names: Mapping[str, str]) -> None:
    make = cls.__init__

    @wraps(make)
    def init(self: object, *values: Any, **arguments: Any) -> None:
        for old, new in names.items():
            if old in arguments:
                warn(f"{cls.__name__}({old}=)", f"{new}=")
                arguments[new] = arguments.pop(old)
        make(self, *values, **arguments)

    cls.__init__ = init


def accept_former_modules() -> None:
    """Let the modules of ``MODULES`` be imported."""
    sys.meta_path.append(_FormerModules())


class _FormerModules(MetaPathFinder, Loader):
    """Makes the modules of ``MODULES``, which have nothing of their own."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in MODULES:
            return None
        return spec_from_loader(fullname, self, is_package=any(each.startswith(f"{fullname}.") for each in MODULES))

    def exec_module(self, module: ModuleType) -> None:
        former, holder = module.__name__, MODULES[module.__name__]

        def find(name: str) -> object:
            if name.startswith("__"):
                raise AttributeError(f"module {former!r} has no attribute {name!r}")
            new = NAMES.get(name, name)
            found = getattr(import_module(holder), new)
            warn(f"{former}.{name}", f"{holder.rpartition('.')[0]}.{new}")
            return found

        vars(module)["__getattr__"] = find
