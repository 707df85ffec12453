"""The steps of the Dockerfile run on this machine, without a container engine, and what they start answers."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the service needs the extra 'web'")
ROOT = Path(__file__).parents[2]
PLACES = ("/opt/mien", "/source", "/models")  # of the image, each in a folder of the test
PICTURE = ROOT / "docs" / "images" / "astronaut.png"


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile with their arguments, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def last(name: str) -> str:
    return next(rest for found, rest in reversed(instructions()) if found == name)


def is_sent(source: str) -> bool:
    """Return whether .dockerignore lets a file or folder into the build."""
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    sent = True
    for rule in rules:
        if fnmatch.fnmatch(source, rule.removeprefix("!")):
            sent = rule.startswith("!")
    return sent


class Image:
    """The file system of the image in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        site = sysconfig.get_path("purelib")  # of the tests' environment: the dependencies are not installed again
        self.environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": site,
                            "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "TMPDIR": str(folder)}  # fmt: skip

    def place(self, text: str) -> str:
        """Return a text with the image's paths in the folder."""
        for place in PLACES:
            text = text.replace(place, f"{self.folder}{place}")
        return text

    def build(self) -> None:
        """Run the instructions that make files."""
        where = self.folder
        for name, rest in instructions():
            if name == "WORKDIR":
                where = Path(self.place(rest))
                where.mkdir(parents=True)
            elif name == "COPY" and not rest.startswith("--from"):
                *sources, _ = rest.split()
                for source in sources:
                    assert is_sent(source), source
                    copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                    copy(ROOT / source, where / source)
            elif name == "RUN":
                command = ["sh", "-ec", self.place(rest)]
                offline = {**self.environment, "MIEN_OFFLINE": "1"}
                subprocess.run(command, cwd=where, env=offline, check=True, capture_output=True, timeout=300)

    def command(self, arguments: list[str], port: int) -> list[str]:
        entry = json.loads(self.place(last("ENTRYPOINT")))
        return [*entry, *arguments, "--port", str(port)]

    def variables(self) -> dict[str, str]:
        return {**self.environment, **dict(pair.split("=", 1) for pair in shlex.split(self.place(last("ENV"))))}

    @contextmanager
    def running(self, arguments: list[str], **variables: str) -> Iterator[int]:
        """Start the entry point, wait until its health check succeeds, and yield its port."""
        port = free_port()
        check = json.loads(self.place(last("HEALTHCHECK").partition("CMD ")[2]).replace(":8008", f":{port}"))
        process = subprocess.Popen(
            self.command(arguments, port), env={**self.variables(), **variables}, cwd="/", stderr=subprocess.PIPE
        )
        try:
            while subprocess.run(check, env=self.variables(), capture_output=True, timeout=30).returncode:
                assert process.poll() is None, process.communicate()[1].decode()
                time.sleep(0.2)
            yield port
        finally:
            process.terminate()
            process.communicate(timeout=20)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    built = Image(tmp_path_factory.mktemp("image"))
    built.build()
    return built


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def ask(port: int, path: str, data: bytes | None = None, **headers: str) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_the_image_recognises_a_picture(image: Image) -> None:
    with image.running([*json.loads(last("CMD")), "--no-token"]) as port:
        answer = ask(port, "/v1/predict", PICTURE.read_bytes(), **{"Content-Type": "image/png"})
    assert [face["label"] for face in answer["pictures"][0]["faces"]] == ["happy"]


def test_the_image_does_not_start_without_a_token(image: Image) -> None:
    command = image.command(json.loads(last("CMD")), free_port())
    ended = subprocess.run(command, env=image.variables(), capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "MIEN_TOKEN" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_compose_file_passes_its_token(image: Image) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with the extra 'site'")
    service = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["mien"]
    assert service["environment"]["MIEN_TOKEN"].startswith("${MIEN_TOKEN:?")
    with image.running(service["command"], MIEN_TOKEN="secret") as port:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(port, "/v1/about")
        assert ask(port, "/v1/about", Authorization="Bearer secret")["models"]


def test_the_image_runs_as_nobody_in_particular() -> None:
    assert all(int(number) > 0 for number in last("USER").split(":"))


def test_the_unit_of_systemd_is_valid(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    unit = (ROOT / "deploy" / "mien.service").read_text(encoding="utf-8")
    copy = tmp_path / "mien.service"
    copy.write_text(unit.replace("/opt/mien/bin/mien", "/bin/true"), encoding="utf-8")
    checked = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
