# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Stateless randomness: every draw is a function of its coordinates, never of generator state."""

import hashlib
import math
import operator
from collections.abc import Sequence
from typing import SupportsIndex

import torch
from jaxtyping import Complex128, Int64
from torch import Tensor

from physicsnemo_fs.errors import InputError

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_GOLDEN, _MIX_1, _MIX_2 = (c - (1 << 64) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def derive_key(*coordinates: int | str) -> int:
    """Give a 64-bit key that depends on every coordinate and on their order, and on nothing else.

    Args:
        coordinates: What identifies the draw, for example ``(seed, "training-noise", epoch, sample, draw)``. Integers
            of numpy and torch are the integers that they are equal to.

    Returns:
        An integer in [0, 2**63), the same on every machine and in every process.

    Raises:
        InputError: If a coordinate is neither an integer nor text.

    Example:
        >>> derive_key(0, "noise", 1) == derive_key(0, "noise", 1)
        True
        >>> derive_key(0, "noise", 1) == derive_key(0, "noise", 2)
        False
    """
    text = "\x1f".join(f"str:{c}" if isinstance(c, str) else f"int:{_integer(c)}" for c in coordinates)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def _integer(value: SupportsIndex) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise InputError(f"what a random key is derived from must be integers and text: got {value!r}") from None


def member_key(seed: int, time: str, *place: str) -> int:
    """Give the key of an ensemble member's noise at one time: the same in every batch, command and package.

    Args:
        seed: Seed of the member.
        time: ISO time to the nanosecond, as numpy prints ``datetime64[ns]``.
        place: Further coordinates: the region, if there are several.

    Example:
        >>> member_key(0, "2020-01-01T00:00:00.000000000") == member_key(0, "2020-01-01T00:00:00.000000000", "alps")
        False
    """
    return derive_key(seed, "member", time, *place)


def generator(*coordinates: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """Give a torch generator seeded by :func:`derive_key` of the coordinates.

    Example:
        >>> a, b = (torch.rand(3, generator=generator(7, "augment", 5)) for _ in range(2))
        >>> torch.equal(a, b)
        True
    """
    return torch.Generator(device=device).manual_seed(derive_key(*coordinates))


def philox4x32(counter: Int64[Tensor, "*shape 4"], key: Int64[Tensor, "*keys 2"]) -> Int64[Tensor, "*both 4"]:
    r"""Give the four random words of each counter under each key: the Philox-4x32-10 bijection.

    Ten rounds of two 32-bit multiplications and exclusive-ors. Equal (key, counter) give equal words on every
    device; different ones give words that pass every test of randomness of the source.

    Args:
        counter: Four words in [0, 2**32), held in int64.
        key: Two words in [0, 2**32), low one first; leading axes broadcast against those of ``counter``.

    Returns:
        Four words in [0, 2**32), int64.

    Example:
        >>> words = philox4x32(torch.zeros(4, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
        >>> [f"{int(w):08x}" for w in words]
        ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']

    Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section
        4.3;
    constants and test vectors from Random123.
    """
    words = _philox_words(counter.unbind(-1), key.unbind(-1))
    return torch.stack(torch.broadcast_tensors(*words), dim=-1)


def splitmix64(key: Int64[Tensor, "*keys"], counter: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*both"]:
    r"""Give 64 random bits for each key and counter: a fifth of Philox's work, for masks and the like.

    The ``counter``-th output of the generator SplitMix64 whose seed is ``key``.

    Args:
        key: Keys; :func:`derive_key` makes keys whose sequences do not meet.
        counter: Counters from 0, broadcast against the keys.

    Example:
        >>> [bits % 2**64 for bits in splitmix64(torch.tensor(1234567), torch.arange(2)).tolist()]
        [6457827717110365317, 3203168211198807973]

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    bits = key + (counter + 1) * _GOLDEN  # int64 wraps modulo 2**64
    bits = (bits ^ _shifted(bits, 30)) * _MIX_1
    bits = (bits ^ _shifted(bits, 27)) * _MIX_2
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Shift right without the sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _philox_words(counter: Sequence[Tensor], key: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    c0, c1, c2, c3 = counter
    for round_index in range(_ROUNDS):
        k0 = (key[0] + round_index * _KEY_INCREMENTS[0]) & _WORD
        k1 = (key[1] + round_index * _KEY_INCREMENTS[1]) & _WORD
        # int64 products wrap modulo 2**64: both 32-bit halves of the unsigned product are exact.
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c2 = ((product1 >> 32) ^ c1 ^ k0) & _WORD, ((product0 >> 32) ^ c3 ^ k1) & _WORD
        c1, c3 = product1 & _WORD, product0 & _WORD
    return c0, c1, c2, c3


def key_words(keys: Sequence[int], device: torch.device | str = "cpu") -> Int64[Tensor, "2 key"]:
    """Split 64-bit keys into their low and high 32-bit words.

    Raises:
        InputError: If a key is not an integer in [0, 2**64).

    Example:
        >>> key_words([5, 2**32]).tolist()
        [[5, 0], [0, 1]]
    """
    for key in keys:
        if not (isinstance(key, int) and 0 <= key < 2**64):
            raise InputError(f"a random key must be an integer in [0, 2**64): got {key!r}; use derive_key(seed, ...)")
    return torch.tensor([[key & _WORD for key in keys], [key >> 32 for key in keys]], dtype=torch.int64, device=device)


def complex_normal(
    keys: Sequence[int], counter: Sequence[Tensor]
) -> tuple[Complex128[Tensor, " key *shape"], Complex128[Tensor, " key *shape"]]:
    r"""Give two independent standard complex Gaussians :math:`z`, :math:`E|z|^2 = 1`, for each key and
    counter.

    Box and Muller in float64 from the four Philox words :math:`w`:
    :math:`z = \sqrt{-\log u}\, e^{2\pi i v}` with :math:`u, v = (w + 1/2) / 2^{32}`.

    Args:
        keys: One 64-bit key per row of the result.
        counter: Four int64 tensors of words in [0, 2**32) that broadcast to ``shape``; their device is used.

    Raises:
        InputError: If a key is not a 64-bit integer.

    Example:
        >>> i, zero = torch.arange(50_000), torch.tensor(0)
        >>> z, w = complex_normal([3], (i, zero, zero, zero))
        >>> abs(float(z.abs().square().mean()) - 1) < 0.02, bool((z * w.conj()).mean().abs() < 0.02)
        (True, True)
    """
    axes = max(word.ndim for word in counter)
    low, high = key_words(keys, counter[0].device).reshape(2, -1, *[1] * axes)
    words = _philox_words(counter, (low, high))
    first, second = _box_muller(words[0], words[1]), _box_muller(words[2], words[3])
    return first, second


def _box_muller(radius_word: Tensor, angle_word: Tensor) -> Tensor:
    radius = ((radius_word.double() + 0.5) * 2.0**-32).log_().neg_().sqrt_()
    angle = (angle_word.double() + 0.5) * (2 * math.pi * 2.0**-32)
    return torch.complex(radius * angle.cos(), radius * angle.sin())
