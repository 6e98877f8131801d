"""Our CUDA kernels without a GPU: compiled for one, and run on the CPU from the same text (`cuda_on_cpu.h`).

The launcher below stands in for cupy's: it checks every argument against the kernel's signature, so what the functions
of `cuda` do up to the launch is tested with numpy arrays. `tests/gpu` runs them on a device.
"""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import cuda, decoder
from hpc_recon.numerics.stats import brain_statistics
from hpc_recon.numerics.voxels import top_voxels

TEXT = Path(cuda.__file__).with_name("kernels.cu")
SHIM = Path(__file__).with_name("cuda_on_cpu.h")
MULTIPROCESSORS = 1
#: C type of a parameter: numpy type, ctypes type.
NUMBERS = {"int": (np.int32, ctypes.c_int), "long long": (np.int64, ctypes.c_longlong)}
NUMBERS["double"] = (np.float64, ctypes.c_double)
ARRAYS = {"float*": np.float32, "double*": np.float64, "int*": np.int32, "unsigned char*": np.uint8}


def signatures() -> dict[str, list[tuple[str, str]]]:
    """Return (type, name) of each parameter of each kernel; `const` is dropped."""
    found = {}
    for match in re.finditer(r'extern "C" __global__ void [^;{]*?\n(\w+)\(([^)]*)\)', TEXT.read_text()):
        parameters = [" ".join(p.split()).removeprefix("const ") for p in match.group(2).split(",")]
        found[match.group(1)] = [tuple(p.rsplit(" ", 1)) for p in parameters]
    return found


