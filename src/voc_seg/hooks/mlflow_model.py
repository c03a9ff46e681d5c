"""A trained model as MLflow's ``pyfunc``: image files in, masks and shares out, also behind ``mlflow models serve``.

MLflow imports this module by its name where it loads the model, so voc_seg must be installed there.
"""

from __future__ import annotations

import io
import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import voc_seg

if TYPE_CHECKING:
    import pandas as pd

_PACKAGES = ("torch", "torchvision", "numpy", "pandas", "pillow", "safetensors", "pydantic")


def save_model(best_model: Path, folder: Path) -> None:
    """Write a model's files for MLflow, with its signature and, for RGB, an example of its input.

    Args:
        best_model: ``best_model.pth``, which is copied.
        folder: Must not exist.
    """
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from PIL import Image

    from voc_seg.config.model_input import ModelInput
    from voc_seg.models.exchange import read_saved

    is_rgb = ModelInput.of(read_saved(best_model)).channels == 3
    example = io.BytesIO()
    Image.new("RGB", (96, 64), (120, 130, 110)).save(example, "PNG")
    mlflow.pyfunc.save_model(
        str(folder),
        loader_module=__name__,
        data_path=str(best_model),
        input_example=pd.DataFrame({"image": [example.getvalue()]}) if is_rgb else None,
        signature=ModelSignature(
            Schema([ColSpec(DataType.binary, "image")]),
            Schema([ColSpec(DataType.binary, "mask"), ColSpec(DataType.string, "shares")]),
        ),
        pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in _PACKAGES],
    )
    # The model itself has always been beside these files, not in a folder of its own.
    (folder / "data" / best_model.name).rename(folder / best_model.name)
    (folder / "data").rmdir()
    about = Model.load(str(folder / "MLmodel"))
    about.flavors["python_function"]["data"] = best_model.name
    about.save(str(folder / "MLmodel"))


class MaskModel:
    """The ``python_function`` of MLflow: bytes of image files in, PNG masks and class shares out."""

    def __init__(self, path: str) -> None:
        self._model = voc_seg.load(path)

    def predict(self, images: pd.DataFrame, params: dict | None = None) -> pd.DataFrame:
        """Segment images.

        Args:
            images: The column ``image`` has the bytes of a file in each row.
            params: Not used.

        Returns:
            ``mask``, the bytes of a PNG with the colours of the classes, and ``shares``, JSON of the share of each
            class that occurs.

        Raises:
            VocSegError: An image cannot be read.
        """
        import pandas as pd

        rows = []
        for result in self._model.predict(list(images["image"])):
            mask = io.BytesIO()
            result.mask_image().save(mask, "PNG")
            rows.append({"mask": mask.getvalue(), "shares": json.dumps(result.shares, ensure_ascii=False)})
        return pd.DataFrame(rows, columns=["mask", "shares"])


def _load_pyfunc(path: str) -> MaskModel:
    """The name that MLflow looks for."""
    return MaskModel(path)
