from __future__ import annotations

import json
import logging
import os
import threading
from datetime import datetime
from pathlib import Path

import pytest

from bundlebee.decisions.log import SUMMARY_EVERY, DecisionLog
from bundlebee.decisions.model import Verdict
from bundlebee.decisions.records import Decision, duration, from_json, iso_time, size, text
from bundlebee.errors import ConfigurationError
from bundlebee.words import HERE, Reason


def record(
    function: str = "m:f", where: str = "b", why: Reason = Reason.CHEAPER_THERE, seconds: float = 0.2
) -> Decision:
    return Decision.of(
        Verdict(where, why, {HERE: 1.2, "b": 0.25}),
        function=function,
        bundle="m",
        seconds=seconds,
        bytes_out=312,
        bytes_back=4100,
    )


class TestDecision:
    def test_json_names(self) -> None:
        found = json.loads(record().to_json())
        assert list(found) == [
            *(
                "function",
                "bundle",
                "where",
                "why",
                "estimate",
                "seconds",
                "bytes_out",
                "bytes_back",
                "time",
                "detail",
                "count",
            )
        ]
        assert found["why"] == "cheaper-there"
        assert found["estimate"] == {"here": 1.2, "b": 0.25}
        assert from_json(record().to_json()).function == "m:f"

    def test_time_has_a_zone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        parsed = datetime.fromisoformat(iso_time(1_700_000_000.25))
        assert parsed.timestamp() == 1_700_000_000.25
        assert parsed.tzinfo is not None

    def test_text(self) -> None:
        line = text(record())
        assert line.startswith("m:f → b  cheaper-there")
        assert "expected here 1.2 s, b 250 ms" in line
        assert "took 200 ms" in line
        assert "312 B out, 4.1 kB back" in line

    def test_text_of_one_that_stayed(self) -> None:
        stayed = Decision.of(Verdict(HERE, Reason.EFFECTS, detail="opens a file"), function="m:f", bundle="m")
        assert text(stayed) == "m:f → here  effects (opens a file)"

    def test_not_a_record(self) -> None:
        with pytest.raises(ValueError):
            from_json("{}")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1.7e-5, "17 µs"),
        (0.0023, "2.3 ms"),
        (0.0999, "100 ms"),
        (0.25, "250 ms"),
        (1.25, "1.25 s"),
        (200, "3 min 20 s"),
    ],
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (999, "999 B"), (4100, "4.1 kB"), (2_000_000, "2.0 MB"), (5 * 10**12, "5000.0 GB")],
)
def test_size(count: int, expected: str) -> None:
    assert size(count) == expected


class TestLog:
    def test_only_a_change_of_verdict_is_news(self) -> None:
        log = DecisionLog()
        heard = []
        log.listen(lambda decision, changed: heard.append(changed))
        log.add(record())
        log.add(record())
        log.add(record(where="c"))  # another peer, same verdict
        log.add(record(where=HERE, why=Reason.PEER_LOST))
        log.add(record(function="m:g"))
        assert heard == [True, False, False, True, True]

    def test_memory_is_bounded(self) -> None:
        log = DecisionLog(capacity=10)
        for i in range(100):
            log.add(record(seconds=float(i)))
        assert [decision.seconds for decision in log.recent()] == [float(i) for i in range(90, 100)]
        assert log.recent("m:other") == []

    def test_a_listener_that_raises_is_removed_and_named(self, caplog: pytest.LogCaptureFixture) -> None:
        log = DecisionLog()

        def broken(decision: Decision, changed: bool) -> None:
            raise RuntimeError("no")

        log.listen(broken)
        log.add(record())
        log.add(record())
        assert sum("broken" in message for message in caplog.messages) == 1

    def test_file_has_one_object_a_line(self, tmp_path: Path) -> None:
        path = tmp_path / "decisions.jsonl"
        log = DecisionLog(path)
        threads = [
            threading.Thread(target=lambda: [log.add(record()) for _ in range(50)], daemon=True)
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = path.read_text().splitlines()  # nothing is buffered: it is there before the file is closed
        assert len(lines) == 200
        assert all(json.loads(line)["function"] == "m:f" for line in lines)
        log.close()
        log.add(record())
        assert len(path.read_text().splitlines()) == 200

    def test_a_file_that_cannot_be_opened(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError) as caught:
            DecisionLog(tmp_path / "nowhere" / "file.jsonl")
        assert "nowhere" in str(caught.value)

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full device")
    def test_a_full_disk_is_told_once_and_breaks_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        log = DecisionLog("/dev/full")
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                log.add(record())
        assert len(log.recent()) == 3
        assert sum("/dev/full" in message for message in caplog.messages) == 1
        log.close()

    def test_summary(self) -> None:
        log = DecisionLog()
        for _ in range(3):
            log.add(record())
        log.add(record(where="c"))
        log.count("m:tiny", HERE, Reason.TOO_SHORT, 5000)
        lines = log.summary()
        assert lines[0] == "m:tiny: 5000 calls: 5000 here (too-short)"
        assert lines[1] == "m:f: 4 calls in 800 ms: 3 b (cheaper-there), 1 c (cheaper-there)"
        assert log.summary() == []
        assert log.tallies()["m:f"] == {("b", "cheaper-there"): 3, ("c", "cheaper-there"): 1}

    def test_summaries_come_now_and_then(self) -> None:
        log = DecisionLog()
        assert log.summary(now=100.0) == []
        log.add(record())
        assert log.summary(now=100.0 + SUMMARY_EVERY / 2) == []
        assert len(log.summary(now=100.0 + SUMMARY_EVERY)) == 1
        assert log.summary(now=100.0 + 2 * SUMMARY_EVERY) == []


def test_records_that_are_made_later_are_complete_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    verdict = Verdict("b", Reason.FORCED, {"here": 0.5})
    for file in (None, path):
        log = DecisionLog(file)
        heard: list[tuple[float | None, bool]] = []
        log.listen(lambda record, changed, heard=heard: heard.append((record.seconds, changed)))  # type: ignore[misc]
        for number in range(600):
            log.add_later(verdict, "m:f", "m", float(number), 1, 2)
        assert [record.seconds for record in log.recent("m:f")] == [float(number) for number in range(600)]
        log.add_later(verdict, "m:f", "m", 600.0, 1, 2)
        log.add_now(verdict, "m:f", "m", 601.0, 1, 2)
        assert heard == [(float(number), number == 0) for number in range(602)]
        assert log.tallies() == {"m:f": {("b", "forced"): 602}}
        log.close()
    assert len(path.read_text().splitlines()) == 602
