"""Every wired dataset is declared, every declared one is used, every type hint resolves."""

import json
import subprocess
import sys
import typing
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import yaml
from kedro.config import OmegaConfigLoader
from kedro.framework.project import configure_project, pipelines
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from voc_seg.config import Parameters
from voc_seg.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = sorted(folder.name for folder in (ROOT / "conf").iterdir() if folder.is_dir())
RECIPES = ("voc2012_best", "voc2012_dinov2", "voc2012_fast")
NAMES = (
    "data_processing", "sanity", "lr_finder", "training", "evaluation", "label_review", "inference", "export",
    "comparison",
)  # fmt: skip
WITHOUT_LAYER = {"evaluation_samples": "model_input", "scored_model": "models"}
"""In memory only. With the layer whose colour they have, Kedro-Viz would draw them one below the other."""


@pytest.fixture(scope="module", autouse=True)
def project() -> None:
    configure_project("voc_seg")
    pipelines.set_requested(None)


def load_config(environment: str) -> OmegaConfigLoader:
    return OmegaConfigLoader(str(ROOT / "conf"), env=environment, **CONFIG_LOADER_ARGS)


def load_catalog() -> DataCatalog:
    return DataCatalog.from_config(load_config("base")["catalog"])


def layer_of(catalog: DataCatalog, name: str) -> str | None:
    return ((catalog.get(name).metadata or {}).get("kedro-viz") or {}).get("layer")


def wired(name: str = "__default__") -> set[str]:
    return {dataset for dataset in pipelines[name].datasets() if not dataset.startswith("params:")}


def test_every_pipeline_folder_is_runnable() -> None:
    folders = {path.parent.name for path in (ROOT / "src/voc_seg/pipelines").glob("*/pipeline.py")}
    assert folders >= set(NAMES)
    assert set(pipelines) >= {*folders, "__default__"}


def test_default_prepares_trains_and_evaluates() -> None:
    names = [node.name for name in ("data_processing", "training", "evaluation") for node in pipelines[name].nodes]
    assert sorted(node.name for node in pipelines["__default__"].nodes) == sorted(names)


