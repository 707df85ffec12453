"""Keras models in the window: the offer to convert them, and the dialog that asks for labels and preprocessing."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tkinter import ttk
from typing import TYPE_CHECKING

from mien.app.look import open_dialog
from mien.errors import needs
from mien.escape import visible
from mien.labels import LABEL_SETS
from mien.models.store import user_dir

if TYPE_CHECKING:
    from mien.app.window import Window
    from mien.convert.keras import Conversion, Findings

PIXELS = {  # descriptions of `mien.convert.NORMALIZATIONS`
    "unit": "divided by 255, the usual way",
    "signed": "from −1 to 1, as for MobileNet and Xception",
    "none": "from 0 to 255, unchanged",
    "torch": "as for DenseNet",
    "caffe": "as for VGG16, VGG19 and ResNet50",
    "vggface": "as for VGGFace, version 1",
    "vggface2": "as for VGGFace, version 2",
}
GAP = "4p"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionSettings:
    """The dialog's fields; arguments of `mien.convert.convert`."""

    labels: str
    normalize: str | None
    equalize: bool


class KerasModels:
    """The user's Keras models that are not converted yet.

    Args:
        window: Shows the offer to convert them.
        converted: Called with the name of a model that was converted.
    """

    def __init__(self, window: Window, converted: Callable[[str], None]) -> None:
        self.window, self.converted = window, converted
        self.files: list[Path] = []
        self.dialog: ConvertDialog | None = None

    def offer(self, files: list[Path]) -> None:
        """Name the models, and offer to convert them."""
        self.files = files
        layout, several = self.window.layout, len(files) > 1
        names = visible(", ".join(path.name for path in files))
        layout.set(
            "offered",
            f"Keras models, not converted yet: {names}" if several else f"{names} is a Keras model, not converted yet",
        )
        layout.widget("convert").configure(
            text="Convert…" if several else f"Convert {visible(''.join(p.stem for p in files))}…"
        )
        layout.show("offer", bool(files))

    def convert(self) -> None:
        """Ask about a model; where there are several, ask first which one."""
        if len(self.files) == 1:
            self._examine(self.files[0])
            return
        menu, button = tk.Menu(self.window.root, tearoff=False), self.window.layout.widget("convert")
        for path in self.files:
            menu.add_command(label=path.name, command=partial(self._examine, path))
        menu.tk_popup(button.winfo_rootx(), button.winfo_rooty())

    def _examine(self, path: Path) -> None:
        self.window.say(f"reading {path.name} …")
        self.window.worker.submit(partial(examine, path), partial(self._ask_about, path))

    def _ask_about(self, path: Path, found: tuple[Findings, list[str]]) -> None:
        if self.dialog is not None:
            self.dialog.close()
        self.window.say(f"fill in how {path.name} was trained")
        findings, pixels = found
        convert = partial(self._convert, path)
        self.dialog = ConvertDialog(self.window.root, path, findings, pixels=pixels, convert=convert)

    def _convert(self, path: Path, answers: ConversionSettings) -> None:
        self.window.say(f"converting {path.name} …")
        self.window.worker.submit(partial(convert_keras, path, answers, self.window.models_dir), self._converted)

    def _converted(self, conversion: Conversion) -> None:
        if self.dialog is not None:
            self.dialog.close()
        self.converted(conversion.spec.name)


class ConvertDialog:
    """Asks for the labels of a Keras model and for its preprocessing; stays open until it is closed.

    Args:
        root: The program's window.
        path: The model's file.
        findings: Facts read from the file.
        pixels: The keys of `PIXELS` to choose from.
        convert: Called with the answers each time the button is pressed.
    """

    def __init__(
        self,
        root: tk.Tk,
        path: Path,
        findings: Findings,
        *,
        pixels: list[str],
        convert: Callable[[ConversionSettings], None],
    ) -> None:
        title = f"Convert {visible(path.name)}"
        self.top, frame = open_dialog(root, "conversion", title, offset=60, padding="10p")
        orders = label_orders(findings.n_outputs)
        self.labels = ttk.Combobox(frame, values=orders, width=56)
        self.labels.set(orders[0] if orders else "")
        self.pixels = ttk.Combobox(frame, values=[f"{name}: {PIXELS[name]}" for name in pixels], state="readonly")
        if findings.normalize is not None:
            self.pixels.current(pixels.index(findings.normalize))
        self._equalize = tk.BooleanVar(self.top, value=False)
        self.equalize = ttk.Checkbutton(
            frame, text="Histogram equalised before that, as in the 2020 prototype", variable=self._equalize
        )
        self.convert = ttk.Button(frame, text="Convert", style="Accent.TButton", command=lambda: convert(self.answers))
        self.cancel = ttk.Button(frame, text="Cancel", command=self.close)
        kind = "grey" if findings.channels == 1 else "colour"
        rows: list[tk.Widget] = [
            ttk.Label(frame, text=f"{visible(path.name)} takes {kind} images and has {findings.n_outputs} outputs."),
            ttk.Label(frame, text="Labels of the outputs, in the order of the training:"),
            self.labels,
            ttk.Label(frame, text="Pixel values in the training:"),
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
    def answers(self) -> ConversionSettings:
        """The values of the fields."""
        pixels = self.pixels.get().partition(":")[0] or None
        return ConversionSettings(labels=self.labels.get(), normalize=pixels, equalize=self._equalize.get())

    def close(self) -> None:
        """Close the dialog, if it is open."""
        self.top.destroy()


def label_orders(n: int) -> list[str]:
    """Return the usual orders of n labels: that of a known label set, and alphabetical as from class folders."""
    known = [labels.labels for labels in LABEL_SETS.values() if len(labels) == n]
    return [",".join(order) for labels in known for order in (labels, tuple(sorted(labels)))]


def examine(path: Path) -> tuple[Findings, list[str]]:
    """Return the findings about a Keras model, and the normalisations to choose from.

    Raises:
        ModelError: It can't be converted.
        MissingExtra: h5py or onnx is not installed.
    """
    with needs(f"converting {path.name}", "keras"):
        from mien.convert import keras
    findings = keras.examine(path)
    return findings, keras.normalizations_for(findings.channels)


def convert_keras(path: Path, answers: ConversionSettings, models_dir: Path | None) -> Conversion:
    """Convert a Keras model into the user's models directory.

    Raises:
        ModelError, ConfigError, OutputError: As `mien.convert.convert`.
    """
    from mien.convert.keras import convert

    return convert(
        path,
        labels=answers.labels,
        normalize=answers.normalize,
        equalize=answers.equalize,
        install=models_dir or user_dir(),
    )
