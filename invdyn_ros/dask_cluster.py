"""Executor of a dask cluster, whose scheduler and workers are checked first."""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

CONNECT_TIMEOUT = 10.0  # [s] to reach a scheduler, and to wait for its first worker
SAME_PACKAGES = ("invdyn_ros", "numpy", "torch")  # whose version the workers of a cluster share


@contextmanager
def dask_executor(address: str) -> Iterator[Any]:
    """Return a `JobExecutor` whose jobs run on the workers of a dask cluster.

    Dask does the jobs of a lost worker again. All machines need the files of a job at the same
    path.

    Args:
        address: of the scheduler, such as tcp://HOST:8786.

    Raises:
        ValueError: no scheduler there, no worker, or workers with other versions.
        ChildProcessError: its workers are killed again and again.
    """
    distributed = importlib.import_module("distributed")
    lost = distributed.KilledWorker, importlib.import_module("distributed.client").CancelledError
    _check_scheduler(address)
    with distributed.Client(address, timeout=CONNECT_TIMEOUT, set_as_default=False) as client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_TIMEOUT)
            _check_versions(address, client.get_versions(packages=list(SAME_PACKAGES)))
        except TimeoutError as error:
            raise ValueError(
                f"--scheduler {address}: it has no workers; start some with "
                f"'dask worker {address} --nworkers auto --nthreads 1'"
            ) from error
        try:
            yield client.get_executor()
        except lost as error:
            raise ChildProcessError(
                f"--scheduler {address}: jobs were lost with their workers, perhaps for lack of "
                "memory; start fewer workers per machine"
            ) from error


def _check_scheduler(address: str) -> None:
    """Check that there is a scheduler at an address.

    `distributed.Client` waits for ever where a program that is none accepts the connection.

    Raises:
        ValueError: none does.
    """
    parts = urlsplit(address)
    try:
        if parts.scheme not in ("tcp", "tls") or not parts.port:
            raise ValueError("it is not tcp://HOST:PORT")
        socket.create_connection((parts.hostname or "", parts.port), CONNECT_TIMEOUT).close()
        identity = asyncio.run(asyncio.wait_for(_identity(address), CONNECT_TIMEOUT))
        if identity.get("type") != "Scheduler":
            raise ValueError(f"a dask {identity.get('type')} replies")
    except Exception as error:  # another program may send anything
        is_clear = isinstance(error, ValueError | ConnectionError | socket.gaierror)
        raise ValueError(
            f"--scheduler {address}: no dask scheduler there "
            f"({error if is_clear else 'what listens does not speak its protocol'}); start one "
            "with 'dask scheduler' and give the address that it prints"
        ) from error


async def _identity(address: str) -> dict[str, Any]:
    """Return what a process of dask says about itself."""
    from distributed.comm import connect
    from distributed.security import Security

    arguments = Security().get_connection_args("client")
    comm = await connect(address, timeout=CONNECT_TIMEOUT, **arguments)
    try:
        await comm.write({"op": "identity", "reply": True})
        return dict(await comm.read())
    finally:
        comm.abort()


def _check_versions(address: str, versions: dict[str, Any]) -> None:
    """Check that scheduler and workers of a cluster have the versions of this process.

    Raises:
        ValueError: one has others, so that results might differ.
    """
    own = versions["client"]["packages"]
    workers = {f"worker {name}": row for name, row in versions["workers"].items()}
    for process, row in {"scheduler": versions["scheduler"], **workers}.items():
        for name in SAME_PACKAGES:
            if (actual := row["packages"].get(name)) != own[name]:
                raise ValueError(
                    f"--scheduler {address}: the {process} has "
                    f"{f'{name} {actual}' if actual else f'no {name}'}, this process has "
                    f"{own[name]}; start all of them in the same environment"
                )