def test_groups_of_the_graph_leave_names_as_they_are() -> None:
    # Kedro would call the node training.train.
    whole = pipelines["__default__"]
    assert {node.namespace for node in whole.nodes} == {"data_processing", "training", "evaluation"}
    for pipeline in (whole, Pipeline(whole, tags="more"), whole.filter(node_namespaces=["training"])):
        assert pipeline.only_nodes("train").nodes[0] == pipelines["training"].only_nodes("train").nodes[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_dataset_is_declared_with_a_layer(name: str) -> None:
    catalog = load_catalog()
    for dataset in wired(name):
        assert dataset in catalog, f"{dataset} is not in the catalog"
        assert layer_of(catalog, dataset) or dataset in WITHOUT_LAYER, dataset


def test_layers_have_an_order() -> None:
    # If layers form a cycle, Kedro-Viz hides all of them with only a warning.
    catalog = load_catalog()
    before: dict[str, set[str]] = {}
    for node in {node for name in NAMES for node in pipelines[name].nodes}:
        sources, targets = (
            {layer_of(catalog, name) for name in names if not name.startswith("params:")} - {None}
            for names in (node.inputs, node.outputs)
        )
        for layer in targets:
            before.setdefault(layer, set()).update(sources - {layer})
    order = list(TopologicalSorter(before).static_order())  # CycleError names the cycle
    assert order == ["raw", "intermediate", "model_input", "models", "model_output", "reporting"]


@pytest.mark.parametrize("name", ["evaluation", "export", "inference", "label_review"])
@pytest.mark.parametrize("entry", ["best_model", "model_history"])
def test_files_that_training_may_replace_are_read_once(name: str, entry: str) -> None:
    readers = [node.name for node in pipelines[name].nodes if entry in node.inputs]
    assert len(readers) <= 1
    assert readers or entry != "best_model"


def test_every_layer_has_its_colour() -> None:
    styles = json.loads((ROOT / ".viz/styles.json").read_text())
    catalog = load_catalog()
    wanted = set().union(*(wired(name) for name in NAMES))
    assert set(styles) == wanted, "an entry of the catalog needs a colour in .viz/styles.json: that of its layer"
    colours = {(layer_of(catalog, name) or WITHOUT_LAYER[name], styles[name]["stroke"]) for name in wanted}
    assert len(colours) == len({layer for layer, _ in colours}) == len({colour for _, colour in colours}) == 6


def test_no_entry_is_unused() -> None:
    used = set().union(*(wired(name) for name in pipelines))
    declared = {name for name in load_config("base")["catalog"] if not name.startswith("_")}
    patterns = {name for name in declared if "{" in name}
    assert declared - patterns <= used
    assert patterns >= {"{split}_index", "{split}_samples"}


@pytest.mark.parametrize("name", NAMES)
def test_every_hint_resolves(name: str) -> None:
    # If hints do not resolve, Kedro skips the validation of parameters with only a warning.
    nodes = import_module(f"voc_seg.pipelines.{name}.nodes")
    for node in pipelines[name].nodes:
        hints = typing.get_type_hints(node.func)
        assert "return" in hints, node.name
        assert node.func.__module__ == nodes.__name__ or node.name == "take_model"  # of two pipelines
        assert len(hints) - 1 == len(node.inputs), node.name


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_parameters_of_every_environment_are_valid(environment: str) -> None:
    Parameters.of(load_config(environment)["parameters"])


def test_base_states_every_setting() -> None:
    def keys(block: dict, prefix: str = "") -> set[str]:
        nested = [keys(value, f"{prefix}{key}.") for key, value in block.items() if isinstance(value, dict)]
        return {prefix + key for key in block}.union(*nested)

    base = load_config("base")["parameters"]
    stated = keys({key: value for key, value in base.items() if key in Parameters.model_fields})
    # These belong to the catalog or to --params.
    assert stated == keys(Parameters().model_dump()) - {"voc_root", "voc_archive", "inference.images", "run"}


def test_sources_of_the_environments() -> None:
    sources = {name: yaml.safe_load((ROOT / "conf" / name / "globals.yml").read_text())["source"]
               for name in ("base", "voc2012", "voc2012_aug", "voc2007", *RECIPES)}  # fmt: skip
    same = {name: name for name in ("voc2012", "voc2012_aug", "voc2007")}
    assert sources == {"base": "sample"} | same | dict.fromkeys(RECIPES, "voc2012")


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_for_voc_are_valid_and_start_from_pretrained_weights(name: str) -> None:
    recipe = Parameters.of(load_config(name)["parameters"])
    assert recipe.model.weights in ("imagenet", "pretrained")
    if recipe.training.frozen_stages != "all":
        # Frozen batch-norm statistics make sense only with pretrained weights.
        assert recipe.training.freeze_batch_norm and recipe.training.optimizer.encoder_factor < 1


def test_the_full_recipe() -> None:
    recipe = Parameters.of(load_config("voc2012")["parameters"])
    assert (recipe.model.encoder, recipe.model.weights) == ("resnet18", "imagenet")
    assert (recipe.training.batch_size, recipe.training.epochs) == (4, 50)
    optimizer = recipe.training.optimizer
    assert (optimizer.learning_rate, optimizer.momentum, optimizer.weight_decay) == (0.006, 0.9, 1e-4)
    augmentation = recipe.augmentation
    assert (augmentation.crop_size, augmentation.scale, augmentation.flip) == (224, (0.9, 1.1), 0.5)
    assert recipe.evaluation.scale == 1.0


def test_the_recipe_is_the_same_on_every_voc() -> None:
    recipes = [load_config(name)["parameters"] for name in ("voc2012", "voc2012_aug", "voc2007")]
    assert recipes[0] == recipes[1] == recipes[2]


@pytest.mark.parametrize("name", ["image_scores", "rejected_images"])
def test_ids_of_digits_stay_text(name: str, tmp_path: Path) -> None:
    entry = {**load_config("base")["catalog"][name], "filepath": str(tmp_path / "table.csv")}
    catalog = DataCatalog.from_config({name: entry})
    catalog.save(name, pd.DataFrame({"image_id": ["000032", "000039"]}))
    assert catalog.load(name)["image_id"].tolist() == ["000032", "000039"]


@pytest.mark.parametrize("module", ["cli", "pipelines.data_processing.nodes"])
def test_modules_that_do_not_need_torch_do_not_import_it(module: str) -> None:
    program = f"import sys, voc_seg.settings, voc_seg.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_pre_commit_runs_the_linters_of_ci() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    linters = (ROOT / ".ci/run").read_text().partition('say "linters"\n')[2].partition("\n\n")[0]
    assert [hook["entry"] for hook in hooks] == [line.partition(" --check")[0].removesuffix(" .")
                                                 for line in linters.splitlines()]  # fmt: skip
