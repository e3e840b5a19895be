#!/usr/bin/env python3
"""Training and inference of the models of `models/benches/training.rs` in JAX, PyTorch, onnxruntime.

    taskset -c 0 python3 tests/compare/training.py [--venv DIR]

installs the three from PyPI into a virtual environment (in a temporary directory unless `--venv`
names one to keep), measures each in a process of its own on one thread, prints one JSON line.
All is measured in processor time, training per epoch with its batches.
Same data shape, model, batch and optimiser (Adam behind a gradient norm of 1) as the benchmark:

- nlinear: 336 -> 96, windows of one channel, 32 a step; nlinear_7: 32 x 7 a step;
- autoencoder: 512-128-16-128-512, 64 windows a step.

JAX is measured in its two quickest ways and the better one is reported: a compiled step a batch with
the windows gathered inside, and a whole epoch as one compiled scan.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

ROWS, CHANNELS = 8640, 7
CASES = {
    "nlinear": dict(inputs=336, horizon=96, batch=32),
    "nlinear_7": dict(inputs=336, horizon=96, batch=32 * 7),
    "autoencoder": dict(inputs=512, horizon=0, batch=64),
}
PACKAGES = {"jax": ["jax"], "torch": ["torch"], "onnx": ["onnx", "onnxruntime"]}
EPOCHS = 7


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["worker"]:
        print(json.dumps(WORKERS[arguments[1]](arguments[2])))
        return
    kept = arguments[1] if arguments[:1] == ["--venv"] else tempfile.mkdtemp(prefix="dunlin-compare-")
    venv = os.path.abspath(kept)
    os.makedirs(venv, exist_ok=True)
    figures = {}
    for tool, packages in PACKAGES.items():
        python = os.path.join(venv, tool, "bin", "python")
        if not os.path.exists(python):
            subprocess.run([sys.executable, "-m", "venv", tool], check=True, cwd=venv)
            install = [python, "-m", "pip", "install", "-q", "numpy<3", *packages]
            subprocess.run(install, check=True, cwd=venv)
        for case in CASES:
            environment = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
            environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
            run = [python, os.path.abspath(__file__), "worker", tool, case]
            # Nothing is left where this was called.
            done = subprocess.run(run, env=environment, stdout=subprocess.PIPE, text=True, cwd=venv)
            line = done.stdout.strip().splitlines()[-1:] or ["null"]
            figures.setdefault(case, {})[tool] = json.loads(line[0])
    print(json.dumps(figures))


def median(figures):
    return sorted(figures)[len(figures) // 2]


def peak_rss_mb():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def series():
    import numpy as np

    rows = np.arange(ROWS, dtype=np.float32)[None, :]
    pace = (1 + 0.1 * np.arange(CHANNELS, dtype=np.float32))[:, None]
    noise = np.random.default_rng(1).random((CHANNELS, ROWS), dtype=np.float32) - 0.5
    return np.sin(rows * 2 * np.pi / 24 * pace).astype(np.float32) + 0.3 * noise


def positions(case):
    """Where windows begin in the flat series, in a random order."""
    import numpy as np

    length = CASES[case]["inputs"] + CASES[case]["horizon"]
    starts = np.arange(ROWS - length)[None, :] + ROWS * np.arange(CHANNELS)[:, None]
    return np.random.default_rng(2).permutation(starts.reshape(-1)).astype(np.int32)


def widths(case):
    return [336, 96] if CASES[case]["horizon"] else [512, 128, 16, 128, 512]


def weights(case):
    import numpy as np

    random, sizes = np.random.default_rng(3), widths(case)
    pairs = list(zip(sizes, sizes[1:]))
    uniform = lambda i, o: random.uniform(-1, 1, (i, o)).astype(np.float32) / np.float32(i**0.5)
    return [(uniform(i, o), np.zeros(o, np.float32)) for i, o in pairs]


def with_jax(case):
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_platforms", "cpu")
    inputs, horizon, batch = (CASES[case][key] for key in ("inputs", "horizon", "batch"))
    data = jnp.asarray(series().reshape(-1))
    starts = positions(case)
    starts = starts[: len(starts) // batch * batch].reshape(-1, batch)

    def network(parameters, x):
        for at, (weight, bias) in enumerate(parameters):
            x = x @ weight + bias
            # The narrowest layer of the auto-encoder is linear, as is the last.
            if horizon == 0 and at in (0, 2):
                x = jax.nn.relu(x)
        return x

    def loss_of(parameters, start):
        cut = lambda s: jax.lax.dynamic_slice(data, (s,), (inputs + horizon,))
        window = jax.vmap(cut)(start)
        x = window[:, :inputs]
        if horizon == 0:
            return jnp.mean((network(parameters, x) - x) ** 2)
        last = x[:, -1:]
        return jnp.mean((network(parameters, x - last) + last - window[:, inputs:]) ** 2)

    def step(state, start):
        parameters, mean, square, count = state
        loss, gradient = jax.value_and_grad(loss_of)(parameters, start)
        norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in jax.tree.leaves(gradient)))
        gradient = jax.tree.map(lambda g: g * jnp.minimum(1.0, 1.0 / norm), gradient)
        count = count + 1
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
        square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, square, gradient)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        move = lambda p, m, s: p - rate * m / (jnp.sqrt(s) + 1e-8)
        parameters = jax.tree.map(move, parameters, mean, square)
        return (parameters, mean, square, count), loss

    def start_state():
        parameters = jax.tree.map(jnp.asarray, weights(case))
        zeros = lambda: jax.tree.map(jnp.zeros_like, parameters)
        return parameters, zeros(), zeros(), jnp.float32(0)

    one = jax.jit(step, donate_argnums=0)
    scan = jax.jit(lambda state, all: jax.lax.scan(step, state, all), donate_argnums=0)

    def by_step(state):
        for start in starts:
            state, loss = one(state, start)
        return state, loss

    seconds = {}
    for name, epoch in {"step": by_step, "scan": lambda state: scan(state, starts)}.items():
        state, times = start_state(), []
        for _ in range(EPOCHS):
            began = time.process_time()
            state, loss = jax.block_until_ready(epoch(state))
            times.append(time.process_time() - began)
        seconds[name] = median(times[1:])
    best = min(seconds, key=seconds.get)
    return {
        "channel_windows_per_s": round(starts.size / seconds[best]),
        "steps_per_s": round(len(starts) / seconds[best]),
        "best_of": best,
        "windows_per_s_of_each": {name: round(starts.size / s) for name, s in seconds.items()},
        "peak_rss_mb": peak_rss_mb(),
        "version": jax.__version__,
    }


def with_torch(case):
    import torch

    torch.set_num_threads(1)
    inputs, horizon, batch = (CASES[case][key] for key in ("inputs", "horizon", "batch"))
    windows = torch.from_numpy(series().reshape(-1)).unfold(0, inputs + horizon, 1)
    starts = torch.from_numpy(positions(case)).long()
    starts = starts[: len(starts) // batch * batch].reshape(-1, batch)
    layers = []
    for at, (weight, bias) in enumerate(weights(case)):
        layer = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight.T.copy()))
            layer.bias.copy_(torch.from_numpy(bias))
        layers.append(layer)
        if horizon == 0 and at in (0, 2):
            layers.append(torch.nn.ReLU())
    network = torch.nn.Sequential(*layers)
    adam = torch.optim.Adam(network.parameters(), 1e-3)
    times = []
    for _ in range(3):
        began = time.process_time()
        for start in starts:
            window = windows[start]
            x = window[:, :inputs]
            if horizon == 0:
                loss = torch.nn.functional.mse_loss(network(x), x)
            else:
                last = x[:, -1:]
                loss = torch.nn.functional.mse_loss(network(x - last) + last, window[:, inputs:])
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            adam.step()
        times.append(time.process_time() - began)
    return {
        "channel_windows_per_s": round(starts.numel() / median(times)),
        "steps_per_s": round(len(starts) / median(times)),
        "peak_rss_mb": peak_rss_mb(),
        "version": torch.__version__,
    }


def with_onnxruntime(case):
    import numpy as np
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    inputs, horizon = CASES[case]["inputs"], CASES[case]["horizon"]
    outputs = widths(case)[-1]
    nodes, constants, at = [], [], "x"
    if horizon:
        constants.append(numpy_helper.from_array(np.array([inputs - 1], np.int64), "end"))
        nodes.append(helper.make_node("Gather", ["x", "end"], ["last"], axis=1))
        nodes.append(helper.make_node("Sub", ["x", "last"], ["centred"]))
        at = "centred"
    for layer, (weight, bias) in enumerate(weights(case)):
        constants.append(numpy_helper.from_array(weight, f"w{layer}"))
        constants.append(numpy_helper.from_array(bias, f"b{layer}"))
        nodes.append(helper.make_node("Gemm", [at, f"w{layer}", f"b{layer}"], [f"g{layer}"]))
        at = f"g{layer}"
        if horizon == 0 and layer in (0, 2):
            nodes.append(helper.make_node("Relu", [at], [f"r{layer}"]))
            at = f"r{layer}"
    if horizon:
        nodes.append(helper.make_node("Add", [at, "last"], ["y"]))
    else:
        nodes.append(helper.make_node("Identity", [at], ["y"]))
    value = lambda name, width: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width])
    graph = helper.make_graph(nodes, case, [value("x", inputs)], [value("y", outputs)], constants)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    # Bound inputs and outputs: the quickest way that onnxruntime offers from Python.
    x = onnxruntime.OrtValue.ortvalue_from_numpy(series()[:1, :inputs].copy())
    y = onnxruntime.OrtValue.ortvalue_from_shape_and_type([1, outputs], np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", x)
    binding.bind_ortvalue_output("y", y)
    times = []
    for _ in range(11):
        began = time.process_time_ns()
        for _ in range(20000):
            session.run_with_iobinding(binding)
        times.append((time.process_time_ns() - began) / 20000)
    return {
        "inference_ns": round(median(times)),
        "peak_rss_mb": peak_rss_mb(),
        "version": onnxruntime.__version__,
    }


WORKERS = {"jax": with_jax, "torch": with_torch, "onnx": with_onnxruntime}

if __name__ == "__main__":
    main()
