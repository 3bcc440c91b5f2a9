import pytest
import torch
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM

from circuitseer_trl.circuits.attention import Ablation, ablate, check_heads, decoder_layers, head_grid, observe
from tests.helpers.slow_reference import written_out
from tests.helpers.tiny_models import (
    ARCHITECTURES,
    EAGER_ONLY,
    NUM_HEADS,
    NUM_LAYERS,
    sink_model,
    tiny_model,
    tiny_text,
)

IDS = torch.tensor([tiny_text(24)])


def hidden(model, ids=IDS):
    return model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_shows_its_heads_and_layers(arch):
    model = tiny_model(arch)
    assert head_grid(model) == (NUM_LAYERS, NUM_HEADS)
    assert len(decoder_layers(model)) == NUM_LAYERS


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize("arch", ["llama", "qwen2", "gemma3"])
def test_one_row_of_a_batch_is_ablated_and_the_others_are_not(arch, kernel):
    model = tiny_model(arch, torch.float64, attn_implementation=kernel)
    with ablate(model, [Ablation(1, 2, row=1)]):
        clean, ablated, other = hidden(model, IDS.repeat(3, 1))
    with written_out(model, silenced=[(1, 2)]):
        expected = hidden(model)[0]
    tolerance = 1e-9 if kernel == "sdpa" else 1e-5
    assert torch.equal(clean, other)
    assert (ablated - expected).abs().max() < tolerance
    assert (clean - hidden(model)[0]).abs().max() < tolerance
    assert (ablated - clean).abs().max() > 0.05


def test_without_a_row_all_rows_are_ablated():
    model = tiny_model("llama", torch.float64)
    with ablate(model, [Ablation(0, 3)]):
        rows = hidden(model, IDS.repeat(2, 1))
    with written_out(model, silenced=[(0, 3)]):
        expected = hidden(model)
    assert (rows - expected).abs().max() < 1e-9


def test_scaling_the_query_weights_is_not_ablation_where_there_is_a_bias():
    model = tiny_model("qwen2", torch.float64)
    with ablate(model, [Ablation(1, 2)]):
        right = hidden(model)
    size = model.config.hidden_size // NUM_HEADS
    model.get_decoder().layers[1].self_attn.q_proj.weight[2 * size : 3 * size] = 0
    assert (hidden(model) - right).abs().max() > 0.05


@pytest.mark.parametrize("arch", ["llama", "gemma2"])
@pytest.mark.parametrize("fails", [False, True])
def test_model_and_registry_are_as_they_were(arch, fails):
    model = tiny_model(arch)
    registry, weights = dict(AttentionInterface._global_mapping), {k: v.clone() for k, v in model.state_dict().items()}
    before = hidden(model)
    try:
        with ablate(model, [Ablation(1, 1)]):
            assert not torch.equal(hidden(model), before)
            if fails:
                raise KeyError("something else")
    except KeyError:
        assert fails
    assert AttentionInterface._global_mapping == registry
    assert all(torch.equal(weights[name], weight) for name, weight in model.state_dict().items())
    assert torch.equal(hidden(model), before)


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_other_models_pass_through(kernel):
    model, other = (tiny_model("llama", seed=seed, attn_implementation=kernel) for seed in (0, 1))
    before = hidden(other)
    with ablate(model, [Ablation(layer, head) for layer in range(NUM_LAYERS) for head in range(NUM_HEADS)]):
        assert torch.equal(hidden(other), before)
        hidden(model)


@pytest.mark.parametrize("arch", [arch for arch in ARCHITECTURES if arch not in EAGER_ONLY])
def test_visits_see_queries_and_keys_once_a_layer(arch):
    model, shapes = tiny_model(arch), {}

    def visit(layer, call):
        shapes[layer] = call.query.shape[:3], call.key.shape[1]
        return call.query

    before = hidden(model)
    with observe(model, [0, 2], visit):
        assert torch.equal(hidden(model), before)
    key_heads = NUM_HEADS if arch in {"gpt2", "gpt_neox"} else 2
    assert shapes == {0: ((1, NUM_HEADS, 24), key_heads), 2: ((1, NUM_HEADS, 24), key_heads)}


def test_learned_sinks_are_refused():
    with pytest.raises(ValueError, match="learned attention sinks"), ablate(model := sink_model(), [Ablation(0, 0)]):
        hidden(model)


def test_position_biases_are_refused():
    model = tiny_model("llama", attn_implementation="eager")
    slopes = -0.5 * torch.arange(24.0)
    bias = (slopes[:, None] - slopes).abs().neg()[None, None]
    with pytest.raises(ValueError, match="position bias"), ablate(model, [Ablation(0, 0)]):
        model.get_decoder()(input_ids=IDS, use_cache=False, position_bias=bias)
    with pytest.raises(ValueError, match="ALiBi"), ablate(model, [Ablation(0, 0)]):
        model.get_decoder()(input_ids=IDS, use_cache=False, attention_mask=bias)


OUTSIDE = {
    "bloom": {"n_layer": 2, "n_head": 2},  # ALiBi, in a modeling file of its own
    "mamba": {"num_hidden_layers": 2, "num_attention_heads": 2, "state_size": 4},
    "qwen3_next": {
        "layer_types": ["linear_attention", "full_attention"],
        **{"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8},
        **{
            "num_experts": 2,
            "num_experts_per_tok": 1,
            "moe_intermediate_size": 8,
            "shared_expert_intermediate_size": 8,
        },
        **{
            "linear_num_value_heads": 2,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
        },
    },
}


@pytest.mark.parametrize("model_type", OUTSIDE)
def test_attention_outside_the_interface_is_refused(model_type):
    config = AutoConfig.for_model(model_type, vocab_size=96, hidden_size=16, **OUTSIDE[model_type])
    model = AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(ValueError, match="does not go through"), torch.no_grad(), ablate(model, [Ablation(0, 0)]):
        hidden(model)


def test_a_second_forward_in_a_block_is_refused():
    model = tiny_model("llama")
    with ablate(model, [Ablation(0, 0)]):
        hidden(model)
        with pytest.raises(ValueError, match="attended twice"):
            hidden(model)


@pytest.mark.parametrize("head", [(3, 0), (0, 4), (-1, 0)])
def test_heads_that_do_not_exist_are_refused(head):
    with pytest.raises(ValueError, match="There is no head"):
        check_heads(tiny_model("llama"), [head])


def test_heads_named_twice_are_refused():
    with pytest.raises(ValueError, match=r"more than once: \[\(1, 1\)\]"):
        check_heads(tiny_model("llama"), [(1, 1), (0, 0), (1, 1)])
