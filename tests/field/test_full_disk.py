"""Kind of report: "the disk was full after three hours, and all of it was lost"."""

from __future__ import annotations

from pathlib import Path

import pytest

from clips import write_video
from commands import error_of
from disks import no_room_for
from mien.sources.frames import frames

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.mark.parametrize("room", [0, 3_000, 30_000])
def test_an_audit_keeps_the_one_before(room: int, drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("audited")
    folder.mkdir()
    (folder / "audit.md").write_text("old")
    with no_room_for(room):
        line = error_of(capsys, "data", "audit", drawn, "--out", folder)
    assert "error: cannot write 'audited/" in line
    assert "File too large" in line
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("audit.md", "old")]


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.mp4"])
def test_a_recording_keeps_the_video_up_to_then(
    name: str, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_video(Path("clip.avi"), n=12)
    with no_room_for(6_000):
        line = error_of(capsys, "live", clip, "--no-window", "--model", tiny_model, "--video", name)
    assert line.startswith("error: cannot write ")
    kept = {path.name for path in Path().iterdir()} - {clip.name}
    assert kept <= {name, "a.mkv"}
    for video in kept:
        assert 0 < [frame.time for frame in frames(video)][-1] < 1  # of 1.2 seconds
