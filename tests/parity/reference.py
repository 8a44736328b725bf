"""Random small PyTorch models of uneven sizes, and what they answer."""

import re
from typing import Any

import numpy as np
import torch
import transformers

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")

# Sizes that nothing divides well: odd heads, a width that is no power of two, an odd vocabulary.
BERT: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 21,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "max_position_embeddings": 19,
    "type_vocab_size": 1,
    "hidden_act": "gelu_new",
    "pad_token_id": 5,
    "layer_norm_eps": 1e-7,
}
ELECTRA: dict[str, Any] = {
    "vocab_size": 47,
    "embedding_size": 10,
    "hidden_size": 30,
    "num_hidden_layers": 2,
    "num_attention_heads": 5,
    "intermediate_size": 23,
    "max_position_embeddings": 17,
    "type_vocab_size": 2,
    "hidden_act": "relu",
    "pad_token_id": 3,
}
ROBERTA: dict[str, Any] = {
    "vocab_size": 53,
    "hidden_size": 26,
    "num_hidden_layers": 2,
    "num_attention_heads": 13,
    "intermediate_size": 31,
    "max_position_embeddings": 24,
    "type_vocab_size": 1,
    "hidden_act": "silu",
    "pad_token_id": 4,
    "layer_norm_eps": 1e-5,
}
DEBERTA: dict[str, Any] = {
    "vocab_size": 59,
    "hidden_size": 22,
    "num_hidden_layers": 3,
    "num_attention_heads": 11,
    "intermediate_size": 35,
    "max_position_embeddings": 19,
    "type_vocab_size": 0,
    "hidden_act": "gelu",
    "pad_token_id": 3,
    "relative_attention": True,
    "position_biased_input": False,
    "pos_att_type": ["p2c", "c2p"],
    "share_att_key": True,
    "position_buckets": 6,
    "norm_rel_ebd": "layer_norm",
}
DISTILBERT: dict[str, Any] = {
    "vocab_size": 57,
    "dim": 27,
    "n_layers": 3,
    "n_heads": 9,
    "hidden_dim": 31,
    "max_position_embeddings": 19,
    "activation": "relu",
    "pad_token_id": 4,
}
MPNET: dict[str, Any] = {
    "vocab_size": 57,
    "hidden_size": 30,
    "num_hidden_layers": 2,
    "num_attention_heads": 5,
    "intermediate_size": 37,
    "max_position_embeddings": 43,  # far enough for distances that share a bucket
    "hidden_act": "gelu_new",
    "pad_token_id": 4,
    "layer_norm_eps": 1e-5,
}
MODERNBERT: dict[str, Any] = {
    "vocab_size": 57,
    "hidden_size": 30,
    "num_hidden_layers": 3,  # the first looks at everything, the others at a window
    "num_attention_heads": 5,
    "intermediate_size": 37,
    "max_position_embeddings": 23,
    "hidden_activation": "silu",
    "local_attention": 6,
    "classifier_activation": "relu",
    "pad_token_id": 4,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "cls_token_id": 2,
    "sep_token_id": 3,
}
ALBERT: dict[str, Any] = {
    "vocab_size": 57,
    "embedding_size": 10,
    "hidden_size": 27,
    "num_hidden_layers": 5,
    "num_hidden_groups": 2,  # of three layers and of two
    "num_attention_heads": 9,
    "intermediate_size": 37,
    "max_position_embeddings": 19,
    "type_vocab_size": 2,
    "pad_token_id": 4,
    "layer_norm_eps": 1e-6,
}
REMBERT: dict[str, Any] = {
    "vocab_size": 57,
    "input_embedding_size": 10,
    "output_embedding_size": 23,
    "hidden_size": 27,
    "num_hidden_layers": 3,
    "num_attention_heads": 9,
    "intermediate_size": 37,
    "max_position_embeddings": 19,
    "type_vocab_size": 2,
    "hidden_act": "relu",
    "pad_token_id": 4,
    "layer_norm_eps": 1e-6,
}
GPT2: dict[str, Any] = {
    "vocab_size": 57,
    "n_embd": 27,
    "n_layer": 3,
    "n_head": 9,
    "n_inner": 37,
    "n_positions": 19,
    "activation_function": "silu",
    "pad_token_id": 4,
    "bos_token_id": 3,
    "eos_token_id": 3,
}
SIZES = {
    "bert": BERT,
    "electra": ELECTRA,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "deberta-v2": DEBERTA,
    "distilbert": DISTILBERT,
    "mpnet": MPNET,
    "modernbert": MODERNBERT,
    "albert": ALBERT,
    "rembert": REMBERT,
    "gpt2": GPT2,
}
AUTO = {
    "tagging": transformers.AutoModelForTokenClassification,
    "classification": transformers.AutoModelForSequenceClassification,
}


