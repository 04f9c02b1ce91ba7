"""One dropout rate for the whole network, where the recipe asks for it."""

from torch import nn

_PLAIN = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def set_dropout(model: nn.Module, rate: float) -> int:
    """Set every dropout layer's rate (drop path is not one); gives how many there were."""
    layers = [module for module in model.modules() if isinstance(module, _PLAIN)]
    for layer in layers:
        layer.p = rate
    return len(layers)
