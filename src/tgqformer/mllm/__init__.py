"""End-to-end multimodal language models as item embedders: the rival without a frozen tower."""

from tgqformer.mllm.config import MLLMConfig, MLLMTraining
from tgqformer.mllm.embedder import MLLMEmbedder
from tgqformer.mllm.train import MLLMResult, train_mllm

__all__ = ["MLLMConfig", "MLLMEmbedder", "MLLMResult", "MLLMTraining", "train_mllm"]
