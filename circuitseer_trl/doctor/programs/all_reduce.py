"""One rank of a sum over all ranks: `python -m circuitseer_trl.doctor.programs.all_reduce FILE RANK SIZE BACKEND`."""

import sys

import torch
from torch import distributed


def main(file: str, rank: int, size: int, backend: str) -> None:
    device = torch.device("cuda", rank) if backend == "nccl" else torch.device("cpu")
    if backend == "nccl":
        torch.cuda.set_device(device)
    distributed.init_process_group(backend, init_method=f"file://{file}", rank=rank, world_size=size)
    values = torch.full((1024,), float(rank + 1), device=device)
    distributed.all_reduce(values)
    print(values.sum().item() / len(values))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
