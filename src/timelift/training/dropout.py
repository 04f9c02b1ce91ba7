"""One dropout rate for the whole network, where the recipe asks for it."""

from torch import nn

_PLAIN = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def set_dropout(model: nn.Module, rate: float) -> int:
    """Set every dropout's rate (drop path is not one); gives how many there were.

    A module that drops without a layer of its own, as heads of timm do, keeps the rate as `drop_rate`.
    """
    layers = [module for module in model.modules() if isinstance(module, _PLAIN)]
    owners = [module for module in model.modules() if isinstance(getattr(module, "drop_rate", None), float)]
    for layer in layers:
        layer.p = rate
    for owner in owners:
        owner.drop_rate = rate  # type: ignore[assignment]
    return len(layers) + len(owners)
