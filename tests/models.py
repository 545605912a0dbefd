"""The smallest network that runs all of a builder's code, for every name of the zoo: {name: overrides}.

The contract tests run over this table; `test_contract.py` fails if a registered name is missing from it.
"""
TINY = {
    "lenet": {},
    "lenet5": {},
    "lenet5_relu": {},
    "lenet_cassava": {"input_shape": (32, 32, 3)},
    "lenet_keras": {},
}
