"""When a call is tried again, with a clock that stands still until it is moved."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from fpan.client import Retry, TryAgain
from fpan.client._patience import Patience, retry_after_s


def refused(retry_after_s=None):
    return TryAgain(503, "unavailable", "busy", None, retry_after_s)


def test_server_is_given_the_time_that_it_asks_for_and_a_little_more():
    wait = Patience(Retry()).wait_s(refused(4))
    assert 4 <= wait <= 5


def test_waits_grow_where_the_server_names_none():
    patience = Patience(Retry(attempts=5))
    waits = [patience.wait_s(refused()) for _ in range(4)]
    for wait, least in zip(waits, (0.5, 1, 2, 4), strict=True):
        assert least <= wait <= 1.25 * least


def test_last_attempt_is_final():
    patience = Patience(Retry(attempts=2))
    assert patience.wait_s(refused()) is not None
    assert patience.wait_s(refused()) is None
    assert Patience(Retry(attempts=1)).wait_s(refused()) is None


def test_longer_waits_than_the_caller_allows_are_not_waited_for():
    retry = Retry(longest_wait_s=10)
    assert Patience(retry).wait_s(refused(10)) is not None
    assert Patience(retry).wait_s(refused(13)) is None


def test_waits_end_before_the_deadline():
    now = 100.0
    patience = Patience(Retry(attempts=9), deadline_ms=3000, clock=lambda: now)
    assert patience.left_ms() == 3000
    assert patience.wait_s(refused(2)) is not None
    now += 2
    assert patience.left_ms() == 1000
    assert patience.wait_s(refused(2)) is None
    now += 2
    assert patience.left_ms() == 1


def test_time_without_a_deadline_is_not_told():
    assert Patience(Retry()).left_ms() is None


def answered(retry_after):
    return httpx.Response(503, headers={} if retry_after is None else {"retry-after": retry_after})


@pytest.mark.parametrize(("value", "seconds"), [("7", 7), ("0.5", 0.5), ("-3", 0), ("soon", None), (None, None)])
def test_retry_after_in_seconds(value, seconds):
    assert retry_after_s(answered(value)) == seconds


def test_retry_after_as_a_date():
    later = datetime.now(UTC) + timedelta(seconds=60)
    assert retry_after_s(answered(format_datetime(later, usegmt=True))) == pytest.approx(60, abs=2)
    assert retry_after_s(answered("Wed, 21 Oct 2015 07:28:00 GMT")) == 0
