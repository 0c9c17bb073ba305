"""The exported training step under JAX's XLA: converts it, compiles it for an absent TPU, times it on this machine.

    python xla.py convert FOLDER                       step.hlo to step.stablehlo, which any machine can read
    python xla.py compile FOLDER --topology v5e:2x2    ahead of time, with the compiler in libtpu
    python xla.py time FOLDER --steps 20               on this machine's first device (GPU, or CPU)

This file needs JAX 0.11.2 (and libtpu to compile) and none of our packages: `centernet aot` runs it in a separate
environment, and copies it (as run.py) next to the steps that are carried to another machine. The result is JSON: the
last line of the output, and the file `--result`. FOLDER is what `trainer.aot.step` writes.

It uses the private client below `jax.jit`, hence the exact version.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

JAX = "0.11.2"
HLO, STABLEHLO, DESCRIPTION, VALUES = "step.hlo", "step.stablehlo", "step.json", "values.npz"
LABELS = "labels.npz"
TRACED = 3
"""Steps in a profile."""

GIB = 1 << 30
CHIPS = {
    # JAX's device kind: (HBM per core in bytes, peak bfloat16 FLOP/s per core), from Google's pages on the system
    # architecture of each Cloud TPU generation. v2 and v3 have two cores per chip; the others count as one core.
    "TPU v2": (8 * GIB, 22.5e12),
    "TPU v3": (16 * GIB, 61.5e12),
    "TPU v4": (32 * GIB, 275e12),
    "TPU v5 lite": (16 * GIB, 197e12),
    "TPU v5": (95 * GIB, 459e12),
    "TPU v6 lite": (32 * GIB, 918e12),
}
GPU_PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense 16-bit FLOP/s by a word in the device's name (NVIDIA's data sheets, SXM)."""


class StepError(Exception):
    """The request can't be fulfilled; the message is one line."""


def convert(folder: Path) -> dict[str, Any]:
    """Converts HLO to a StableHLO artifact of a version that older and newer readers understand.

    `mhlo.copy` is the identity and unknown to compilers behind the PJRT C API, so it is removed. HLO's module attribute
    lists which output overwrites which parameter; this moves to the arguments, where every compiler looks.
    """
    from jax._src.interpreters import mlir
    from jax._src.lib.mlir import ir
    from jaxlib import _jax
    from jaxlib.mlir.dialects import stablehlo

    with mlir.make_ir_context():
        module = ir.Module.parse(_jax.mlir.hlo_to_stablehlo((folder / HLO).read_bytes()))
        _remove_copies(module.operation)
        updates = _updates(module)
        main = next(op for op in module.body.operations if op.attributes["sym_name"].value == "main")
        arguments = [ir.DictAttr(a) for a in main.attributes["arg_attrs"]] if "arg_attrs" in main.attributes else []
        marked = [{n.name: n.attr for n in a} for a in arguments] or [{} for _ in main.type.inputs]
        index = ir.IntegerType.get_signless(32)
        for output, parameter in updates.items():
            marked[parameter]["tf.aliasing_output"] = ir.IntegerAttr.get(index, output)
        main.attributes["arg_attrs"] = ir.ArrayAttr.get([ir.DictAttr.get(attributes) for attributes in marked])
        for name in [n for n in module.operation.attributes if n.startswith("mhlo.")]:
            del module.operation.attributes[name]
        version = stablehlo.get_version_from_compatibility_requirement(
            stablehlo.StablehloCompatibilityRequirement.WEEK_4
        )
        artifact = _jax.mlir.serialize_portable_artifact(mlir.module_to_bytecode(module), version)
    _write(folder / STABLEHLO, artifact)
    description = json.loads((folder / DESCRIPTION).read_text())
    description |= {"stablehlo": version, "updates": sorted(updates.items())}
    _write(folder / DESCRIPTION, (json.dumps(description, indent=1) + "\n").encode())
    return {"stablehlo": version, "bytes": len(artifact), "updates": len(updates)}


