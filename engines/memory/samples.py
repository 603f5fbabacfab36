"""The course of memory over time in a fixed number of samples, however long the work takes."""

from __future__ import annotations

from collections.abc import Sequence

# (seconds, bytes)
Sample = tuple[float, int]

MOST_SAMPLES = 1000  # more than a chart has columns


def thinned(samples: Sequence[Sample], most: int = MOST_SAMPLES) -> list[Sample]:
    """At most so many samples, in their order: the highest of each of `most` equal stretches of time.

    Every peak that stands out stays, with its own time. samples: by time.
    """
    if len(samples) <= most:
        return list(samples)
    begin, end = samples[0][0], samples[-1][0]
    width = (end - begin) / most or 1.0
    highest: dict[int, Sample] = {}
    for sample in samples:
        stretch = min(most - 1, int((sample[0] - begin) / width))
        if stretch not in highest or sample[1] > highest[stretch][1]:
            highest[stretch] = sample
    return [highest[stretch] for stretch in sorted(highest)]
