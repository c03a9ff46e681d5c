"""One encoder of every family: what one of them passes, all of them have to."""

from typing import Any

from torch import nn

BATCH_NORM = (
    "resnet18", "timm:test_efficientnet", "timm:mobilenetv3_small_050", "timm:mobilenetv4_conv_small_035",
    "timm:test_byobnet", "timm:tf_mobilenetv3_small_minimal_100",
)  # fmt: skip
FAMILIES = (*BATCH_NORM, "timm:test_convnext", "timm:test_vit", "timm:small_dinov2", "timm:small_dinov3")


def register_small_transformers() -> None:
    """Tell timm of DINOv2's and DINOv3's transformers with registers, small: patches of 14 pixels; rotary positions."""
    from timm.models import eva, register_model, vision_transformer

    width: dict[str, Any] = {"embed_dim": 32, "depth": 5, "num_heads": 2}

    def small_dinov2(pretrained: bool = False, **options: Any) -> nn.Module:
        shape = {**width, "patch_size": 14, "img_size": 56, "init_values": 1.0, "reg_tokens": 4, "no_embed_class": True}
        return vision_transformer._create_vision_transformer("vit_small_patch14_reg4_dinov2", **shape | options)

    def small_dinov3(pretrained: bool = False, **options: Any) -> nn.Module:
        return eva.vit_small_patch16_dinov3(**width | options)

    for function in (small_dinov2, small_dinov3):
        register_model(function)
