"""Jobs on a cluster: the same parts as from this machine alone, whatever happens to its processes and machines."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jobs
import mien
from commands import error_of
from detectors import yunet_file
from mien.cluster import Ray, _packed, _task
from mien.errors import ConfigError, MienError, MissingExtra, OutputError, ServiceError
from mien.pixels import write_picture
from mien.recognizer import Recognizer
from mien.shards import Done, part_columns, read_summary, run
from mien.sinks.parts import read_part
from mien.sources.pictures import read_picture
from mien.vision.detect import FaceDetector, WholeImage
from mien.vision.yunet import YuNetDetector

ray = pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc are those of Linux"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
ASTRONAUT = Path(__file__).parents[1] / "docs" / "images" / "astronaut.png"
N = 12  # pictures, of which two are a shard


@pytest.fixture(autouse=True, scope="module")
def quiet_ray() -> Iterator[None]:
    """Let Ray leave no token in the home folder, and send nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        patch.delenv("RAY_ADDRESS", raising=False)
        before = signal.getsignal(signal.SIGTERM)
        yield
        signal.signal(signal.SIGTERM, before)  # Ray puts its own handler there, which forked processes would keep


@pytest.fixture(scope="module")
def cluster(quiet_ray: None) -> Iterator[Any]:
    """Two machines, as two processes of this one."""
    from ray.cluster_utils import Cluster

    options: dict[str, Any] = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RAY_TMPDIR", folder)  # in whose folder "ray" the cluster's address is written
        place = Path(folder, "ray")
        place.mkdir()
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=1, temp_dir=str(place), **options)
            cluster.add_node(num_cpus=1)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


@pytest.fixture
def connected(cluster: Any) -> Iterator[Any]:
    if not ray.is_initialized():
        ray.init(cluster.address, log_to_driver=False)
    return cluster


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    for i in range(N):
        write_picture(folder / f"{i:02}.png", np.random.default_rng(i).integers(0, 256, (40, 50, 3), np.uint8))
    (folder / "05 broken.png").write_bytes((folder / "03.png").read_bytes()[:500])
    return folder


@dataclass
class Runs:
    """Runs of one job, with two pictures per shard."""

    album: Path
    folder: Path
    model: Path
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, detector: FaceDetector | None = None, **options: Any) -> list[Done]:
        given = {"shard_size": 2, "engine": Ray("auto"), **options}
        return list(run([self.album], self.folder, Recognizer(detector or WholeImage(), self.model), **given))

    def bytes(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((self.folder / "parts").iterdir())}

    def errors(self) -> dict[str, str]:
        return {Path(row["source"]).name: row["error"] for row in self.rows() if row["error"]}

    def rows(self) -> list[dict[str, Any]]:
        columns = list(part_columns(Recognizer(WholeImage(), self.model).provenance))
        return [row for part in sorted((self.folder / "parts").iterdir()) for row in read_part(part, columns)]

    def sources(self) -> Counter[str]:
        return Counter(Path(row["source"]).name for row in self.rows())


@pytest.fixture
def job(album: Path, tmp_path: Path, tiny_model: Path) -> Runs:
    return Runs(album, tmp_path / "job", tiny_model)


@pytest.fixture
def expected(job: Runs, tmp_path: Path) -> dict[str, bytes]:
    """The parts that one process writes."""
    other = Runs(job.album, tmp_path / "expected", job.model)
    other(engine=None)
    return other.bytes()


