"""The list of pictures of a bulk run, its shards, and the places that it goes between."""

import subprocess
import sys

import pytest
from fpan import cli
from fpan.bulk import tars
from fpan.bulk.errors import OtherOrder, PlaceError
from fpan.bulk.place import Found, Place
from fpan.bulk.plan import PLAN_FILE, Plan, cut, listing
from fpan.bulk.spec import LabelSpec, Model
from fpan.contract import FaceClass, Taxonomy

CLASSES = tuple(
    FaceClass(id=i, name=n, title=n, colour=(0, 0, i), partner=i) for i, n in enumerate(("background", "skin", "hair"))
)
TAXONOMY = Taxonomy(name="three", classes=CLASSES, groups={"top": ("hair",)})
MODEL = Model(name="segm", version=3, sha256="ab" * 32)


def order(**changed) -> LabelSpec:
    members = {"source": "in", "shard_size": 3, "shard_mb": 1, "form": "parquet", "model": MODEL, "taxonomy": TAXONOMY}
    return LabelSpec(**members | changed)


def found(*sizes: int) -> list[Found]:
    return [Found(f"{number:03}.jpg", size, 7) for number, size in enumerate(sizes)]


def test_shards_have_so_many_pictures_and_where_they_hold_them_so_many_megabytes():
    assert cut(order(), found(*[10] * 7)) == [0, 0, 0, 1, 1, 1, 2]
    big = found(400_000, 700_000, 200_000, 5_000_000, 1, 1, 1, 1)
    assert cut(order(), big) == [0, 0, 0, 1, 1, 1, 2, 2]
    assert cut(order(form="webdataset", with_pictures=True), big) == [0, 1, 1, 2, 3, 3, 3, 4]


def test_a_plan_survives_being_written_and_gives_each_shard(tmp_path):
    place = Place(str(tmp_path))
    plan = Plan.make(order(limit=7), found(*range(9)))
    place.write(PLAN_FILE, plan.data())
    again = Plan.read(place)
    assert again.order == plan.order
    assert (again.pictures, again.size, again.shards) == (7, 21, 3)
    [last] = again.each({2})
    assert (last.name, [picture.path for picture in last.pictures]) == ("shard-000002", ["006.jpg"])
    paths = [picture.path for shard in again.each({0, 1, 2}) for picture in shard.pictures]
    assert paths == [f"{n:03}.jpg" for n in range(7)]


def test_a_plan_of_another_kind_is_told_from_a_place_that_is_empty(tmp_path):
    place = Place(str(tmp_path))
    assert Plan.read(place) is None
    place.write(PLAN_FILE, b"text")
    with pytest.raises(OtherOrder, match="no plan that this version reads"):
        Plan.read(place)


def test_what_a_folder_holds_is_listed_in_order(tmp_path):
    for name in ("b/2.JPG", "b/1.webp", "a 1.png", ".x/1.jpg", "b/.1.jpg", "b/1.txt", "ü%.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"123")
    place = Place(str(tmp_path))
    assert [each.path for each in listing(place)] == ["a 1.png", "b/1.webp", "b/2.JPG", "ü%.jpg"]
    assert [each.path for each in listing(place, ("b/*", "a*"))] == ["a 1.png", "b/1.webp", "b/2.JPG"]
    assert {each.size for each in listing(place)} == {3}
    assert place.read("ü%.jpg") == b"123"
    with pytest.raises(PlaceError, match="none"):
        listing(Place(str(tmp_path / "none")))


def test_changes_of_the_source_are_counted():
    plan = Plan.make(order(), found(1, 2, 3))
    assert not plan.changed(found(1, 2, 3))
    assert str(plan.changed([*found(1, 9), Found("x.jpg", 1, 7)])) == "1 new, 1 gone, 1 altered"
    assert not Plan.make(order(limit=2), found(1, 2, 3)).changed(found(1, 2, 3))


def test_orders_say_in_what_they_differ():
    other = order(model=MODEL.model_copy(update={"version": 4, "sha256": "cd" * 32}), faces="full", classes=("hair",))
    assert order().unlike(other) == [
        "faces is auto, there full",
        "classes is none, there hair",
        "model is segm:3 (sha256 abababab), there segm:4 (sha256 cdcdcdcd)",
    ]
    assert order().unlike(order()) == []
    assert order(classes=("skin",), groups=("top",)).kept == {"skin", "hair"}


def test_addresses_are_shown_without_what_is_secret():
    place = Place("s3://key:secret@bucket/faces/?region=eu-west-1&endpoint_override=localhost:1&scheme=http")
    assert place.address == "s3://bucket/faces"
    for address in ("ftp://host/x", "nothing://x"):
        with pytest.raises(PlaceError, match="cannot be opened"):
            Place(address)


def test_a_folder_has_one_run_at_a_time(tmp_path):
    first, second = Place(str(tmp_path / "out")), Place(str(tmp_path / "out"))
    with first.alone(), pytest.raises(PlaceError, match="another run"), second.alone():
        pass
    with second.alone():
        assert second.is_empty()


def test_keys_have_no_dot_and_are_none_of_webdatasets_own():
    assert tars.key_of("a.b/c d.e") == "a%2Eb/c d%2Ee"
    assert tars.key_of("__x__/y") == "%5F_x__/y"


@pytest.mark.parametrize(
    ("missing", "words", "says"),
    [("pyarrow", (), "./service[batch]"), ("ray", ("--ray", "local"), "./service[ray]")],
)
def test_what_is_not_installed_is_told_with_the_way_out(tmp_path, missing, words, says):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(b"1")
    command = ["fpan", "batch", f"{tmp_path}/in", f"{tmp_path}/out", "--url", "http://127.0.0.1:9", *words]
    code = f"import sys; sys.modules[{missing!r}] = None; sys.argv = {command!r}; from fpan import cli; cli.main()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_help_teaches_with_examples(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fpan", "batch", "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "fpan batch photos/ labels/" in out
    assert "--with-pictures" in out
