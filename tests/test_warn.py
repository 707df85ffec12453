"""Warnings of this thread are collected; elsewhere they are Python's."""

import threading
import warnings

import pytest

from mien.warn import collect_warnings, warn


def test_outside_of_a_block_a_warning_is_pythons_and_names_the_line_that_warns() -> None:
    with pytest.warns(UserWarning, match="dark") as caught:
        warn("dark", code="picture-cut")
    assert caught[0].filename == __file__


def test_in_a_block_each_message_is_collected_once_whatever_the_filters() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with collect_warnings() as collected:
            for message in ("dark", "small", "dark"):
                warn(message, code="picture-cut")
            with collect_warnings() as inner:
                warn("inner", code="video-cut")
            warn("last", code="picture-cut")
    assert collected == [("picture-cut", message) for message in ("dark", "small", "last")]
    assert inner == [("video-cut", "inner")]


def test_threads_collect_their_own() -> None:
    together = threading.Barrier(4)
    found: dict[int, list[str]] = {}

    def work(number: int) -> None:
        with collect_warnings() as collected:
            together.wait(20)
            for i in range(100):
                warn(f"{number}: {i}", code="picture-cut")
            together.wait(20)
        found[number] = [message for _, message in collected]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [f"{number}: {i}" for i in range(100)] for number in range(4)}


def test_an_error_ends_the_block() -> None:
    with pytest.raises(ValueError, match="x"), collect_warnings():
        raise ValueError("x")
    with pytest.warns(UserWarning, match="again"):
        warn("again", code="picture-cut")
