"""What mixed precision changes on this processor: a training step in bfloat16 and in float32.

`python benchmarks/precision.py` measures the zoo's step of training_step.py in float32 and in
mixed_bfloat16, a process each, taking turns. Medians in milliseconds, and the time in bfloat16 over
the time in float32, go to benchmarks/precision.json with the processor's instructions for bfloat16.
"""

import sides
import training_step

POLICIES = ("float32", "mixed_bfloat16")
# Steps in a round
STEPS = {"simple_cnn": 100, "lenet5": 50, "small_inception": 12, "resnet20": 4, "conv_only_128": 4}
ROUNDS = 7
INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
training_step.NETWORKS["conv_only_128"] = ((128, 28, 28, 1), 10)


def answer(side, network, steps):
    """Return the seconds of training steps under the policy that is the side's name."""
    if training_step.current.get("network") != network:
        import zoo.training  # noqa: F401  isort: skip - before TensorFlow, as in `zoo train`
        import keras

        keras.config.set_dtype_policy(side)
        train, _ = training_step.zoo_side(network)
        train(8)
        training_step.current.update(network=network, train=train)
    return {"seconds": training_step.current["train"](steps)}


def main():
    """Measure, print and keep the results."""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        flags = info.read().split()
    report = {"instructions": [name for name in INSTRUCTIONS if name in flags], "networks": {}}
    with sides.sides(__file__, POLICIES) as started:
        for network, steps in STEPS.items():
            question = {"network": network, "steps": steps}
            report["networks"][network] = sides.compare(
                started, network, ROUNDS, question, "mixed_bfloat16", "float32"
            )
    sides.keep(__file__, report)


if __name__ == "__main__":
    sides.run(answer, main)
