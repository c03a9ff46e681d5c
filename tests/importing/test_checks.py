"""The doctor: every fault is found with its severity and images, clean data has none, and nothing makes it raise."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from voc_seg.importing.alignment import AS_IS, Alignment
from voc_seg.importing.checks import check_data
from voc_seg.importing.class_plan import ClassPlan
from voc_seg.importing.doctor.files import exif_setting
from voc_seg.importing.findings import Finding
from voc_seg.importing.inspect import PairFacts, inspect_pairs
from voc_seg.importing.layout import Found, LabelledImage
from voc_seg.importing.traits import Traits

PLAN = ClassPlan(
    ("background", "cat", "dog"),
    (None, None, None),
    {0: "background", 1: "cat", 2: "dog", 255: "void"},
)
NOTHING = Found(())
SIZE = (300, 400)
PIXELS = SIZE[0] * SIZE[1]


def pair(name: str, **fields: Any) -> PairFacts:
    """A pair without fault; all have different pixels."""
    number = int(name[1:])
    default = {
        "size": SIZE, "mask_size": SIZE, "mask_mode": "P", "values": {0: 80_000, 1: 20_000, 2: 15_000, 255: 5_000},
        "image_digest": f"i{number}", "mask_digest": f"m{number}", "traits": Traits("RGB"),
    }  # fmt: skip
    return PairFacts(name, LabelledImage(Path(f"{name}.jpg"), Path(f"{name}.png")), **{**default, **fields})


def clean(count: int = 10) -> list[PairFacts]:
    return [pair(f"p{number}") for number in range(count)]


def splits_of(facts: list[PairFacts]) -> dict[str, str]:
    return {one.image_id: "val" if index % 3 == 2 else "train" for index, one in enumerate(facts)}


def check(
    facts: list[PairFacts], plan: ClassPlan = PLAN, splits: Mapping[str, str] | None = None, found: Found = NOTHING
) -> dict[str, Finding]:
    findings = check_data(facts, plan, splits_of(facts) if splits is None else splits, found)
    return {one.kind: one for one in findings}


def changed(*numbers: int, **fields: Any) -> list[PairFacts]:
    """Ten pairs, with these fields changed."""
    return [replace(one, **fields) if index in numbers else one for index, one in enumerate(clean())]


def turned(orientation: int, size: tuple[int, int], mask_size: tuple[int, int]) -> dict[str, Any]:
    return {"orientation": orientation, "size": size, "mask_size": mask_size}


def placed(as_is: float, mirrored: float, shifted: float = 0.0) -> Traits:
    shifts = np.full((21, 21), 0.5, np.float32)
    shifts[10, 10] = as_is
    shifts[4, 10] = shifted or 0.5
    return Traits("RGB", alignment=Alignment({AS_IS: as_is, "mirrored left to right": mirrored}, shifts, 2))


def soft(values: int) -> Traits:
    return Traits("RGB", border_values=dict.fromkeys(range(20, 20 + values), 20))


HASH = int("10" * 128, 2)

CASES: dict[str, tuple[list[PairFacts], str, set[str]]] = {
    "git-lfs": (
        changed(1, 4, problem="Git LFS pointer instead of mask: m/p1.png; fetch the files with: git lfs pull"),
        "error", {"p1", "p4"},
    ),
    "unreadable": (changed(3, problem="truncated image: i/p3.jpg (cut)"), "error", {"p3"}),
    "unknown-values": (changed(2, problem="unknown labels: the mask holds 9, which ..."), "error", {"p2"}),
    "wrong-size": (changed(3, mask_size=(30, 40)), "error", {"p3"}),
    "turned": (changed(3, mask_size=SIZE[::-1]), "error", {"p3"}),
    "exif-unclear": (changed(3, **turned(3, SIZE, SIZE)), "error", {"p3"}),
    "exif": (changed(3, **turned(6, SIZE, SIZE[::-1])), "note", {"p3"}),
    "only-void": (changed(3, values={255: PIXELS}), "error", {"p3"}),
    "no-objects": (changed(3, values={0: 100_000, 255: 20_000}), "note", {"p3"}),
    "class-without-pixels": (changed(*range(10), values={0: 90_000, 1: 30_000}), "warning", set()),
    "nothing-to-learn": (changed(*range(10), values={0: 90_000, 255: 30_000}), "error", set()),
    "class-in-one-image": (changed(*range(1, 10), values={0: 90_000, 1: 30_000}), "warning", {"p0"}),
    "class-not-in-train": (
        changed(*(number for number in range(10) if number not in (2, 5)), values={0: 90_000, 1: 30_000}),
        "warning", {"p2", "p5"},
    ),
    "class-only-in-train": (
        changed(*(number for number in range(10) if number not in (0, 1)), values={0: 90_000, 1: 30_000}),
        "warning", {"p0", "p1"},
    ),
    "identical-across-splits": (changed(1, 2, image_digest="x", mask_digest="x"), "warning", {"p1", "p2"}),
    "identical": (changed(0, 1, image_digest="x", mask_digest="x"), "note", {"p0", "p1"}),
    "different-masks": (changed(0, 1, image_digest="x"), "warning", {"p0", "p1"}),
    "near-duplicates": (
        [replace(one, image_hash=HASH ^ (index == 2)) if index in (1, 2) else one for index, one in enumerate(clean())],
        "warning", {"p1", "p2"},
    ),
    "near-duplicates-within": (changed(0, 1, image_hash=HASH), "note", {"p0", "p1"}),
    "one-mask-for-all": (changed(*range(10), mask_digest="x"), "error", {f"p{number}" for number in range(10)}),
    "shared-mask": (changed(1, 2, 3, mask_digest="x"), "warning", {"p1", "p2", "p3"}),
    "misplaced-masks": (changed(*range(10), traits=placed(0.55, 0.75)), "error", set()),
    "misplaced-mask": (changed(*range(3), traits=placed(0.55, 0.75)), "warning", {"p0", "p1", "p2"}),
    "antialiased": (
        changed(0, 1, values={0: 119_900, **dict.fromkeys(range(20, 28), 20)}, traits=soft(8)), "error", {"p0", "p1"}
    ),
    "stray-pixels": (changed(3, values={0: 119_996, 1: 4}), "note", {"p3"}),
    "much-void": (changed(*range(10), values={0: 50_000, 1: 9_000, 2: 1_000, 255: 60_000}), "warning", set()),
    "nearly-void": (changed(3, values={0: 1_000, 1: 4_000, 255: 115_000}), "note", {"p3"}),
    "imbalance": (changed(*range(10), values={0: 119_000, 1: 600, 2: 400}), "note", set()),
    "rare-classes": (changed(*range(10), values={0: 60_000, 1: 59_950, 2: 50}), "note", set()),
    "tiny-objects": (
        changed(*range(10), values={0: 60_000, 1: 59_950, 2: 50}), "note", {f"p{number}" for number in range(10)}
    ),
    "grey-images": (changed(3, traits=Traits("L", grey=True)), "note", {"p3"}),
    "channels": (changed(3, traits=Traits("CMYK")), "note", {"p3"}),
    "small-images": (changed(3, size=(40, 50), mask_size=(40, 50)), "warning", {"p3"}),
    "sizes-vary": (changed(3, 4, size=(3000, 4000), mask_size=(3000, 4000)), "note", {"p3", "p4"}),
    "no-val": ([replace(one, problem="damaged mask: x") if index % 3 == 2 else one for index, one in
                enumerate(clean())], "error", set()),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_every_fault_is_found(kind: str) -> None:
    facts, severity, images = CASES[kind]
    found = check(facts)
    assert kind in found, list(found)
    assert found[kind].severity == severity
    if kind != "sizes-vary":
        assert set(found[kind].images) == images
    else:
        assert images <= set(found[kind].images)
    assert found[kind].message and "check-failed" not in found


def test_clean_data_has_no_findings() -> None:
    assert check(clean()) == {}


def test_errors_come_first() -> None:
    facts = changed(3, mask_size=(30, 40), traits=Traits("CMYK"))
    facts[5] = replace(facts[5], size=(40, 50), mask_size=(40, 50))
    severities = [one.severity for one in check_data(facts, PLAN, splits_of(facts), NOTHING)]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert set(severities) == {"error", "warning", "note"}


def test_a_few_misplaced_masks_are_a_note_and_shifts_of_all_a_warning() -> None:
    found = check(changed(3, traits=placed(0.55, 0.75)))
    assert found["misplaced-mask"].severity == "note"
    found = check(changed(*range(10), traits=placed(0.55, 0.5, shifted=0.8)))
    assert found["misplaced-masks"].severity == "warning"
    assert "shifted by about 24 pixels down" in found["misplaced-masks"].message  # fits 12 up, at half the size


@pytest.mark.parametrize("values, severity", [(2, None), (3, "warning"), (8, "error")])
def test_a_few_values_along_borders_may_be_thin_lines(values: int, severity: str | None) -> None:
    held = {0: 119_000, **dict.fromkeys(range(20, 20 + values), 20)}
    found = check(changed(0, values=held, traits=soft(values))).get("antialiased")
    assert (found and found.severity) == severity


def test_unlabelled_images_notes_and_names() -> None:
    facts = clean()
    facts[0] = replace(facts[0], image_id="con")
    found = check(facts, found=Found((), unlabelled=(Path("x/a.jpg"),), notes=("2 masks have no image.",)))
    assert (found["unlabelled"].count, found["unlabelled"].examples) == (1, ("a.jpg",))
    assert found["layout"].message == "2 masks have no image."
    assert found["not-portable"].images == ("con",)


UPRIGHT, STORED = turned(6, SIZE, SIZE[::-1]), turned(6, SIZE, SIZE)
UNCLEAR = turned(3, SIZE, SIZE)


@pytest.mark.parametrize(
    "fields, setting",
    [
        ([], "refuse"),
        ([UPRIGHT, STORED], "refuse"),
        ([UNCLEAR, UPRIGHT], "apply"),
        ([UNCLEAR, STORED], "ignore"),
        ([UNCLEAR], ""),
        ([UNCLEAR, UPRIGHT, STORED], ""),
        ([UNCLEAR | {"traits": replace(placed(0.5, 0.5), upright_score=0.8)}], "apply"),
        ([UNCLEAR | {"traits": replace(placed(0.8, 0.5), upright_score=0.5)}], "ignore"),
        ([UNCLEAR | {"traits": replace(placed(0.60, 0.5), upright_score=0.61)}], ""),
    ],
)
def test_the_exif_setting_is_deduced(fields: list[dict[str, Any]], setting: str) -> None:
    facts = [pair(f"p{number}", **one) for number, one in enumerate(fields)]
    assert exif_setting(facts, NOTHING)[0] == setting
    if len(fields) == 1 and setting:
        assert f"data.exif={setting}" in check(facts)["exif-unclear"].remedy


def test_drawn_masks_of_a_tool_that_shows_images_upright() -> None:
    found = Found((), draw=lambda _: np.zeros(SIZE, np.uint8), upright=True)
    assert exif_setting([pair("p0", **UNCLEAR)], found)[0] == "apply"


def test_colours_are_named_as_values_are() -> None:
    red, black = (200, 0, 0), (0, 0, 0)
    plan = ClassPlan(("background", "cat"), (black, red), {black: "background", red: "cat"})
    facts = [replace(one, values={}, colours={black: 100_000, red: 20_000}) for one in clean()]
    facts[0] = replace(facts[0], values={0: PIXELS}, colours={})  # greys only
    facts[1] = replace(facts[1], values={0: 90_000, 3: 30_000}, colours={}, palette={0: black, 3: red})
    assert set(check(facts, plan)) == {"no-objects"}


@pytest.mark.parametrize(
    "facts",
    [
        [],
        [PairFacts("a", LabelledImage(Path("a.jpg")))],
        [PairFacts("a", LabelledImage(Path("a.jpg")), problem="missing mask: a.png")],
        [PairFacts("a", LabelledImage(Path("a.jpg")), problem="odd")] * 3,
        [replace(one, values={}) for one in clean()],
        [replace(one, values={77: 5}) for one in clean()],
    ],
)
@pytest.mark.parametrize("plan", [PLAN, ClassPlan((), (), {}), ClassPlan(("cat",), (None,), {1: "cat"})])
def test_nothing_makes_it_raise(facts: list[PairFacts], plan: ClassPlan) -> None:
    for splits in ({}, splits_of(facts)):
        assert "check-failed" not in check(facts, plan, splits)


def test_a_check_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("voc_seg.importing.checks.image_findings", fail)
    assert "ZeroDivisionError: oh" in check(clean())["check-failed"].message


def test_files_on_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(rng.integers(0, 255, (80, 100, 3), dtype=np.uint8)).save(tmp_path / f"{number}.jpg")
        mask = np.zeros((80, 100), np.uint8)
        mask[10 + number : 40, 20:60] = 1 + number % 2
        Image.fromarray(mask).save(tmp_path / f"{number}.png")
    (tmp_path / "0.jpg").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    (tmp_path / "1.jpg").write_bytes((tmp_path / "1.jpg").read_bytes()[:900])
    (tmp_path / "2.png").unlink()
    Image.open(tmp_path / "3.png").resize((50, 40)).save(tmp_path / "3.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(tmp_path / "4.jpg").save(tmp_path / "4.jpg", exif=exif)
    (tmp_path / "5.png").write_bytes(b"")
    images = tuple(LabelledImage(tmp_path / f"{number}.jpg", tmp_path / f"{number}.png") for number in range(8))
    facts = inspect_pairs(Found(images))
    findings = check_data(facts, PLAN, {}, Found(images))
    by_kind: dict[str, set[str]] = {}
    for one in findings:
        by_kind.setdefault(one.kind, set()).update(one.images)
    assert by_kind["git-lfs"] == {"0"}
    assert by_kind["unreadable"] == {"1", "2", "5"}
    assert by_kind["wrong-size"] == {"3"}
    assert by_kind["exif-unclear"] == {"4"}
    assert "check-failed" not in by_kind


def test_inspection_notes_the_traits(tmp_path: Path) -> None:
    image = np.full((80, 100, 3), 40, np.uint8)
    image[20:60, 30:70] = 200
    mask = np.zeros((80, 100), np.uint8)
    mask[20:60, 30:70] = 1
    mask[20, 30:70] = 9
    Image.fromarray(image).convert("L").save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "m.png")
    (facts,) = inspect_pairs(Found((LabelledImage(tmp_path / "a.png", tmp_path / "m.png"),)))
    assert facts.traits.grey and facts.traits.image_mode == "L"
    assert facts.traits.border_values == {9: 40}
    assert facts.traits.alignment.as_is > 0.9


@pytest.mark.parametrize(
    "problem, remedy",
    [
        ("a.json has for images/1.jpg: run lengths of 10 pixels, in an image of 6912", "Correct these annotations"),
        ("/photo 00.json: the rectangle 'cat' has points that are no pairs of numbers", "Correct these annotations"),
        (
            "size: a.jpg has 9 x 7 pixels, but a.json was made for 5 x 5; import the others",
            "Import the images that were",
        ),
        ("name that is not UTF-8: a", "Rename"),
        ("unknown labels: the mask holds 7, which data.values does not name", "under data.values in parameters.yml"),
    ],
)
def test_the_remedy_fits_the_problem(problem: str, remedy: str) -> None:
    assert any(remedy in one.remedy for one in check(changed(0, problem=problem)).values())


@pytest.mark.parametrize(
    "palette, count", [({1: (9, 0, 0), 2: (0, 9, 0)}, 0), ({1: (0, 9, 0)}, 1), ({1: (7, 7, 7)}, 0)]
)
def test_palettes_of_another_numbering(palette: dict, count: int) -> None:
    """As after a label tool has numbered its classes in another order."""
    plan = replace(PLAN, colours=((0, 0, 0), (9, 0, 0), (0, 9, 0)))
    found = check(changed(0, palette=palette), plan).get("palette")
    assert (found.count if found else 0) == count
    assert not found or "1 means cat and has the colour of dog" in found.message
