"""``kedro import-data``: from a folder to an environment, step by step."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from voc_seg.system.atomic_folder import atomic_write_folder
from voc_seg.system.errors import VocSegError
from voc_seg.system.lock import acquire_lock
from voc_seg.system.torchrun import process_info
from voc_seg.voc.pixel_format import PixelFormat
from voc_seg.voc.tiff import band_count

from .checks import check_data
from .class_plan import ClassPlan
from .classes import ClassRow, check_meanings, class_pixels, class_rows, plan_classes
from .datasets import DATASETS, require_dataset
from .doctor.files import exif_setting
from .earlier import EarlierTable, read_earlier_table, without_own_files
from .environment import (
    existing_data,
    globals_text,
    images_table,
    parameters_text,
    plan_of,
    require_valid_name,
    table_path,
    write_environment,
)
from .files import list_files
from .findings import Finding
from .fingerprint import plan_settings
from .grouping import group_keys
from .inspect import PairFacts, inspect_pairs
from .labels import found_labels, keep_numbers, labels_path, read_labels, write_labels
from .layout import Found, find_layout, layout_named
from .overrides import Overrides
from .settings_text import Setting
from .splits import assign_splits

_SETTINGS = "parameters.yml"


def import_lock(project: Path) -> BinaryIO | None:
    """Return a lock that one import of the project holds: two would write the same masks and the same page.

    None if the folder cannot be written. Raises VocSegError if another import runs.
    """
    if process_info().world_size > 1:
        raise VocSegError(
            "An import needs a single process, but torchrun has started several. Run it without torchrun."
        )
    folder = project / "data" / "08_reporting"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = acquire_lock(folder / ".import_data.lock")
    except OSError:
        return None
    if lock is None:
        raise VocSegError("Another kedro import-data runs in this project. Wait until it has ended, and run again.")
    return lock


@dataclass(frozen=True)
class ImportOptions:
    """What the user asks for; see ``kedro import-data --help``."""

    folder: Path
    name: str = ""  # environment to write; empty only examines the folder
    check: bool = False  # write nothing; an environment of this name says what the masks mean
    layout: str = ""
    overrides: Overrides = field(default_factory=Overrides)
    val: float = 0.2
    test: float = 0.1
    group_by: str = ""
    seed: int = 0
    channels: int = 0  # of the images; 0: as the first image has
    range: tuple[float, float] | None = None  # of values of more than 8 bits
    pretrained: bool = False  # whether ImageNet weights are at hand or can be downloaded


@dataclass(frozen=True)
class Imported:
    """What the import found, decided and wrote."""

    layout: str  # its name
    title: str  # the same in words
    found: Found
    facts: tuple[PairFacts, ...]
    plan: ClassPlan
    rows: tuple[ClassRow, ...]
    splits: Mapping[str, str]  # by image id
    split_notes: tuple[str, ...]
    findings: tuple[Finding, ...]
    pixels: PixelFormat  # how the images were read
    written: tuple[Path, ...] = ()
    kept: tuple[Path, ...] = ()  # files of the environment that existed and were kept
    pretrained: bool = True  # whether the settings that were written start from ImageNet weights


def import_data(project: Path, options: ImportOptions) -> Imported:
    """Examine a folder and, if ``options.name`` is set, write its environment and its table of images.

    Nothing is written if a step fails. The splits and settings of an earlier import of that name are kept.

    Raises:
        VocSegError: The layout or the meaning of the masks is not clear, there are too few images, an option is wrong,
            or the environment belongs to other data.
    """
    earlier = None
    if options.name:
        require_valid_name(options.name)
        earlier = existing_data(project, options.name)
    table = table_path(project, options.name or "none")
    earlier_table = read_earlier_table(table) if options.name else EarlierTable()
    layout, found = find_layout(without_own_files(project, list_files(options.folder)), options.layout)
    require_dataset(options.name, layout, found)
    labels = read_labels(labels_path(project, options.name)) if earlier else {}
    if earlier:
        found = keep_numbers(found, labels, project / "conf" / options.name / "parameters.yml")
    has_splits = any(one.split for one in found.images)
    pixels = earlier.reading.pixels if earlier else _pixel_format(found, options)
    writes = bool(options.name) and not options.check
    keeps_masks = writes and found.draw is not None
    masks = table.parent / "masks"
    with atomic_write_folder(masks) if keeps_masks else nullcontext(None) as filling:
        facts = inspect_pairs(found, filling, masks, pixels)
        plan = plan_of(earlier.class_table) if earlier else plan_classes(facts, found, options.overrides)
        if earlier and options.overrides:
            _require_same(options, plan, plan_classes(facts, found, options.overrides))
        facts = check_meanings(facts, plan, found)
        counts = {one.image_id: class_pixels(one, plan) for one in facts if not one.problem}
        previous, gone = earlier_table.splits(facts)
        splits, split_notes = assign_splits(
            facts, counts, options.folder.resolve(), val=options.val,
            test=0.0 if has_splits else options.test,  # an official train is not reduced by a new test
            group_by=options.group_by, seed=options.seed, previous=previous,
        )  # fmt: skip
    rows = class_rows(facts, plan)
    imported = Imported(
        layout, layout_named(layout).TITLE, found, facts, plan, rows, splits,
        (*split_notes, *gone), check_data(facts, plan, splits, found), pixels,
    )  # fmt: skip
    if not writes:
        return imported
    imported = _written(project, options, imported, previous, counts)
    if options.name not in DATASETS:  # their numbers are official
        write_labels(labels_path(project, options.name), labels | found_labels(found))
    return imported


def _written(
    project: Path,
    options: ImportOptions,
    imported: Imported,
    previous: Mapping[str, str],
    counts: Mapping[str, Mapping[str, int]],
) -> Imported:
    facts, splits, plan = imported.facts, imported.splits, imported.plan
    # Unusable images stay in the table, so that data_processing lists them.
    everywhere = {one.image_id: previous.get(one.image_id, one.source.split or "train") for one in facts}
    everywhere.update(splits)
    path = table_path(project, options.name)
    groups = group_keys(facts, options.folder.resolve(), options.group_by)
    table = images_table(facts, everywhere, groups, path.parent, project)
    settings = (
        *_channels(imported.pixels),
        *_exif(facts, imported.found),
        *plan_settings(facts, splits, counts, plan.names, pretrained=options.pretrained),
    )
    texts = {
        "globals.yml": globals_text(project, options.name, options.folder.resolve(), imported.title),
        _SETTINGS: parameters_text(options.name, plan, imported.rows, settings),
    }
    folder = project / "conf" / options.name
    kept = tuple(folder / name for name in texts if (folder / name).exists())
    written = write_environment(project, options.name, table, texts)
    return replace(imported, written=written, kept=kept, pretrained=options.pretrained or folder / _SETTINGS in kept)


def _pixel_format(found: Found, options: ImportOptions) -> PixelFormat:
    return PixelFormat(options.channels or band_count(found.images[0].image), options.range)


def _channels(pixels: PixelFormat) -> tuple[Setting, ...]:
    """Return ``data.channels`` and ``data.range`` where they are not the defaults."""
    settings = []
    if pixels.channels != 3:
        settings.append(Setting("data.channels", pixels.channels, "bands of the images"))
    if pixels.range:
        settings.append(Setting("data.range", list(pixels.range), "stored values that become black and white"))
    return tuple(settings)


def _require_same(options: ImportOptions, earlier: ClassPlan, wanted: ClassPlan) -> None:
    """Refuse options that say something else than the settings; the first command may be repeated."""
    given = options.overrides.names.values()
    known = {key: name for key, name in wanted.values.items() if key in earlier.values or name in given}
    if any(earlier.values.get(key) != name for key, name in known.items()):
        raise VocSegError(
            f"conf/{options.name} exists, and its parameters.yml says what the masks mean: edit data.classes and "
            "data.values there, or delete that folder to write it again."
        )


def _exif(facts: Sequence[PairFacts], found: Found) -> tuple[Setting, ...]:
    """Return ``data.exif`` if images have an orientation that it decides."""
    value, why = exif_setting(facts, found)
    return (Setting("data.exif", value, why),) if value not in ("", "refuse") else ()
