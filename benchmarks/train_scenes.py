"""Train `digit_scenes` (detection) and `digit_masks` (segmentation), and write weights and sample scenes.

    python benchmarks/train_scenes.py            # needs torch and scikit-learn; about ten minutes

A scene is a canvas of 96 x 96 pixels, shaded and noisy, on which a few of scikit-learn's handwritten
digits lie at random places and sizes. Training and test scenes hold digits of the two sides of the
split of train_digits.py. The weights after the last step are kept, rounded to float16.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from train_digits import GRAPHS, data

SIZE = 96
CELL = 8
ANCHORS = ((11, 17), (19, 29))
"""Width and height in pixels; the same as in graphs/digit_scenes.yaml."""


@dataclass(frozen=True)
class Scene:
    """An image from 0 to 1 [96, 96], which class each pixel is (0: none, 1 + digit), and what lies where."""

    image: np.ndarray
    mask: np.ndarray
    boxes: np.ndarray
    """[n, 4], left, top, right and bottom of the ink, in pixels."""
    labels: np.ndarray


def scene(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Scene:
    """Up to a dozen digits, none on top of another, on a shaded and noisy ground."""
    from PIL import Image

    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    canvas = rng.uniform(0.05, 0.3) + rng.uniform(-0.25, 0.25) * rows + rng.uniform(-0.25, 0.25) * columns
    canvas += rng.normal(0, rng.uniform(0, 0.05), (SIZE, SIZE))
    mask = np.zeros((SIZE, SIZE), np.int64)
    taken = np.zeros((SIZE, SIZE), bool)
    boxes, found = [], []
    for index in rng.integers(0, len(images), rng.integers(2, 14)):
        height = int(rng.integers(16, 37))
        width = round(height * rng.uniform(0.8, 1.1))
        turned = Image.fromarray(images[index, 0]).rotate(rng.normal(0, 6), Image.Resampling.BILINEAR)
        ink = np.asarray(turned.resize((width, height), Image.Resampling.BICUBIC)).clip(0, 1)
        top, left = int(rng.integers(0, SIZE - height + 1)), int(rng.integers(0, SIZE - width + 1))
        place = np.s_[top : top + height, left : left + width]
        inked = ink > 0.4
        if taken[place].any():
            continue
        taken[place] = True
        canvas[place] += ink * (rng.uniform(0.6, 1) - canvas[place])
        mask[place][inked] = labels[index] + 1
        down, across = inked.any(1).nonzero()[0], inked.any(0).nonzero()[0]
        boxes.append((left + across[0], top + down[0], left + across[-1] + 1, top + down[-1] + 1))
        found.append(labels[index])
    return Scene(canvas.clip(0, 1).astype(np.float32), mask, np.array(boxes, np.float32), np.array(found))


def batches(images: np.ndarray, labels: np.ndarray, steps: int, seed: int) -> Iterator[list[Scene]]:
    """``steps`` batches of 32 new scenes."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        yield [scene(images, labels, rng) for _ in range(32)]


def layers(name: str, inside: int, outside: int, kernel: int = 3) -> OrderedDict:
    """A convolution with batch norm and leaky relu, called as in the model files."""
    from torch import nn

    return OrderedDict(
        {
            f"conv{name}": nn.Conv2d(inside, outside, kernel, padding=kernel // 2, bias=False),
            f"bn{name}": nn.BatchNorm2d(outside),
            f"act{name}": nn.LeakyReLU(0.1),
        }
    )


def detector():
    """The layers of graphs/digit_scenes.yaml."""
    from torch import nn

    widths = [1, 16, 32, 64, 96, 96]
    found: OrderedDict = OrderedDict()
    for number in range(1, 6):
        found |= layers(str(number), widths[number - 1], widths[number])
        if number <= 3:
            found[f"pool{number}"] = nn.MaxPool2d(2)
    return nn.Sequential(found | OrderedDict(head=nn.Conv2d(96, len(ANCHORS) * 15, 1)))


def segmenter():
    """The layers of graphs/digit_masks.yaml, a U-Net."""
    import torch
    from torch import nn

    widths = [12, 24, 48, 72]

    def double(inside: int, outside: int):
        return nn.Sequential(layers("1", inside, outside) | layers("2", outside, outside))

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.MaxPool2d(2)
            self.down = nn.ModuleList(map(double, [1, *widths], widths))
            pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
            self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairs)
            self.join = nn.ModuleList(double(2 * b, b) for _, b in pairs)
            self.head = nn.Conv2d(widths[0], 11, 1)

        def forward(self, x):
            kept = []
            for level, block in enumerate(self.down):
                x = block(self.pool(x) if level else x)
                kept.append(x)
            for level, (up, join) in enumerate(zip(self.up, self.join, strict=True)):
                x = join(torch.cat([kept[-2 - level], up(x)], 1))
            return self.head(x)

    return UNet()


