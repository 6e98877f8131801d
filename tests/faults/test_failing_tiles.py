"""A tile that fails whatever is done: retried as told, reported once, and done when its cause is gone."""

import harness


def test_one_tile_fails_and_the_rest_goes_on(tmp_path, undisturbed):
    workspace = tmp_path / "ws"
    code, printed = harness.finish(harness.start_fake(harness.write_fake(workspace, fail=[30])))
    assert code == 1, printed
    assert f"{harness.N_TILES - 1} tiles done, 1 failed, 0 left" in printed
    assert [len(harness.starts(workspace, i)) for i in range(harness.N_TILES)] == [1, 1, 1, 2, 1, 1, 1, 1]
    (log,) = (workspace / "logs").glob("*.txt")
    named = [line for line in printed.splitlines() if "tile 30 is told to fail" in line]
    assert len(named) == 1, "said once, not once for each attempt"
    assert named[0].startswith("failed: fit/S1/VC/net/layer/fit-00000030-00000040: RuntimeError: tile 30 is told to")
    assert str(log) in named[0]
    assert "Traceback (most recent call last)" in log.read_text()
    assert ", in work\n" in log.read_text()
    assert "Traceback" not in printed
    before = harness.times(workspace)
    printed = harness.complete(harness.write_fake(workspace), "retry_failed")  # what made it fail is corrected
    assert "fit: 1 tiles done, 0 failed, 0 left" in printed
    after = harness.times(workspace)
    assert {name: after[name] for name in before} == before
    assert harness.outputs(workspace) == undisturbed
    assert not list((workspace / "logs").glob("*"))
    harness.assert_nothing_is_left(workspace)