def compile_for(folder: Path, topology: str) -> dict[str, Any]:
    """Compiles for one core of a TPU topology.

    Returns:
      "fits". If it fits: bytes of HBM at the peak and by use, FLOPs per step and the seconds they take at the core's
      peak; otherwise the compiler's reason. Always: the kind of device, the number of cores, and the HBM per core.

    Raises:
      StepError: unknown topology, or the compiler refuses the step for another reason than memory.
    """
    import jax
    from jax.experimental import topologies
    from jaxlib import _jax, xla_client

    try:
        devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    except Exception as error:  # the plugin passes on whatever its C API reports
        raise StepError(f"--topology {topology}: libtpu has no such topology ({_line(error)})") from error
    device = devices[0]
    memory, peak = CHIPS.get(device.device_kind, (0, 0.0))
    found = {"topology": topology, "device": device.device_kind, "cores": len(devices), "hbm_bytes": memory}
    started = time.monotonic()
    try:
        options = xla_client.CompileOptions()
        executable = device.client.compile(_module(folder / STABLEHLO), _jax.DeviceList((device,)), options)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error) and "Ran out of memory" not in str(error):
            raise StepError(f"the compiler refuses the step: {_line(error, 600)}") from error
        return {**found, "fits": False, "reason": _line(error, 400), "seconds": round(time.monotonic() - started, 1)}
    stats = executable.get_compiled_memory_stats()
    # Outputs that overwrite arguments are counted with the arguments.
    parts = {
        "argument_bytes": stats.argument_size_in_bytes,
        "output_bytes": stats.output_size_in_bytes - stats.alias_size_in_bytes,
        "temporary_bytes": stats.temp_size_in_bytes,
        "code_bytes": stats.generated_code_size_in_bytes,
    }
    flops = float(executable.cost_analysis()["flops"])
    return {
        **found,
        "fits": True,
        "seconds": round(time.monotonic() - started, 1),
        "peak_bytes": sum(parts.values()),
        **parts,
        "compiler_peak_bytes": stats.peak_memory_in_bytes,
        "flops": flops,
        "least_seconds": round(flops / peak, 6) if peak else None,
        "compiler_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,  # Linux counts KiB
    }


def run_timed(folder: Path, *, steps: int, repeats: int, warm_up: int) -> dict[str, Any]:
    """Runs the step on this machine's first device, on synthetic inputs that stay there.

    Returns:
      Milliseconds per step (median of the repeats, each of `steps` steps), images/s, peak memory, the convolutions'
      FLOPs and their fraction of the chip's peak if that is known, and the loss of each of the first steps.
    """
    import jax

    device = jax.devices()[0]
    print(f"progress: compiling for {device.device_kind} ({device.platform})", flush=True)
    started = time.monotonic()
    executable = load(folder / STABLEHLO)
    seconds = time.monotonic() - started
    print(f"progress: compiled in {seconds:.0f} s; {warm_up} + {repeats} x {steps} steps", flush=True)
    return {
        **time_step(folder, executable, steps=steps, repeats=repeats, warm_up=warm_up),
        "compile_seconds": round(seconds, 1),
    }


def load(artifact: Path) -> Any:
    """Compiles a StableHLO artifact for this machine's first device."""
    import jax
    from jaxlib import _jax, xla_client

    device = jax.devices()[0]
    return device.client.compile_and_load(_module(artifact), _jax.DeviceList((device,)), xla_client.CompileOptions())


def time_step(
    folder: Path, executable: Any, *, steps: int, repeats: int, warm_up: int, trace: Path | None = None
) -> dict[str, Any]:
    """See `run_timed`; the step is compiled already. With `trace`, JAX's profile of three more steps goes there."""
    import jax

    device = jax.devices()[0]
    description = json.loads((folder / DESCRIPTION).read_text())
    arguments = [jax.device_put(value, device) for value in synthetic_arguments(folder, description)]
    updates = description["updates"]

    def step() -> Any:
        outputs = [parts[0] for parts in executable.execute_sharded(arguments).disassemble_into_single_device_arrays()]
        for output, parameter in updates:
            arguments[parameter] = outputs[output]
        return outputs[0]

    losses = [float(step()) for _ in range(warm_up)]
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(steps):
            loss = step()
        loss.block_until_ready()
        times.append((time.perf_counter() - began) / steps)
    if trace:
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0
        with jax.profiler.trace(str(trace), profiler_options=options):
            for _ in range(TRACED):
                loss = step()
            loss.block_until_ready()
    took = statistics.median(times)
    # XLA's own count leaves out what a library computes, such as all convolutions on a GPU.
    flops = description["convolution_flops"]
    peak = next((value for word, value in GPU_PEAKS.items() if word in device.device_kind), None)
    memory = device.memory_stats() or {}
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "precision": description["precision"],
        "batch": description["batch"],
        "milliseconds": round(1e3 * took, 3),
        "images_per_second": round(description["batch"] / took, 2),
        "peak_bytes": memory.get("peak_bytes_in_use"),
        "flops": flops,
        "share_of_peak": round(flops / took / peak, 4) if peak else None,
        "losses": losses,
    }


