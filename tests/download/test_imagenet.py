"""Whether ImageNet weights can be had, asked without importing torch."""

from pathlib import Path

import pytest
import requests
from torchvision.models import ResNet18_Weights

from voc_seg.download.imagenet import ADDRESS, imagenet_weights_available


def test_the_address_is_that_of_torchvision() -> None:
    assert ResNet18_Weights.IMAGENET1K_V1.url == ADDRESS


@pytest.mark.parametrize("variable, folder", [("TORCH_HOME", ""), ("XDG_CACHE_HOME", "torch")])
def test_a_file_in_the_cache_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, folder: str
) -> None:
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(requests, "head", lambda *args, **options: pytest.fail("asked the server"))
    path = tmp_path / folder / "hub" / "checkpoints" / ADDRESS.rpartition("/")[2]
    path.parent.mkdir(parents=True)
    path.touch()
    assert imagenet_weights_available()


@pytest.mark.parametrize("status", [200, 404, None])
def test_otherwise_the_server_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int | None) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def head(address: str, timeout: float, allow_redirects: bool) -> requests.Response:
        if status is None:
            raise requests.ConnectTimeout
        response = requests.Response()
        response.status_code = status
        return response

    monkeypatch.setattr(requests, "head", head)
    assert imagenet_weights_available() == (status == 200)
