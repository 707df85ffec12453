"""The service's log as it was before a test that runs `mien serve` in this process."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

LOGGERS = ("mien.web", "uvicorn.error", "python_multipart")  # those of `mien.web.serving`


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.handlers.copy(), logger.propagate, logger.level) for logger in loggers]
    yield
    for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
