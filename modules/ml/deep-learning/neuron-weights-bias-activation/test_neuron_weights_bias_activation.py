"""What must hold of The neuron: weights, bias and activation, beyond the snippets' own asserts."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

finite = st.floats(-1e6, 1e6)


@given(st.lists(finite, min_size=1, max_size=20))
def test_agrees_with_torch(load, numbers):
    function = load("neuron_weights_bias_activation_numpy").neuron_weights_bias_activation
    x = np.array(numbers)
    expected = torch.from_numpy(x).mul(2.0).numpy()
    np.testing.assert_allclose(function(x), expected, rtol=1e-6)
