"""A key-value cache that writes in place: transformers' own copies every key and value at every token."""

from typing import Any

import torch
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer

# B rows, H heads, T tokens so far, D head size


class SpareRoomLayer(DynamicLayer):
    """A layer whose buffers have room for coming tokens; `keys` and `values` are the filled part of them."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._buffers = [
                key_states.new_empty((*states.shape[:2], 0, states.shape[3])) for states in (key_states, value_states)
            ]
            self._length = 0
        end = self._length + key_states.shape[-2]
        for which, states in enumerate((key_states, value_states)):
            buffer = self._buffers[which]
            if end > buffer.shape[2]:
                # Growing by a quarter keeps all copies together below five times the final size.
                grown = buffer.new_empty((*buffer.shape[:2], end + end // 4 + 32, buffer.shape[3]))
                grown[:, :, : self._length] = buffer[:, :, : self._length]
                self._buffers[which] = buffer = grown
            buffer[:, :, self._length : end] = states
        self._length = end
        return self._show()

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Takes the rows `beam_idx`: some of them, in another order, or repeated."""
        self._buffers = [buffer.index_select(0, beam_idx) for buffer in self._buffers]
        self._show()

    def _show(self) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = (buffer[:, :, : self._length] for buffer in self._buffers)
        self.keys, self.values = keys, values
        return keys, values


def make_cache(config: PretrainedConfig) -> DynamicCache:
    """An empty cache for a model; layers with a window or without attention keep the kind that they have by default."""
    cache = DynamicCache(config=config)
    cache.layers = [SpareRoomLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
