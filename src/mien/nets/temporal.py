"""The recurrent net of temporal models (extra: train)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MIN_PROBABILITY = 1e-4  # smaller probabilities are clamped to this
GAPS = (0.01, 1.0)  # seconds between frames; others are clamped to this range


class TemporalNet(nn.Module):
    """Smoothing with a learned, time-varying weight.

    A GRU (Cho et al. 2014, arXiv:1406.1078) reads log-probabilities and the logarithm of the time between frames. It
    predicts the weight of the new frame in a running mean of one head's probabilities, and a correction to the
    logarithm of that mean. So training starts close to plain smoothing and has less to learn than a GRU alone.

    Args:
        width: Probabilities per frame, those of all heads side by side.
        head: Range of the smoothed head among them, from and to.
        state: Size of the state, running mean included.
        dropout: Dropout of the GRU's inputs and outputs.
    """

    def __init__(self, width: int, head: tuple[int, int], *, state: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.head, self.n_labels = slice(*head), head[1] - head[0]
        self.gru = nn.GRU(width + 1, state - self.n_labels, batch_first=True)
        self.gate = nn.Linear(state - self.n_labels, 1)
        self.correct = nn.Linear(state - self.n_labels, self.n_labels)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.correct.weight)
        nn.init.zeros_(self.correct.bias)

    def forward(self, heads: Tensor, seconds: Tensor) -> Tensor:
        """Map heads (n, t, width) and seconds (n, t, 1) to logits (n, t, k), from a state of zeros."""
        known, _ = self.gru(self.dropout(self._inputs(heads, seconds)))
        known = self.dropout(known)
        mean, means = heads.new_zeros(len(heads), self.n_labels), []
        for frame, gate in zip(
            heads[:, :, self.head].unbind(1), torch.sigmoid(self.gate(known)).unbind(1), strict=True
        ):
            mean = mean + gate * (frame - mean)
            means.append(mean)
        return self._logits(torch.stack(means, 1), known)

    def step(self, heads: Tensor, seconds: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map heads (n, width), seconds (n, 1) and state (n, state) to probabilities (n, k) and the new state."""
        mean, known = state[:, : self.n_labels], state[:, self.n_labels :]
        input_weight, state_weight, input_bias, state_bias = self.gru.all_weights[0]
        x = F.linear(self._inputs(heads, seconds), input_weight, input_bias)
        h = F.linear(known, state_weight, state_bias)
        (reset_x, update_x, new_x), (reset_h, update_h, new_h) = x.chunk(3, 1), h.chunk(3, 1)
        update = torch.sigmoid(update_x + update_h)
        new = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
        known = (1 - update) * new + update * known
        mean = mean + torch.sigmoid(self.gate(known)) * (heads[:, self.head] - mean)
        return self._logits(mean, known).softmax(1), torch.cat([mean, known], 1)

    def _logits(self, mean: Tensor, known: Tensor) -> Tensor:
        # Divided by its sum, since a running mean that started at 0 is too small at first, equally for all labels.
        share = mean / mean.sum(-1, keepdim=True).clamp(min=MIN_PROBABILITY)
        return share.clamp(min=MIN_PROBABILITY).log() + self.correct(known)  # type: ignore[no-any-return]

    def _inputs(self, heads: Tensor, seconds: Tensor) -> Tensor:
        # Shifted and scaled to about mean 0 and deviation 1.
        return torch.cat([heads.clamp(min=MIN_PROBABILITY).log() / 3 + 1, seconds.clamp(*GAPS).log() / 2 + 1.4], dim=-1)


class Step(nn.Module):
    """One step as a module, for export."""

    def __init__(self, net: TemporalNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, heads: Tensor, seconds: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.net.step(heads, seconds, state)
