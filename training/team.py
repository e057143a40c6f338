"""Processes that train one model together, each on a separate core.

A processor core is best used by a process of one thread. The batches of a step are handed out one
by one, so that a process whose core has other work to do takes fewer of them; the gradients are
added up, and every process makes the same step.
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Address:
    """Address on this machine at which the processes of a team meet."""

    port: int
    size: int

    @classmethod
    def free(cls, size: int) -> "Address":
        """Return an address with a free port."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return cls(int(probe.getsockname()[1]), size)


class Team:
    """Team as one process sees it; a team of one needs no address."""

    def __init__(self, rank: int = 0, address: Address | None = None) -> None:
        self.rank = rank
        self.size = address.size if address else 1
        self.store: TCPStore | None = None
        if address and address.size > 1:
            self.store = TCPStore("127.0.0.1", address.port, address.size, rank == 0)
            dist.init_process_group("gloo", store=self.store, rank=rank, world_size=self.size)

    @property
    def leads(self) -> bool:
        """Return True in the process that keeps the clock, the log and the files."""
        return self.rank == 0

    def leader(self, value: float) -> float:
        """Return the first process's value in all processes."""
        if self.store is None:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(shared, 0)
        return float(shared)

    def take(self, step: int, count: int) -> Iterator[int]:
        """Yield the numbers of the pieces of work, of `count`, that this process does in a step.

        Between two steps the processes have to meet, as they do in `add_up`.
        """
        if self.store is None:
            yield from range(count)
            return
        while (taken := self.store.add(f"step {step}", 1)) <= count:
            yield taken - 1
        if self.leads and step > 1:
            self.store.delete_key(f"step {step - 2}")

    def add_up(self, tensors: list[Tensor]) -> None:
        """Replace every tensor by its sum over the processes."""
        if self.store is None:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def leave(self) -> None:
        """Leave the group of processes."""
        if self.store is not None:
            dist.destroy_process_group()
