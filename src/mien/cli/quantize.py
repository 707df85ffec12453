"""The command `mien quantize`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from mien.cli.arguments import Data, NewModel, NewModelsDir, Votes, model_target, read_data, reads_data
from mien.cli.console import extra, percent, say, waiting
from mien.data.reading import AS_CROPS, Reading
from mien.escape import shell_word

N_COMPARED = 512  # images


@reads_data
def quantize(
    model: Annotated[str, typer.Argument(help="Name from `mien models`, or an .onnx file.")],
    to: NewModel,
    data: Data = None,
    votes: Votes = None,
    reading: Reading = AS_CROPS,
    models_dir: NewModelsDir = None,
) -> None:
    """Copy a model into one that computes with 8-bit numbers, in about half the time, or a third on newer processors.

    Ranges of the numbers are measured on training images of the dataset; give one that the model was trained on.

    Example: `mien quantize base-photos --out fast --data fer2013.csv`
    """
    import numpy as np

    from mien.data.dataset import SPLITS
    from mien.data.readers import data_path
    from mien.machine.bench import time_stage
    from mien.models.classifier import OnnxClassifier
    from mien.models.preprocess import preprocess
    from mien.models.store import find_model
    from mien.targets import check_targets

    with extra("quantising a model", "train"):
        from mien.models.quantize import N_CALIBRATION, check_quantizable, write_quantized

    new, source = model_target(to, models_dir), find_model(model, models_dir=models_dir)
    check_targets([data_path(data), votes, source], files=[new.path])
    check_quantizable(source)
    new.prepare()
    before = OnnxClassifier(source, threads=1)
    dataset, _ = read_data(data, votes, reading.for_model(before.spec.preprocess.size))
    rng = np.random.default_rng(0)
    images = dataset.split("train").images
    chosen = [images[i] for i in rng.permutation(len(images))[:N_CALIBRATION]]
    with waiting("measuring ranges"):
        spec = write_quantized(source, new.path, chosen, name=new.name)
    say(f"model: {new.path} ({new.path.stat().st_size / 1e6:.2g} MB; {', '.join(spec.names)})")
    after = OnnxClassifier(new.path, threads=1)
    pixels = preprocess(chosen[:1], spec.preprocess)[0]
    times = [
        time_stage("classify", partial(each.predict_proba, [pixels]), repeats=100).median_ms for each in (before, after)
    ]
    say(
        f"time per face, one thread: {times[1]:.2f} ms instead of {times[0]:.2f} ms"
        + ("" if times[1] < times[0] else "; on this machine the original is as fast")
    )
    if (dataset.splits == SPLITS.index("valid")).any():
        others = dataset.split("valid").images
        compared = [others[i] for i in rng.permutation(len(others))[:N_COMPARED]]
        labels = [each.predict_proba(compared).argmax(1) for each in (before, after)]
        same = np.mean(labels[0] == labels[1])
        say(f"same label: {percent(same, 1)} of {len(compared)} images of valid")
    say(f"use it: mien predict PHOTO --model {shell_word(new.called)}")
