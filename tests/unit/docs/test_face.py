"""The page about faces is what its command makes of the contract, and every member is described."""

from tools.face_page import PAGE, page


def test_the_page_is_what_the_command_makes():
    assert PAGE.read_text() == page(), "change the texts in fpan/contract/face.py and run `python -m tools.face_page`"


def test_every_member_is_described():
    assert "|  |" not in page()
