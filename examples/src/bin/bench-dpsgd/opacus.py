"""Median times of plain and private steps in Opacus, as JSON; bench-dpsgd passes the settings as its argument."""

import json
import statistics
import sys
import time
import warnings

warnings.filterwarnings("ignore")

import opacus
import torch
from opacus import PrivacyEngine
from opacus.layers import DPGRU, DPLSTM, DPMultiheadAttention
from torch import nn

settings = json.loads(sys.argv[1])
batch, width, heads = settings["batch"], settings["width"], settings["heads"]
torch.set_num_threads(settings["threads"])
torch.manual_seed(1)


class Recurrent(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.tokens = nn.Embedding(settings["vocabulary"], width)
        self.body = layer(width, width, batch_first=True)
        self.head = nn.Linear(width, 2)

    def forward(self, rows):
        states, _ = self.body(self.tokens(rows))
        return self.head(states[:, -1])


class Transformer(nn.Module):
    def __init__(self, steps):
        super().__init__()
        self.tokens = nn.Embedding(settings["vocabulary"], width)
        self.positions = nn.Embedding(steps, width)
        self.before_attention = nn.LayerNorm(width)
        self.attention = DPMultiheadAttention(width, heads, batch_first=True)
        self.before_perceptron = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.head = nn.Linear(width, 2)

    def forward(self, rows):
        places = torch.arange(rows.shape[1]).expand(rows.shape)
        inputs = self.tokens(rows) + self.positions(places)
        normal = self.before_attention(inputs)
        mixed = inputs + self.attention(normal, normal, normal, need_weights=False)[0]
        up = torch.relu(self.up(self.before_perceptron(mixed)))
        return self.head((mixed + self.down(up)).mean(dim=1))


def perceptron():
    return nn.Sequential(nn.Linear(78, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 2))


def private(model, mode, data):
    optimizer, criterion = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9), nn.CrossEntropyLoss()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data), batch_size=batch)
    terms = dict(noise_multiplier=1.0, max_grad_norm=1.0, poisson_sampling=False)
    engine = PrivacyEngine()
    if mode == "ghost":
        made = engine.make_private(
            module=model, optimizer=optimizer, data_loader=loader, criterion=criterion, grad_sample_mode=mode, **terms
        )
        return made[0], made[1], made[2]
    made = engine.make_private(module=model, optimizer=optimizer, data_loader=loader, **terms)
    return made[0], made[1], criterion


def plain(model):
    return model, torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9), nn.CrossEntropyLoss()


def stepper(made, data):
    model, optimizer, criterion = made
    model.train()

    def step():
        optimizer.zero_grad()
        criterion(model(data[0]), data[1]).backward()
        optimizer.step()

    return step


def medians(make, data):
    ways = {"plain": lambda: plain(make()), "ghost": lambda: private(make(), "ghost", data)}
    ways["hooks"] = lambda: private(make(), "hooks", data)
    steps, taken = {}, {}
    for name, way in ways.items():
        try:
            steps[name] = stepper(way(), data)
            steps[name](), steps[name]()
            taken[name] = []
        except Exception:
            steps.pop(name, None)
    for _ in range(settings["steps"]):
        for name, step in steps.items():
            since = time.perf_counter()
            step()
            taken[name].append((time.perf_counter() - since) * 1e3)
    return {f"{name}_ms": statistics.median(taken[name]) if name in taken else None for name in ways}


labels = torch.randint(0, 2, (batch,))
rows = {"mlp": medians(perceptron, (torch.randn(batch, 78), labels))}
for steps in (16, 64):
    data = (torch.randint(0, settings["vocabulary"], (batch, steps)), labels)
    rows[f"gru T={steps}"] = medians(lambda: Recurrent(DPGRU), data)
    rows[f"lstm T={steps}"] = medians(lambda: Recurrent(DPLSTM), data)
    rows[f"transformer T={steps}"] = medians(lambda: Transformer(steps), data)
print(json.dumps({"measured": {"torch": torch.__version__, "opacus": opacus.__version__, "rows": rows}}))