def build(folder: Path, *options: str) -> Path:
    """Compile the kernels for the CPU; `run_<kernel>(grid x, grid y, threads, arguments...)` returns a message."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++, which is not installed")
    lines = [f'#include "{SHIM}"', f'#include "{TEXT}"', 'extern "C" {']
    for name, parameters in signatures().items():
        taken = ", ".join(f"{kind} {variable}" for kind, variable in parameters)
        given = ", ".join(variable for _, variable in parameters)
        lines.append(
            f"const char* run_{name}(unsigned x, unsigned y, unsigned threads, {taken}) "
            f"{{ return emulated::run(x, y, threads, [=] {{ {name}({given}); }}); }}"
        )
    source, library = folder / "emulated.cpp", folder / "emulated.so"
    source.write_text("\n".join([*lines, "}"]))
    flags = ["-std=c++20", "-O1", "-fno-strict-aliasing", "-pthread", "-fPIC", "-shared", "-Wall", "-Werror"]
    flags += ["-Wno-unknown-pragmas", *options]
    done = subprocess.run(["g++", *flags, str(source), "-o", str(library)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return library


def launcher(library: ctypes.CDLL):
    """Return a stand-in for `cuda._launch`."""

    def launch(xp, name, *, grid, threads, arguments) -> None:
        assert xp is np
        parameters = signatures()[name]
        assert len(arguments) == len(parameters), name
        converted = []
        for value, (kind, variable) in zip(arguments, parameters, strict=True):
            if kind in NUMBERS:
                expected, to_c = NUMBERS[kind]
                assert type(value) is expected, f"{name}: {variable} must be {expected}, is {type(value)}"
                converted.append(to_c(value.item()))
            else:
                assert isinstance(value, np.ndarray), f"{name}: {variable}"
                assert value.dtype == ARRAYS[kind], f"{name}: {variable} is {value.dtype}"
                assert value.flags.c_contiguous, f"{name}: {variable}"
                if variable == "workspace":
                    assert value.ctypes.data % 16 == 0
                    value.fill(np.nan)  # nothing is read before it is written
                converted.append(ctypes.c_void_p(value.ctypes.data))
        function = getattr(library, f"run_{name}")
        function.restype = ctypes.c_char_p
        message = function(*[ctypes.c_uint(n) for n in (*grid, threads)], *converted)
        assert message is None, f"{name}: {message.decode()}"

    return launch


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> ctypes.CDLL:
    return ctypes.CDLL(str(build(tmp_path_factory.mktemp("cuda"))))


@pytest.fixture
def on_cpu(library, monkeypatch) -> ctypes.CDLL:
    """Let the functions of `cuda` run on the CPU."""
    monkeypatch.setattr(cuda, "_launch", launcher(library))
    monkeypatch.setattr(cuda, "_multiprocessors", lambda xp: MULTIPROCESSORS)
    library.set_seed(0)
    return library


def test_every_kernel_is_known() -> None:
    kernels = {"select_float", "select_double", "solve_float", "solve_float_in_double", "solve_double"}
    assert set(signatures()) == kernels | {"predict_float", "predict_double"}
    text = TEXT.read_text()
    assert text.count("__global__") == len(signatures())
    constants = {
        "MAX_VOXELS": cuda.MAX_VOXELS,
        "SELECT_THREADS": cuda._SELECT_THREADS,
        "SOLVE_THREADS": cuda._SOLVE_THREADS,
        "PREDICT_THREADS": cuda._PREDICT_THREADS,
        "PANEL": cuda._PANEL,
        "WARP": cuda._TILE,
    }
    for name, value in constants.items():
        assert re.search(rf"constexpr int {name} = {value};", text), name
    bounds = re.findall(r"__launch_bounds__\(SOLVE_THREADS, (\d)\)\n(\w+)\(", text)
    assert {name: int(blocks) for blocks, name in bounds} == {
        "solve_float": cuda._SOLVE_BLOCKS[4],
        "solve_float_in_double": cuda._SOLVE_BLOCKS[8],
        "solve_double": cuda._SOLVE_BLOCKS[8],
    }


def nvrtc() -> ctypes.CDLL:
    spec = find_spec("nvidia")
    folders = list(spec.submodule_search_locations or []) if spec else []
    found = [path for folder in folders for path in sorted(Path(folder).rglob("libnvrtc.so*"))]
    if not found:
        pytest.skip("needs NVRTC (pip package nvidia-cuda-nvrtc), which is not installed")
    # NVRTC opens these by name, which finds them only where something (torch, say) has loaded them already.
    for builtins in found[-1].parent.glob("libnvrtc-builtins.so*"):
        ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(found[-1]))


def test_compiles_for_a_device() -> None:
    compiler = nvrtc()
    program = ctypes.c_void_p()
    source = TEXT.read_bytes()
    assert compiler.nvrtcCreateProgram(ctypes.byref(program), source, b"kernels.cu", 0, None, None) == 0
    options = [b"--gpu-architecture=compute_90", b"--std=c++17"]
    status = compiler.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    size = ctypes.c_size_t()
    compiler.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    compiler.nvrtcGetProgramLog(program, log)
    assert (status, log.value.decode()) == (0, "")  # no warnings either
    compiler.nvrtcGetPTXSize(program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    assert compiler.nvrtcGetPTX(program, ptx) == 0
    assert set(re.findall(r"\.entry (\w+)\(", ptx.value.decode())) == set(signatures())
    compiler.nvrtcDestroyProgram(ctypes.byref(program))


# select


def check_selection(products, usable, k) -> None:
    voxel, rhs = cuda.select(products, usable.astype(np.uint8), k)
    score = np.where(usable, np.abs(products), -1.0)
    np.testing.assert_array_equal(voxel, top_voxels(score, k))
    ranked = np.sort(np.argsort(-score, axis=1, kind="stable")[:, :k], axis=1)
    np.testing.assert_array_equal(voxel, ranked)
    np.testing.assert_array_equal(rhs, np.take_along_axis(products, ranked, axis=1))
    assert voxel.dtype == np.int32
    assert rhs.dtype == products.dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_select_takes_the_largest(on_cpu, dtype) -> None:
    rng = np.random.default_rng(0)
    for n_voxels, k in [(1, 1), (32, 31), (256, 256), (257, 1), (700, 100), (3000, 500)]:
        check_selection(rng.normal(size=(3, n_voxels)).astype(dtype) * 40, np.ones(n_voxels, bool), k)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_select_breaks_ties_by_voxel_number(on_cpu, dtype) -> None:
    rng = np.random.default_rng(1)
    for levels, k in [(1, 7), (1, 300), (2, 300), (4, 33), (40, 100)]:
        products = rng.integers(-levels, levels + 1, (3, 600)).astype(dtype)
        check_selection(products, rng.random(600) < 0.8, k)


def test_select_of_neighbouring_values(on_cpu) -> None:
    """Values that differ in their last bits alone, tiny ones, zeros of both signs, and infinities."""
    rng = np.random.default_rng(2)
    near = (np.float32(1.0).view(np.uint32) + rng.integers(0, 200, (2, 900)).astype(np.uint32)).view(np.float32)
    check_selection(near * rng.choice([-1, 1], near.shape).astype(np.float32), np.ones(900, bool), 101)
    far = np.exp(rng.uniform(-87, 88, (2, 900))).astype(np.float32)
    far[:, ::7], far[:, 1::50], far[0, 5:900:90] = 0.0, -0.0, -np.inf
    for k in (3, 400, 850):
        check_selection(far, np.ones(900, bool), k)


def test_select_takes_all_usable_voxels_where_there_are_no_more(on_cpu) -> None:
    rng = np.random.default_rng(3)
    usable = rng.random(500) < 0.3
    check_selection(rng.normal(size=(2, 500)).astype(np.float32), usable, int(usable.sum()))


# solve


def systems(n_units, k, *, n_samples, dtype, n_voxels=None, seed=0):
    """Return a Gram matrix of nearly collinear voxels, the voxels of units, and right-hand sides."""
    rng = np.random.default_rng(seed)
    n_voxels = n_voxels or k + k // 3 + 5
    Z = rng.normal(size=(n_samples, n_voxels)) + 2 * rng.normal(size=(n_samples, 3)) @ rng.normal(size=(3, n_voxels))
    Z = ((Z - Z.mean(axis=0)) / Z.std(axis=0, ddof=1)).astype(dtype)
    gram = (Z.astype(np.float64).T @ Z).astype(dtype)
    gram = np.tril(gram) + np.tril(gram, -1).T
    voxel = np.sort(np.argsort(rng.random((n_units, n_voxels)), axis=1)[:, :k], axis=1).astype(np.int32)
    rhs = np.stack([Z[:, v].T @ rng.normal(size=n_samples) for v in voxel]).astype(dtype)
    return gram, voxel, rhs


def solutions(gram, voxel, rhs, alpha):
    return np.stack(
        [
            np.linalg.solve(gram[np.ix_(v, v)].astype(np.float64) + a * np.eye(len(v)), r.astype(np.float64))
            for v, r, a in zip(voxel, rhs, alpha, strict=True)
        ]
    )


def worst(found, expected) -> float:
    """Return the largest error of a unit's weights, relative to their norm."""
    return float((np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max())


@pytest.mark.parametrize("k", [1, 2, 31, 32, 33, 64, 100, 128, 130, 161])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_solve_against_dense_solutions(on_cpu, k, dtype) -> None:
    gram, voxel, rhs = systems(4, k, n_samples=4 * k + 20, dtype=dtype)  # more units than blocks
    alpha = np.array([1.0, 10.0, 100.0, 1000.0])
    weight, status = cuda.solve(gram, voxel, rhs, alpha)
    assert status.tolist() == [cuda.SOLVED] * 4
    assert weight.dtype == dtype
    # float32: the condition number is at most some thousands, so 3 digits of 7 may go.
    assert worst(weight, solutions(gram, voxel, rhs, alpha)) < (1e-12 if dtype == np.float64 else 2e-4)


def test_the_largest_system(on_cpu) -> None:
    k = cuda.MAX_VOXELS
    gram, voxel, rhs = systems(1, k, n_samples=3 * k, dtype=np.float32, n_voxels=k + 1)
    weight, status = cuda.solve(gram, voxel, rhs, np.array([100.0]), refine_below=np.inf)
    assert status[0] == cuda.SOLVED
    assert worst(weight, solutions(gram, voxel, rhs, [100.0])) < 1e-6


@pytest.mark.parametrize("k", [20, 100])
def test_refinement_gives_the_digits_back(on_cpu, k) -> None:
    gram, voxel, rhs = systems(3, k, n_samples=k + 10, dtype=np.float32)
    alpha = np.full(3, 0.3)
    expected = solutions(gram, voxel, rhs, alpha)
    rough, _ = cuda.solve(gram, voxel, rhs, alpha)
    fine, status = cuda.solve(gram, voxel, rhs, alpha, refine_below=np.inf)
    assert status.tolist() == [cuda.SOLVED] * 3
    assert worst(rough, expected) > 2e-6  # else this tests nothing
    assert worst(fine, expected) < 2e-7  # rounding of the result to float32: 6e-8 a number


def test_each_system_is_refined_by_its_own_penalty(on_cpu) -> None:
    gram, voxel, rhs = systems(4, 40, n_samples=50, dtype=np.float32)
    alpha = np.array([0.3, 100.0, 0.4, 1.0])
    rough, fine = (cuda.solve(gram, voxel, rhs, alpha, refine_below=below)[0] for below in (0.0, np.inf))
    mixed, status = cuda.solve(gram, voxel, rhs, alpha, refine_below=1.0)
    assert status.tolist() == [cuda.SOLVED] * 4
    np.testing.assert_array_equal(mixed, np.where((alpha < 1.0)[:, None], fine, rough))
    assert (rough != fine).any(axis=1).all()  # else this tests nothing


@pytest.mark.parametrize("k", [33, 70])
def test_failing_pivots_are_solved_in_double(on_cpu, k) -> None:
    """Twice the same voxel at a tiny penalty: singular in float32, solvable in float64."""
    gram, voxel, rhs = systems(5, k, n_samples=300, dtype=np.float32)
    twin = int(voxel[1, k // 2])
    other = int(voxel[1, k // 2 + 1])
    gram[other], gram[:, other] = gram[twin], gram[:, twin]
    gram[other, other] = gram[twin, twin]
    voxel[[0, 2, 3, 4]] = np.sort([[v for v in range(len(gram)) if v != other][:k]] * 4, axis=1)
    rhs[1, k // 2 + 1] = rhs[1, k // 2]
    alpha = np.full(5, 1e-7)
    for refine in (False, True):
        weight, status = cuda.solve(gram, voxel, rhs, alpha, refine_below=np.inf if refine else 0.0)
        assert status.tolist() == [cuda.SOLVED, cuda.REDONE, *[cuda.SOLVED] * 3]
        # float64 keeps 16 digits less the 10 of the condition number.
        assert worst(weight, solutions(gram, voxel, rhs, alpha)) < 1e-4
    double = gram.astype(np.float64)
    weight, status = cuda.solve(double, voxel, rhs.astype(np.float64), alpha)
    assert status.tolist() == [cuda.SOLVED] * 5


def test_hopeless_systems_are_marked(on_cpu) -> None:
    gram, voxel, rhs = systems(3, 40, n_samples=300, dtype=np.float32)
    gram[voxel[1, 35], voxel[1, 35]] = -5.0
    voxel[[0, 2]] = np.sort([[v for v in range(len(gram)) if v != voxel[1, 35]][:40]] * 2, axis=1)
    for dtype in (np.float32, np.float64):
        matrix, right = gram.astype(dtype), rhs.astype(dtype)
        weight, status = cuda.solve(matrix, voxel, right, np.ones(3))
        assert status.tolist() == [cuda.SOLVED, cuda.FAILED, cuda.SOLVED]
        assert worst(weight[[0, 2]], solutions(matrix, voxel[[0, 2]], right[[0, 2]], np.ones(2))) < 2e-4
    gram[voxel[1, 35], voxel[1, 35]] = np.nan
    assert cuda.solve(gram, voxel, rhs, np.ones(3))[1].tolist() == [cuda.SOLVED, cuda.FAILED, cuda.SOLVED]


def test_a_right_hand_side_of_zeros(on_cpu) -> None:
    gram, voxel, rhs = systems(2, 40, n_samples=100, dtype=np.float32)
    rhs[0] = 0
    weight, status = cuda.solve(gram, voxel, rhs, np.ones(2), refine_below=np.inf)
    assert status.tolist() == [cuda.SOLVED] * 2
    assert not weight[0].any()
    assert weight[1].all()


def test_results_do_not_depend_on_the_schedule_or_the_grid(on_cpu) -> None:
    gram, voxel, rhs = systems(5, 70, n_samples=100, dtype=np.float32)
    alpha = np.full(5, 2.0)
    weight, _ = cuda.solve(gram, voxel, rhs, alpha, refine_below=np.inf)
    chosen, products = cuda.select(np.tile(gram[:5], 4), np.ones(4 * len(gram), np.uint8), 50)
    for seed in range(1, 4):
        on_cpu.set_seed(seed)
        size = cuda.workspace_bytes(70, multiprocessors=seed)
        again, _ = cuda.solve(gram, voxel, rhs, alpha, refine_below=np.inf, workspace=np.empty(size, np.uint8))
        np.testing.assert_array_equal(again, weight)
        one, _ = cuda.solve(gram, voxel[seed - 1 : seed], rhs[seed - 1 : seed], alpha[:1], refine_below=np.inf)
        np.testing.assert_array_equal(one[0], weight[seed - 1])
        same = cuda.select(np.tile(gram[:5], 4), np.ones(4 * len(gram), np.uint8), 50)
        np.testing.assert_array_equal(same[0], chosen)
        np.testing.assert_array_equal(same[1], products)


# predict


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n_items", "n_units", "k"), [(1, 1, 1), (33, 40, 31), (50, 33, 64)])
def test_predict_against_dense_weights(on_cpu, n_items, n_units, k, dtype) -> None:
    rng = np.random.default_rng(0)
    n_voxels = 150
    voxel = np.sort(np.argsort(rng.random((n_units, n_voxels)), axis=1)[:, :k], axis=1)
    weight, bias = rng.normal(size=(n_units, k)).astype(dtype), rng.normal(size=n_units).astype(dtype)
    voxel[-1, -1] = 65535  # an unused slot
    Z = rng.normal(size=(n_items, n_voxels)).astype(dtype)
    y_mean, y_scale = rng.normal(size=n_units) + 3, rng.random(n_units)
    dense = np.zeros((n_units, n_voxels))
    for j, slot in itertools.product(range(n_units), range(k)):
        if voxel[j, slot] < n_voxels:
            dense[j, voxel[j, slot]] = weight[j, slot]
    expected = y_mean + y_scale * (Z.astype(np.float64) @ dense.T + bias)
    for numbers in (voxel.astype(np.int32), voxel.astype(np.uint16), voxel.astype(np.uint32)):
        units = decoder.UnitDecoders(numbers, weight, bias, y_mean, y_scale, 0)
        found = cuda.predict_units(Z, units)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, atol=1e-12 if dtype == np.float64 else 2e-5)
        np.testing.assert_allclose(found, decoder.predict_units(Z, units), atol=1e-12 if dtype == np.float64 else 2e-5)


# fit


def study(n_stimuli, n_voxels, *, repeats, n_units, dtype):
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 4, n_stimuli) if repeats else np.ones(n_stimuli, int)
    stimulus = rng.permutation(np.repeat(np.arange(n_stimuli), counts))
    latent = rng.normal(size=(n_stimuli, 10))
    Y = latent @ rng.normal(size=(10, n_units)) + rng.normal(size=(n_stimuli, n_units)) + 4
    X = latent[stimulus] @ rng.normal(size=(10, n_voxels)) + 2 * rng.normal(size=(len(stimulus), n_voxels)) + 30
    X[:, 7] = 3.0
    Y[:, 5] = 0.1
    X, Y = X.astype(dtype), Y.astype(dtype)
    return brain_statistics(X, stimulus if repeats else None, n_stimuli=n_stimuli), Y


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-10)])
@pytest.mark.parametrize("penalize_bias", [False, True])
@pytest.mark.parametrize(
    ("n_stimuli", "n_voxels", "repeats", "k"),
    [(60, 60, True, 33), (300, 60, False, 40), (40, 60, False, 20), (300, 30, False, 50), (262, 300, False, 270)],
    ids=["refined", "plain", "without gram", "all voxels", "dual"],
)
def test_fit_equals_the_decoder(on_cpu, n_stimuli, n_voxels, repeats, k, dtype, tolerance, penalize_bias) -> None:
    brain, Y = study(n_stimuli, n_voxels, repeats=repeats, n_units=8, dtype=dtype)
    options = {"n_voxels": k, "alpha": 10.0, "penalize_bias": penalize_bias}
    host = decoder.fit_units(brain, Y, **options)
    device = cuda.fit_units(brain, Y, **options)
    for field in dataclasses.fields(host):
        a, b = getattr(host, field.name), getattr(device, field.name)
        if field.name != "n_redone":
            assert (a.shape, a.dtype) == (b.shape, b.dtype), field.name
    np.testing.assert_array_equal(device.voxel, host.voxel)
    assert not device.weight[5].any()
    scale = np.linalg.norm(host.weight, axis=1, keepdims=True) + 1e-30
    assert (np.abs(device.weight - host.weight) / scale).max() < tolerance
    np.testing.assert_allclose(device.bias, host.bias, atol=1e-6)
    np.testing.assert_allclose(device.y_mean, host.y_mean, rtol=1e-12)
    np.testing.assert_allclose(device.y_scale, host.y_scale, rtol=1e-12)


@pytest.mark.parametrize("n_stimuli", [60, 300], ids=["without gram", "with gram"])
def test_one_penalty_a_unit(on_cpu, n_stimuli) -> None:
    brain, Y = study(n_stimuli, 60, repeats=False, n_units=7, dtype=np.float64)
    alpha = np.array([1.0, 10.0, 10.0, 100.0, 1.0, 3.0, 1000.0])
    together = cuda.fit_units(brain, Y, n_voxels=30, alpha=alpha, penalize_bias=True)
    for j, one in enumerate(alpha):
        single = decoder.fit_units(brain, Y[:, [j]], n_voxels=30, alpha=float(one), penalize_bias=True)
        np.testing.assert_allclose(together.weight[j], single.weight[0], atol=1e-10)
        np.testing.assert_allclose(together.bias[j], single.bias[0], atol=1e-12)


def test_units_in_several_blocks(on_cpu, monkeypatch) -> None:
    brain, Y = study(300, 60, repeats=False, n_units=11, dtype=np.float32)
    whole = cuda.fit_units(brain, Y, n_voxels=20, alpha=5.0)
    monkeypatch.setattr(cuda, "UNITS_AT_ONCE", 4)
    pieces = cuda.fit_units(brain, Y, n_voxels=20, alpha=5.0)
    np.testing.assert_array_equal(pieces.voxel, whole.voxel)
    np.testing.assert_allclose(pieces.weight, whole.weight, atol=1e-6)
    np.testing.assert_allclose(pieces.bias, whole.bias, atol=1e-12)


def test_a_hopeless_penalty_is_an_error(on_cpu) -> None:
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(300, 2)), 5, axis=1).astype(np.float32)
    brain = brain_statistics(X)
    with pytest.raises(DataError, match="alpha=1e-30 is too small for data of type float32"):
        cuda.fit_units(brain, rng.normal(size=(300, 3)).astype(np.float32), n_voxels=10, alpha=1e-30)


