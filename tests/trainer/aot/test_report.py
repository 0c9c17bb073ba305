import pytest

from trainer.aot.report import conclusions, fit_table

FITS = {
    "topology": "v5e:2x2",
    "device": "TPU v5 lite",
    "cores": 4,
    "hbm_bytes": 16 << 30,
    "batch_per_core": 8,
    "global_batch": 32,
    "fits": True,
    "seconds": 300.0,
    "peak_bytes": 6 << 30,
    "flops": 13.8e12,
    "least_seconds": 0.07,
}
DOES_NOT = {
    **{name: FITS[name] for name in ("topology", "device", "cores", "hbm_bytes", "seconds")},
    **{"batch_per_core": 64, "global_batch": 256, "fits": False, "reason": "RESOURCE_EXHAUSTED"},
}


def test_the_table_and_the_largest_batch() -> None:
    report = {"configured_batch": 32, "results": [FITS, DOES_NOT, {**DOES_NOT, "topology": "v2:2x2"}]}
    head, fits, does_not, other = fit_table(report).splitlines()
    assert " ".join(head.split()) == "topology cores per core global fits HBM peak / core TFLOP/step ms at peak"
    assert " ".join(fits.split()) == "v5e:2x2 4 8 32 yes 6.00 / 16 GiB 13.80 70.0"
    assert " ".join(does_not.split()) == "v5e:2x2 4 64 256 no too much"
    assert other.startswith("v2:2x2")
    v5e, v2 = conclusions(report)
    assert v5e == (
        "result: v5e:2x2: of the batches tried, 8 images per core fit and 64 do not, a global batch of 32 on its 4 "
        "cores; the configuration's 32, 8 per core, fits"
    )
    assert v2 == "result: v2:2x2: of the batches tried, none fits; the configuration's 32 was not tried; add --batch 8"


@pytest.mark.parametrize(
    ("configured", "said"),
    [
        (16, "16, 4 per core, fits"),  # a larger one does
        (128, "128 was not tried; add --batch 32"),  # between the two
        (512, "512, 128 per core, does not fit"),  # a smaller one doesn't
        (30, "30 is not a multiple of its 4 cores"),
    ],
)
def test_whether_the_configurations_own_batch_fits(configured: int, said: str) -> None:
    (line,) = conclusions({"configured_batch": configured, "results": [FITS, DOES_NOT]})
    assert line.endswith(f"; the configuration's {said}")
