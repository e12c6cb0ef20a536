"""One job of a comparison in a process of its own, so that a crash ends that job alone.

    python -m tgqformer.comparison.worker FOLDER prepare
    python -m tgqformer.comparison.worker FOLDER METHOD RATE SEED [judge]

Exit codes: 0 done; 2 bad input, its sentence being the last line on stderr; 1 anything else.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tgqformer.errors import TGQFormerError


def main(arguments: Sequence[str]) -> int:
    """Do one job; see the module."""
    _end_with_parent()
    try:
        from tgqformer.comparison.plan import Cell, Plan

        folder, *job = arguments
        plan = Plan.load(Path(folder))
        _set_threads(plan.threads if len(job) > 1 else plan.threads * plan.jobs)
        if job == ["prepare"]:
            from tgqformer.comparison.prepare import prepare

            prepare(plan)
        else:
            from tgqformer.comparison.cell import run_cell

            method, rate, seed, *judge = job
            run_cell(plan, Cell(method, float(rate), int(seed)), judge=bool(judge))
    except TGQFormerError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


def _set_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)


def _end_with_parent() -> None:
    """End when the comparison that started us is gone: a folder has room for one writer."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
