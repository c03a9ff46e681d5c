"""Cards say whether a model is a single network, one of a fold, or an ensemble."""

from typing import Any

from voc_seg.reporting.model_origin import best_validation, images_used, what_it_is


def saved(fold: str | None = None, members: list[str | None] | None = None, **training: str) -> dict[str, Any]:
    model = {"epoch": 3, "val_miou": 0.5,
             "config": {"training": {"fold": fold, **training},
                        "data": {"images": 1200, "val_images": 300}}}  # fmt: skip
    return model | ({"members": [{"run": "a", "fold": one} for one in members]} if members else {})


def test_a_single_network() -> None:
    assert what_it_is(saved(), 12_345_678) == "A SegmentationNet of voc_seg with 12.3 million parameters."
    assert best_validation(saved(), 50, "at 1") == "Best validation mIoU: **0.500**, epoch 3 of 50, at 1."
    assert images_used(saved()) == "1,200 training images; 300 validation images, used to choose the epoch."


def test_a_network_of_a_fold() -> None:
    assert "mIoU on fold 2/5 of train, which was held out: **0.500**" in best_validation(saved("2/5"), 50, "")
    assert images_used(saved("2/5")).endswith("300 validation images, fold 2/5 of train, used to choose the epoch.")


def test_an_ensemble() -> None:
    of_folds = saved(members=["1/2", "2/2"])
    assert what_it_is(of_folds, 2_000_000).startswith("An ensemble of 2 SegmentationNets of voc_seg with 2.0 million")
    assert "each on the fold of train that it was not trained on: **0.500**" in best_validation(of_folds, 50, "")
    assert images_used(of_folds).startswith("1,200 training images in 2 folds; each member was trained without one")
    of_seeds = saved(members=[None, None])
    assert "each on its own validation images" in best_validation(of_seeds, 50, "")
    assert images_used(of_seeds) == images_used(saved())


def test_an_epoch_that_val_has_not_chosen() -> None:
    last = saved(select="last")
    assert best_validation(last, 3, "at 1") == "Validation mIoU: **0.500**, epoch 3 of 3, at 1."
    assert images_used(last).endswith("300 validation images, not used to choose the epoch.")
    of_folds = saved(members=["1/2", "2/2"], select="ema")
    assert best_validation(of_folds, 3, "").startswith("Mean of the members' validation mIoU, each on the fold")
    assert images_used(of_folds).endswith("trained without one of them, which was not used to choose its epoch.")
