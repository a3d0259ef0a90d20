"""The field's networks once more in PyTorch, after the papers, as an independent reference for `orpheus.models.networks`.

``python tests/models/torch_reference.py`` (with torch; nothing else of this project is needed) writes
``torch_reference.npz`` beside it: parameter counts at the published sizes for 50 classes, and for small sizes random
weights in Keras' layout and the embedding that they give. The modules carry the names of our layers.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

CLASSES = 50
FILE = Path(__file__).with_suffix(".npz")


class Network(nn.Module):
    """Layers by name, made by the first forward pass, which so reads from top to bottom."""

    def __init__(self, run, **sizes):
        super().__init__()
        self.layers, self.run, self.sizes = nn.ModuleDict(), run, sizes

    def forward(self, x):
        return self.run(self, x, **self.sizes)

    def layer(self, name, make, *arguments, **options):
        if name not in self.layers:
            self.layers[name] = make(*arguments, **options).train(self.training)
        return self.layers[name]

    def norm(self, x, name):
        kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[x.ndim]
        return self.layer(name, kind, x.shape[1])(x)

    def conv(self, x, filters, length, name, stride=1):
        kind = nn.Conv1d if x.ndim == 3 else nn.Conv2d
        x = self.layer(name, kind, x.shape[1], filters, length, stride, padding=length // 2)(x)
        return self.norm(x, f"{name}_norm")

    def block(self, x, filters, length, name, stride=1, pooling=1):
        return pooled(F.relu(self.conv(x, filters, length, name, stride)), pooling)

    def residual(self, x, filters, length, name, stride=1, pooling=1, excitation=False):
        y = F.relu(self.conv(x, filters, length, f"{name}_a", stride))
        y = self.conv(y, filters, length, f"{name}_b")
        if excitation:
            weights = F.relu(self.dense(y.mean(-1), filters, f"{name}_excite_dense"))
            y = y * torch.sigmoid(self.dense(weights, filters, f"{name}_excite_weights"))[..., None]
        if stride != 1 or x.shape[1] != filters:
            x = self.conv(x, filters, length, f"{name}_shortcut", stride)
        return pooled(F.relu(x + y), pooling)

    def dense(self, x, units, name):
        return self.layer(name, nn.Linear, x.shape[-1], units)(x)

    def embedding(self, x, units):
        self.before_relu = self.norm(self.dense(x, units, "dense"), "dense_norm")
        return F.relu(self.before_relu)

    def layer_norm(self, x, name):
        return self.layer(name, nn.LayerNorm, x.shape[-1], eps=1e-6)(x)


def pooled(x, size):
    if size == 1:
        return x
    return (F.max_pool1d if x.ndim == 3 else F.max_pool2d)(x, size)


def spectrogram(net, x):
    """(batch, mels, frames) to one normalised channel; axes in this order, as published."""
    return net.norm(x[:, None], "normalise")


def fcn(net, x, n, units):
    x = spectrogram(net, x)
    for number, (filters, pooling) in enumerate([(n, (2, 4)), (2 * n, (2, 4)), (2 * n, (2, 4)), (2 * n, (3, 5))], 1):
        x = net.block(x, filters, 3, f"conv_{number}", pooling=pooling)
    return net.block(x, units, 3, "conv_5", pooling=(4, 4)).flatten(1)


def crnn(net, x, n, units):
    x = spectrogram(net, x)
    for number, (filters, pooling) in enumerate([(n, 2), (2 * n, 3), (2 * n, 4), (2 * n, 4)], 1):
        x = net.block(x, filters, 3, f"conv_{number}", pooling=pooling)
    x = x.squeeze(2).permute(0, 2, 1)
    return net.layer("gru", nn.GRU, x.shape[-1], units, 2, batch_first=True)(x)[0][:, -1]


SAMPLE_LEVEL = (1, 1, 2, 2, 2, 2, 2, 2, 4)


def sample_level(net, x, n, units):
    x = net.block(x[:, None], n, 3, "conv_1", stride=3)
    for number, multiple in enumerate(SAMPLE_LEVEL, 2):
        x = net.block(x, multiple * n, 3, f"conv_{number}", pooling=3)
    return net.block(x, units, 1, "conv_11").squeeze(-1)


def sample_level_se(net, x, n, units):
    x = net.residual(x[:, None], n, 3, "block_1", stride=3, excitation=True)
    for number, multiple in enumerate(SAMPLE_LEVEL, 2):
        x = net.residual(x, multiple * n, 3, f"block_{number}", pooling=3, excitation=True)
    x = net.residual(x, 4 * n, 1, "block_11", excitation=True).squeeze(-1)
    return net.embedding(x, units)


SHORT_CHUNK = (1, 1, 2, 2, 2, 2, 4)


def short_chunk(net, x, n, units):
    x = spectrogram(net, x)
    for number, multiple in enumerate(SHORT_CHUNK, 1):
        x = net.block(x, multiple * n, 3, f"conv_{number}", pooling=2)
    return net.embedding(x.amax((2, 3)), units)


def short_chunk_residual(net, x, n, units):
    x = spectrogram(net, x)
    for number, multiple in enumerate(SHORT_CHUNK, 1):
        x = net.residual(x, multiple * n, 3, f"block_{number}", stride=2)
    return net.embedding(x.amax((2, 3)), units)


def self_attention(net, x, n, units):
    x = spectrogram(net, x)
    strides = (2, 2, 2, (2, 1), (2, 1), (2, 1), (2, 1))
    for number, (multiple, stride) in enumerate(zip((1, 1, 2, 2, 2, 2, 2), strides, strict=True), 1):
        x = net.residual(x, multiple * n, 3, f"block_{number}", stride=stride)
    x = x.squeeze(2).permute(0, 2, 1)
    token = torch.linspace(-1, 1, 2 * n)  # published: any fixed vector, no parameter
    x = torch.cat([token.expand(len(x), 1, -1), x], 1)
    for number in (1, 2):
        name = f"layer_{number}"
        x = net.layer_norm(x + attention(net, x, f"{name}_attention"), f"{name}_attention_norm")
        y = F.gelu(net.dense(x, 8 * n, f"{name}_forward_in"))
        x = net.layer_norm(x + net.dense(y, 2 * n, f"{name}_forward_out"), f"{name}_forward_norm")
    return torch.tanh(net.dense(x[:, 0], units, "embedding"))


def attention(net, x, name, heads=8):
    units = x.shape[-1]
    query, key, value = (
        net.dense(x, units, f"{name}_{part}").unflatten(-1, (heads, -1)).transpose(1, 2)
        for part in ("query", "key", "value")
    )
    weights = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(units // heads), -1)
    return net.dense((weights @ value).transpose(1, 2).flatten(2), units, f"{name}_output")


class Quality(nn.Module):
    def __init__(self):
        super().__init__()
        self.quality = nn.Parameter(torch.ones(1))


def harmonic(net, x, n, units, sample_rate=16000, n_fft=512):
    # 64 semitones from C1 (MIDI 24) to E6 (MIDI 88) in halves: E6 is the note nearest to 16000 / 12 Hz.
    pitches = 440 * 2 ** ((torch.linspace(24, 88, 129, dtype=torch.float64)[:-1] - 69) / 12)
    centres = torch.cat([pitches * harmonic for harmonic in range(1, 7)])
    quality = net.layer("harmonics", Quality).quality
    width = (0.1079 * centres + 24.7) / quality
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    filters = torch.clamp(torch.minimum(1 + 2 * (bins - centres) / width, 1 - 2 * (bins - centres) / width), min=0)
    window = torch.hann_window(n_fft, dtype=torch.float64)
    stft = torch.stft(x.double(), n_fft, window=window, hop_length=256, pad_mode="constant", return_complex=True)
    bands = (stft.abs() ** 2).transpose(1, 2) @ filters  # (batch, frames, 6 · 128)
    x = 10 * torch.log10(torch.clamp(bands, min=1e-10)).float()
    x = net.norm(x.unflatten(-1, (6, 128)).permute(0, 2, 3, 1), "normalise")  # (batch, 6, 128, frames)
    x = net.block(x, n, 3, "conv_1", pooling=2)
    for number in (2, 3, 4):
        x = net.residual(x, n, 3, f"block_{number}", pooling=2)
    x = net.block(x, 2 * n, 3, "conv_5", pooling=2)
    for number in (6, 7):
        x = net.residual(x, 2 * n, 3, f"block_{number}", pooling=(2, 3))
    return net.embedding(x.amax((2, 3)), units)


# name: function, published (n_filters, units), published window, small (n_filters, units), small window
NETWORKS = {
    "fcn": (fcn, (64, 64), (96, 1813), (2, 8), (96, 1300)),
    "crnn": (crnn, (64, 32), (96, 1813), (2, 8), (96, 300)),
    "sample-level": (sample_level, (128, 512), (59_049,), (2, 8), (59_049,)),
    "sample-level-se": (sample_level_se, (128, 512), (59_049,), (2, 8), (59_049,)),
    "short-chunk": (short_chunk, (128, 512), (128, 231), (2, 8), (128, 151)),
    "short-chunk-residual": (short_chunk_residual, (128, 512), (128, 231), (2, 8), (128, 151)),
    "self-attention": (self_attention, (128, 256), (128, 938), (4, 8), (128, 151)),
    "harmonic": (harmonic, (128, 256), (80_000,), (2, 8), (80_000,)),
}


def stored(shape, rng, *, batch=2):
    """Audio as records have it: int16 noise under a slow envelope, or decibels above the floor; the second is quieter."""
    if len(shape) == 1:
        envelope = 9000 * np.abs(np.sin(np.arange(shape[0]) / 3000))
        return (rng.normal(size=(batch, *shape)) * envelope / [[1], [9]]).clip(-32768, 32767).astype(np.int16)
    return (rng.uniform(0, 90, (batch, *shape)) / [[[1]], [[2]]]).astype(np.float16)


def randomise(net, rng):
    """Weights of a size that keeps activations near one, and statistics that a mistake in their order would show."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm):
            shape = module.weight.shape
            module.weight.data = torch.tensor(rng.uniform(0.5, 1.5, shape), dtype=torch.float32)
            module.bias.data = torch.tensor(rng.normal(0, 0.3, shape), dtype=torch.float32)
        elif isinstance(module, Quality):
            module.quality.data = torch.tensor([1.7])
        else:
            for parameter in module.parameters(recurse=False):
                deviation = 0.3 if parameter.ndim == 1 else 1.4 / math.sqrt(parameter[0].numel())
                parameter.data = torch.tensor(rng.normal(0, deviation, parameter.shape), dtype=torch.float32)


