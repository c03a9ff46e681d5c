"""The cluster examples use existing environments, pipelines and settings."""

import json
import re
from pathlib import Path, PurePosixPath

import pytest
import yaml
from omegaconf import OmegaConf

from voc_seg.config import Parameters
from voc_seg.serving.command import serve

ROOT = Path(__file__).parents[1]
SCRIPT = (ROOT / "deploy/slurm/train.sbatch").read_text(encoding="utf-8")
JOBS = {path.stem: list(yaml.safe_load_all(path.read_text())) for path in (ROOT / "deploy/kubernetes").glob("*.yaml")}


def pods() -> list[dict]:
    (job,) = JOBS["training"]
    return [
        JOBS["data"][1]["spec"]["template"]["spec"],
        job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"],
    ]


def commands() -> list[str]:
    return [SCRIPT, *(" ".join(pod["containers"][0]["command"]) for pod in pods())]


@pytest.mark.parametrize("command", commands())
def test_environments_and_pipelines_exist(command: str) -> None:
    environments = re.findall(r"(?:--env |^environment=)(\w+)", command, re.MULTILINE)
    pipelines = re.findall(r"(?:--pipelines |^pipelines=)([\w,]+)", command, re.MULTILINE)
    assert environments
    assert all((ROOT / "conf" / name).is_dir() for name in environments)
    assert pipelines
    assert all((ROOT / f"src/voc_seg/pipelines/{name}").is_dir() for names in pipelines for name in names.split(","))


@pytest.mark.parametrize("command", [commands()[0], commands()[2]])
def test_settings_are_valid(command: str) -> None:
    (given,) = re.findall(r'params="(.*?)"', command)
    given = re.sub(r"\$\(\(.*?\)\)", "8", given).replace("${1:+,$1}", "")
    settings = re.sub(r"\$\w+", "name", given).split(",")
    Parameters.model_validate(OmegaConf.to_container(OmegaConf.from_dotlist(settings)))
    assert "data/runs/" in command
    assert "training.resume=true" in command


def test_pods_share_one_volume_and_the_operator_finds_its_container() -> None:
    (job,) = JOBS["training"]
    claims = {volume["persistentVolumeClaim"]["claimName"] for pod in pods() for volume in pod["volumes"]
              if "persistentVolumeClaim" in volume}  # fmt: skip
    assert claims == {JOBS["data"][0]["metadata"]["name"]}
    (container,) = pods()[1]["containers"]
    assert container["name"] == "pytorch"
    assert {"name": "RUN", "value": job["metadata"]["name"]} in container["env"]


def test_the_server_has_valid_options_and_time_to_stop() -> None:
    deployment, service = JOBS["serving"]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)
    program, name, *options = json.loads(entry)
    assert [program, name] == ["voc-seg", serve.name]
    values = serve.make_context("serve", [*options, *container["args"]]).params
    assert pod["terminationGracePeriodSeconds"] > values["drain"] + values["timeout"] + 5
    (port,) = container["ports"]
    assert port["containerPort"] == values["port"]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    paths = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert paths == {"/healthz", "/readyz"}
    readiness = container["readinessProbe"]
    assert readiness["periodSeconds"] * readiness["failureThreshold"] < values["drain"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert {str(PurePosixPath(values["model"]).parent), str(values["token_file"].parent), "/tmp"} == mounts.keys()
    assert sorted(mounts.values()) == sorted(volume["name"] for volume in pod["volumes"])
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]


def test_the_image_has_all_that_it_copies() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for line in re.findall(r"^COPY ([^-].*) \S+$", dockerfile, re.MULTILINE) for name in line.split()}
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
