"""Cases of the public suite that are not run, by pattern, each with the reason."""

from __future__ import annotations

EXCLUDED: list[tuple[str, str]] = [
    (r"_cuda$", "there is no CUDA target"),
    # -- values that are no tensors, and dtypes that no array has
    (
        r"^test_(sequence|split_to_sequence|optional|if_seq|if_opt|loop13_seq|loop16_seq)",
        "sequences, optionals",
    ),
    (r"^test_identity_(opt|sequence)", "sequences and optionals"),
    (r"^test_(string|regex|strnorm|equal_string|ai_onnx_ml_label_encoder_string)", "strings"),
    (r"^test_(tfidfvectorizer|image_decoder)", "text and image files are read outside the model"),
    (r"(FNUZ|E8M0|e8m0)", "floats of 8 bits that no format of weights uses"),
    (r"to_(FLOAT8|FLOAT4|INT4|UINT4|INT2|UINT2)", "weights are read from packed dtypes, not cast to them"),
    # -- other kinds of models
    (r"^test_ai_onnx_ml", "trees, encoders and the like are no networks"),
    (r"^test_(ada|momentum|nesterov|gradient)", "training is no part of the file"),
    (r"^test_(batchnorm.*training_mode|training_dropout)", "training"),
    (r"^test_(lstm|gru|rnn|simple_rnn|operator_lstm|operator_rnn)", "recurrent networks"),
    (r"^test_(loop11|range_.*_expanded|scan)", "loops over data"),
    (r"^test_(linear_attention|flexattention)", "loops over data, in attention"),
    (r"^test_attention.*(bf16|nonpad|padded_kv)", "attention over a number of keys that is data"),
    (
        r"^test_(causal_conv_with_state.*(past_state|fp16)|tensorscatter|rotary.*bf16)",
        "caches of language models",
    ),
    (r"^test_(bernoulli|random)", "random numbers"),
    (r"^test_(dft|stft|melweight|blackman|hamming|hann)", "signal processing"),
    # -- operators that networks for images seldom hold, and that no row reads
    (
        r"^test_(basic_deform_conv|deform_conv|gridsample|roialign|maxunpool|col2im)",
        "sampling at places that are data",
    ),
    (r"^test_(bitcast|cumprod|det_|eyelike|reversesequence)", "not met in networks for images"),
    (
        r"^test_attention_(4d_causal_with_past_and_present|local_window_(with_past|ext_cache\w*))"
        r"(?<!_expanded)_cpu$",
        "attention with a cache",
    ),
    # -- shapes of results that are data
    (r"^test_(unique|compress|nonmaxsuppression)", "the shape of the result is data"),
]
"""(pattern of names, reason); names end in the device."""
