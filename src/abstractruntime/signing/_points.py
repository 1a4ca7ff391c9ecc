"""Which 32 bytes are a point of Curve25519 that can be somebody's public key."""

from __future__ import annotations

from typing import Final

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_SIGN: Final = 1 << 255
# The y of the eight points whose order divides 8, as libsodium lists them; x has either sign.
_SMALL_ORDER: Final = frozenset(
    {
        0,
        1,
        _P - 1,
        int.from_bytes(
            bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
            "little",
        ),
        int.from_bytes(
            bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
            "little",
        ),
    }
)


def is_weak_point(public: bytes) -> bool:
    """Tell whether 32 bytes are no public key that could be somebody's.

    That is a point of small order, for which anybody can make signatures over anything, a point
    in another form than the one form of RFC 8032, or no point of the curve at all.
    """
    y = int.from_bytes(public, "little") & (_SIGN - 1)
    if y >= _P or y in _SMALL_ORDER:
        return True
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P)
    return pow(square, (_P - 1) // 2, _P) != 1
