"""The log, as a process writes it: everything on one stream, one line each, no secret in it.

Logging is global to a process, so each test configures it in a process of its own.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import textwrap
from datetime import datetime, timedelta
from typing import Any

SECRET = "9876543:hush-hush"
PRELUDE = f"""
import logging, sys, warnings
import structlog
from nanoclaw import log
from nanoclaw.masking import Masker
SECRET = {SECRET!r}
early = structlog.get_logger()
"""


def output_of(script: str) -> str:
    code = PRELUDE + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def records_of(
    script: str, configure: str = "log.configure(masker=Masker([SECRET]))"
) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output_of(configure + "\n" + textwrap.dedent(script)).splitlines()]


def test_without_a_terminal_each_record_is_a_line_of_json_with_a_utc_date() -> None:
    (record,) = records_of('early.info("turn_done", chat="tg:1", text="ü\\nx", calls=[1, None, True])')
    assert {key: record[key] for key in ("event", "level", "chat", "text", "calls")} == {
        "event": "turn_done",
        "level": "info",
        "chat": "tg:1",
        "text": "ü\nx",
        "calls": [1, None, True],
    }
    assert datetime.fromisoformat(record["timestamp"]).utcoffset() == timedelta(0)


def test_on_a_terminal_a_record_is_a_line_of_text() -> None:
    ours, theirs = pty.openpty()
    script = PRELUDE + "log.configure(masker=Masker([SECRET])); early.info('turn_done', chat='tg:1')"
    subprocess.run([sys.executable, "-c", script], stdout=theirs, check=True, timeout=30)
    os.close(theirs)
    text = os.read(ours, 4096).decode()
    os.close(ours)
    assert "turn_done" in text
    assert not text.startswith("{")


def test_the_standard_library_comes_out_in_the_same_form_with_its_name() -> None:
    records = records_of(
        """
        logging.getLogger("some.library").warning("lost %s", SECRET, extra={"attempt": 3})
        warnings.warn("old")
        """
    )
    assert records[0]["event"] == "library_log"
    assert (records[0]["library"], records[0]["message"]) == ("some.library", "lost ***")
    assert (records[0]["level"], records[0]["attempt"]) == ("warning", 3)
    assert records[1]["library"] == "py.warnings"


def test_the_level_holds_for_both_and_noisy_libraries_are_heard_from_warning_on() -> None:
    records = records_of(
        """
        early.debug("no"); early.info("yes")
        logging.getLogger("other").debug("no"); logging.getLogger("other").info("yes")
        for name in ("httpx", "telegram.Bot", "apscheduler.executors", "aiohttp.access"):
            logging.getLogger(name).info("no")
        logging.getLogger("httpx").warning("yes")
        """
    )
    assert [record.get("message", record["event"]) for record in records] == ["yes", "yes", "yes"]


def test_secrets_are_masked_wherever_they_stand() -> None:
    script = """
        class Odd:
            def __str__(self): return f"odd {SECRET}"
        early.info(f"event {SECRET}", deep={"list": [{"tuple": (SECRET, SECRET.encode())}], SECRET: 1}, odd=Odd())
        try:
            try:
                raise ValueError(f"inner {SECRET}")
            except ValueError as error:
                raise RuntimeError("outer") from error
        except RuntimeError as error:
            early.exception("failed")
            early.error("failed", exc_info=error)
            logging.getLogger("x").exception("failed")
        log.configure(masker=Masker([SECRET]), output="text")
        structlog.get_logger().error("text", where={"url": f"https://h/bot{SECRET}/x"}, exc_info=RuntimeError(SECRET))
        """
    output = output_of("log.configure(masker=Masker([SECRET]))\n" + textwrap.dedent(script))
    assert "hush" not in output
    lines = output.splitlines()
    assert [("inner ***" in line, "RuntimeError: outer" in line) for line in lines[1:4]] == [(True, True)] * 3


def test_known_kinds_of_keys_are_masked_without_being_configured() -> None:
    (record,) = records_of('early.info("x", key="sk-ant-" + "a1" * 20)', "log.configure(masker=Masker())")
    assert record["key"] == "sk-ant-***"


def test_a_value_that_cannot_be_printed_does_not_lose_the_record() -> None:
    (record,) = records_of(
        """
        class Broken:
            def __str__(self): raise RuntimeError("no")
        loop = []; loop.append(loop)
        early.info("still_there", value=Broken(), loop=loop)
        """
    )
    assert record["event"] == "still_there"
    assert "Broken" in record["value"]


def test_a_closed_output_stops_nobody() -> None:
    script = """
        log.configure(masker=Masker())
        early.info("first")
        sys.stdout.close()
        early.info("lost")
        logging.getLogger("x").error("lost")
        sys.stdout = sys.__stdout__ = None
        """
    assert len(output_of(script).splitlines()) == 1


def test_another_stream_can_be_chosen() -> None:
    script = PRELUDE + "log.configure(masker=Masker(), stream=sys.stderr); early.warning('there')"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == ""
    assert "there" in done.stderr
