"""The models of main.go in PyTorch, with the same budget, initialisation and augmentation.

python3 bench/accuracy/peer.py DATA MODEL SIDE EPOCHS SEEDS [THREADS]
"""

import glob
import math
import os
import sys
import time

import numpy
import torch
from PIL import Image
from torch import nn
from torch.nn import functional


def load(folder, side):
    labels = sorted(os.listdir(folder))
    pictures, targets = [], []
    for number, label in enumerate(labels):
        for name in sorted(glob.glob(os.path.join(folder, label, "*.jpg"))):
            picture = Image.open(name).convert("RGB")
            if picture.size != (side, side):
                picture = picture.resize((side, side), Image.BICUBIC)
            pictures.append(numpy.asarray(picture))
            targets.append(number)
    x = torch.from_numpy(numpy.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    return x.contiguous(memory_format=torch.channels_last), torch.tensor(targets)


def article(side):
    layers, channels = [], 3
    for filters in (32, 32, 64):
        layers += [nn.Conv2d(channels, filters, 3), nn.ReLU(), nn.MaxPool2d(2)]
        channels, side = filters, (side - 2) // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(side * side * 64, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 4))


class Block(nn.Module):
    def __init__(self, filters):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(filters, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU(),
            nn.Conv2d(filters, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x):
        return functional.relu(self.body(x) + x)


class SameStride2(nn.Conv2d):
    """Keras' padding of a kernel of 3 with a stride of 2: an even side gets its zeros at the end."""

    def forward(self, x):
        before = 1 if x.shape[-1] % 2 else 0
        return super().forward(functional.pad(x, (before, 1, before, 1)))


def slider(_):
    layers, channels = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for filters in (32, 64, 128):
        layers += [SameStride2(channels, filters, 3, stride=2, bias=False), nn.BatchNorm2d(filters), nn.ReLU(), Block(filters)]
        channels = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, 4))


def glorot(module):
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def augment(x):
    side = x.shape[-1]
    padded = functional.pad(x, (4, 4, 4, 4), mode="reflect")
    out = torch.empty_like(x)
    for i in range(len(x)):
        down, right = torch.randint(0, 9, (2,)).tolist()
        cut = padded[i, :, down:down + side, right:right + side]
        out[i] = cut.flip(-1) if torch.rand(()) < 0.5 else cut
    return out


def main():
    data, name, side, epochs, seeds = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    torch.set_num_threads(int(sys.argv[6]) if len(sys.argv) > 6 else 2)
    x, y = load(os.path.join(data, "train"), side)
    test_x, test_y = load(os.path.join(data, "test"), side)
    batch = {"article": 16, "slider": 32}[name]
    steps = math.ceil(len(x) / batch)
    print("who,model,side,epochs,seed,accuracy,seconds")
    for seed in range(1, seeds + 1):
        torch.manual_seed(seed)
        start = time.time()
        model = {"article": article, "slider": slider}[name](side).to(memory_format=torch.channels_last)
        model.apply(glorot)
        if name == "article":
            optimizer = torch.optim.RMSprop(model.parameters(), lr=0.0005, alpha=0.9, eps=1e-7)
            rate = lambda step: 1
        else:
            kernels = [p for p in model.parameters() if p.dim() > 1]
            others = [p for p in model.parameters() if p.dim() == 1]
            optimizer = torch.optim.SGD([{"params": kernels, "weight_decay": 0.0005}, {"params": others}], lr=0.05, momentum=0.9, nesterov=True)

            def rate(step):
                if step < steps:
                    return (step + 1) / steps
                return 0.5 * (1 + math.cos(math.pi * (step - steps) / max(epochs * steps - 1 - steps, 1)))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        for _ in range(epochs):
            model.train()
            for rows in torch.randperm(len(x)).split(batch):
                loss = functional.cross_entropy(model(augment(x[rows]).contiguous(memory_format=torch.channels_last)), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        took = time.time() - start
        model.eval()
        with torch.no_grad():
            correct = sum((model(a).argmax(1) == b).sum().item() for a, b in zip(test_x.split(100), test_y.split(100)))
        print(f"pytorch-{torch.__version__},{name},{side},{epochs},{seed},{correct / len(test_y):.4f},{took:.0f}", flush=True)


main()
