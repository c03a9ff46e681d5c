"""Distributed runs under torchrun: same files, scores and order as one process, and killed ranks."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from voc_seg.config import Parameters
from voc_seg.engine.runtime import choose_runtime
from voc_seg.engine.training import validate
from voc_seg.hooks import commands
from voc_seg.hooks import multiprocess as ranks
from voc_seg.hooks.commands import resume_command
from voc_seg.hooks.errors import RunStoppedError
from voc_seg.metrics.confusion import mean_iou
from voc_seg.models.registry import restore_model
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.system.torchrun import ProcessInfo

# In this folder, which pytest's importlib mode does not put on the path.
spec = importlib.util.spec_from_file_location("ranks_at_work", Path(__file__).with_name("ranks_at_work.py"))
ranks_at_work = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ranks_at_work)

SETTINGS = {
    "model": {"width": 8, "context": "none"},
    "augmentation": {"crop_size": 64, "scale": [0.25, 0.4]},
    "training": {"epochs": 3, "batch_size": 4, "validate_every": 3, "sync_batch_norm": True,
                 "optimizer": {"learning_rate": 0.001}},
    "evaluation": {"scale": 0.25, "pictures": 2},
    "runtime": {"device": "cpu", "precision": "fp32", "distributed_timeout": 60},
}  # fmt: skip
TIMES = ["images_per_second", "data_seconds", "epoch_seconds"]

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="torchrun and signals of POSIX"),
    pytest.mark.usefixtures("narrow_encoder"),
]
NARROW = Path(__file__).with_name("narrow.py")
REAL = ("-m", "torch.distributed.run")
FORKED = (str(Path(__file__).with_name("forked_torchrun.py")), "--start-method=fork", "--run-path")
if sys.platform != "linux":  # elsewhere a library may not survive a fork
    FORKED = REAL


def flat(settings: dict[str, Any], prefix: str = "") -> str:
    def text(key: str, value: Any) -> str:
        if isinstance(value, dict):
            return flat(value, f"{key}.")
        return f"{key}={' '.join(map(str, value)) if isinstance(value, list) else str(value).lower()}"

    return ",".join(text(prefix + key, value) for key, value in settings.items())


def torchrun(project: Path, options: str, program: list[str], launcher: tuple[str, ...]) -> subprocess.Popen[str]:
    command = [sys.executable, *launcher, *options.split(), *program]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "400"}
    return subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def start(
    project: Path, options: str, pipelines: str, *program: str, launcher: tuple[str, ...] = FORKED
) -> subprocess.Popen[str]:
    given = f"voc_root={project / 'voc'},{flat(SETTINGS)}"
    return torchrun(project, options, [*program, *pipelines.split(), "--params", given], launcher)


# A training with it is not over before it is killed.
SLOW_DISK = f"""
import runpy, time
from voc_seg.datasets import checkpoints

def slowly(*given, write=checkpoints.write_state):
    time.sleep(0.7)
    write(*given)

checkpoints.write_state = slowly
runpy.run_path({str(NARROW)!r}, run_name="__main__")
"""


def finished(process: subprocess.Popen[str], code: int = 0) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code, output
    return output


@pytest.fixture(scope="module")
def prepared(prepare_project: Callable[..., Path]) -> Path:
    """Ten scenes: two batches of four and one of two, so that three processes leave one without a crop."""
    return prepare_project(train=10, val=5, test=1)


@pytest.fixture
def project(prepared: Path, tmp_path: Path) -> Path:
    """Its own project, with shared images: samples know the paths of their images."""
    folder = shutil.copytree(prepared, tmp_path / "project", ignore=shutil.ignore_patterns("voc", "logs"))
    (folder / "voc").symlink_to(prepared / "voc")
    (folder / "slow_disk.py").write_text(SLOW_DISK)
    return folder


@pytest.fixture(scope="module")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of two processes: training and evaluation in one run."""
    folder = tmp_path_factory.mktemp("trained") / "project"
    shutil.copytree(prepared, folder, ignore=shutil.ignore_patterns("voc", "logs"))
    (folder / "voc").symlink_to(prepared / "voc")
    # The only validation is the last, so the second process has to wait for its model.
    (folder / "slow_disk.py").write_text(SLOW_DISK)
    options = "--nproc-per-node=2", "--pipelines training,evaluation", "slow_disk.py"
    output = finished(start(folder, *options, launcher=REAL))
    (folder / "output.txt").write_text(output)
    return folder


