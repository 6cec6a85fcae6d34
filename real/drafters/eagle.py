r"""Feature autoregression: a decoder layer continues the target's hidden states, the target's head makes them tokens.

    f̂_{j+1} = layer(fc[embedding of y_{j+1} ; f_j], …),      law of y_{j+2} = softmax(head(f̂_{j+1}))

f_j is the target's last hidden state after y_j where the text is committed, and the draft's own f̂_j beyond it: feature
j goes with the embedding of token j + 1, in training and in serving alike. Embeddings and head are the target's and do
not train. Reference: Li et al. 2024 (EAGLE), as a chain.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from real.drafters.base import UNLIMITED
from real.drafters.flat import Flat, FlatLoss
from real.drafters.layer import Following, Layer
from real.drafters.objective import DISTIL, Objective
from real.drafters.piece import Piece, since
from real.models.device import sent
from real.models.hf import CausalLM
from real.models.text import Text


class Features(nn.Module):
    """Embeddings and features ``[n, D]`` → the features that follow ``[n, D]``."""

    def __init__(self, target: CausalLM, seed: int):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.fc = nn.Linear(2 * target.width, target.width, bias=False)
        self.layer = Layer(target, seed)
        self.to(target.device, target.dtype)

    def join(self, embedded: Tensor, features: Tensor) -> Tensor:
        """What the layer reads."""
        return self.fc(torch.cat([embedded, features], -1))

    def forward(self, embedded: Tensor, features: Tensor) -> Tensor:
        return self.layer(self.join(embedded, features))


class Eagle(Following):
    """Drafts features one after the other; x is all weights of the layer and of what joins embedding and feature.

    Args:
        seed: of the untrained weights. regression: weight of the smooth-L1 distance between predicted and true features
            beside the objective; a warm-up wants it, since drafted features are read as true ones.
    """

    def __init__(self, target: CausalLM, seed: int = 0, regression: float = 0.0):
        if regression < 0:
            raise ValueError(f"regression={regression!r}: a weight, at least 0")
        self.target, self.vocab, self.regression = target, target.vocab, regression
        self.embed = target.model.get_input_embeddings()
        self.module = Features(target, seed)
        self.layer, self.flat = self.module.layer, Flat(self.module)

    def reach(self, text: Text) -> int:
        return UNLIMITED if len(text.tokens) > 1 else 0  # the first token alone has no feature before it

    def vectors(self, text: Text, start: int, stop: int) -> Tensor:
        assert text.hidden is not None
        ids = sent(torch.tensor(text.tokens[start + 1 : stop + 1], dtype=torch.long), self.target.device)
        return self.module.join(self.embed(ids), text.hidden[start:stop])

    def logits_after(self, drafted: list[Tensor]) -> Tensor:
        if drafted:
            vectors = self.module.join(self.embed(drafted[-1]), self.feature)[:, None]
            self.feature = self.memory.read(vectors, [int(more) for more in self.goes_on(len(drafted))])[:, 0]
        else:
            self._read()
            self.feature = self.newest
        return self.target.head(self.feature)

    def commit(self) -> None:
        """Forget the drafted features; the true ones are read at the next draft."""
        for row, held in enumerate(self.memory.lengths):
            self.memory.keep(row, min(held, self.held[row]))

    def loss(self, pieces: Sequence[Piece], objective: Objective = DISTIL) -> FlatLoss:
        """By one forward over the text of each piece, features true throughout; position i is drafted from f̂_{i−1}."""
        late, inputs = since(2, pieces), []
        with torch.no_grad(), torch.inference_mode(False):  # an inference tensor cannot enter autograd
            for piece in late:
                ids = torch.tensor(piece.tokens[1 : piece.stop - 1], device=self.target.device)
                inputs.append((self.embed(ids), piece.states()[: piece.stop - 1].clone()))
        rows = objective.rows(late)

        def forward(parameters: dict[str, Tensor]) -> tuple[list[Tensor], Tensor]:
            logits, penalty, count = [], torch.zeros((), device=self.target.device), 0
            for piece, chosen, (embedded, features) in zip(late, rows, inputs, strict=True):
                predicted = self.flat.play(parameters, embedded, features[:-1])
                predicted = predicted[piece.start - 2 :]
                logits.append(self.target.head(predicted[chosen]))
                if self.regression:
                    true = features[piece.start - 1 :]
                    penalty = penalty + F.smooth_l1_loss(predicted.float(), true.float(), reduction="sum")
                    count += true.numel()
            return logits, self.regression * penalty / max(count, 1)

        laws = [piece.target_probs[chosen] for piece, chosen in zip(late, rows, strict=True)]
        return FlatLoss(self.flat, forward, laws, objective)
