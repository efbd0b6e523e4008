"""The models of main.go in PyTorch, with the same budget, initialisation and augmentation.

python3 bench/accuracy/peer.py DATA MODEL SIDE EPOCHS SEEDS [THREADS]

SEEDS are numbers with commas between them.
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


def slider(_):
    def layer(before, filters):
        return nn.Conv2d(before, filters, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(filters), nn.ReLU()

    return nn.Sequential(*layer(3, 32), *layer(32, 48), Block(48), *layer(48, 96), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(96, 4))


def glorot(module):
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def augment(x, cutout):
    side = x.shape[-1]
    hole = round(cutout * side)
    padded = functional.pad(x, (4, 4, 4, 4), mode="reflect")
    out = torch.empty_like(x)
    for i in range(len(x)):
        down, right = torch.randint(0, 9, (2,)).tolist()
        cut = padded[i, :, down:down + side, right:right + side]
        out[i] = cut.flip(-1) if torch.rand(()) < 0.5 else cut
        if hole:
            top, left = (torch.randint(0, side, (2,)) - hole // 2).tolist()
            out[i, :, max(top, 0):top + hole, max(left, 0):left + hole] = 0.5
    return out


def main():
    data, name, side, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(int(sys.argv[6]) if len(sys.argv) > 6 else 2)
    x, y = load(os.path.join(data, "train"), side)
    test_x, test_y = load(os.path.join(data, "test"), side)
    batch = {"article": 16, "slider": 32}[name]
    steps = math.ceil(len(x) / batch)
    print("who,model,side,epochs,seed,accuracy,seconds")
    for seed in map(int, sys.argv[5].split(",")):
        torch.manual_seed(seed)
        start = time.time()
        model = {"article": article, "slider": slider}[name](side).to(memory_format=torch.channels_last)
        model.apply(glorot)
        if name == "article":
            optimizer = torch.optim.RMSprop(model.parameters(), lr=0.0005, alpha=0.9, eps=1e-7)
            smoothing, cutout, rate = 0, 0, lambda step: 1
        else:
            kernels = [p for p in model.parameters() if p.dim() > 1]
            others = [p for p in model.parameters() if p.dim() == 1]
            optimizer = torch.optim.SGD([{"params": kernels, "weight_decay": 0.0005}, {"params": others}], lr=0.08, momentum=0.9, nesterov=True)
            smoothing, cutout, warm = 0.2, 0.25, 2 * steps

            def rate(step):
                if step < warm:
                    return (step + 1) / warm
                return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(epochs * steps - 1 - warm, 1)))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        for _ in range(epochs):
            model.train()
            for rows in torch.randperm(len(x)).split(batch):
                pictures = augment(x[rows], cutout).contiguous(memory_format=torch.channels_last)
                loss = functional.cross_entropy(model(pictures), y[rows], label_smoothing=smoothing)
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
