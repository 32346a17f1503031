"""Write what torchvision and timm call the weights of the zoo's networks, and their shapes.

    python benchmarks/state_dicts.py            # needs torchvision and timm

tests/graphs/state_dicts then holds a file per network, a line per module, in the order in which the
library lists them; tests hold the zoo to these, so that weights published for the libraries load.
"""

from __future__ import annotations

import itertools
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "graphs" / "state_dicts"
TORCHVISION = (
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
    "vgg16",
)
TIMM = {"mobilenet_v1": "mobilenetv1_100", "se_resnet50": "seresnet50"}
WITHOUT_HEADS = {"aux_logits": False, "init_weights": False}


def described(model) -> str:
    """A line per module: its name, then each of its weights with its shape."""
    weights = {k: v.shape for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    lines = []
    for module, names in itertools.groupby(weights, lambda name: name.rpartition(".")[0]):
        shapes = (f"{name.rpartition('.')[2]}:{'x'.join(map(str, weights[name]))}" for name in names)
        lines.append(" ".join([module, *shapes]))
    return "\n".join(lines) + "\n"


def main() -> None:
    import timm
    import torchvision

    FOLDER.mkdir(exist_ok=True)
    for name in TORCHVISION:
        options = WITHOUT_HEADS if name in ("googlenet", "inception_v3") else {}
        model = torchvision.models.get_model(name, **options)
        source = f"# torchvision {torchvision.__version__.partition('+')[0]}: {name}\n"
        (FOLDER / f"{name}.txt").write_text(source + described(model))
    for name, theirs in TIMM.items():
        source = f"# timm {timm.__version__}: {theirs}\n"
        (FOLDER / f"{name}.txt").write_text(source + described(timm.create_model(theirs)))


if __name__ == "__main__":
    main()
