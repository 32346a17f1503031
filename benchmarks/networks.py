"""The networks of the main benchmark."""

NETWORKS = (
    *("resnet18", "resnet50", "vgg16", "mobilenet_v2", "squeezenet1_1", "alexnet"),
    *("googlenet", "densenet121", "efficientnet_b0", "mobilenet_v3_large"),
    *("shufflenet_v2_x1_0", "inception_v3"),
)
