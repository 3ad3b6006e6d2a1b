"""What is looked at on this machine: directories, ports, limits, the certificate, the GPU."""

from __future__ import annotations

import errno
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.addresses import Address
from swarm.cli.check.finding import Finding, failure, ok, warning
from swarm.listening import listening
from swarm.text import size

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.errors import IdentityError
    from swarm.identity import Identity

HERE = "here"
LEAST_DISK = 1_000_000_000
"""Free bytes of a model directory: a result, two checkpoints and the ledger of a small model."""
LEAST_SHARED = 64 * 1024 * 1024
"""Free bytes of ``/dev/shm``, the size that Docker gives it: data loaders with worker processes need more."""
LEAST_FILES = 1024
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - it is only measured
DRIVER = Path("/dev/nvidiactl")
TORCH_SECONDS = 120.0
SEES = "import torch; print(*(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())), sep=chr(10))"


_TO_LISTEN = {
    errno.EADDRINUSE: "end the process that has the port (a peer that already runs?), or choose another port",
    errno.EACCES: "choose a port of at least 1024, or give this user the right to use it",
}
"""What to do where a port cannot be listened on; else the host is wrong."""


def of_machine(
    settings: Settings, identity: Identity | None, damaged: IdentityError | None = None
) -> Iterator[Finding]:
    """Everything that needs no other peer. ``damaged`` is why the identity in the settings cannot be read."""
    if damaged is None:
        yield from _identity(settings, identity)
    else:
        action = "name the directory that `swarm join` has made (identity), repair it, or join with a new invitation"
        where = str(settings.identity)
        text = str(damaged) if where in str(damaged) else f"the identity in {where}: {damaged}"
        yield failure(HERE, "certificate", text, action)
    yield from _ports(settings)
    yield from _directories(settings)
    yield _shared_memory(SHARED_MEMORY)
    yield _files()
    yield from _gpu(DRIVER)


def _identity(settings: Settings, identity: Identity | None) -> Iterator[Finding]:
    if identity is None:
        private = Address.parse(settings.listen).is_loopback
        text = "none: `swarm run` makes one for this machine" if private else "none: connections are not encrypted"
        yield (
            ok(HERE, "certificate", text)
            if private and not settings.insecure
            else warning(HERE, "certificate", text, "get one: `swarm init`, or `swarm join` with an invitation")
        )
        return
    if identity.unusable is not None:
        yield failure(HERE, "certificate", *identity.unusable)
        return
    until, concerns = f"{identity.name}, until {identity.certificate.not_after:%Y-%m-%d}", identity.concerns
    yield (
        warning(HERE, "certificate", until, "it expires soon: renew it with `swarm renew`")
        if any(each.about == "certificate" for each in concerns)
        else ok(HERE, "certificate", until)
    )
    for each in concerns:
        if each.about != "certificate":
            yield warning(HERE, each.about, each.text, each.action)


def _ports(settings: Settings) -> Iterator[Finding]:
    listen = Address.parse(settings.listen)
    yield _port("listen", listen.host, listen.port)
    if settings.data_channel and settings.transport.startswith("grpc"):
        yield _port("data_port", listen.host, settings.data_port)


def _port(what: str, host: str, port: int) -> Finding:
    try:
        listening(host, port, 1).close()
    except OSError as error:
        action = _TO_LISTEN.get(error.errno or 0, "name this machine, or an address of it")
        return failure(HERE, what, f"{host}:{port} cannot be listened on: {error.strerror or error}", action)
    if port == 0 and not Address.parse(f"{host}:0").is_loopback:
        return warning(HERE, what, f"{host}, any free port", "behind a firewall: set a fixed port, and open it")
    return ok(HERE, what, f"{host}:{port}" if port else f"{host}, any free port")


def _directories(settings: Settings) -> Iterator[Finding]:
    if settings.data_dir is not None:
        there = settings.data_dir.is_dir() and os.access(settings.data_dir, os.R_OK | os.X_OK)
        yield (
            ok(HERE, "data_dir", str(settings.data_dir))
            if there
            else failure(HERE, "data_dir", f"{settings.data_dir} cannot be read", "name the directory with the data")
        )
    if settings.model_dir is None:
        yield warning(HERE, "model_dir", "none", "set model_dir: without it no file of the result is written")
        return
    try:
        settings.model_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.model_dir) as file:
            file.write(b"x")
    except OSError as error:
        text = f"{settings.model_dir} cannot be written: {error.strerror}"
        yield failure(HERE, "model_dir", text, "give this user the right to write there, or choose another one")
        return
    free = shutil.disk_usage(settings.model_dir).free
    text = f"{settings.model_dir}, {size(free)} free"
    action = "make room: the result and two checkpoints are three times the size of the model"
    yield warning(HERE, "model_dir", text, action) if free < LEAST_DISK else ok(HERE, "model_dir", text)


def _shared_memory(place: Path) -> Finding:
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        return ok(HERE, str(place), "not there")
    text = f"{size(free)} free"
    if free < LEAST_SHARED:
        action = "data loaders with worker processes need more: `docker run --shm-size=1g`, or num_workers=0"
        return warning(HERE, str(place), text, action)
    return ok(HERE, str(place), text)


def _files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < LEAST_FILES:
        return warning(HERE, "open files", f"at most {soft}", f"raise the limit: `ulimit -n {min(hard, 4096)}`")
    return ok(HERE, "open files", f"at most {soft}")


def _gpu(driver: Path) -> Iterator[Finding]:
    """Whether torch sees the GPUs, in a process of its own: a broken driver can end the one that asks."""
    if importlib.util.find_spec("torch") is None:
        return
    try:
        done = subprocess.run(
            [sys.executable, "-c", SEES], capture_output=True, text=True, check=True, timeout=TORCH_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        last = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1]
        yield failure(HERE, "GPU", f"torch cannot be asked: {last}", "repair the installation of torch")
        return
    names = done.stdout.split("\n")[:-1] if done.stdout.strip() else []
    if names:
        yield ok(HERE, "GPU", ", ".join(names))
    elif driver.exists():
        action = "install the build of torch for this driver, and check CUDA_VISIBLE_DEVICES"
        yield failure(HERE, "GPU", "there is a driver, and torch sees no GPU", action)
    else:
        yield ok(HERE, "GPU", "none: training runs on the processor")