def make_model(family: str, kind: str, seed: int, **changes: Any) -> transformers.PreTrainedModel:
    """A model in evaluation mode whose every parameter is random, biases and norms included."""
    sizes = SIZES[family] | changes
    labels = dict(enumerate(LABELS))
    config = transformers.AutoConfig.for_model(
        family,
        **sizes,
        id2label=labels,
        label2id={label: index for index, label in labels.items()},
        attn_implementation="eager",
    )
    model = AUTO[kind].from_config(config, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if re.search(r"(norm|ln_\w)\.weight$", name, re.IGNORECASE) else 0.0
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(centre + 0.3 * noise)
    return model


def make_inputs(config: transformers.PretrainedConfig, seed: int) -> dict[str, np.ndarray]:
    """Two segments, one over all positions of the model and one padded: tokens i32[2,T] and so on.

    With two token types, the first is a pair.
    """
    length = find_length(config)
    mask = np.ones((2, length), np.int32)
    mask[1, length - 6 :] = 0
    tokens = draw_tokens(config, (2, length), np.random.default_rng(seed))
    tokens[mask == 0] = config.pad_token_id
    token_type = np.zeros_like(tokens)
    if getattr(config, "type_vocab_size", 0) > 1:
        token_type[0, length // 2 :] = 1
    return {"tokens": tokens, "mask": mask, "token_type": token_type}


def make_segments(config: transformers.PretrainedConfig, seed: int) -> list[dict[str, np.ndarray]]:
    """Five segments of unequal lengths, each alone and unpadded: tokens i32[1,T] and so on.

    The first takes all positions of the model; the fourth is a pair.
    """
    rng = np.random.default_rng(seed)
    segments = []
    for length in (find_length(config), 3, 1, 9, 5):
        tokens = draw_tokens(config, (1, length), rng)
        token_type = np.zeros_like(tokens)
        if length == 9 and getattr(config, "type_vocab_size", 0) > 1:
            token_type[0, 4:] = 1
        segments.append({"tokens": tokens, "mask": 0 * tokens + 1, "token_type": token_type})
    return segments


def find_length(config: transformers.PretrainedConfig) -> int:
    """Subwords in a segment that takes all positions of the model."""
    behind = {"mpnet": 2}  # positions that stand for padding, or for nothing
    if SIZES[config.model_type] is ROBERTA:
        behind[config.model_type] = config.pad_token_id + 1
    return config.max_position_embeddings - behind.get(config.model_type, 0)


def draw_tokens(
    config: transformers.PretrainedConfig, shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    """Random subwords i32, none of which PyTorch takes for padding: MPNet's is 1 in any case."""
    tokens = rng.integers(0, config.vocab_size, shape, dtype=np.int32)
    tokens[(tokens == config.pad_token_id) | (tokens == 1)] = 0
    return tokens


def run_model(
    model: transformers.PreTrainedModel, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What PyTorch answers: logits, hidden f[L+1,B,T,D], attention f[L,B,H,T,T]."""
    types = {}
    if getattr(model.config, "type_vocab_size", 0):
        types["token_type_ids"] = torch.tensor(inputs["token_type"])
    with torch.no_grad():
        output = model(
            input_ids=torch.tensor(inputs["tokens"]),
            attention_mask=torch.tensor(inputs["mask"]),
            output_hidden_states=True,
            output_attentions=True,
            **types,
        )
    answers = {
        "hidden": np.stack([state.numpy() for state in output.hidden_states]),
        "attention": np.stack([part.numpy() for part in output.attentions]),
    }
    if "logits" in output:
        answers["logits"] = output.logits.numpy()
    return answers