def test_systems_done_again_are_counted(on_cpu, caplog) -> None:
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(300, 20)), 2, axis=1).astype(np.float32)
    found = cuda.fit_units(brain_statistics(X), rng.normal(size=(300, 6)).astype(np.float32), n_voxels=40, alpha=1e-6)
    assert found.n_redone == 6
    assert "6 of 6 units had to be solved again in float64" in caplog.text


@pytest.mark.parametrize(
    ("alpha", "message"),
    [(0.0, "1 of 1 are not"), (np.inf, "1 of 1"), ([1.0, -1.0, np.nan], "2 of 3"), ([1.0, 2.0], "one a unit")],
)
def test_bad_penalties_are_refused(on_cpu, alpha, message) -> None:
    brain, Y = study(60, 20, repeats=False, n_units=8, dtype=np.float32)
    with pytest.raises(DataError, match=message):
        cuda.fit_units(brain, Y[:, :3], n_voxels=5, alpha=np.array(alpha) if isinstance(alpha, list) else alpha)


def test_what_kernels_take_for_granted_is_checked() -> None:
    gram, voxel, rhs = systems(2, 4, n_samples=30, dtype=np.float32)
    alpha = np.ones(2)
    with pytest.raises(ValueError, match="voxel must be a C-contiguous int32 array"):
        cuda.solve(gram, voxel.astype(np.int64), rhs, alpha)
    with pytest.raises(ValueError, match=r"rhs must be .* of shape \(2, 4\)"):
        cuda.solve(gram, voxel, np.asfortranarray(rhs), alpha)
    with pytest.raises(ValueError, match="between 1 and 1024 voxels, got 1025"):
        cuda.solve(gram, np.zeros((1, 1025), np.int32), np.zeros((1, 1025), np.float32), np.ones(1))
    with pytest.raises(ValueError, match="too small for 4 voxels"):
        cuda.solve(gram, voxel, rhs, alpha, workspace=np.empty(64, np.uint8))
    with pytest.raises(ValueError, match="k must be between 1 and the number of voxels 9"):
        cuda.select(np.zeros((1, 9), np.float32), np.ones(9, np.uint8), 10)
    with pytest.raises(ValueError, match="not for float16"):
        cuda.select(np.zeros((1, 9), np.float16), np.ones(9, np.uint8), 1)


