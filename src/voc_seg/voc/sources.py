"""The data sets in VOC layout that this project knows: folders, lists, archives and sizes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from voc_seg.system.errors import VocSegError


@dataclass(frozen=True)
class Source:
    """One set of images and masks in VOC layout.

    Args:
        name: What the catalog calls it.
        year: The folder is ``VOC<year>``; None where it may have any name.
        lists: For each split the file name, without ending, under ``ImageSets/Segmentation``; None where no
            masks are public.
        mask_folders: Splits whose masks do not lie in ``SegmentationClass``.
        optional: Splits that are empty, not an error, when the folder has no list or no masks of them.
        archives: Names of the files it is unpacked from.
        home: Folder of its raw data; sources of the same archive share one.
        sizes: Images in the official list of each split.
    """

    name: str
    year: str | None
    lists: Mapping[str, str | None]
    mask_folders: Mapping[str, str] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    archives: tuple[str, ...] = ()
    home: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)

    def mask_folder(self, split: str) -> str:
        """Folder of a split's masks inside ``VOC<year>``."""
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
        # Any folder in VOC layout may stand in for the sample (voc_root), and most have no test masks.
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
            # The official masks stay the truth of val: those of SBD have no void borders.
            mask_folders={"train": "SegmentationClassAug"},
            archives=(*_VOC2012.archives, "benchmark.tgz"),
            sizes={"train": 10_582, "val": 1449},
        ),
        Source("own", None, _LISTS, optional=frozenset({"test"}), home="own"),
    )
}
"""Every source by name. ``voc2012_aug`` is VOC 2012 with the SBD masks; ``own`` is what voc_root points at.

Sizes of the lists: the tables of http://host.robots.ox.ac.uk/pascal/VOC/voc2012/dbstats.html and voc2007/dbstats.html;
10,582 for VOC 2012 with SBD is Chen et al., DeepLab, arXiv:1606.00915, section 4.1.
"""


def source_named(name: str) -> Source:
    """The source of that name; `VocSegError` names the known ones."""
    if name not in SOURCES:
        raise VocSegError(f"Unknown source {name!r} of VOC data. Known are: {', '.join(SOURCES)}.")
    return SOURCES[name]
