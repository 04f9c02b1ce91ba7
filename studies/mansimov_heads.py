"""lite0 with two fully connected layers before its classes, as CLS_net has them: for mansimov_head.toml."""

from collections import OrderedDict

from torch import nn

from timelift.networks.images import image_network


def hidden_4096() -> nn.Module:
    """Hidden layers of 4096 and 4096 units."""
    return _with_hidden(4096, 4096)


def hidden_2048() -> nn.Module:
    """Hidden layers of 4096 and 2048 units, as Mansimov et al. 2015 fine-tune."""
    return _with_hidden(4096, 2048)


def _with_hidden(first: int, second: int) -> nn.Module:
    net = image_network("timm:tf_efficientnet_lite0")
    features = net.classifier.in_features
    net.classifier = nn.Sequential(
        OrderedDict(
            hidden6=nn.Linear(features, first),
            relu6=nn.ReLU(),
            dropout6=nn.Dropout(0.8),
            hidden7=nn.Linear(first, second),
            relu7=nn.ReLU(),
            dropout7=nn.Dropout(0.8),
            classes=nn.Linear(second, 1000),
        )
    )
    net.mean, net.std = net.image_facts.mean, net.image_facts.std
    net.new_parameters = [name for name, _ in net.named_parameters() if name.startswith("classifier.")]
    return net
