"""Jobs that go wrong on purpose, for workers to import."""

import os
import time
from pathlib import Path


def halve(number):
    """Half of an even number; an odd one is an error."""
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


def double(job):
    """Twice the number of (number, folder, lethal): a lethal job ends its worker, the first time that it is tried."""
    number, folder, lethal = job
    if lethal:
        while len(list(Path(folder).glob("done-*"))) < 3:  # until others have finished
            time.sleep(0.01)
        try:
            Path(folder, f"tried-{number}").touch(exist_ok=False)
        except FileExistsError:
            return 2 * number
        os._exit(1)
    Path(folder, f"done-{number}").touch()
    return 2 * number
