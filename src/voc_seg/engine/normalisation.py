"""Mean and standard deviation with which a run normalises its images."""

from voc_seg.config import Parameters
from voc_seg.models.timm_networks import statistics
from voc_seg.samples.store import Origin


def with_statistics(parameters: Parameters, origin: Origin) -> Parameters:
    """The parameters with mean and std where they are not set and the encoder was not trained with ImageNet's.

    RGB images are normalised as the encoder's own settings say, other images by what was measured on train.
    """
    measured = (origin.mean, origin.std)
    data = parameters.data.with_statistics(measured, statistics(parameters.model))
    return parameters.model_copy(update={"data": data})