def keras_weights(net):
    """Layer name → its weights in Keras' order and layout, time before frequency."""
    result = {}
    for name, module in net.layers.items():
        own = [value.detach().numpy() for value in module.parameters()]
        if isinstance(module, nn.Conv2d):
            own = [own[0].transpose(3, 2, 1, 0), own[1]]
        elif isinstance(module, nn.Conv1d):
            own = [own[0].transpose(2, 1, 0), own[1]]
        elif isinstance(module, nn.Linear):
            own = [own[0].T, own[1]]
        elif isinstance(module, nn.GRU):
            for number, layer in enumerate(("gru_1", "embedding")):
                inputs, state, *biases = own[4 * number : 4 * number + 4]
                result[layer] = [gates(inputs).T, gates(state).T, np.stack([gates(bias) for bias in biases])]
            continue
        elif isinstance(module, Quality):
            own = [own[0][0]]
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            own += [module.running_mean.numpy(), module.running_var.numpy()]
        result[name] = own
    return result


def gates(weights):
    """PyTorch's order reset, update, new to Keras' update, reset, new."""
    reset, update, new = np.split(weights, 3)
    return np.concatenate([update, reset, new])


def main():
    result = {}
    for name, (run, (n, units), window, (few, small), short) in NETWORKS.items():
        net = Network(run, n=n, units=units).eval()
        with torch.no_grad():
            net.dense(net(torch.zeros(1, *window)), CLASSES, "tags")
        result[f"{name}/parameters"] = sum(parameter.numel() for parameter in net.parameters())

        rng = np.random.default_rng(0)
        net = Network(run, n=few, units=small).eval()
        audio = stored(short, rng)
        x = torch.tensor(audio.astype(np.float32) / (32768 if len(short) == 1 else 1))
        with torch.no_grad():
            net(x)
            randomise(net, rng)
            # Statistics of this very input, so that no channel is silent and a few steps of momentum have been taken.
            net.train()
            for _ in range(20):
                net(x)
            net.eval()
            for value in (*net.parameters(), *net.buffers()):
                value.data = value.data.half().to(value.dtype)  # what float16 holds exactly, to store half as much
            output = net(x)
            # Before the last ReLU, where there is one, no value hides behind a zero.
            layer = "dense_norm" if "dense_norm" in net.layers else "embedding"
            output = (net.before_relu if layer == "dense_norm" else output).numpy()
        assert np.ptp(output, 0).max() > 1e-2, f"{name}: both inputs give the same output"
        # The input is made again from the seed; (batch, mels, frames) here, (batch, frames, mels) there.
        result[f"{name}/compared"], result[f"{name}/output"] = layer, output
        weights = keras_weights(net)
        result[f"{name}/layout"] = json.dumps({layer: [value.shape for value in own] for layer, own in weights.items()})
        flat = [np.ravel(value) for own in weights.values() for value in own]
        result[f"{name}/weights"] = np.concatenate(flat).astype(np.float16)
    np.savez_compressed(FILE, **result)
    print(FILE, FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
