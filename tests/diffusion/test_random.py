# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.random import complex_normal, derive_key, key_words, philox4x32

KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
ZERO = torch.tensor(0)


def words(text):
    return torch.tensor([int(word, 16) for word in text.split()])


def python_philox(counter, key):
    """The published algorithm in Python integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(second >> 32) ^ c[1] ^ k[0], second % 2**32, (first >> 32) ^ c[3] ^ k[1], first % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_words(counter, key, expected):
    assert torch.equal(philox4x32(words(counter), words(key)), words(expected))


WORD = st.integers(0, 2**32 - 1)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(WORD, WORD, WORD, WORD), min_size=1, max_size=4), st.tuples(WORD, WORD))
def test_philox_agrees_with_python_integers(counters, key):
    expected = [python_philox(counter, key) for counter in counters]
    assert philox4x32(torch.tensor(counters), torch.tensor(key)).tolist() == expected


def test_philox_broadcasts_keys_against_counters():
    counters = torch.arange(12).reshape(3, 4)
    keys = key_words([1, 2**40 + 3]).T[:, None]
    together = philox4x32(counters, keys)
    assert together.shape == (2, 3, 4)
    assert torch.equal(together[1, 2], philox4x32(counters[2], keys[1, 0]))


def test_complex_normal_is_standard_and_independent():
    count = 100_000
    first, second = complex_normal([11, 12], (torch.arange(count), ZERO, ZERO, ZERO))
    samples = torch.cat([first, second])
    error = 1 / math.sqrt(count)
    covariance = samples @ samples.conj().T / count
    assert (covariance - torch.eye(4)).abs().max() < 4 * error
    assert (samples @ samples.T / count).abs().max() < 4 * error
    assert samples.mean(dim=1).abs().max() < 4 * error
    # E|z|^4 = 2 with standard deviation sqrt(20), P(|z|^2 > 5) = exp(-5)
    assert (samples.abs().pow(4).mean(dim=1) - 2).abs().max() < 4 * math.sqrt(20) * error
    assert ((samples.abs().square() > 5).double().mean(dim=1) - math.exp(-5)).abs().max() < 4 * 0.082 * error


def test_every_counter_word_and_key_changes_the_draw():
    base = complex_normal([5], (ZERO, ZERO, ZERO, ZERO))[0]
    for position in range(4):
        counter = [ZERO] * 4
        counter[position] = torch.tensor(1)
        assert not torch.equal(complex_normal([5], counter)[0], base)
    for key in (6, 5 + 2**32):
        assert not torch.equal(complex_normal([key], (ZERO, ZERO, ZERO, ZERO))[0], base)


def test_a_draw_depends_on_its_own_key_bit_by_bit():
    counter = (torch.arange(7), torch.arange(5)[:, None], ZERO, ZERO)
    keys = [derive_key("test", i) for i in range(9)]
    together = torch.stack(complex_normal(keys, counter))
    alone = torch.cat([torch.stack(complex_normal([key], counter)) for key in keys], dim=1)
    assert torch.equal(together, alone)


@pytest.mark.parametrize("key", [-1, 2**64])
def test_a_key_must_be_a_64_bit_integer(key):
    with pytest.raises(InputError, match="derive_key"):
        key_words([key])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_words():
    counter, key = words(KNOWN_ANSWERS[2][0]), words(KNOWN_ANSWERS[2][1])
    assert torch.equal(philox4x32(counter.cuda(), key.cuda()).cpu(), words(KNOWN_ANSWERS[2][2]))


def test_equal_integers_give_equal_keys_whatever_their_type():
    wanted = derive_key(3, "noise", "1")
    assert derive_key(np.int64(3), "noise", np.str_("1")) == wanted
    assert derive_key(torch.tensor(3), "noise", "1") == wanted
    assert derive_key(3, "noise", 1) != wanted
    for other in (3.0, None, (3,)):
        with pytest.raises(InputError, match="must be integers and text: got"):
            derive_key(other, "noise", "1")
