"""Makes this directory: a tiny Mixtral with random weights, and how PyTorch's autograd trains it.

The arithmetic is written out here from the papers and shares nothing with the Java code: Mixtral's gates (top_k 2),
Switch's (top_k 1), the balance loss of each sequence and the z-loss. Needs torch, numpy and safetensors.
"""

import json
import math
import pathlib

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
LAYERS, HIDDEN, HEADS, KV_HEADS, WIDTH, EXPERTS, SEQUENCE, VOCABULARY = 2, 16, 2, 1, 24, 4, 16, 256
BATCH, STEPS, DATA_SEED = 4, 8, 20240602
MASK = (1 << 64) - 1


def mix64(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def at(seed, i):
    return mix64((seed + (i + 1) * 0x9E3779B97F4A7C15) & MASK)


def sequence(number):
    seed, tokens = at(DATA_SEED, number), []
    for t in range(SEQUENCE + 1):
        r = at(seed, t)
        is_new = t == 0 or r >> 61 == 0
        tokens.append((r >> 8) & 255 if is_new else (3 * tokens[-1] + 7) & 255)
    return tokens


def weights():
    random = torch.Generator().manual_seed(7)

    def uniform(*shape, width):
        return (torch.rand(*shape, generator=random) * 2 - 1) * width

    head = HIDDEN // HEADS
    made = {
        "model.embed_tokens.weight": uniform(VOCABULARY, HIDDEN, width=0.1),
        "model.norm.weight": 1 + uniform(HIDDEN, width=0.1),
        "lm_head.weight": uniform(VOCABULARY, HIDDEN, width=0.1),
    }
    for layer in range(LAYERS):
        name = f"model.layers.{layer}."
        made[name + "input_layernorm.weight"] = 1 + uniform(HIDDEN, width=0.1)
        made[name + "post_attention_layernorm.weight"] = 1 + uniform(HIDDEN, width=0.1)
        made[name + "self_attn.q_proj.weight"] = uniform(HEADS * head, HIDDEN, width=0.3)
        made[name + "self_attn.k_proj.weight"] = uniform(KV_HEADS * head, HIDDEN, width=0.3)
        made[name + "self_attn.v_proj.weight"] = uniform(KV_HEADS * head, HIDDEN, width=0.3)
        made[name + "self_attn.o_proj.weight"] = uniform(HIDDEN, HEADS * head, width=0.3)
        made[name + "block_sparse_moe.gate.weight"] = uniform(EXPERTS, HIDDEN, width=0.5)
        for expert in range(EXPERTS):
            one = f"{name}block_sparse_moe.experts.{expert}."
            made[one + "w1.weight"] = uniform(WIDTH, HIDDEN, width=0.3)
            made[one + "w2.weight"] = uniform(HIDDEN, WIDTH, width=0.3)
            made[one + "w3.weight"] = uniform(WIDTH, HIDDEN, width=0.3)
    return made


def rms_norm(x, gain):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * gain


def rotate(x):
    half = x.shape[-1] // 2
    frequencies = 10000.0 ** (-torch.arange(half, dtype=torch.float32) / half)
    angles = torch.arange(SEQUENCE, dtype=torch.float32)[:, None] * frequencies
    cosine, sine = angles.cos(), angles.sin()
    u, w = x[..., :half], x[..., half:]
    return torch.cat([u * cosine - w * sine, w * cosine + u * sine], -1)


def attention(w, name, x):
    head = HIDDEN // HEADS

    def heads(which, count):
        return (x @ w[f"{name}self_attn.{which}_proj.weight"].T).view(-1, SEQUENCE, count, head).transpose(1, 2)

    q, k, v = rotate(heads("q", HEADS)), rotate(heads("k", KV_HEADS)), heads("v", KV_HEADS)
    k, v = k.repeat_interleave(HEADS // KV_HEADS, 1), v.repeat_interleave(HEADS // KV_HEADS, 1)
    scores = q @ k.transpose(-1, -2) / math.sqrt(head)
    scores = scores.masked_fill(torch.ones(SEQUENCE, SEQUENCE).triu(1).bool(), -math.inf)
    o = (scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, SEQUENCE, HIDDEN)
    return o @ w[name + "self_attn.o_proj.weight"].T


def mixture(w, name, x, top_k, balance, z_loss):
    """The layer's result, and what its router adds to the mean loss of a token."""
    z = x @ w[name + "block_sparse_moe.gate.weight"].T  # [batch, sequence, experts]
    p = z.softmax(-1)
    _, chosen = z.topk(top_k, -1)
    taken = torch.zeros_like(z).scatter(-1, chosen, 1.0)
    gates = p * taken
    if top_k > 1:
        gates = gates / gates.sum(-1, keepdim=True)
    y = torch.zeros_like(x)
    for expert in range(EXPERTS):
        one = f"{name}block_sparse_moe.experts.{expert}."
        inner = torch.nn.functional.silu(x @ w[one + "w1.weight"].T) * (x @ w[one + "w3.weight"].T)
        y = y + gates[..., expert : expert + 1] * (inner @ w[one + "w2.weight"].T)
    f = taken.mean(1) * EXPERTS / top_k  # [batch, experts], 1 where all experts get equally many
    own = balance * (f * p.mean(1)).sum(-1).mean() + z_loss * z.logsumexp(-1).pow(2).mean()
    return y, own


def train(top_k, balance, z_loss):
    w = {name: tensor.clone().requires_grad_() for name, tensor in weights().items()}
    optimizer = torch.optim.SGD(w.values(), lr=0.5, momentum=0.9)
    losses, norms = [], []
    for step in range(STEPS):
        tokens = torch.tensor([sequence(BATCH * step + b) for b in range(BATCH)])
        x = w["model.embed_tokens.weight"][tokens[:, :-1]]
        own = 0.0
        for layer in range(LAYERS):
            name = f"model.layers.{layer}."
            x = x + attention(w, name, rms_norm(x, w[name + "input_layernorm.weight"]))
            normed = rms_norm(x, w[name + "post_attention_layernorm.weight"])
            y, of_router = mixture(w, name, normed, top_k, balance, z_loss)
            x, own = x + y, own + of_router
        logits = rms_norm(x, w["model.norm.weight"]) @ w["lm_head.weight"].T
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        (loss + own).backward()
        losses.append(loss.item())
        norms.append(math.sqrt(sum(v.grad.double().pow(2).sum().item() for v in w.values())))
        optimizer.step()
    return {"top_k": top_k, "balance": balance, "z_loss": z_loss, "loss": losses, "grad_norm": norms}


if __name__ == "__main__":
    torch.set_num_threads(1)
    save_file(weights(), HERE / "model.safetensors", metadata={"format": "pt"})
    config = {
        "model_type": "mixtral",
        "architectures": ["MixtralForCausalLM"],
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": WIDTH,
        "max_position_embeddings": SEQUENCE,
        "num_attention_heads": HEADS,
        "num_experts_per_tok": 2,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": KV_HEADS,
        "num_local_experts": EXPERTS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "vocab_size": VOCABULARY,
    }
    (HERE / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    curves = [train(2, 0.0, 0.0), train(2, 0.5, 0.05), train(1, 0.5, 0.05)]
    (HERE / "expected.json").write_text(json.dumps({"steps": STEPS, "curves": curves}, indent=1) + "\n")
