"""Explicit vectors for Numba: the few operations that its loops are not turned into.

A kernel that needs them is a Numba *intrinsic*: a function that writes LLVM's intermediate code when it is
compiled. The helpers here write the recurring pieces. Vectors have fixed lengths; LLVM maps them to whatever
registers the machine has, so the same kernel runs with AVX-512, AVX2, NEON or none of them, to the same bits.
Nothing here rounds differently from the scalar operation: no fused or reordered arithmetic is asked for.

Numba's cache does not notice a change in this file: touch the kernels that use it as well.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from llvmlite import ir
from numba.core import cgutils

Builder: TypeAlias = Any  # llvmlite carries no types
Value: TypeAlias = Any

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()
MAGNITUDE = 0x7FFFFFFF  # all bits of a float32 but its sign
TILE = 16  # blocks whose largest magnitudes are found together
BLOCK = 32  # values in each of them


class Array:
    """An array argument of an intrinsic, and the index in it at which the intrinsic works."""

    def __init__(self, context: Any, builder: Builder, kind: Any, value: Value, index: Value):
        self._builder = builder
        self._start = builder.gep(context.make_array(kind)(context, builder, value).data, [index])

    def _at(self, offset: int, kind: Any) -> Value:
        place = self._builder.gep(self._start, [ir.Constant(I64, offset)])
        return self._builder.bitcast(place, kind.as_pointer())

    def load(self, offset: int, kind: Any, count: int) -> Value:
        """Returns `count` values of a type, from `offset` elements behind the index; any alignment."""
        return self._builder.load(self._at(offset, ir.VectorType(kind, count)), align=1)

    def store(self, offset: int, value: Value, stream: int = 0) -> None:
        """Stores a vector; past the caches where `stream`, which divides the address, is 16 or more."""
        written = self._builder.store(value, self._at(offset, value.type), align=max(1, stream))
        if stream:
            flag = self._builder.module.add_metadata([ir.Constant(I32, 1)])
            written.set_metadata("nontemporal", flag)

    def prefetch(self, offset: int, level: int) -> None:
        """Asks for the cache line `offset` elements behind the index, into the cache of level 1 or 2.

        Harmless beyond the array's end.
        """
        kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
        call = cgutils.get_or_insert_function(self._builder.module, kind, "llvm.prefetch.p0")
        read, locality, data = (ir.Constant(I32, value) for value in (0, 4 - level, 1))
        self._builder.call(call, [self._at(offset, I8), read, locality, data])


def fill(kind: Any, value: float, count: int) -> Value:
    """Returns a constant vector of equal values."""
    return ir.Constant(ir.VectorType(kind, count), [value] * count)


def spread(builder: Builder, value: Value, count: int) -> Value:
    """Returns a vector whose lanes all hold a scalar."""
    lanes = ir.VectorType(value.type, count)
    first = builder.insert_element(ir.Constant(lanes, ir.Undefined), value, ir.Constant(I32, 0))
    return shuffle(builder, first, first, [0] * count)


def shuffle(builder: Builder, left: Value, right: Value, lanes: list[int]) -> Value:
    """Returns chosen lanes of two vectors that stand side by side."""
    return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


def woven(builder: Builder, even: Value, odd: Value) -> Value:
    """Returns the lower halves of all lanes of two vectors of integers in one, those of `odd` above.

    Two levels of it take half the instructions of narrowing four vectors to a quarter and joining them.
    """
    half = even.type.element.width // 2
    below = builder.and_(even, fill(even.type.element, (1 << half) - 1, even.type.count))
    return builder.or_(below, builder.shl(odd, fill(odd.type.element, half, odd.type.count)))


def at_least(builder: Builder, value: Value, bound: Value) -> Value:
    """Returns the larger of two vectors of signed integers, lane by lane."""
    return builder.select(builder.icmp_signed("<", value, bound), bound, value)


def at_most(builder: Builder, value: Value, bound: Value) -> Value:
    """Returns the smaller of two vectors of signed integers, lane by lane."""
    return builder.select(builder.icmp_signed(">", value, bound), bound, value)


def tile_peaks(builder: Builder, x: Array) -> Value:
    """Returns the largest magnitudes, as bit patterns, in 16 consecutive blocks of 32 float32 values.

    Sixteen maxima across lanes at once take a third of the shuffles of sixteen separate ones: neighbours are
    interleaved and compared until each lane holds the maximum of its own block.

    Returns:
      int32 `<16>`; magnitudes order like their bit patterns, NaN and infinity above all others.
    """
    rows = []
    for block in range(TILE):
        halves = [x.load(BLOCK * block + half, I32, 16) for half in (0, 16)]
        halves = [builder.and_(bits, fill(I32, MAGNITUDE, 16)) for bits in halves]
        rows.append(at_least(builder, *halves))
    even, odd = list(range(0, 32, 2)), list(range(1, 32, 2))
    while len(rows) > 1:
        rows = [
            at_least(builder, shuffle(builder, left, right, even), shuffle(builder, left, right, odd))
            for left, right in zip(rows[::2], rows[1::2], strict=True)
        ]
    return rows[0]


def keep(builder: Builder, vector: Value) -> Value:
    """Puts a vector where `lane` reads single lanes of it cheaply; returns the place."""
    slot = cgutils.alloca_once(builder, vector.type)
    builder.store(vector, slot)
    return builder.bitcast(slot, vector.type.element.as_pointer())


def lane(builder: Builder, place: Value, index: int, count: int) -> Value:
    """Returns a vector whose lanes all hold lane `index` of what `keep` kept."""
    return spread(builder, builder.load(builder.gep(place, [ir.Constant(I32, index)])), count)


def rotated(builder: Builder, value: Value, bits: int) -> Value:
    """Returns a vector of int32 whose lanes are rotated to the right by so many bits, 1 to 31."""
    count = value.type.count
    right = builder.lshr(value, fill(I32, bits, count))
    return builder.or_(right, builder.shl(value, fill(I32, 32 - bits, count)))


def transposed(builder: Builder, rows: list[Value]) -> list[Value]:
    """Returns the columns of a square of vectors, as many as each has lanes: a power of two.

    Ever smaller blocks off the diagonal are swapped: one shuffle for each row and each size of block.
    """
    rows, count = list(rows), len(rows)
    distance = count // 2
    while distance:
        for first in (i for i in range(count) if not i & distance):
            upper, lower = rows[first], rows[first + distance]
            left = [j if not j & distance else count + j - distance for j in range(count)]
            right = [j + distance if not j & distance else count + j for j in range(count)]
            rows[first] = shuffle(builder, upper, lower, left)
            rows[first + distance] = shuffle(builder, upper, lower, right)
        distance //= 2
    return rows
