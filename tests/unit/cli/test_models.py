"""`fpan models`: what it shows, what it changes, and what it says when it cannot."""

import json
import re
import shutil
from pathlib import Path

import pytest
from fpan.contract import Evaluation, FaceClass, GateResult, ModelCard, Taxonomy
from fpan.registry import FolderStore, Registry
from fpan.serve.config import Settings

from tests.support.networks import echo, publish
from tests.support.service import ROOT

SHIPPED = ROOT / "model_repository"


@pytest.fixture
def fpan(fpan_models):
    return fpan_models


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    root = tmp_path / "models"
    for _ in range(3):
        publish(root, "segm", echo(), None)
    monkeypatch.setenv("MODEL_REPOSITORY", str(root))
    return root


def test_the_default_repository_is_the_gateways(fpan, root, monkeypatch):
    monkeypatch.delenv("MODEL_REPOSITORY")
    monkeypatch.chdir(SHIPPED.parent)
    status, out, _ = fpan("list")
    assert status == 0
    assert Settings().model_repository == Path("model_repository")
    figures = r"0\.708 +0\.799 +CelebAMask-HQ, celeba19 subset, val, 83 pictures at 256 +21\.\d MB"
    assert re.search(rf"segm +2 .*{figures} +20\d\d-\d\d-\d\d \d\d:\d\d +non-commercial", out)
    assert re.search(r"detector +2 .*MIT", out)


def test_list_tells_aliases_and_data(fpan, root):
    assert fpan("promote", "segm", 2)[0] == 0
    assert fpan("promote", "segm", 3, "--to", "shadow")[0] == 0
    status, out, err = fpan("list", "segm")
    assert (status, err) == (0, "")
    assert re.search(r"segm +2 +champion", out)
    assert re.search(r"segm +3 +shadow", out)
    listed = json.loads(fpan("list", "--json")[1])
    assert [(v["version"], v["aliases"], v["fault"]) for v in listed] == [
        *((1, [], None), (2, ["champion"], None), (3, ["shadow"], None))
    ]


def test_list_says_what_each_figure_was_measured_on(fpan, root):
    registry = Registry(FolderStore(root))
    card, network = registry.store.card("segm", 1), root / "segm/1/model.onnx"
    for miou, data in ((0.5, "easy set, val"), (0.4, "hard set, val")):
        made = evaluated(card, miou, ("none", "skin"))
        evaluations = (made.evaluations[0].model_copy(update={"data": data}),)
        registry.publish(made.model_copy(update={"evaluations": evaluations}), {"model.onnx": network})
    out = fpan("list", "segm")[1]
    assert re.search(r"segm +4 +0\.500 +0\.500 +easy set, val, 9 pictures at 32 ", out)
    assert re.search(r"segm +5 +0\.400 +0\.500 +hard set, val, 9 pictures at 32 ", out)
    listed = json.loads(fpan("list", "segm", "--json")[1])
    assert [v["measured_on"] for v in listed[-3:]] == [
        *(None, "easy set, val, 9 pictures at 32", "hard set, val, 9 pictures at 32")
    ]


def test_list_tells_what_is_broken_and_goes_on(fpan, root):
    fpan("promote", "segm", 1)
    shutil.rmtree(root / "segm/1")
    (root / "segm/2/model.onnx").unlink()
    (root / "segm/.writing-4-abc").mkdir()
    status, out, err = fpan("list", "--repository", root)
    assert status == 1
    assert re.search(r"segm +2 .*broken", out)
    assert "version 2 lacks model.onnx: fetch the version again" in err
    assert "champion of segm is version 1, which is gone" in err
    assert ".writing-4-abc, left by a write that never ended" in err


def test_show_is_the_card_for_people_and_for_programs(fpan):
    status, out, _ = fpan("show", "segm", "--repository", SHIPPED)
    assert status == 0
    for words in ("LiteFPN", "256 x 256", "20 classes", "763 pictures", "0.708 (0.677 to 0.732)", "IoU hair"):
        assert words in out
    card = json.loads(fpan("show", "segm:2", "--json", "--repository", SHIPPED)[1])
    assert (card["version"], card["aliases"], card["history"]) == (2, [], [])
    assert ModelCard.model_validate(card).taxonomy is not None


@pytest.mark.parametrize("command", [("show", "segm:2"), ("diff", "segm:1", "segm:2"), ("promote", "segm", 2)])
def test_a_changed_version_is_refused(fpan, root, command):
    with (root / "segm/2/model.onnx").open("ab") as file:
        file.write(b"x")
    status, _, err = fpan(*command)
    assert status == 1
    assert "model.onnx was changed: its sha256 is not the card's; fetch the version again" in err


def test_show_tells_who_was_what(fpan, root):
    for version in (1, 2):
        fpan("promote", "segm", version)
    _, out, _ = fpan("show", "segm@champion")
    assert "segm version 2 (champion)" in out
    assert "champion is version 2, was version 1  `fpan models promote segm 2 --to champion`" in out


def test_gates_are_shown_and_compared(fpan, root):
    registry = Registry(FolderStore(root))
    card, network = registry.store.card("segm", 1), root / "segm/1/model.onnx"
    for size in (20.5, 30.25):
        gates = (
            GateResult.of("size", size, "at most", 100, "evidence of size", "MB"),
            GateResult.unmeasured("mIoU, turned faces", "nothing was given"),
        )
        registry.publish(card.model_copy(update={"gates": gates}), {"model.onnx": network})
    _, out, _ = fpan("show", "segm:4")
    assert re.search(r"size +passed +20\.5 MB \(at most 100 MB\) +evidence of size", out)
    assert re.search(r"mIoU, turned faces +not measured +nothing was given", out)
    _, out, _ = fpan("diff", "segm:4", "segm:5")
    assert re.search(r"gates +size +passed 20\.5 MB \(at most 100 MB\) +passed 30\.25 MB", out)
    assert "turned faces" not in out


