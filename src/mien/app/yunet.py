"""YuNet in the windows: the detector in use, and YuNet's download where its file is not on this machine."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from mien.app.layout import Tooltip
from mien.app.worker import sentence
from mien.download import is_offline
from mien.errors import FetchError, ModelError
from mien.vision.detect import FaceDetector, detector_name, load_detector
from mien.vision.fetch import PATIENT_SECONDS, fetch_yunet, local_yunet, recent_failure
from mien.vision.haar import HaarDetector
from mien.vision.yunet import YuNetDetector

if TYPE_CHECKING:
    from mien.app.window import Window
    from mien.recognizer import Recognizer

WANT_YUNET = ("auto", "yunet")  # choices in the window that mean YuNet, and Haar until its file is there
TIP = (
    "The detector in use. Haar finds upright faces seen from the front; YuNet also small, turned and partly covered "
    "ones."
)
NAMES = {"yunet": "YuNet", "haar": "Haar", "whole": "whole picture"}
LOOK_MS = 50  # between two looks at the download's progress


class Missing(NamedTuple):
    """Haar is in use since YuNet's file is not on this machine.

    Args:
        note: Reason why it cannot be downloaded, in a few words; empty where it can.
        explanation: The same in a sentence.
    """

    note: str = ""
    explanation: str = ""


def window_detector(name: str) -> FaceDetector:
    """Return a detector by its name as `load_detector` does, but Haar where YuNet's file is not on this machine.

    The windows download it in the background, so that loading does not wait for a network.

    Raises:
        ModelError: YuNet's file cannot be read.
    """
    if name not in WANT_YUNET:
        return load_detector(name)
    try:
        file = local_yunet()
    except ModelError:  # of $MIEN_YUNET; `missing_yunet` reports it
        file = None
    return HaarDetector() if file is None else YuNetDetector(file)


def detector_used(name: str) -> str:
    """Return the everyday name of a detector in use: "Haar (alt)"."""
    return NAMES.get(name, f"Haar ({name.removeprefix('haar-')})" if name.startswith("haar-") else name)


def missing_yunet(chosen: str, used: str) -> Missing | None:
    """Return the state of a window that uses Haar since YuNet's file is missing; None for any other.

    Args:
        chosen: Name of the chosen detector.
        used: Name of the detector in use.
    """
    if chosen not in WANT_YUNET or used != "haar":
        return None
    try:
        local_yunet()
    except ModelError as error:
        return Missing("MIEN_YUNET is wrong", str(error))
    if is_offline():
        return Missing("MIEN_OFFLINE is set", "YuNet is not on this machine, and MIEN_OFFLINE forbids its download.")
    return Missing()


def failure_sentence(reason: str) -> str:
    """Return the sentence about a download that failed for a reason in a few words."""
    return f"YuNet could not be downloaded ({reason}); fix this and try again"


class YunetDownload:
    """Downloads YuNet's file in a thread of its own; it may be repeated.

    Args:
        root: The window, whose thread runs the callbacks; none after it is closed.
        show: Called with the share that is there, in [0, 1]; None while unknown.
        ended: Called with the failure in a few words; empty once the file is there.
    """

    def __init__(self, root: tk.Misc, *, show: Callable[[float | None], None], ended: Callable[[str], None]) -> None:
        self._root, self._show, self._ended = root, show, ended
        self._events: SimpleQueue[_Event] | None = None

    @property
    def running(self) -> bool:
        """Whether a download runs."""
        return self._events is not None

    def start(self) -> None:
        """Start the download, unless it runs."""
        if self._events is None:
            self._events = SimpleQueue()  # of this attempt alone: a thread may outlive its time limit
            Thread(target=_fetch, args=(self._events,), name="yunet-download", daemon=True).start()
            self._show(None)
            self._look()

    def _look(self) -> None:
        while self._events is not None and not self._events.empty():
            event = self._events.get()
            if isinstance(event, str):
                self._events = None
                self._ended(event)
            else:
                done, total = event
                self._show(done / total if total else None)
        if self._events is not None:
            self._root.after(LOOK_MS, self._look)


class DetectorBar:
    """The detector in use, in the status line of `mien app`, with the offer to download YuNet.

    The first download starts by itself, as everywhere with the detector "auto": once in `fetch.RETRY_HOURS`.

    Args:
        window: Has the status line.
        fetched: Called when YuNet's file is there and wanted.
    """

    def __init__(self, window: Window, fetched: Callable[[], None]) -> None:
        self.window, self._fetched = window, fetched
        self.download = YunetDownload(window.root, show=self._show_progress, ended=self._ended)
        self._used = ""  # until a model is loaded
        self._missing: Missing | None = None
        self._asked = False  # whether the user asked for the download that runs
        self._succeeded = False
        Tooltip(window.layout.widget("detector_used"), self._tip)
        self._show()

    def update(self, recognizer: Recognizer) -> None:
        """Show the detector of a recogniser that was just loaded; download YuNet if it should be that."""
        chosen, used = self.window.choices.detector, detector_name(recognizer.detector)
        self._used, self._missing = detector_used(used), missing_yunet(chosen, used)
        self._show()
        if self._missing == Missing() and not self._succeeded and (chosen == "yunet" or not recent_failure()):
            self.start(asked=chosen == "yunet")

    def start(self, *, asked: bool = True) -> None:
        """Download YuNet."""
        self._asked = asked or self._asked
        self.download.start()

    def _tip(self) -> str:
        return f"{TIP}\n{self._missing.explanation}" if self._missing and self._missing.explanation else TIP

    def _show(self) -> None:
        layout, missing, running = self.window.layout, self._missing, self.download.running
        note = "downloading YuNet …" if running else missing.note if missing else ""
        layout.set("detector_used", f"Faces: {self._used}{f' ({note})' if note else ''}" if self._used else "")
        layout.show("download", missing == Missing() and not running)
        layout.show("downloaded", running)

    def _show_progress(self, share: float | None) -> None:
        bar = self.window.layout.widget("downloaded")
        if share is None:
            bar.configure(mode="indeterminate")
            bar.start()
        else:
            bar.stop()
            bar.configure(mode="determinate", value=share)
        self._show()

    def _ended(self, failure: str) -> None:
        self.window.layout.widget("downloaded").stop()
        self._succeeded = not failure
        if failure:
            report = self.window.complain if self._asked else self.window.say
            report(failure_sentence(failure))
        elif self.window.choices.detector in WANT_YUNET:
            self._fetched()
        self._asked = False
        self._show()


_Event = str | tuple[int, int | None]  # a failure, empty for success; or the progress


def _fetch(events: SimpleQueue[_Event]) -> None:
    """Fetch YuNet's file. The thread knows no widget: Tk's objects may only be deleted in Tk's thread."""
    try:
        fetch_yunet(lambda done, total: events.put((done, total)), seconds=PATIENT_SECONDS)
    except FetchError as error:
        events.put(error.reason)
    except Exception as error:  # a bug of ours must not leave the window waiting
        events.put(sentence(error))
    else:
        events.put("")
