from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bundlebee.decisions.records import EACH, Decision
from bundlebee.reports import Told, together


def told(
    function: str = "m:f",
    where: str = "b",
    seconds: float | None = 1e-4,
    changed: bool = False,
    count: int = 1,
) -> Told:
    return Decision(
        function, "m", where, "forced", {}, seconds, 10, 20, "2025-03-01T12:00:00", None, count
    ), changed


def test_short_calls_that_were_decided_alike_share_a_record() -> None:
    ((record, changed),) = together([told(seconds=0.001), told(seconds=0.002), told(seconds=0.003, count=4)])
    assert not changed
    assert record.count == 6
    assert record.seconds == 0.006
    assert (record.bytes_out, record.bytes_back) == (30, 60)


def test_what_differs_is_told_by_itself() -> None:
    records = [
        told(),
        told(where="c"),  # another place
        told(function="m:g"),  # another function
        told(seconds=2 * EACH),  # long
        told(seconds=None),  # nobody knows
        told(changed=True),  # news
    ]
    assert together(records) == records


def test_a_loop_that_goes_here_and_there_in_turn_gives_a_record_for_each_place() -> None:
    found = together([told(where=where) for where in "abababab"])
    assert [(record.where, record.count) for record, _changed in found] == [("a", 4), ("b", 4)]


ANY = st.lists(
    st.builds(
        told,
        st.sampled_from(["m:f", "m:g"]),
        st.sampled_from(["a", "b", "here"]),
        st.none() | st.floats(0.0, 0.1),
        st.booleans(),
        st.integers(1, 5),
    )
)


@given(ANY)
def test_no_call_and_no_byte_is_lost(records: list[Told]) -> None:
    found = together(records)

    def calls(among: list[Told]) -> Counter[tuple[str, str]]:
        number: Counter[tuple[str, str]] = Counter()
        for record, _changed in among:
            number[record.function, record.where] += record.count
        return number

    assert calls(found) == calls(records)
    assert sum(record.bytes_back for record, _ in found) == sum(record.bytes_back for record, _ in records)
    assert [one for one in found if one[1]] == [one for one in records if one[1]]
    assert len(found) <= len(records)
