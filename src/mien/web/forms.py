"""Multipart forms (RFC 7578), taken apart while they arrive: each part is a file."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message
from email.utils import collapse_rfc2231_value

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from mien.escape import visible
from mien.web.problems import Problem

PART = "file"  # name of the parts
HEADER_BYTES = 4096  # of a part's header


class FileForm:
    """A multipart form whose parts are files.

    Args:
        content_type: The request's header, which has the boundary of the parts.
        most: Number of files.

    Raises:
        Problem: bad-input, there is no boundary, or one that is too long.
    """

    def __init__(self, content_type: str, *, most: int) -> None:
        _, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary", b"")
        if not boundary:
            raise Problem("bad-input", "the form has no boundary; let the client write the header Content-Type")
        self._most = most
        self._names: list[str] = []
        self._found: list[tuple[int, bytes]] = []
        self._header, self._value = b"", b""
        self._has_begun = self._has_ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part, "on_part_data": self._add_data,
                    "on_header_field": self._add_header, "on_header_value": self._add_value,
                    "on_header_end": self._end_header, "on_headers_finished": self._end_headers, "on_end": self._end,
                },
            )  # fmt: skip
        except FormParserError as error:
            raise _unreadable(error) from error

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """Return the bytes of files in the next chunk of the body, each with the file's number from 0.

        Raises:
            Problem: bad-input, the form is malformed, or has other parts than files.
        """
        self._has_begun = self._has_begun or bool(chunk)
        self._found = []
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _unreadable(error) from error
        return iter(self._found)

    def names(self) -> list[str]:
        """Return the file names that the client gave, at the end of the body.

        Raises:
            Problem: bad-input, the form has no file, or no end.
        """
        if self._has_begun and not self._has_ended:
            raise _unreadable("it ends before its last boundary; send it again")
        if not self._names:
            raise Problem("bad-input", f"the form has no parts; expected files as parts named '{PART}'")
        return self._names

    def _begin_part(self) -> None:
        self._disposition = ""

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        self._check_header()

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check_header()

    def _check_header(self) -> None:
        """Raise Problem where a header takes more memory than any client needs."""
        if len(self._header) + len(self._value) > HEADER_BYTES:
            raise _unreadable(f"a part has a header of more than {HEADER_BYTES:,} bytes")

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value.decode("latin-1")  # as ASGI decodes headers
        self._header, self._value = b"", b""

    def _end_headers(self) -> None:
        part = _parameter(self._disposition, "name")
        if part != PART:
            raise Problem("bad-input", f"unknown part '{visible(part or '')}'; expected files as parts named '{PART}', "
                                       "and settings in the address: ?model=NAME")  # fmt: skip
        name = file_name(self._disposition)
        if name is None:
            raise Problem("bad-input", f"the part '{PART}' has no file name, so it is no file: curl -F {PART}=@NAME")
        if len(self._names) == self._most:
            files = "file" if self._most == 1 else "files"
            raise Problem("bad-input", f"the form has more than {self._most} {files}; send fewer at once")
        self._names.append(name)

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._found.append((len(self._names) - 1, data[start:end]))

    def _end(self) -> None:
        self._has_ended = True


def file_name(disposition: str | None) -> str | None:
    """Return the file name in a header Content-Disposition (RFC 6266); None where there is none."""
    return _parameter(disposition, "filename")


def _parameter(disposition: str | None, name: str) -> str | None:
    """Return a parameter of a header Content-Disposition, of which ASGI decodes the bytes as Latin-1."""
    header = Message()
    header["Content-Disposition"] = disposition or ""
    value = header.get_param(name, header="content-disposition")
    if isinstance(value, tuple):  # name*=UTF-8''percent-encoded
        return collapse_rfc2231_value(value)
    return value.encode("latin-1", "replace").decode(errors="replace") if isinstance(value, str) else None


def _unreadable(reason: object) -> Problem:
    return Problem("bad-input", f"the form cannot be read: {reason}")
