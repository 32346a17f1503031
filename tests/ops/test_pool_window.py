"""How the attributes of pools are read: one number for all axes, or lists that fix how many there are."""

import pytest

from nbcnn.errors import ShapeError
from nbcnn.ir import TensorType
from nbcnn.ops.pool import MaxPool

SIGNAL, IMAGE, VOLUME = (TensorType(("N", 2, *(9,) * rank)) for rank in (1, 2, 3))


@pytest.mark.parametrize("rank, type_", [(1, SIGNAL), (2, IMAGE), (3, VOLUME)])
def test_one_number_holds_for_every_axis(rank: int, type_: TensorType) -> None:
    at = MaxPool(3, 2, 1, dilation=2).at(type_)
    assert (at.kernel, at.stride, at.dilation) == ((3,) * rank, (2,) * rank, (2,) * rank)
    assert (at.pads, at.before) == ((1,) * 2 * rank, (1,) * rank)
    assert MaxPool((3,) * rank, (2,) * rank, (1,) * 2 * rank, (2,) * rank) == MaxPool(3, 2, 1, 2)


def test_lists_fix_the_number_of_axes() -> None:
    signal, image, volume = MaxPool((3,), 1, (2, 0)), MaxPool(3, 1, (2, 0)), MaxPool(3, 1, (0, 1, 2))
    assert signal.at(SIGNAL).pads == (2, 0)
    assert image.at(IMAGE).pads == (2, 0, 2, 0)
    assert volume.at(VOLUME).pads == (0, 1, 2, 0, 1, 2)
    assert volume.at(VOLUME).kernel == (3, 3, 3)
    for pool, types in ((signal, (IMAGE, VOLUME)), (image, (SIGNAL, VOLUME)), (volume, (SIGNAL, IMAGE))):
        for type_ in types:
            with pytest.raises(ShapeError, match="is given for"):
                pool.at(type_)


def test_lists_must_agree() -> None:
    with pytest.raises(ShapeError, match=r"\[2, 3\] axes"):
        MaxPool((3, 2), (1, 2, 1))
    with pytest.raises(ShapeError, match="1 to 3 axes"):
        MaxPool((3, 2, 1, 1, 1))


def test_same_padding_follows_the_operand() -> None:
    assert MaxPool(4, 2, "same").at(SIGNAL).pads == (1, 2)
    assert MaxPool(4, 2, "same_lower").at(SIGNAL).pads == (2, 1)
    assert MaxPool((4, 3), 2, "same_lower").at(IMAGE).pads == (2, 1, 1, 1)
