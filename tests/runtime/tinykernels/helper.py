from nbcnn.runtime import jit

BONUS = 100


@jit.device
def bonus(value):
    return value + BONUS
