"""Train the `digits` model of the zoo with torch, and write its weights and sample images.

    python benchmarks/train_digits.py            # needs torch and scikit-learn; about a minute

Data: scikit-learn's bundled handwritten digits (1,797 images, 8x8, 17 shades). A fifth of each
class is held out, the split fixed by a seed; the weights after the last epoch are kept, whatever
they score, so that the held-out images choose nothing.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from pathlib import Path

import numpy as np

GRAPHS = Path(__file__).resolve().parent.parent / "graphs"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPLIT_SEED = 0


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images, held-out images [n, 1, 8, 8] from 0 to 1, training labels, held-out labels."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    return train_test_split(
        images, digits.target, test_size=0.2, stratify=digits.target, random_state=SPLIT_SEED
    )


def network():
    """The layers of graphs/digits.yaml; torch's names for their weights are the graph's."""
    from torch import nn

    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 16, 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(16),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(16, 32, 3, padding=1, bias=False),
            bn2=nn.BatchNorm2d(32),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            conv3=nn.Conv2d(32, 64, 3, padding=1, bias=False),
            bn3=nn.BatchNorm2d(64),
            relu3=nn.ReLU(),
            flatten=nn.Flatten(),
            dropout=nn.Dropout(0.3),
            fc=nn.Linear(1024, 10),
        )
    )


def jitter(images, rng: np.random.Generator):
    """Images turned, scaled and moved a little: handwriting that the training set does not hold."""
    import torch
    from torch.nn import functional

    count = len(images)
    angle, size = rng.normal(0, 0.1, count), rng.normal(1, 0.07, count)
    shift = rng.normal(0, 0.08, (count, 2))
    turn = np.stack([np.cos(angle) * size, -np.sin(angle) * size, shift[:, 0]], 1)
    rise = np.stack([np.sin(angle) * size, np.cos(angle) * size, shift[:, 1]], 1)
    theta = torch.tensor(np.stack([turn, rise], 1), dtype=torch.float32)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def train(images: np.ndarray, labels: np.ndarray, epochs: int, seed: int):
    """The network after ``epochs`` over the training images."""
    import torch
    from torch.nn import functional

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    model = network()
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    steps = epochs * -(-len(x) // 64)
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for _ in range(epochs):
        for part in torch.from_numpy(rng.permutation(len(x))).split(64):
            loss = functional.cross_entropy(model(jitter(x[part], rng)), y[part], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def write_samples(images: np.ndarray, labels: np.ndarray, folder: Path) -> None:
    """The first held-out image of each class as a PNG of 64 x 64 pixels."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    for digit, word in enumerate(WORDS):
        image = images[labels == digit][0, 0]
        pixels = np.kron(np.round(image * 255).astype(np.uint8), np.ones((8, 8), np.uint8))
        Image.fromarray(pixels).save(folder / f"{word}.png", optimize=True)


def main() -> None:
    import torch
    from safetensors.torch import save_file

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    x, held_x, y, held_y = data()
    model = train(x, y, options.epochs, options.seed)
    with torch.inference_mode():
        right = (model(torch.from_numpy(held_x)).argmax(1).numpy() == held_y).sum()
    print(f"held out: {right} of {len(held_y)} right, {right / len(held_y):.2%}")  # noqa: T201
    state = {k: v.contiguous() for k, v in model.state_dict().items() if v.is_floating_point()}
    save_file(state, GRAPHS / "digits.safetensors")
    write_samples(held_x, held_y, GRAPHS / "samples")


if __name__ == "__main__":
    main()
