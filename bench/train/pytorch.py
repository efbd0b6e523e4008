"""The article's network in PyTorch, driven line by line: `train N` or `infer N` on standard
input does N steps and prints their seconds on the clock, their seconds of processor time and
the process's peak memory in MiB.

usage: pytorch.py keras|pool-first THREADS SIDE BATCH
"""

import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional

order = sys.argv[1]
threads, side, batch = (int(a) for a in sys.argv[2:])
torch.set_num_threads(threads)
torch.manual_seed(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolutions = nn.ModuleList([nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3), nn.Conv2d(32, 64, 3)])
        left = side
        for _ in self.convolutions:
            left = (left - 2) // 2
        self.dense = nn.Linear(left * left * 64, 64)
        self.dropout = nn.Dropout(0.5)
        self.out = nn.Linear(64, 1)

    def forward(self, x):
        for convolution in self.convolutions:
            if order == "keras":
                x = functional.max_pool2d(functional.relu(convolution(x)), 2)
            else:  # the same function, with a fourth of the values to work on
                x = functional.relu(functional.max_pool2d(convolution(x), 2))
        x = functional.relu(self.dense(x.flatten(1)))
        return self.out(self.dropout(x))


net = Net().to(memory_format=torch.channels_last)
optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3, alpha=0.9, eps=1e-7, foreach=True)
pictures = torch.rand(batch, 3, side, side).to(memory_format=torch.channels_last)
targets = (torch.arange(batch) % 2).float()[:, None]
loss = nn.BCEWithLogitsLoss()


def train():
    optimizer.zero_grad(set_to_none=True)
    loss(net(pictures), targets).backward()
    optimizer.step()


def infer():
    with torch.inference_mode():
        net(pictures)


print(torch.__version__, flush=True)
for line in sys.stdin:
    what, count = line.split()
    net.train(what == "train")
    step = {"train": train, "infer": infer}[what]
    before, clock = time.process_time(), time.perf_counter()
    for _ in range(int(count)):
        step()
    seconds, used = time.perf_counter() - clock, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(seconds, used, peak, flush=True)
