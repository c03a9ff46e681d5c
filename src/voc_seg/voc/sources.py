"""The data sets in VOC layout that this project knows: folders, lists, archives and sizes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import printable


@dataclass(frozen=True)
class Source:
    """One set of images and masks in VOC layout."""

    name: str  # its name in the catalog
    year: str | None  # the folder is ``VOC<year>``; None for any name
    lists: Mapping[str, str | None]  # by split: its list in ``ImageSets/Segmentation``; None without public masks
    mask_folders: Mapping[str, str] = field(default_factory=dict)  # by split, if not ``SegmentationClass``
    optional: frozenset[str] = frozenset()  # splits that may lack a list or masks; they are then empty
    archives: tuple[str, ...] = ()  # file names of its archives
    home: str = ""  # folder of its raw data; sources with the same archive share it
    sizes: Mapping[str, int] = field(default_factory=dict)  # number of images in the official list of each split

    def mask_folder(self, split: str) -> str:
        """Return the folder of a split's masks inside ``VOC<year>``."""
        return self.mask_folders.get(split, "SegmentationClass")


_LISTS = {"train": "train", "val": "val", "test": "test"}
_VOC2012 = Source(
    "voc2012",
    "2012",
    {"train": "train", "val": "val", "test": None},
    archives=("VOCtrainval_11-May-2012.tar",),
    home="voc2012",
    sizes={"train": 1464, "val": 1449},
)

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        # voc_root may point at any folder in VOC layout, and most have no test masks.
        Source("sample", "2012", _LISTS, optional=frozenset({"test"}), home="sample"),
        _VOC2012,
        Source(
            "voc2007",
            "2007",
            _LISTS,
            archives=("VOCtrainval_06-Nov-2007.tar", "VOCtest_06-Nov-2007.tar"),
            home="voc2007",
            sizes={"train": 209, "val": 213, "test": 210},
        ),
        replace(
            _VOC2012,
            name="voc2012_aug",
            lists={"train": "trainaug", "val": "val", "test": None},
            # val keeps the official masks: SBD's have no void borders.
            mask_folders={"train": "SegmentationClassAug"},
            archives=(*_VOC2012.archives, "benchmark.tgz"),
            sizes={"train": 10_582, "val": 1449},
        ),
        Source("own", None, _LISTS, optional=frozenset({"test"}), home="own"),
    )
}
"""Every source by name. ``voc2012_aug`` is VOC 2012 with the SBD masks; ``own`` is the user's folder, voc_root.

Sizes of the lists: the tables of http://host.robots.ox.ac.uk/pascal/VOC/voc2012/dbstats.html and voc2007/dbstats.html;
10,582 for VOC 2012 with SBD is Chen et al., DeepLab, arXiv:1606.00915, section 4.1.
"""


def source_named(name: str) -> Source:
    """Return the source of this name; raises `VocSegError` if it is unknown."""
    if name not in SOURCES:
        raise VocSegError(f"Unknown source {name!r} of VOC data. Known are: {', '.join(SOURCES)}.")
    return SOURCES[name]


def data_name(source: str, folder: Path) -> str:
    """Return what people call the data: its source or, of data of their own, its folder in VOC layout."""
    return (printable(folder.name) if source == "own" else "") or source