def evaluated(card: ModelCard, miou: float, classes: tuple[str, ...]) -> ModelCard:
    taxonomy = Taxonomy(
        name="small",
        classes=tuple(FaceClass(id=i, name=n, title=n, colour=(i, i, i), partner=i) for i, n in enumerate(classes)),
    )
    evaluation = Evaluation(
        data="faces", pictures=9, size=32, miou=miou, miou_interval=(0, 1), mean_f1=0.5, mean_f1_interval=(0, 1),
        iou={"skin": miou}, f1={"skin": 0.5},
    )  # fmt: skip
    return card.model_copy(update={"taxonomy": taxonomy, "evaluations": (evaluation,)})


def test_diff_tells_metrics_taxonomy_files_and_configuration(fpan, root, tmp_path):
    registry = Registry(FolderStore(root))
    card = registry.store.card("segm", 1)
    network, config = root / "segm/1/model.onnx", tmp_path / "config.json"
    for miou, classes, width in ((0.5, ("none", "skin"), 32), (0.625, ("none", "skin", "hat"), 64)):
        config.write_text(json.dumps({"seed": 0, "segm": {"width": width}}))
        registry.publish(evaluated(card, miou, classes), {"model.onnx": network, "config.json": config})
    status, out, _ = fpan("diff", "segm:4", "segm:5")
    assert status == 0
    assert re.search(r"metrics +faces at 32: mIoU +0\.5000 +0\.6250 \(\+0\.1250\)", out)
    assert re.search(r"taxonomy +class hat +none +\{'id': 2", out)
    assert re.search(r"files +config\.json +[0-9a-f]{12} +[0-9a-f]{12}", out)
    assert re.search(r"config +segm\.width +32 +64", out)
    assert "model.onnx" not in out
    found = json.loads(fpan("diff", "segm:4", "segm:5", "--json")[1])
    assert {"section": "config", "name": "segm.width", "before": 32, "after": 64} in found
    assert fpan("diff", "segm:1", "segm:2")[1] == "no difference\n"


def test_promote_rollback_and_rollback_again(fpan, root):
    for version in (1, 2, 3):
        status, out, err = fpan("promote", "segm", version)
        assert status == 0
    assert out == "segm: champion is version 3, was version 2\n"
    assert "gateways follow by themselves" in err
    assert fpan("rollback", "segm")[1] == "segm: champion is version 2, was version 3\n"
    assert fpan("rollback", "segm")[1] == "segm: champion is version 1, was version 2\n"
    status, _, err = fpan("rollback", "segm")
    assert status == 1
    assert "fpan models promote segm VERSION --to champion" in err


def test_a_challenger_gets_a_share_of_the_callers(fpan, root):
    fpan("promote", "segm", 1)
    for words, listed in (("5%", "5 %"), ("0.25", "25 %"), ("0", None)):
        status, out, _ = fpan("promote", "segm", 2, "--to", "challenger", "--share", words)
        assert status == 0
        assert (f"answers {listed} of the callers" in out) == (listed is not None)
        assert bool(re.search(rf"segm +2 +challenger \({listed}\)", fpan("list")[1])) == (listed is not None)
    assert (
        "answers 5 % of the callers  `fpan models promote segm 2 --to challenger --share 5%`" in fpan("show", "segm")[1]
    )
    for flags in (("--to", "challenger", "--share", "5"), ("--to", "challenger", "--share", "x%"), ("--share", "5%")):
        status, _, err = fpan("promote", "segm", 3, *flags)
        assert status == 2
        assert "share" in err


def test_a_rollback_leaves_a_champion_that_is_gone(fpan, root):
    for version in (1, 2):
        fpan("promote", "segm", version)
    shutil.rmtree(root / "segm/2")
    assert fpan("rollback", "segm")[1] == "segm: champion is version 1, was version 2\n"


def test_gc_tells_first_and_then_does_it(fpan, root):
    fpan("promote", "segm", 1)
    (root / "segm/.writing-9-x").mkdir()
    status, out, _ = fpan("gc", "--keep", 1, "--dry-run")
    assert status == 0
    assert out.splitlines() == [
        "segm: would remove version 2",
        "segm: would remove .writing-9-x, which a write that never ended has left",
        "segm: version 1 stays: champion",
        "segm: version 3 stays: among the newest 1",
    ]
    assert fpan("gc", "segm", "--keep", 1)[1].splitlines()[0] == "segm: removed version 2"
    assert sorted(p.name for p in (root / "segm").iterdir() if p.is_dir()) == ["1", "3"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("list", "lips"), 1, "there is no model 'lips'"),
        (("show", "segm:9"), 1, "segm has no version 9"),
        (("show", "segm@shadow"), 1, "no version of segm is shadow"),
        (("show", "segm@best"), 2, "NAME@ALIAS"),
        (("promote", "segm", 9), 1, "it has 1, 2, 3"),
        (("promote", "lips", 1), 1, "it has segm"),
        (("promote", "segm", 1, "--to", "best"), 2, "challenger"),
        (("rollback", "lips"), 1, "it has segm"),
        (("gc", "lips"), 1, "it has segm"),
        (("gc", "--keep", 0), 2, "--keep"),
        (("list", "--repository", "/nowhere"), 1, "name one with MODEL_REPOSITORY"),
    ],
)
def test_what_cannot_be_done_is_told_with_what_can(fpan, root, words, status, said):
    ended, out, err = fpan(*words)
    assert ended == status
    assert said in " ".join(re.sub("[│╭╮╰╯─]", " ", err).split())
    assert out == ""
    assert sorted(p.name for p in root.iterdir()) == ["segm"]
