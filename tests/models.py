"""The smallest network that runs all of a builder's code, for every name of the zoo: {name: overrides}.

The contract tests run over this table; `test_contract.py` fails if a registered name is missing from it.
"""
TINY = {
    "alexnet": {"input_shape": (32, 32, 3), "classes": 5, "stem": "small", "width": 1 / 16, "units": 32, "dropout": 0.1},
    "alexnet_2tower": {"input_shape": (67, 67, 3), "classes": 5, "width": 1 / 16, "units": 32, "dropout": 0.1},
    "conv_only": {"input_shape": (25, 25, 1), "filters": (8, 8, 8, 8)},
    "conv_only_128": {"input_shape": (12, 12, 1), "filters": (8, 8, 8), "kernel": 3, "units": 16},
    "conv_only_128_cifar": {"input_shape": (12, 12, 3), "filters": (8, 8), "kernel": 3, "units": 16},
    "fashion_cnn": {"filters": 8, "units": 16},
    "googlenet": {"input_shape": (16, 16, 3), "classes": 5, "depths": (1, 1, 1), "stem": "small", "width": 1 / 8},
    "inception_v3": {"input_shape": (17, 17, 3), "classes": 5, "depths": (0, 0, 1), "stem": "small", "width": 1 / 16},
    "inception_v4": {"input_shape": (17, 17, 3), "classes": 5, "depths": (1, 0, 1), "stem": "small", "width": 1 / 8},
    "lenet": {},
    "lenet5": {},
    "lenet5_relu": {},
    "lenet_cassava": {"input_shape": (32, 32, 3)},
    "lenet_keras": {},
    "mlp": {"hidden": (16, 8)},
    "mlp_cifar": {"input_shape": (8, 8, 3), "hidden": (16, 8)},
    "mlp_cifar_2": {"input_shape": (8, 8, 3), "hidden": (16, 8)},
    "mlp_cifar_3": {"input_shape": (8, 8, 3), "hidden": (16, 16, 8)},
    "mlp_fashion": {"hidden": (16, 8)},
    "mlp_fashion_2": {"hidden": (16, 8)},
    "mlp_fashion_sigmoid": {"hidden": (16, 8)},
    "simple_cnn": {},
    "small_inception": {},
    "vgg11": {"input_shape": (32, 32, 3), "classes": 5, "filters": (8, 8, 8, 8, 8), "units": 32, "dropout": 0.1},
    "vgg13": {"input_shape": (16, 16, 3), "classes": 5, "depths": (2, 2), "filters": (8, 8), "units": 32, "dropout": 0.1},
    "vgg16": {"input_shape": (16, 16, 3), "classes": 5, "depths": (2, 3), "filters": (8, 8), "units": 32, "dropout": 0.1},
    "vgg19": {"input_shape": (16, 16, 3), "classes": 5, "depths": (2, 4), "filters": (8, 8), "units": 32, "dropout": 0.1},
}