def targets(scenes: list[Scene]):
    """What the detector should say: [n, anchors, cells, cells, 6], of x, y, log w, log h, class, whether."""
    import torch

    cells = SIZE // CELL
    wanted = np.zeros((len(scenes), len(ANCHORS), cells, cells, 6), np.float32)
    for n, one in enumerate(scenes):
        for (left, top, right, bottom), label in zip(one.boxes, one.labels, strict=True):
            wide, high = right - left, bottom - top
            x, y = (left + right) / 2 / CELL, (top + bottom) / 2 / CELL
            shared = [min(wide, w) * min(high, h) for w, h in ANCHORS]
            fit = [s / (wide * high + w * h - s) for s, (w, h) in zip(shared, ANCHORS, strict=True)]
            best = int(np.argmax(fit))
            scale = np.log((wide / ANCHORS[best][0], high / ANCHORS[best][1]))
            wanted[n, best, int(y), int(x)] = (x % 1, y % 1, *scale, label, 1)
    return torch.from_numpy(wanted)


def detection_loss(out, scenes: list[Scene]):
    """Cross-entropy of whether and which, and the distance of the box, per digit."""
    import torch
    from torch.nn import functional

    wanted = targets(scenes)
    out = out.unflatten(1, (len(ANCHORS), 15)).permute(0, 1, 3, 4, 2)
    there = wanted[..., 5] > 0
    got, goal = out[there], wanted[there]
    whether = functional.binary_cross_entropy_with_logits(out[..., 4], wanted[..., 5], reduction="sum")
    place = functional.mse_loss(torch.sigmoid(got[:, :2]), goal[:, :2], reduction="sum")
    extent = functional.mse_loss(got[:, 2:4], goal[:, 2:4], reduction="sum")
    which = functional.cross_entropy(got[:, 5:], goal[:, 4].long(), reduction="sum")
    return (whether + 5 * place + 5 * extent + which) / there.sum()


def segmentation_loss(out, scenes: list[Scene]):
    """Cross-entropy of each pixel's class, the empty ground counting less."""
    import torch
    from torch.nn import functional

    weight = torch.ones(11)
    weight[0] = 0.3
    return functional.cross_entropy(out, torch.from_numpy(np.stack([s.mask for s in scenes])), weight)


def train(model, loss_of, images: np.ndarray, labels: np.ndarray, steps: int, seed: int):
    """``model`` after ``steps`` batches."""
    import torch

    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for step, scenes in enumerate(batches(images, labels, steps, seed)):
        out = model(torch.from_numpy(np.stack([s.image for s in scenes]))[:, None])
        loss = loss_of(out, scenes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)  # noqa: T201
    return model.eval()


def main() -> None:
    import torch
    from PIL import Image
    from safetensors.torch import save_file

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["digit_scenes", "digit_masks"])
    options = parser.parse_args()
    x, held_x, y, held_y = data()
    torch.set_num_threads(1)
    todo = {"digit_scenes": (detector, detection_loss), "digit_masks": (segmenter, segmentation_loss)}
    for name, (network, loss_of) in todo.items():
        if options.only in (None, name):
            torch.manual_seed(options.seed)
            model = train(network(), loss_of, x, y, options.steps, options.seed)
            state = {k: v.half().contiguous() for k, v in model.state_dict().items() if v.is_floating_point()}
            save_file(state, GRAPHS / f"{name}.safetensors")
    folder = GRAPHS / "samples" / "scenes"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    for number in range(1, 5):
        image = scene(held_x, held_y, rng).image
        pixels = np.kron(np.round(image * 255).astype(np.uint8), np.ones((4, 4), np.uint8))
        Image.fromarray(pixels).save(folder / f"scene{number}.png", optimize=True)


if __name__ == "__main__":
    main()