def test_no_units_and_no_items(on_cpu) -> None:
    voxel, rhs = cuda.select(np.zeros((0, 9), np.float32), np.ones(9, np.uint8), 3)
    assert (voxel.shape, rhs.shape) == ((0, 3), (0, 3))
    weight, status = cuda.solve(np.eye(9, dtype=np.float32), voxel, rhs, np.zeros(0))
    assert (weight.shape, status.shape) == ((0, 3), (0,))
    units = decoder.UnitDecoders(voxel, weight, np.zeros(0, np.float32), np.zeros(0), np.zeros(0), 0)
    assert cuda.predict_units(np.zeros((4, 9), np.float32), units).shape == (4, 0)


# what the stand-in itself finds

RACES = """
import ctypes, sys
sys.path.insert(0, {folder!r})
import numpy as np, test_cuda
from hpc_recon.numerics import cuda, decoder
cuda._launch = test_cuda.launcher(ctypes.CDLL({library!r}))
cuda._multiprocessors = lambda xp: 1
gram, voxel, rhs = test_cuda.systems(2, 70, n_samples=200, dtype=np.float32)
odd = np.setdiff1d(voxel[1], voxel[0])[0]
gram[odd, odd] = -1
status = cuda.solve(gram, voxel, rhs, np.ones(2), refine_below=np.inf)[1]
assert set(status.tolist()) == {{0, 2}}, status
chosen, products = cuda.select(np.tile(gram[:1], 9), np.ones(9 * len(gram), np.uint8), 50)
units = decoder.UnitDecoders(voxel, rhs, rhs[:, 0].copy(), np.ones(2), np.ones(2), 0)
cuda.predict_units(gram[:33], units)
print("done")
"""


def test_no_races_between_threads(tmp_path) -> None:
    """Each CUDA thread a thread of the system, watched by ThreadSanitizer: a missing barrier is a race."""
    if sys.platform != "linux" or shutil.which("g++") is None:
        pytest.skip("needs g++ on Linux")
    runtime = subprocess.run(["g++", "-print-file-name=libtsan.so"], capture_output=True, text=True).stdout.strip()
    if not Path(runtime).is_absolute():
        pytest.skip("needs ThreadSanitizer's runtime (libtsan), which g++ does not find")
    library = build(tmp_path, "-DCUDA_ON_CPU_THREADS", "-fsanitize=thread", "-g")
    script = RACES.format(folder=str(Path(__file__).parent), library=str(library))
    environment = {"LD_PRELOAD": runtime, "TSAN_OPTIONS": "exitcode=66 report_signal_unsafe=0", "PATH": "/usr/bin:/bin"}
    environment |= {
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(cuda.__file__).parents[2]),
    }
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert "WARNING: ThreadSanitizer" not in done.stderr, done.stderr[:4000]
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[:4000]