def history(project: Path) -> pd.DataFrame:
    return pd.read_csv(project / "data/08_reporting/training_history.csv").drop(columns=TIMES)


class TestOneRun:
    def test_only_rank_0_writes_and_logs(self, trained: Path) -> None:
        checkpoints = sorted(path.name for path in (trained / "data/06_models/checkpoints").iterdir())
        assert checkpoints == [f"checkpoint_epoch_000{epoch}.pth" for epoch in (1, 2, 3)]
        assert not list(trained.rglob("*.partial*"))
        assert sorted(path.name for path in (trained / "logs").iterdir()) == ["training.log", "training_rank1.log"]
        output = (trained / "output.txt").read_text()
        assert output.count("epoch 3/3") == 1
        assert output.count("Scores on val") == 1
        assert "rank 1" not in output
        assert "Process 1 of 2" in (trained / "logs/training_rank1.log").read_text()

    def test_the_evaluation_is_that_of_one_process_to_the_byte(
        self, trained: Path, run_kedro: Callable[..., None]
    ) -> None:
        outputs = [
            *(trained / "data/08_reporting" / name for name in ("confusion_matrix.csv", "image_scores.csv")),
            *sorted((trained / "data/07_model_output/predictions").glob("[!.]*")),
        ]
        assert len(outputs) == 2 + 5
        by_two = [path.read_bytes() for path in outputs]
        for path in outputs:
            path.unlink()
        run_kedro(trained, "evaluation", **SETTINGS)
        assert [path.read_bytes() for path in outputs] == by_two

    def test_a_training_is_close_to_that_of_one_process(
        self, trained: Path, project: Path, run_kedro: Callable[..., None]
    ) -> None:
        run_kedro(project, "training", **SETTINGS)
        alone, together = history(project), history(trained)
        for column in ("epoch", "step", "learning_rate"):
            assert alone[column].equals(together[column])
        # Sums in another order, in float32, through twenty batch norms.
        assert together["train_loss"].tolist() == pytest.approx(alone["train_loss"].tolist(), rel=1e-3)
        assert together["val_loss"].dropna().tolist() == pytest.approx([alone["val_loss"].iloc[-1]], rel=1e-2)


