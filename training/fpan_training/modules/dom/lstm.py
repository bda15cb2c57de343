"""The two kinds of LSTM in DOM: one that reads a grid of patches, and one that unfolds a face step by step.

Both have peepholes and are those of Zhao et al., "Robust LSTM-Autoencoders for Face De-Occlusion in the Wild" (IEEE
TIP 2017), with the details of its released code.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

FORGET_BIAS = 5.0
"""Of the forget gates at the start, as in the released code of Zhao et al.: nothing is forgotten at first."""
_PEEPHOLE_INIT = 0.1
"""Peepholes start evenly within +- this (released code of Zhao et al.)."""


class State(NamedTuple):
    """What an LSTM carries on, each float (B, hidden)."""

    hidden: Tensor
    cell: Tensor


class SpatialLstm(nn.Module):
    """A layer of the 2-D LSTM: each position of a grid follows its neighbours to the left and above.

    A cell keeps what its left neighbour held through one forget gate and what the one above held through another. The
    five peepholes show both old cells to the input gate, each old cell to its own forget gate, and the new cell to
    the output gate. The blocks of the gates' rows are: input, forget left, forget above, candidate, output.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.input = nn.Linear(inputs, 5 * hidden)
        self.left = nn.Linear(hidden, 5 * hidden, bias=False)
        self.above = nn.Linear(hidden, 5 * hidden, bias=False)
        self.peephole = nn.Parameter(torch.empty(5, hidden))
        _start(self, hidden, slice(hidden, 3 * hidden))

    def forward(self, features_bmnf: Tensor) -> tuple[Tensor, State]:
        """Reads a grid of features, float (B, M, N, inputs).

        Returns:
            The hidden states, float (B, M, N, hidden), and the last position's state.
        """
        batch, rows, columns = features_bmnf.shape[:3]
        # Positions on an anti-diagonal depend on none of each other: they go through the weights together.
        gates = {(i, j): g for i, row in enumerate(_grid(self.input(features_bmnf))) for j, g in enumerate(row)}
        nothing = features_bmnf.new_zeros(batch, self.hidden)
        hidden: dict[tuple[int, int], Tensor] = {}
        cells: dict[tuple[int, int], Tensor] = {}
        for diagonal in range(rows + columns - 1):
            here = [(i, diagonal - i) for i in range(rows) if 0 <= diagonal - i < columns]
            left = torch.stack([cells.get((i, j - 1), nothing) for i, j in here])
            above = torch.stack([cells.get((i - 1, j), nothing) for i, j in here])
            h, c = self._step(torch.stack([gates[at] for at in here]), left, above)
            hidden |= dict(zip(here, h, strict=True))
            cells |= dict(zip(here, c, strict=True))
            for weights, down, right in ((self.left, 0, 1), (self.above, 1, 0)):
                onto = [(i + down, j + right) for i, j in here]
                inside = [k for k, at in enumerate(onto) if at in gates]
                if inside:
                    for k, pushed in zip(inside, weights(h[inside]), strict=True):
                        gates[onto[k]] = gates[onto[k]] + pushed
        grid = torch.stack([torch.stack([hidden[i, j] for j in range(columns)], 1) for i in range(rows)], 1)
        last = (rows - 1, columns - 1)
        return grid, State(hidden[last], cells[last])

    def _step(self, gates: Tensor, left: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        i, f_left, f_above, g, o = gates.chunk(5, -1)
        p = self.peephole
        c = torch.sigmoid(f_left + p[2] * left) * left + torch.sigmoid(f_above + p[3] * above) * above
        c = c + torch.sigmoid(i + p[0] * left + p[1] * above) * torch.tanh(g)
        return torch.sigmoid(o + p[4] * c) * torch.tanh(c), c


class PeepholeLstm(nn.Module):
    """A layer of the decoder; ``inputs`` = 0: it takes none and runs on its own state.

    The three peepholes show the old cell to the input and forget gates and the new one to the output gate. The blocks
    of the gates' rows are: input, forget, candidate, output.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.input = nn.Linear(inputs, 4 * hidden, bias=False) if inputs else None
        self.own = nn.Linear(hidden, 4 * hidden)
        self.peephole = nn.Parameter(torch.empty(3, hidden))
        _start(self, hidden, slice(hidden, 2 * hidden))

    def forward(self, features_bf: Tensor | None, state: State) -> State:
        """One step from features, float (B, inputs), or from nothing."""
        gates = self.own(state.hidden)
        if self.input is not None:
            gates = gates + self.input(features_bf)
        i, f, g, o = gates.chunk(4, -1)
        p, old = self.peephole, state.cell
        c = torch.sigmoid(f + p[1] * old) * old + torch.sigmoid(i + p[0] * old) * torch.tanh(g)
        return State(torch.sigmoid(o + p[2] * c) * torch.tanh(c), c)


def _grid(projected: Tensor) -> list[list[Tensor]]:
    """(B, M, N, F) as rows of columns of (B, F)."""
    return [list(row.unbind(1)) for row in projected.unbind(1)]


def _start(layer: nn.Module, hidden: int, forget: slice) -> None:
    """Weights within 1 / sqrt(hidden) (0.02 at the paper's 2048, whose code has 0.01), biases 0, forget gates open."""
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name == "peephole":
                nn.init.uniform_(parameter, -_PEEPHOLE_INIT, _PEEPHOLE_INIT)
            elif parameter.ndim > 1:
                nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5)
            else:
                parameter.zero_()[forget] = FORGET_BIAS
