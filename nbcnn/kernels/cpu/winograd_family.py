"""The members of Winograd's family: an algorithm of ``toom_cook`` for the columns and one for the rows.

One thread of an AMD Zen 5 (16 lanes, 239 GFLOP/s, shared with other work), us, the least of many runs;
weights come from memory, values and scratch from L3:

=====================  ======  ======  ======  ======
3x3: channels, plane   igemm   F(2,3)  F(4,3)  F(6,3)
=====================  ======  ======  ======  ======
 64 ->  64, 112x112    4126    2337    1309    1428
 64 ->  64, 56x56       979     580     344     417
 64 -> 192, 56x56      2885    1505     935    1021
128 -> 128, 28x28       997     523     310     375
256 -> 512, 28x28      8006    3848    2270    2438
256 -> 256, 14x14      1017     519     391     508
512 -> 512, 14x14      4200    1935    1487    2494
512 -> 512, 7x7        1112     651    1217    2246
 64 -> 256, 13x13       248     131     128     174
 16 ->  64, 55x55       245     181     150     180
=====================  ======  ======  ======  ======

=====================  ======  ======  ======
3x3 of stride 2        igemm   F(2,3)  F(4,3)
=====================  ======  ======  ======
 64 -> 128, 56x56       488     402     358
128 -> 128, 56x56       995     801     731
128 -> 256, 28x28       499     381     478
256 -> 256, 28x28      1003     837     920
512 -> 512, 14x14      1140    1249    2615
 64 ->  64, 112x112     983     876     769
=====================  ======  ======  ======

=====================  ======  ======  ======
5x5                    igemm   F(2,5)  F(4,5)
=====================  ======  ======  ======
 64 -> 192, 27x27      1954     847     433
 96 -> 256, 27x27      3916    1714     861
 32 ->  96, 28x28       518     259     140
 48 -> 128, 7x7          84      60      67
=====================  ======  ======  ======

Along one axis, 192 channels at 17x17: 1x7 667 and 328, 7x1 672 and 329; 384 channels at 8x8: 1x3 314 and 171,
3x1 288 and 180. With 16 channels direct products are about as fast. F(6, 3) pays where 6 divides the plane
better than 4, and where the channels outweigh its transforms: 128 at 48x48 take 752 instead of 857.

In networks the sums of all steps, before and with this family: Inception-v3 42.4 and 32.4 ms (from igemm and
F(2,3), F(4,3)), AlexNet 12.5 and 9.0, ResNet-18 8.7 and 7.4.

Rounding: the transforms enlarge errors. As a root of squares over normal data, in units of those of a direct
product: F(2,3) 0.6, F(4,3) 3.9, F(6,3) 8, F(2,5) 1.4, F(4,5) 4.7, stride 2 below 1, along the rows F(4,7) 5.
The bounds leave room for that, the more the longer the sum: from 16 channels on the worst error in units of
the bound of a direct product was 0.30 for F(4,3) on normal data and 0.41 for F(6,3), on data that span six
orders of magnitude 1.3 and 0.8, and below 0.3 for the others.
"""

from __future__ import annotations

from nbcnn.kernels.cpu.toom_cook import algorithm
from nbcnn.kernels.cpu.winograd import Winograd


class Winograd2(Winograd):
    """F(2x2, 3x3)."""

    name = "winograd2"
    down = across = algorithm(2, 3)
    transformed = 0.9e9
    rounding = (1.0, 2)


class Winograd4(Winograd):
    """F(4x4, 3x3)."""

    name = "winograd4"
    down = across = algorithm(4, 3)
    transformed = 0.65e9
    rounding = (2.0, 4)


class Winograd6(Winograd):
    """F(6x6, 3x3)."""

    name = "winograd6"
    down = across = algorithm(6, 3)
    transformed = 0.36e9
    rounding = (2.0, 6)


class Winograd2Strided(Winograd):
    """F(2x2, 3x3) of stride 2: 25 products for 4 outputs."""

    name = "winograd2_s2"
    down = across = algorithm(2, 3, 2)
    transformed = 0.85e9
    rounding = (1.0, 2)


class Winograd4Strided(Winograd):
    """F(4x4, 3x3) of stride 2: 81 products for 16 outputs."""

    name = "winograd4_s2"
    down = across = algorithm(4, 3, 2)
    transformed = 0.5e9
    rounding = (1.0, 4)


class Winograd2Wide(Winograd):
    """F(2x2, 5x5)."""

    name = "winograd2_5x5"
    down = across = algorithm(2, 5)
    transformed = 0.7e9
    rounding = (1.0, 2)


class Winograd4Wide(Winograd):
    """F(4x4, 5x5)."""

    name = "winograd4_5x5"
    down = across = algorithm(4, 5)
    transformed = 0.42e9
    rounding = (2.0, 4)


class Winograd1x3(Winograd):
    """F(4, 3) along the rows."""

    name = "winograd4_1x3"
    down, across = algorithm(1, 1), algorithm(4, 3)
    transformed = 0.7e9
    rounding = (1.0, 4)


class Winograd3x1(Winograd):
    """F(4, 3) along the columns."""

    name = "winograd4_3x1"
    down, across = algorithm(4, 3), algorithm(1, 1)
    transformed = 0.7e9
    rounding = (1.0, 4)


class Winograd1x7(Winograd):
    """F(4, 7) along the rows."""

    name = "winograd4_1x7"
    down, across = algorithm(1, 1), algorithm(4, 7)
    transformed = 0.6e9
    rounding = (1.0, 4)


class Winograd7x1(Winograd):
    """F(4, 7) along the columns."""

    name = "winograd4_7x1"
    down, across = algorithm(4, 7), algorithm(1, 1)
    transformed = 0.6e9
    rounding = (1.0, 4)