class Work:
    """Trainings of ``ranks_at_work`` in one process, in this one, or in several."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def settings(self, **options: Any) -> dict[str, Any]:
        training = {"epochs": 2, "batch_size": 3, "sync_batch_norm": True, "checkpoint": {"every_minutes": 1e-9}}
        return {
            "augmentation": {"crop_size": 64, "scale": [0.25, 0.4]},
            "model": {"width": 8, "dropout": 0.3},
            "training": training | options,
            "evaluation": {"scale": 0.25},
            "runtime": {"device": "cpu", "precision": "fp32"},
        }

    def by_one(self, **job: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            ranks_at_work.in_float64(patch.setattr)
            ranks_at_work.work(self.folder, **job)

    def by_two(self, *jobs: dict[str, Any]) -> None:
        program = [ranks_at_work.__file__, str(self.folder), json.dumps(jobs)]
        finished(torchrun(self.folder, "--nproc-per-node=2", program, FORKED))

    def __getitem__(self, name: str) -> dict[str, Any]:
        seen = json.loads((self.folder / f"{name}.json").read_text())
        return seen | {"state": torch.load(self.folder / f"{name}.pth", weights_only=True)}


LOSS = {"class_weights": "balanced", "label_smoothing": 0.1, "ohem": 0.3, "dice": 0.5, "lovasz": 0.5, "focal": 0.5,
        "boundary": 0.5}  # fmt: skip
MORE = {"batch_size": 2, "accumulation": 2, "ema_decay": 0.9, "frozen_stages": 1, "freeze_batch_norm": True,
        "loss": LOSS}  # fmt: skip
ADAMW = {
    "optimizer": {"name": "adamw", "learning_rate": 0.001, "encoder_factor": 0.5, "layer_decay": 0.7},
    "clip_gradient": 1.0, "ema_decay": 0.9, "ema_warmup": True,
}  # fmt: skip
HEAD = {"frozen_stages": "all", "ema_decay": 0.9}


@pytest.fixture(scope="module")
def work(prepared: Path, tmp_path_factory: pytest.TempPathFactory, narrow_encoder: None) -> Work:
    """Two epochs in one process and in two, uninterrupted and in parts."""
    done = Work(tmp_path_factory.mktemp("work"))
    for split in ("train", "val"):
        (done.folder / f"{split}.arrow").symlink_to(prepared / f"data/05_model_input/{split}_samples.arrow")
    settings, more, adamw = done.settings(), done.settings(**MORE), done.settings(**ADAMW)
    done.by_one(name="one", settings=settings)
    done.by_one(name="one_more", settings=more)
    done.by_one(name="one_adamw", settings=adamw)
    done.by_one(name="one_head", settings=done.settings(**HEAD))
    done.by_one(name="first", settings=settings, reports=1)
    done.by_two(
        {"name": "two", "settings": settings},
        {"name": "two_more", "settings": more},
        {"name": "two_adamw", "settings": adamw},
        {"name": "two_head", "settings": done.settings(**HEAD)},
        {"name": "second", "settings": settings, "checkpoint": "first", "reports": 5},
        {"name": "apart", "settings": done.settings(sync_batch_norm=False, ema_decay=0.9, epochs=1)},
    )
    done.by_one(name="third", settings=settings, checkpoint="second")
    return done


class TestArithmetic:
    """In float64, where different orders of summation change only the last digits."""

    def assert_same(self, found: dict[str, Any], expected: dict[str, Any]) -> None:
        assert (found["state"]["step"], found["state"]["epoch"]) == (expected["state"]["step"], 2)
        assert torch.equal(found["state"]["rng"]["torch"], expected["state"]["rng"]["torch"]), "dropout"
        for kind in ("model", "ema"):
            for name, value in expected["state"][kind].items():
                torch.testing.assert_close(found["state"][kind][name], value, rtol=1e-6, atol=1e-8, msg=name)

    def test_two_processes_train_as_one(self, work: Work) -> None:
        assert work["two"]["steps"] == work["one"]["steps"]
        # Ten images in batches of three: the last batch has one image, so the second process gets none.
        assert work["two"]["shares"] == [[2, 1], [2, 1], [2, 1], [1, 0]] * 2
        assert work["two"]["pixels"] == work["one"]["pixels"], "every image is scored once"
        assert work["two"]["losses"] == pytest.approx(work["one"]["losses"], rel=1e-9)
        self.assert_same(work["two"], work["one"])

    def test_accumulated_batches_frozen_layers_an_average_of_weights_and_every_term_of_the_loss(
        self, work: Work
    ) -> None:
        assert work["two_more"]["steps"] == work["one_more"]["steps"]
        assert work["two_more"]["shares"] == [[2, 2], [2, 2], [1, 1]] * 2
        self.assert_same(work["two_more"], work["one_more"])

    def test_adamw_with_limited_gradients(self, work: Work) -> None:
        assert work["two_adamw"]["losses"] == pytest.approx(work["one_adamw"]["losses"], rel=1e-6)
        self.assert_same(work["two_adamw"], work["one_adamw"])

    def test_a_decoder_on_features_that_both_compute(self, work: Work) -> None:
        assert work["two_head"]["steps"] == work["one_head"]["steps"]
        assert work["two_head"]["shares"] == [[2, 1], [2, 1], [2, 1], [1, 0]] * 2
        assert work["two_head"]["pixels"] == work["one_head"]["pixels"]
        self.assert_same(work["two_head"], work["one_head"])

    def test_statistics_of_its_own_part_are_scored_as_they_are_kept(self, work: Work) -> None:
        state = work["apart"]["state"]
        state["model"] = {name: value.float() for name, value in state["model"].items()}
        averaged = {name.removeprefix("module."): value for name, value in state["ema"].items() if "n_av" not in name}
        model = restore_model({**state, "model": averaged})
        parameters = Parameters.model_validate(work.settings())
        score = validate(model, SampleStore(work.folder / "val.arrow"), parameters, choose_runtime(parameters.runtime))
        assert mean_iou(score.confusion) == state["history"][-1]["val_miou"]

    @pytest.mark.slow
    def test_compiled_networks_train_as_plain_ones(self, work: Work) -> None:
        for name, more in (("uneven", {}), ("accumulated", MORE)):
            plain, compiled = (work.settings(**more, sync_batch_norm=False, compile=wanted) for wanted in (False, True))
            work.by_two({"name": f"{name}_plain", "settings": plain}, {"name": name, "settings": compiled})
            assert work[name]["losses"] == pytest.approx(work[f"{name}_plain"]["losses"], rel=1e-6)
            self.assert_same(work[name], work[f"{name}_plain"])

    def test_a_run_resumes_with_another_number_of_processes(self, work: Work) -> None:
        first, second = work["first"]["state"], work["second"]["state"]
        assert (first["epoch"], first["position"], second["epoch"], second["position"]) == (0, 3, 1, 3)
        steps = [step for name in ("first", "second", "third") for step in work[name]["steps"]]
        assert steps == work["one"]["steps"]
        self.assert_same(work["third"], work["one"])


def process_of(project: Path, rank: int, process: subprocess.Popen[str]) -> int:
    """The process of a rank, once it has written the checkpoint of the first epoch."""
    ends = time.monotonic() + 120
    while not (project / "data/06_models/checkpoints/checkpoint_epoch_0001.pth").exists():
        assert process.poll() is None and time.monotonic() < ends, process.stdout.read()
        time.sleep(0.02)
    log = "\n".join(path.read_text() for path in (project / "logs").iterdir())
    return int(re.findall(rf"Process {rank} of 2, pid (\d+)", log)[-1])


class TestKilled:
    def test_torchrun_restarts_and_the_run_is_the_undisturbed_one(self, trained: Path, project: Path) -> None:
        # A restart must not use the checkpoint of an older run.
        shutil.copytree(trained / "data/06_models", project / "data/06_models")
        (project / "data/06_models/checkpoints/checkpoint_epoch_0001.pth").unlink()
        process = start(project, "--nproc-per-node=2 --max-restarts=1", "--pipelines training", "slow_disk.py")
        os.kill(process_of(project, 1, process), signal.SIGKILL)
        output = finished(process)
        assert output.count("Training on 2 x cpu") == 2
        assert re.search(r"Resuming from .*checkpoint_epoch_000[12]\.pth", output), output
        pd.testing.assert_frame_equal(history(project), history(trained))

    @pytest.mark.slow
    def test_without_restarts_the_other_ranks_explain_why_they_end(self, project: Path) -> None:
        process = start(project, "--nproc-per-node=2", "--pipelines training", "slow_disk.py")
        killed = time.monotonic()
        os.kill(process_of(project, 1, process), signal.SIGKILL)
        output = finished(process, 1)
        assert time.monotonic() - killed < 90
        assert "Another process of this run has ended or no longer answers" in output
        assert "training.resume=true" in output

    @pytest.mark.slow
    def test_a_signal_to_one_stops_all_with_a_checkpoint(self, project: Path) -> None:
        process = start(project, "--nproc-per-node=2", "--pipelines training", "slow_disk.py")
        pids = [process_of(project, rank, process) for rank in (1, 0)]
        for pid in (*pids, process.pid):  # as systemd does; torchrun forwards its own, so both ranks get two signals
            os.kill(pid, signal.SIGTERM)
        output = finished(process, 1)
        within = (project / "data/06_models/checkpoints/checkpoint_mid_epoch.pth").exists()
        assert within or "Stopped after epoch 1 of 3." in output
        assert output.count("A checkpoint has been written. Resume with:") == 1
        assert "torchrun --nproc-per-node=2 -m voc_seg --pipelines training --params" in output
        assert "Traceback" not in output.partition("torch/distributed/elastic")[0]

    @pytest.mark.slow
    def test_a_rank_lost_in_evaluation_is_reported(self, trained: Path) -> None:
        (trained / "dies.py").write_text(
            "import os, runpy, sys\n"
            "from voc_seg.pipelines.evaluation import nodes\n"
            "if os.environ['RANK'] == '1':\n"
            "    nodes.restore_model = lambda model: os.kill(os.getpid(), 9)\n"
            f"runpy.run_path({str(NARROW)!r}, run_name='__main__')\n"
        )
        output = finished(start(trained, "--nproc-per-node=2", "--pipelines evaluation", "dies.py"), 1)
        assert "another rank has ended" in output.lower()
        assert "Traceback" not in output.partition("torch/distributed/elastic")[0]


def test_what_needs_a_single_process_is_refused(project: Path) -> None:
    options = "--nproc-per-node=2", "--pipelines sanity,training", "-m", "voc_seg"
    output = finished(start(project, *options, launcher=REAL), 1)
    assert "sanity needs a single process, but torchrun has started 2. Nothing has run." in output
    assert not (project / "data/06_models").exists()


def test_processes_with_different_settings_are_refused() -> None:
    ranks.require_same_settings([{"seed": 1, "runtime.device": "cuda:0"}, {"seed": 1, "runtime.device": "cuda:1"}])
    with pytest.raises(VocSegError, match=r"  seed: 1 at rank 0, 2 at rank 1\n  run: None at rank 0, a at rank 1"):
        ranks.require_same_settings([{"seed": 1, "flip": 0.5}, {"seed": 2, "flip": 0.5, "run": "a"}])


def test_the_resume_command_for_several_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "process_info", lambda: ProcessInfo(world_size=4, local_world_size=2, nodes=2))
    command = resume_command({"runtime_params": {"seed": 1}, "env": None, "pipeline_names": ["evaluation", "training"]})
    assert command == (
        "torchrun --nnodes=2 --rdzv-backend=c10d --rdzv-endpoint=HOST:29500 --nproc-per-node=2 -m voc_seg "
        "--pipelines training,evaluation --params seed=1,training.resume=true"
    )


@pytest.mark.parametrize(
    ("pipelines", "selects", "message"),
    [
        ([], False, "kedro run without --pipelines, which starts with data_processing, needs a single process"),
        (["inference", "export"], False, "inference, export need a single process"),
        (["evaluation"], True, "Part of a pipeline"),
    ],
)
def test_the_refusal_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, pipelines: list[str], selects: bool, message: str
) -> None:
    monkeypatch.setattr(ranks, "process_info", lambda: ProcessInfo(world_size=2))
    with pytest.raises(RunStoppedError, match=message) as caught:
        ranks.require_single_process(pipelines, selects)
    assert "--pipelines training,evaluation" in str(caught.value)
    ranks.require_single_process(["training", "evaluation"], False)
    ranks.require_single_process(["trainin"], False)  # Kedro reports it
