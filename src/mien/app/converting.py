"""The dialog about a Keras model: it asks what the file does not tell, and hands that on to `models.convert`."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tkinter import ttk
from typing import TYPE_CHECKING

from mien.errors import MissingExtra
from mien.labels import LABEL_SETS
from mien.models.store import user_dir

if TYPE_CHECKING:
    from mien.convert.keras import Conversion, Findings

PIXELS = {  # of `models.convert.NORMALIZATIONS`, as docs/guides/keras.md has them
    "unit": "divided by 255, the usual",
    "signed": "from −1 to 1, as for MobileNet and Xception",
    "none": "from 0 to 255, as they are",
    "torch": "as for DenseNet",
    "caffe": "as for VGG16, VGG19 and ResNet50",
    "vggface": "as for VGGFace, version 1",
    "vggface2": "as for VGGFace, version 2",
}
GAP = "4p"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What was said about a model; arguments of `models.convert.convert`."""

    labels: str
    normalize: str | None
    equalize: bool


class ConvertDialog:
    """Asks for the labels of a Keras model and what was done to pixels; open until it is closed.

    Args:
        root: The program's window.
        path: The model's file.
        findings: What is in it.
        pixels: Of `PIXELS`, what can be said about it.
        convert: Called with the answers, each time the button is pressed.
    """

    def __init__(
        self, root: tk.Tk, path: Path, findings: Findings, *, pixels: list[str], convert: Callable[[Answers], None]
    ) -> None:
        self.top = tk.Toplevel(root, background=root.cget("background"))
        self.top.title(f"Convert {path.name}")
        self.top.transient(root)
        self.top.geometry(f"+{root.winfo_rootx() + 60}+{root.winfo_rooty() + 60}")
        self.top.resizable(False, False)
        frame = ttk.Frame(self.top, padding="10p")
        frame.grid()
        orders = label_orders(findings.n_outputs)
        self.labels = ttk.Combobox(frame, values=orders, width=56)
        self.labels.set(orders[0] if orders else "")
        self.pixels = ttk.Combobox(frame, values=[f"{name}: {PIXELS[name]}" for name in pixels], state="readonly")
        if findings.normalize is not None:
            self.pixels.current(pixels.index(findings.normalize))
        self._equalize = tk.BooleanVar(self.top, value=False)
        self.equalize = ttk.Checkbutton(
            frame, text="Their histogram was equalised first, as in the 2020 prototype", variable=self._equalize
        )
        self.convert = ttk.Button(frame, text="Convert", style="Accent.TButton", command=lambda: convert(self.answers))
        self.cancel = ttk.Button(frame, text="Cancel", command=self.close)
        kind = "grey" if findings.channels == 1 else "colour"
        rows: list[tk.Widget] = [
            ttk.Label(frame, text=f"{path.name} takes {kind} pictures and gives {findings.n_outputs} numbers."),
            ttk.Label(frame, text="The labels that these stand for, in the order of the training:"),
            self.labels,
            ttk.Label(frame, text="What the training made of pixels:"),
            self.pixels,
            *([self.equalize] if findings.channels == 1 else []),
        ]
        for row, widget in enumerate(rows):
            widget.grid(row=row, columnspan=2, sticky="ew", pady=(0, GAP))
        self.cancel.grid(row=len(rows), column=0, sticky="e", padx=(0, GAP))
        self.convert.grid(row=len(rows), column=1, sticky="e")
        frame.columnconfigure(0, weight=1)
        self.top.bind("<Return>", lambda _: self.convert.invoke())
        self.top.bind("<Escape>", lambda _: self.close())
        self.labels.focus_set()

    @property
    def answers(self) -> Answers:
        """What the fields say now."""
        pixels = self.pixels.get().partition(":")[0] or None
        return Answers(labels=self.labels.get(), normalize=pixels, equalize=self._equalize.get())

    def close(self) -> None:
        """Close the dialog, if it is open."""
        self.top.destroy()


def label_orders(n: int) -> list[str]:
    """Return the orders that n labels are mostly in: that of a known set, or by name, as from folders."""
    known = [labels.labels for labels in LABEL_SETS.values() if len(labels) == n]
    return [",".join(order) for labels in known for order in (labels, tuple(sorted(labels)))]


def examine(path: Path) -> tuple[Findings, list[str]]:
    """Return what is in a Keras model, and what can be said about its pixels.

    Raises:
        ModelError: It can't be converted.
        MissingExtra: h5py or onnx is not installed.
    """
    try:
        from mien.convert import keras
    except ModuleNotFoundError as error:
        raise MissingExtra(f"converting {path.name}", "keras") from error
    findings = keras.examine(path)
    return findings, keras.normalizations_for(findings.channels)


def convert_keras(path: Path, answers: Answers, models_dir: Path | None) -> Conversion:
    """Convert a Keras model into the user's models directory.

    Raises:
        ModelError, ConfigError, OutputError: As `models.convert.convert`.
    """
    from mien.convert.keras import convert

    return convert(
        path,
        labels=answers.labels,
        normalize=answers.normalize,
        equalize=answers.equalize,
        install=models_dir or user_dir(),
    )
