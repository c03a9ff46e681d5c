"""A sweep over folds with an ensemble: a fold that fails is named, and the same command completes it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from kedro.framework.startup import bootstrap_project

from voc_seg.sweep import processes
from voc_seg.sweep.sweep import SweepOptions, run_sweep
from voc_seg.system.errors import VocSegError

pytestmark = pytest.mark.usefixtures("narrow_encoder", "blank_figures")
SETTINGS = (
    "model.width=8,augmentation.crop_size=64,augmentation.scale=0.2 0.3,evaluation.scale=0.25,evaluation.pictures=1,"
    "training.epochs=1,training.batch_size=2"
)
OPTIONS = SweepOptions((), SETTINGS, ("training", "evaluation"), 1, "", None, folds=3, ensemble=True)


@pytest.fixture
def project(prepare_project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose sweeps train narrow networks."""
    command = processes.job_command

    def narrow_command(job: processes.Job, environment: str | None) -> list[str]:
        python, _, _, *options = command(job, environment)  # python -m voc_seg
        return [python, str(Path(__file__).with_name("narrow.py")), *options]

    monkeypatch.setattr(processes, "job_command", narrow_command)
    folder = prepare_project(train=9, val=2, test=1)
    monkeypatch.chdir(folder)
    bootstrap_project(folder)
    return folder


@pytest.mark.long
@pytest.mark.slow
def test_a_failed_fold_is_named_and_completed(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    obstacle = project / "data/runs/fold-2-of-3/08_reporting"
    obstacle.parent.mkdir(parents=True)
    obstacle.touch()
    caplog.set_level("INFO")
    assert run_sweep(project, OPTIONS) == 1
    assert "these folds are not finished: fold-2-of-3" in caplog.text and "there is no ensemble" in caplog.text
    assert "Failed: 1." in caplog.text and "08_reporting is a file" in caplog.text
    assert not (project / "data/runs/ensemble/06_models/best_model.pth").exists()
    assert not (project / "data/08_reporting/folds.csv").exists()

    obstacle.unlink()
    caplog.clear()
    assert run_sweep(project, OPTIONS) == 0
    assert "Sweep: 3 runs, 2 already finished" in caplog.text
    assert "Folds of train, each scored by the network that was not trained on it" in caplog.text
    table = pd.read_csv(project / "data/08_reporting/folds.csv", keep_default_na=False)
    assert table["run"].tolist() == ["fold-1-of-3", "fold-2-of-3", "fold-3-of-3", "", "ensemble"]
    assert table["images"].tolist() == [3, 3, 3, 9, 2]
    saved = torch.load(project / "data/runs/ensemble/06_models/best_model.pth", weights_only=True)
    assert [one["fold"] for one in saved["members"]] == ["1/3", "2/3", "3/3"]

    caplog.clear()
    assert run_sweep(project, OPTIONS) == 0  # nothing is left to do but to pool
    assert "3 already finished" in caplog.text and "started" not in caplog.text


def test_more_folds_than_images_are_refused_once(
    prepare_project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepare_project(train=3, val=1, test=1)
    monkeypatch.chdir(folder)
    bootstrap_project(folder)
    options = SweepOptions((), SETTINGS, ("training", "evaluation"), 1, "", None, folds=5)
    message = (
        "5 folds need 5 images or groups of images, but train has 3 images. Use fewer folds, or add images. Nothing"
    )
    with pytest.raises(VocSegError, match=message):
        run_sweep(folder, options)
    (folder / "data/05_model_input/train_samples.arrow").unlink()
    message = (
        "There are no packed images of train; nothing has run. Pack them with: kedro run --pipelines data_processing"
    )
    for one in (options, replace(options, folds=0, grid=("seed=1,2",))):
        with pytest.raises(VocSegError, match=message):
            run_sweep(folder, one)
    assert not (folder / "data/runs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (SweepOptions((), "", ("training", "evaluation"), 1, "", None), "nothing to vary: give --grid"),
        (SweepOptions(("seed=1,2",), "", ("training",), 1, "", None, ensemble=True), "Add --folds 5"),
        (SweepOptions((), "", ("training",), 1, "", None, folds=3), "--pipelines needs evaluation"),
        (SweepOptions((), "evaluation.split=val", ("training", "evaluation"), 1, "", None, folds=3),
         "evaluation.split cannot be set with --folds"),
        (SweepOptions((), "training.epoch=1", ("training", "evaluation"), 1, "", None, folds=3),
         "Settings of fold-1-of-3 are wrong"),
    ],
)  # fmt: skip
def test_mistakes_are_refused_before_anything_runs(tmp_path: Path, options: SweepOptions, message: str) -> None:
    root = Path(__file__).parents[1]
    (tmp_path / "conf").symlink_to(root / "conf")
    bootstrap_project(root)
    with pytest.raises(VocSegError, match=message):
        run_sweep(tmp_path, options)
    assert not (tmp_path / "data").exists()
