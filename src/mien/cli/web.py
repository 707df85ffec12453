"""`mien serve`: the page and the service."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.arguments import Detector, Model, ModelsDir
from mien.cli.console import extra, notice, say
from mien.errors import ConfigError
from mien.models.spec import DEFAULT_MODEL
from mien.settings import Range, shown


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for all interfaces.", metavar="ADDRESS")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for a free one.")] = 8008,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Serve the page, or only the service.")] = True,
    model: Model = DEFAULT_MODEL,
    detector: Detector = "auto",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Host name that requests may use; may be given several times.", metavar="NAME"),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Other page that may call the service; may be given several times.", metavar="URL"),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(help="Secret that requests must carry.", metavar="TEXT", envvar="MIEN_TOKEN", show_envvar=True),
    ] = None,
    no_token: Annotated[bool, typer.Option("--no-token", help="Let anyone who reaches the address use it.")] = False,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate for https (PEM); needs --tls-key.", metavar="FILE")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key of the certificate (PEM).", metavar="FILE")] = None,
    workers: Annotated[int, typer.Option(min=0, max=256, help="Worker threads; 0 for one per core.", metavar="N")] = 0,
    sessions: Annotated[
        int, typer.Option(min=0, max=1000, help="Maximum number of concurrent live sessions.", metavar="N")
    ] = 8,
    max_upload: Annotated[
        float, typer.Option(help="Largest upload in megabytes, except for videos.", metavar="MB")
    ] = 32,
    log: Annotated[bool, typer.Option("--log", help="Print a line of JSON per request on stderr.")] = False,
    models_dir: ModelsDir = None,
) -> None:
    """Serve a page for the browser, and the service for other programs.

    Examples: `mien serve --open`, `mien serve --host 0.0.0.0 --allow-host faces.local --token SECRET`
    """
    with extra("the page and the service", "web"):
        from mien.web.serving import check_certificate, listen
        from mien.web.serving import serve as run
        from mien.web.settings import MEGABYTE, ServerSettings

    if (tls_cert is None) != (tls_key is None):
        raise ConfigError("https needs both --tls-cert and --tls-key")
    if token is not None and no_token:
        raise ConfigError("--no-token conflicts with the token from --token or $MIEN_TOKEN; omit one")
    if tls_cert is not None:
        check_certificate(tls_cert, tls_key)
    if not _is_loopback(host):
        _check_exposed(host, allow_host, token, no_token)
    own = [] if _is_any(host) else [host]
    settings = ServerSettings(
        model=model, detector=detector, models_dir=models_dir, hosts=(*(allow_host or ()), *own),
        origins=tuple(allow_origin or ()), token=token, page=page, workers=workers, sessions=sessions,
        max_upload=round(Range(0, 10_000, above=True).check("--max-upload", max_upload) * MEGABYTE),
    )  # fmt: skip
    listening = listen(host, port)
    name = (allow_host or ["localhost"])[0] if _is_any(host) else f"[{host}]" if ":" in host else host
    address = f"{'https' if tls_cert else 'http'}://{name}:{listening.getsockname()[1]}"

    def started() -> None:
        say(f"mien is running at {address}; press Ctrl+C to stop")
        if open_page:
            import webbrowser

            webbrowser.open(address)

    run(settings, listening, certificate=tls_cert, key=tls_key, log=log, on_start=started)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _check_exposed(host: str, allow_host: list[str] | None, token: str | None, no_token: bool) -> None:
    name, colon, port = host.rpartition(":")
    if colon and ":" not in name and port.isdecimal():
        raise ConfigError(f"--host is {shown(host)}; expected an address without its port: --host {name} --port {port}")
    if token is None and not no_token:
        raise ConfigError(
            f"{host} is reachable from other machines: set a token with --token or $MIEN_TOKEN, or pass --no-token"
        )
    if _is_any(host) and not allow_host:
        raise ConfigError(f"a service on {host} must know the host name that clients use: --allow-host NAME")
    if no_token:
        notice("[yellow]warning:[/]", "no token: anyone who reaches this address can use the service")
