"""Interleaved timing: the contenders take turns, so a noisy spell of the machine falls on all of them alike."""

import gc
import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

from .types import Call


@dataclass(frozen=True)
class Timing:
    """Seconds of one call."""

    best: float
    median: float
    rounds: int

    @property
    def spread(self) -> float:
        return self.median / self.best


def interleave(
    contenders: Mapping[str, Call], *, budget: float, min_rounds: int = 3, sample: float = 1e-3
) -> dict[str, Timing]:
    """Time each call in rounds until it has used up its share of `budget` seconds, for at least `min_rounds` rounds.

    A sample is one call, or as many as fill `sample` seconds where a call is short. The order rotates from round to
    round: threads of one library may still be spinning when the next one starts, and no one is to suffer it always.
    """
    share = budget / len(contenders)
    # two, since a stalled call must not be taken for a long one
    first = {name: [_seconds(call, 1), _seconds(call, 1)] for name, call in contenders.items()}
    repeats = {name: max(1, math.ceil(sample / min(t))) for name, t in first.items()}
    samples = {name: t if repeats[name] == 1 else [] for name, t in first.items()}
    left = list(contenders)
    enabled = gc.isenabled()
    gc.disable()
    try:
        while left:
            for name in left:
                call, n = contenders[name], repeats[name]
                if n > 1:
                    call()  # back into the cache, after the others were there
                samples[name].append(_seconds(call, n))
            left = [
                name for name in left if len(samples[name]) < min_rounds or sum(samples[name]) * repeats[name] < share
            ]
            left = left[1:] + left[:1]
    finally:
        if enabled:
            gc.enable()
    return {name: Timing(min(s), statistics.median(s), len(s)) for name, s in samples.items()}


def _seconds(call: Call, n: int) -> float:
    start = time.perf_counter()
    for _ in range(n):
        call()
    return (time.perf_counter() - start) / n
