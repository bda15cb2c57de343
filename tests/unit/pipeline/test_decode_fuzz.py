"""Whatever the bytes are, the answer is a picture or one of our errors. Damaged files: tests/fuzz."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.corpus import MAGICS, seeds, verdict
from tests.support.helpers_images import file_of, scene

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(st.binary(max_size=400))
@quick
def test_random_bytes(data: bytes) -> None:
    verdict(data)


@given(st.sampled_from(MAGICS), st.binary(max_size=400))
@quick
def test_random_bytes_after_the_magic_of_a_format(magic: bytes, rest: bytes) -> None:
    verdict(magic + rest)


@pytest.mark.parametrize("orientation", ["exif", "raw"])
def test_every_seed_is_a_picture_in_the_first_place(orientation: str) -> None:
    for data in seeds():
        assert verdict(data, orientation) == 200


def test_a_decoder_that_fails_in_an_unheard_of_way_is_told_as_a_damaged_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for failure in (MemoryError(), SystemError("odd"), AssertionError(), ZeroDivisionError("x")):

        def fail(self: object, failure: Exception = failure) -> None:
            raise failure

        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_end", fail)
        assert 400 <= verdict(file_of("png", scene())) < 500
