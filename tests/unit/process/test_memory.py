"""The collector passes over what is loaded, and goes on collecting what comes later."""

import gc
import weakref

from fpan.serve.process import keep_what_is_loaded


class Node:
    def __init__(self) -> None:
        self.me = self


def test_what_is_loaded_is_looked_through_no_more_and_the_rest_still_is() -> None:
    loaded = Node()
    try:
        keep_what_is_loaded()
        assert not any(each is loaded for each in gc.get_objects())
        later = weakref.ref(Node())
        gc.collect()
        assert later() is None
    finally:
        gc.unfreeze()
    assert any(each is loaded for each in gc.get_objects())