class TestRefused:
    @pytest.mark.parametrize(
        ("address", "message"),
        [
            ("cluster", "the address of Ray is 'cluster'; expected local, auto or HOST:PORT"),
            ("http://10.0.0.1:8265", "the address of Ray is 'http"),
            ("10.0.0.1:99999", "the address of Ray is"),
            ("ray://10.0.0.1:10001", "Ray Client"),
        ],
    )
    def test_what_is_no_address(self, address: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            Ray(address)

    def test_a_number_of_workers_out_of_range(self) -> None:
        with pytest.raises(ConfigError, match="workers is 0"):
            Ray("auto", workers=0)

    def test_an_address_where_nobody_listens(self, job: Runs) -> None:
        with pytest.raises(ServiceError, match=r"no Ray at 127\.0\.0\.1:1: Connection refused; start it there with"):
            job(engine=Ray("127.0.0.1:1"))

    @pytest.mark.parametrize(
        "answer", [b"HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b""]
    )
    def test_an_address_where_somebody_else_listens(
        self, answer: bytes, job: Runs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mien.cluster.CONNECT_SECONDS", 0.5)
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            if answer:  # else it is silent
                threading.Thread(target=lambda: server.accept()[0].sendall(answer), daemon=True).start()
            with pytest.raises(
                ServiceError, match=rf"what listens at 127\.0\.0\.1:{port} is not Ray's head; expected the"
            ):
                job(engine=Ray(f"127.0.0.1:{port}"))

    def test_a_cluster_that_asks_for_its_token(self, job: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            try:
                raise ray.exceptions.AuthenticationError("InvalidAuthToken")
            except ray.exceptions.AuthenticationError as error:
                raise ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379\nmore") from error

        monkeypatch.setattr("ray.init", refuse)
        with pytest.raises(ServiceError, match=r"at 10.0.0.1:6379; it asks for its token: set RAY_AUTH_MODE=token"):
            job()

    def test_ray_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(MissingExtra, match=r"a cluster needs the 'ray' extra: pip install .*\[ray\]"):
            Ray("auto")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--ray"], "--ray needs --parts; add --parts DIR or omit --ray"),
            (["--parts", "job", "--ray", "auto", "--device", "auto"], "--device cannot be combined with --ray"),
        ],
    )
    def test_options_that_do_not_go_together(
        self, options: list[str], message: str, album: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert message in error_of(capsys, "predict", album, "--detector", "whole", *options)

    def test_a_machine_without_mien_or_with_another_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert _task()("9.9", [], b"", b"", []) == ("version", [socket.gethostname(), f"mien {mien.__version__}"])
        monkeypatch.setitem(sys.modules, "mien", None)
        assert _task()("9.9", [], b"", b"", []) == ("version", [socket.gethostname(), "no mien"])


@pytest.mark.parametrize("detector", ["whole", "yunet"])
def test_the_files_of_model_and_detector_travel(detector: str, job: Runs, tmp_path: Path) -> None:
    files = [tmp_path / "model.onnx"]
    shutil.copy(job.model, files[0])
    faces: FaceDetector = WholeImage()
    if detector == "yunet":
        files.append(tmp_path / "yunet.onnx")
        shutil.copy(yunet_file(), files[1])
        faces = YuNetDetector(files[1])
    sent = Recognizer(faces, files[0])
    image = read_picture(ASTRONAUT)
    expected = sent.recognize(image)
    assert len(expected) == 1
    packed = _packed(sent)
    for file in files:
        file.unlink()
    for arrived in (pickle.loads(packed), pickle.loads(pickle.dumps(pickle.loads(packed)))):
        assert type(arrived.detector) is type(faces)
        assert str(arrived.recognize(image)) == str(expected)


def test_ctrl_c_while_ray_starts_waits_until_it_has_started(job: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half started, it lets the program crash when that ends."""
    steps: list[str] = []

    def start(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)
        steps.append("started")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Ray sets an answer of its own

    monkeypatch.setattr("ray.init", start)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.shutdown", lambda: steps.append("ended"))
    before, of_sigterm = signal.signal(signal.SIGINT, signal.default_int_handler), signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(KeyboardInterrupt):
            job()
        assert steps == ["started", "ended"]
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) == of_sigterm
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_process_ends_when_a_file_takes_too_long() -> None:
    code = (
        "import time\nfrom mien.cluster import _watched\n"
        "def results():\n    for i in range(3): time.sleep(.2); yield i\n"
        "    print('slow', flush=True); time.sleep(60)\n"
        "for result in _watched(results(), seconds=1): print(result, flush=True)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert (ended.returncode, ended.stdout.split(), ended.stderr) == (1, ["0", "1", "2", "slow"], "")


class TestRows:
    def test_the_parts_are_those_of_one_process(self, job: Runs, expected: dict[str, bytes], connected: Any) -> None:
        steps: list[tuple[int, int | None]] = []
        done = job(progress=lambda *step: steps.append(step))
        assert job.bytes() == expected
        assert {one.shard: (one.files, one.errors) for one in done} == {
            n: (1 if n == 6 else 2, int(n == 2)) for n in range(7)
        }
        assert steps[0] == (0, 13)
        assert steps[-1] == (13, 13)
        summary = read_summary(job.folder)
        assert summary is not None
        assert (summary.files, summary.errors) == (13, 1)
        assert job() == []

    def test_paths_may_be_relative(
        self, job: Runs, connected: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        job.album, job.folder = Path("album"), Path("job")
        job()
        job.folder = Path("other")
        job(engine=None)
        parts = [sorted((tmp_path / name / "parts").iterdir()) for name in ("job", "other")]
        assert [path.read_bytes() for path in parts[0]] == [path.read_bytes() for path in parts[1]]
        assert b"album/00.png" in parts[0][0].read_bytes()
        assert str(tmp_path).encode() not in parts[0][0].read_bytes()


class TestLosses:
    def test_a_picture_that_crashes_its_process_is_an_error_row(
        self, job: Runs, connected: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_picture(job.album / "04.png", np.full((20, 20, 3), 200, np.uint8))
        monkeypatch.setattr("mien.cluster.TRIES", 1)
        with pytest.raises(MienError, match="shard 2 stopped its process or machine"):
            job(jobs.Deadly())
        assert len(job.bytes()) == 6  # the others are done
        monkeypatch.undo()
        job(jobs.Deadly())
        assert job.sources() == dict.fromkeys(job.sources(), 1)
        assert len(job.sources()) == N + 1
        assert job.errors().keys() == {"04.png", "05 broken.png"}
        assert "twice, its process was killed (SIGKILL)" in job.errors()["04.png"]

    def test_the_shard_of_a_killed_process_is_recognised_again(self, job: Runs, connected: Any, tmp_path: Path) -> None:
        write_picture(job.album / "04.png", np.full((20, 20, 3), 200, np.uint8))
        job(jobs.Deadly(tmp_path / "seen"))
        other = Runs(job.album, tmp_path / "other", job.model)
        other(jobs.Deadly(tmp_path / "seen"), engine=None)
        assert job.bytes() == other.bytes()

    def test_the_shards_of_a_lost_machine_are_recognised_on_the_others(
        self, job: Runs, connected: Any, expected: dict[str, bytes], tmp_path: Path
    ) -> None:
        machine = connected.add_node(num_cpus=1)
        note = tmp_path / "waits"
        detector = jobs.OnMachine(machine.node_id, note)

        def remove() -> None:
            while not note.exists():
                time.sleep(0.05)
            connected.remove_node(machine, allow_graceful=False)

        thread = threading.Thread(target=remove, daemon=True)
        thread.start()
        job(detector)
        thread.join(10)
        assert note.exists()
        assert {name: text.replace(b"OnMachine", b"whole") for name, text in job.bytes().items()} == expected

    def test_a_machine_with_another_mien(self, job: Runs, connected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mien.cluster.__version__", "9.9")
        with pytest.raises(ServiceError, match=r"has mien .*, this one mien 9\.9; install the same version on all"):
            job()
        assert job.bytes() == {}

    def test_a_machine_that_does_not_see_the_files(self, job: Runs, connected: Any) -> None:
        folder = os.open(job.album, os.O_RDONLY)
        os.dup2(folder, 777)  # known to this process alone
        try:
            job.album = Path("/proc/self/fd/777")
            with pytest.raises(
                ServiceError, match=r"does not see '/proc/self/fd/777/.*png'; share the folders of the job and of the"
            ):
                job()
        finally:
            os.close(folder)
            os.close(777)

    def test_a_second_run_at_the_same_time_is_refused(self, job: Runs, connected: Any) -> None:
        def again(done: int, _: int | None) -> None:
            with pytest.raises(OutputError, match="another process works on the job in"):
                job()

        job(progress=again)
        assert len(job.sources()) == N + 1

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
    def test_a_stopped_run_continues_with_the_same_command(
        self, number: signal.Signals, job: Runs, cluster: Any, connected: Any, expected: dict[str, bytes]
    ) -> None:
        with predicting(job, "--ray", cluster.address) as process:
            wait_for_a_part(job, process)
            process.send_signal(number)
            _, errors = process.communicate()
        assert any(time.sleep(0.2) or "ray::see" not in processes() for _ in range(100))
        assert process.returncode in (2, 130, -signal.SIGKILL)  # 2: it had ended before
        if process.returncode == 130:
            assert "kept; the same command continues" in errors
            assert len(errors.splitlines()) <= 2  # one about the broken picture
        job()
        assert job.bytes() == expected

    def test_ray_on_this_machine_ends_with_the_command(self, job: Runs) -> None:
        mark = f"MARK={job.folder}"
        before = set(Path("/tmp").glob("mien-ray-*"))
        with predicting(job, "--ray") as process:
            wait_for_a_part(job, process)
            assert len(processes(mark=mark)) > 5
            process.kill()
            process.communicate()
        agents = {"ray::DashboardAgent", "ray::RuntimeEnvAgent"}  # try for a minute to tell the driver about its end
        assert any(time.sleep(0.2) or agents.issuperset(processes(mark=mark)) for _ in range(100))
        for folder in set(Path("/tmp").glob("mien-ray-*")) - before:
            shutil.rmtree(folder, ignore_errors=True)


def predicting(job: Runs, *options: str) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "mien", "predict", str(job.album), "--detector", "whole", "--model", str(job.model),
        "--parts", str(job.folder), "--shard", "2", *options,
    ]  # fmt: skip
    environment = {**os.environ, "MARK": str(job.folder)}
    start = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"  # it may be ignored
    command[1:3] = ["-c", f"{start}; from mien.cli import main; main(sys.argv[1:])"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)


def wait_for_a_part(job: Runs, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and not list(job.folder.glob("parts/part-*")):
        time.sleep(0.01)


def processes(*, mark: str = "") -> list[str]:
    """Return the names of the processes with a mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().partition(b"\0")[0].decode())
    return found
