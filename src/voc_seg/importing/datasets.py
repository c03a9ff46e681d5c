"""The data sets that have an environment in ``conf/`` but no download: where to get them, and how to import them."""

from dataclasses import dataclass

from voc_seg.system.errors import VocSegError

from .layout import VOID_NAME, Found, layout_named


@dataclass(frozen=True)
class KnownDataset:
    """A public data set with a layout and an environment of its own."""

    title: str
    page: str  # its official address
    parts: str  # what to download and unpack into one folder
    terms: str  # log-in and licence, in a few words
    options: str = ""  # further options of the import


DATASETS: dict[str, KnownDataset] = {
    "cityscapes": KnownDataset(
        "Cityscapes",
        "https://www.cityscapes-dataset.com/downloads/",
        "leftImg8bit_trainvaltest.zip (11 GB) and gtFine_trainvaltest.zip",
        "log-in needed; non-commercial use only",
    ),
    "camvid": KnownDataset(
        "CamVid",
        "http://web4.cs.ucl.ac.uk/staff/g.brostow/MotionSegRecData/",
        "701_StillsRaw_full.zip and LabeledApproved_full.zip",
        "no log-in; its page asks for a citation",
    ),
    "oxford_pet": KnownDataset(
        "Oxford-IIIT Pet",
        "https://www.robots.ox.ac.uk/~vgg/data/pets/",
        "images.tar.gz and annotations.tar.gz",
        "no log-in; CC BY-SA 4.0",
    ),
    "pascal_context": KnownDataset(
        "Pascal Context",
        "https://cs.stanford.edu/~roozbeh/pascal-context/",
        "trainval.tar.gz, and VOCtrainval_03-May-2010.tar of http://host.robots.ox.ac.uk/pascal/VOC/voc2010/",
        "no log-in; the images come from Flickr under their own terms",
        " --layout pascal_context",
    ),
    "ade20k": KnownDataset(
        "ADE20K (scene parsing)",
        "http://sceneparsing.csail.mit.edu/",
        "ADEChallengeData2016.zip",
        "no log-in; the images are for non-commercial research and education",
    ),
}
"""By the name of the environment and the layout."""


def import_command(name: str, folder: str = "FOLDER") -> str:
    """Return the command that imports a data set."""
    return f"kedro import-data {folder} --name {name}{DATASETS[name].options}"


def how_to_get(name: str) -> str:
    """Return what to do if a data set has not been imported; empty for other names."""
    if name not in DATASETS:
        return ""
    known = DATASETS[name]
    return (
        f"{known.title} is not downloaded for you ({known.terms}). Get {known.parts} from {known.page}, unpack them "
        f"into one folder, and run: {import_command(name)}"
    )


def require_dataset(name: str, layout: str, found: Found) -> None:
    """Refuse other data for the environment of a public data set: its masks would be read with wrong classes."""
    if name not in DATASETS:
        return
    names = found.names or tuple(dict.fromkeys(one for one in found.values.values() if one != VOID_NAME))
    if layout != name or names != tuple(vars(layout_named(name))["CLASSES"]):
        raise VocSegError(
            f"conf/{name} is the environment of {DATASETS[name].title}, and this folder holds other data (layout "
            f"{layout}). Choose another --name."
        )