def synthetic_arguments(folder: Path, description: dict[str, Any]) -> list[np.ndarray]:
    """The step's parameters in order: random inputs, and variables from values.npz, or from their rules without it.

    An input that labels.npz names has its value from there.
    """
    random = np.random.default_rng(0)
    given = dict(np.load(folder / LABELS)) if (folder / LABELS).exists() else {}
    inputs = []
    for rule in description["inputs"]:
        shape, dtype = rule["shape"], np.dtype(rule["dtype"])
        if rule["name"] in given:
            value = given[rule["name"]]
        elif "rows" in rule:
            value = np.broadcast_to(np.array(rule["rows"]), shape)
        elif rule["low"] == rule["high"]:
            value = np.full(shape, rule["low"])
        elif dtype.kind == "f":
            value = random.uniform(rule["low"], rule["high"], shape)
        else:
            value = random.integers(rule["low"], rule["high"], shape)
        inputs.append(value.astype(dtype))
    if (folder / VALUES).exists():
        with np.load(folder / VALUES) as values:
            return inputs + [values[name] for name in values.files]
    return inputs + [
        (rule["mean"] + rule["deviation"] * random.standard_normal(rule["shape"])).astype(rule["dtype"])
        if rule["deviation"]
        else np.full(rule["shape"], rule["mean"], rule["dtype"])
        for rule in description["variables"]
    ]


def _module(artifact: Path) -> Any:
    """The StableHLO artifact as a module, which keeps its context alive."""
    from jax._src.interpreters import mlir
    from jaxlib import _jax

    with mlir.make_ir_context():
        return _jax.mlir.deserialize_portable_artifact(artifact.read_bytes())


def _remove_copies(operation: Any) -> None:
    for region in operation.regions:
        for block in region.blocks:
            for inner in [view.operation for view in block.operations]:
                _remove_copies(inner)
                if inner.name == "mhlo.copy" or _keeps_size(inner):
                    inner.results[0].replace_all_uses_with(inner.operands[0])
                    inner.erase()


def _keeps_size(operation: Any) -> bool:
    """Whether it sets a dimension to the size that it has, as a top-k does: such programs count as dynamic."""
    from jax._src.lib.mlir import ir

    if operation.name != "stablehlo.set_dimension_size":
        return False
    value, size = operation.operands
    made_by = size.owner
    if not isinstance(made_by, ir.Operation | ir.OpView) or made_by.name != "stablehlo.constant":
        return False
    dimension = ir.IntegerAttr(operation.attributes["dimension"]).value
    (number,) = ir.DenseIntElementsAttr(made_by.attributes["value"])
    return bool(ir.RankedTensorType(value.type).shape[dimension] == number)


def _updates(module: Any) -> dict[int, int]:
    """Output number to the parameter it overwrites."""
    from jax._src.lib.mlir import ir

    found = {}
    name = "mhlo.input_output_alias"
    if name not in module.operation.attributes:
        return {}  # inference
    for entry in module.operation.attributes[name]:
        alias = ir.DictAttr(ir.DictAttr(entry)["alias"])
        (output,) = ir.DenseI64ArrayAttr(ir.DictAttr(entry)["output_index"])
        found[int(output)] = int(ir.IntegerAttr(alias["parameter_number"]).value)
    return found


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.rename(path)


def _line(error: Exception, length: int = 200) -> str:
    return " ".join(str(error).split())[:length]


def main(argv: list[str] | None = None) -> int:
    """Exit code 0, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["convert", "compile", "time"])
    parser.add_argument("folder", type=Path, help="folder of the exported step")
    parser.add_argument("--topology", default="", help="compile: v5e:2x2, v3:2x2, ...")
    parser.add_argument("--steps", type=int, default=10, help="time: steps per repeat (default: %(default)s)")
    parser.add_argument(
        "--repeats", type=int, default=3, help="time: repeats; the median counts (default: %(default)s)"
    )
    parser.add_argument("--warm-up", type=int, default=3, help="time: steps before measuring (default: %(default)s)")
    parser.add_argument("--result", type=Path, help="also write the JSON to this file")
    flags = parser.parse_args(argv)
    needed = (HLO if flags.verb == "convert" else STABLEHLO), DESCRIPTION
    try:
        for name in needed:
            if not (flags.folder / name).exists():
                raise StepError(f"{flags.folder}: no {name}; export the step there first")
        import jax

        if jax.__version__ != JAX:
            raise StepError(f"jax {jax.__version__}: this uses private parts of {JAX}; install that version")
        # TensorFlow counts steps in int64. By default, JAX would cut that to int32 and then reject it.
        jax.config.update("jax_enable_x64", True)
        if flags.verb == "convert":
            result = convert(flags.folder)
        elif flags.verb == "compile":
            result = compile_for(flags.folder, flags.topology)
        else:
            result = run_timed(flags.folder, steps=flags.steps, repeats=flags.repeats, warm_up=flags.warm_up)
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if flags.result:
        _write(flags.result, (json.dumps(result, indent=1) + "\n").encode())
    print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
