"""Ensembles: several classifiers in one ONNX file, whose predictions are averaged (extra: train or keras, to make one).

The prediction is the mean of the members' calibrated log-probabilities, normalised: their geometric mean, a product of
experts of equal weight (Hinton 2002, "Training products of experts by minimizing contrastive divergence").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from mien.errors import ModelError
from mien.files import as_path
from mien.labels import LabelSet
from mien.models.onnx_file import check_target, graph_fingerprint, read_spec, save_with_spec
from mien.models.spec import MAX_MEMBERS, Head, Member, ModelSpec

MIN_PROBABILITY = 1e-12  # probability whose logarithm stands for that of zero


def write_ensemble(
    members: Sequence[str | Path], target: str | Path, *, name: str, temperatures: Mapping[str, float] | None = None
) -> ModelSpec:
    """Write several classifiers as one, whose log-probabilities are the mean of theirs.

    Each head is averaged over the members that have it. Members with the same preprocessing share an input.

    Args:
        members: ONNX files of classifiers that mien exported.
        target: The .onnx file to write.
        name: Name of the ensemble.
        temperatures: Temperature of each head by its label set, applied to the mean of the log-probabilities; 1 where
            there is none. See `mien.evaluation.calibration.fit_temperatures`.

    Returns:
        The spec of the ensemble.

    Raises:
        ModelError: Fewer than two members, the same one twice, one that mien did not export, one without a head that
            another has too, or the same head with other labels.
        ConfigError: The target does not end in .onnx.
        OutputError: It cannot be written.
    """
    target = as_path(target)
    check_target(target)
    paths = [as_path(member) for member in members]
    specs = [read_spec(path) for path in paths]
    fingerprints = [graph_fingerprint(path) for path in paths]
    _check_members(paths, specs, fingerprints)
    spec = _spec_of(specs, fingerprints, name).with_temperatures(dict(temperatures or {}))
    model = _merged([onnx.load(path) for path in paths], specs, spec)
    save_with_spec(model, target, spec)
    return spec


def _check_members(paths: Sequence[Path], specs: Sequence[ModelSpec], fingerprints: Sequence[str]) -> None:
    if not 2 <= len(specs) <= MAX_MEMBERS:
        raise ModelError(f"an ensemble of {len(specs)}; expected 2 to {MAX_MEMBERS} models")
    labels: dict[str, LabelSet] = {}
    for i, (path, spec) in enumerate(zip(paths, specs, strict=True)):
        if fingerprints[i] in fingerprints[:i]:
            raise ModelError(f"{path} is given twice, maybe under another name; name each member once")
        if spec.kind != "face":
            raise ModelError(f"{path} is of kind '{spec.kind}'; expected a classifier of faces")
        if not spec.exported:
            raise ModelError(
                f"{path} is a model of another origin; an ensemble takes those that `mien train` or `mien export` wrote"
            )
        if spec.crop != specs[0].crop:
            raise ModelError(f"{path} sees faces cropped as in {spec.crop}, {paths[0]} as in {specs[0].crop}")
        for head in spec.heads:
            known = labels.setdefault(head.labels.name, head.labels)
            if known.labels != head.labels.labels:
                raise ModelError(
                    f"{path} has the labels {', '.join(head.labels)} under the name '{head.labels.name}', another "
                    f"member {', '.join(known)}; expected the same labels in the same order"
                )
    for i, (path, spec) in enumerate(zip(paths, specs, strict=True)):
        others = {other for j, each in enumerate(specs) if j != i for other in each.names}
        if not others & set(spec.names):
            raise ModelError(f"{path} has the labels {', '.join(spec.names)}, which no other member has")


def _spec_of(specs: Sequence[ModelSpec], fingerprints: Sequence[str], name: str) -> ModelSpec:
    members = tuple(
        Member(name=spec.name, fingerprint=fingerprint, preprocess=spec.preprocess)
        for spec, fingerprint in zip(specs, fingerprints, strict=True)
    )
    heads = {head.labels.name: Head(head.labels) for spec in specs for head in spec.heads}
    return ModelSpec(
        name=name,
        arch="ensemble",
        heads=tuple(heads.values()),
        preprocess=max((spec.preprocess for spec in specs), key=lambda each: (each.size, each.channels)),
        kind="ensemble",
        crop=specs[0].crop,
        trained_on=_training_data(specs),
        license=" AND ".join(dict.fromkeys(spec.license for spec in specs if spec.license)),
        members=members,
        version=3,
    )


def _training_data(specs: Sequence[ModelSpec]) -> dict[str, str]:
    """Return the data that any member was trained on; empty if that of one is unknown."""
    if not all(spec.trained_on.get("name") for spec in specs):
        return {}
    first = specs[0].trained_on
    data: dict[str, str] = {key: first[key] for key in ("name", "fingerprint") if key in first}
    for origin in (spec.trained_on for spec in specs):
        if origin["name"] != data["name"]:
            data.setdefault(f"with {origin['name']}", f"(fingerprint {origin.get('fingerprint', 'unknown')})")
        data |= {key: text for key, text in origin.items() if key.startswith("with ") and key not in data}
    starts = dict.fromkeys(origin["init"] for origin in (spec.trained_on for spec in specs) if "init" in origin)
    return data | ({"init": "; ".join(starts)} if starts else {})


def _merged(models: Sequence[onnx.ModelProto], specs: Sequence[ModelSpec], spec: ModelSpec) -> onnx.ModelProto:
    """Return one graph: an input per preprocessing, the members, and the mean of each head."""
    versions = {
        (model.ir_version, tuple((each.domain, each.version) for each in model.opset_import)) for model in models
    }
    if len(versions) > 1:
        raise ModelError("the members have different versions of ONNX; export them again by the same release of mien")
    nodes, weights = [], [_number(MIN_PROBABILITY, "least")]
    inputs = [
        helper.make_tensor_value_info(_input_name(i), TensorProto.UINT8, ["n", each.size, each.size, each.channels])
        for i, each in enumerate(spec.inputs)
    ]
    for i, (model, member) in enumerate(zip(models, specs, strict=True)):
        graph = compose.add_prefix(model, _prefix(i)).graph
        shared = _input_name(spec.inputs.index(member.preprocess))
        nodes += [helper.make_node("Identity", [shared], [graph.input[0].name]), *graph.node]
        weights += graph.initializer
    outputs = []
    for head in spec.heads:
        name, logs = head.labels.name, []
        for i, member in enumerate(specs):
            if name in member.names:
                found = f"{_prefix(i)}{name}"
                nodes += [
                    helper.make_node("Max", [found, "least"], [f"{found} above zero"]),
                    helper.make_node("Log", [f"{found} above zero"], [f"{found} log"]),
                ]
                logs.append(f"{found} log")
        weights.append(_number(head.temperature, f"{name} temperature"))
        nodes += [
            helper.make_node("Mean", logs, [f"{name} mean"]),
            helper.make_node("Div", [f"{name} mean", f"{name} temperature"], [f"{name} logits"]),
            helper.make_node("Softmax", [f"{name} logits"], [name], axis=1),
        ]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", len(head.labels)]))
    graph = helper.make_graph(nodes, "ensemble", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=models[0].opset_import, ir_version=models[0].ir_version)


def _prefix(member: int) -> str:
    return f"member {member}/"


def _input_name(index: int) -> str:
    return f"faces {index}"


def _number(value: float, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, np.float32), name)
