"""How much faster than real time a file is heard, on one thread: reading it, finding the speech in it, naming it.

Target: 20 times faster. Speech alone is the worst case, since silence is not named. With --live, provisional answers
are given too, as for a microphone.

Example: python benchmarks/listening.py speech.wav
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from _common import Target, arguments, existing, markdown, report, target_data, target_table
from mien import Block, Listener, sounds
from mien.models import load_voice
from mien.voice import SileroDetector
from mien.voice.speech import STEP

RATIO = 20


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("sound", type=Path, help="a file with a minute or more of speech")
    parser.add_argument("--model", default="voice", help="a voice model from `mien models`, or an .onnx file")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each stage (default: %(default)s)")
    parser.add_argument("--live", action="store_true", help="give provisional answers too")
    options = parser.parse_args()

    path = existing(options.sound, flag="the first argument")
    blocks = list(sounds(path))
    seconds = blocks[-1].end - blocks[0].time
    listener = Listener(load_voice(options.model))
    utterances = list(listener.stream(blocks))
    if not utterances:
        sys.exit(f"no utterance in '{path}'; give a file with speech")
    speech = sum(utterance.speech_seconds for utterance in utterances)
    stages: dict[str, Callable[[], object]] = {
        "reading": lambda: list(sounds(path)),
        "finding speech": lambda: list(probabilities(blocks)),
        "all": lambda: list(listener.stream(sounds(path), provisional=options.live)),
    }
    took = {stage: timed(run, options.repeats) for stage, run in stages.items()}
    target = Target(what="times faster than real time", value=seconds / took["all"], limit=RATIO, at_least=True)
    rows = [[stage, f"{1000 * t / seconds:.2f}", f"{seconds / t:.0f}"] for stage, t in took.items()]
    table = markdown(["stage", "CPU ms per second of sound", "times faster than real time"], rows)
    title = f"Listening: {seconds:.0f} s of sound, {speech:.0f} s of speech in {len(utterances)} utterances"
    results = {"targets": target_data([target]), "seconds": seconds, "speech_seconds": speech, "cpu_seconds": took}
    report(title, [target_table([target]), table], results, out=options.out, live=options.live)


def probabilities(blocks: list[Block]) -> Iterator[float]:
    """Yield the probability of speech of each whole step in each block."""
    detector = SileroDetector()
    for block in blocks:
        for begin in range(0, len(block.samples) - STEP + 1, STEP):
            yield detector.probability(block.samples[begin : begin + STEP])


def timed(run: Callable[[], object], repeats: int) -> float:
    """Return the median CPU time of a run, in seconds, after one for warm-up."""
    run()
    took = []
    for _ in range(repeats):
        began = time.process_time()
        run()
        took.append(time.process_time() - began)
    return median(took)


if __name__ == "__main__":
    main()
