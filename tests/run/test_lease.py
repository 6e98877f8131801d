"""The lease: one controller; a living one is respected, a dead one is taken over."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from hpc_recon.core.errors import ClusterError
from hpc_recon.run import lease


def take(workspace, *, cancelled=None, said=None, patience=1.0):
    return lease.hold(
        workspace,
        cluster="local",
        study_name="tiny",
        cancel=(cancelled if cancelled is not None else []).append,
        say=(said if said is not None else []).append,
        patience=patience,
    )


def store(workspace, owner):
    path = lease.lease_path(workspace)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(lease._content(owner)))


@pytest.fixture
def dead_process():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return process.pid


def test_held_while_the_block_runs_then_removed(tmp_path):
    with take(tmp_path) as held:
        assert lease.read(tmp_path) == held.owner
        held.record_jobs(("7", "8"))
        held.record_jobs(("8",))
        assert lease.read(tmp_path).jobs == ("7", "8")
    assert lease.read(tmp_path) is None


def test_a_second_controller_refuses_and_names_the_first(tmp_path):
    with take(tmp_path), pytest.raises(ClusterError, match=f"process {os.getpid()} on"), take(tmp_path):
        pass
    assert lease.read(tmp_path) is None


def test_a_dead_one_on_this_host_is_taken_over_at_once(tmp_path, dead_process):
    dead = replace(lease._new_owner("slurm", "tiny"), pid=dead_process, nonce="dead", jobs=("12",))
    store(tmp_path, dead)
    certificates = lease.certificate_folder(tmp_path, "dead")
    certificates.mkdir(parents=True)
    (certificates / "key.pem").write_text("secret")
    (tmp_path / "x.partial").write_text("torn")
    cancelled, said = [], []
    with take(tmp_path, cancelled=cancelled, said=said) as held:
        assert cancelled == [dead]
        assert held.owner.nonce != "dead"
        assert not certificates.exists()
        assert not (tmp_path / "x.partial").exists()
    assert "taking over" in said[0]
    assert not list(lease.lease_path(tmp_path).parent.iterdir())


def test_a_process_that_the_system_hides_is_judged_by_its_heartbeat(tmp_path, dead_process, monkeypatch):
    store(tmp_path, replace(lease._new_owner("local", "tiny"), pid=dead_process, nonce="colleague"))
    monkeypatch.setattr(lease.os, "geteuid", lambda: os.getuid() + 1)  # the lease is another user's
    path, stop = lease.lease_path(tmp_path), threading.Event()

    def beat():
        while not stop.wait(0.05):
            os.utime(path)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(ClusterError, match="another controller"), take(tmp_path):
            pass
    finally:
        stop.set()
        thread.join()
    with take(tmp_path, patience=0.2) as held:
        assert held.owner.nonce != "colleague", "its heart has stopped"


def test_a_link_whose_answer_was_lost_is_ours(tmp_path, monkeypatch):
    link = os.link

    def link_twice(source, target):
        link(source, target)
        link(source, target)

    monkeypatch.setattr(lease.os, "link", link_twice)
    with take(tmp_path) as held:
        assert lease.read(tmp_path) == held.owner


def test_a_process_id_in_use_again_is_not_the_old_controller(tmp_path):
    store(tmp_path, replace(lease._new_owner("local", "tiny"), started=1, nonce="old"))
    with take(tmp_path) as held:
        assert held.owner.nonce != "old"


def test_another_machine_of_the_same_name_is_judged_by_its_heartbeat(tmp_path, dead_process):
    """Two containers may be called alike, and neither sees the processes of the other."""
    other = replace(lease._new_owner("local", "tiny"), pid=dead_process, machine="another boot", nonce="other")
    store(tmp_path, other)
    start = time.monotonic()
    with take(tmp_path, patience=0.6) as held:
        assert held.owner.nonce != "other"
    assert time.monotonic() - start >= 0.6, "it was called dead by the process ids of this machine"


def test_a_lease_is_whole_or_absent_where_the_disk_is_full(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), take(tmp_path):
        pass
    assert not list(lease.lease_path(tmp_path).parent.iterdir())


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_without_hard_links_there_is_one_owner_too(tmp_path, monkeypatch, number):
    def no_link(*_):
        raise OSError(number, "no links here")

    monkeypatch.setattr(os, "link", no_link)
    with take(tmp_path) as held:
        assert lease.read(tmp_path) == held.owner
        assert not lease._create(tmp_path, lease._new_owner("local", "tiny"))
        assert lease.read(tmp_path) == held.owner
    assert not list(lease.lease_path(tmp_path).parent.iterdir())


def test_a_lease_garbled_under_its_owner_is_written_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "READ_ATTEMPTS", 1)
    monkeypatch.setattr(lease, "HEARTBEAT", 0.05)
    with take(tmp_path) as held:
        lease.lease_path(tmp_path).write_text("{")
        end = time.monotonic() + 60
        while lease.lease_path(tmp_path).read_text() == "{":
            assert time.monotonic() < end
            time.sleep(0.02)
        assert not held.lost
    assert lease.read(tmp_path) is None


def test_jobs_that_cannot_be_recorded_on_a_full_disk_are_recorded_later(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT", 0.05)
    write = lease.write_json
    with take(tmp_path) as held:

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(lease, "write_json", full)
        held.record_jobs(("7",))
        assert lease.read(tmp_path).jobs == ()
        monkeypatch.setattr(lease, "write_json", write)
        end = time.monotonic() + 60
        while lease.read(tmp_path).jobs != ("7",):
            assert time.monotonic() < end
            time.sleep(0.02)


def test_a_take_over_that_died_is_finished_by_the_next(tmp_path, dead_process):
    dead = replace(lease._new_owner("slurm", "tiny"), pid=dead_process, nonce="dead")
    store(tmp_path, dead)

    def refuse(owner):
        raise ClusterError("the queue does not answer")

    with (
        pytest.raises(ClusterError, match="does not answer"),
        lease.hold(tmp_path, cluster="local", study_name="tiny", cancel=refuse, say=print, patience=1.0),
    ):
        pass
    assert lease.read(tmp_path) is None
    cancelled = []
    with take(tmp_path, cancelled=cancelled):
        assert cancelled == [dead]
    assert not lease.unfinished_burials(tmp_path)


def test_another_host_is_judged_by_its_heartbeat(tmp_path):
    far = replace(lease._new_owner("slurm", "tiny"), host="far-away", nonce="far")
    store(tmp_path, far)
    stop = threading.Event()

    def beat():
        number = 0
        while not stop.wait(0.1):
            number += 1
            store(tmp_path, replace(far, beat=number))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(ClusterError, match="on far-away"), take(tmp_path, patience=30.0):
            pass
    finally:
        stop.set()
        thread.join()
    start = time.monotonic()
    with take(tmp_path, patience=0.6) as held:
        assert held.owner.nonce != "far"
    assert time.monotonic() - start >= 0.6


def test_losing_the_lease_is_noticed_and_the_new_owners_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT", 0.05)
    with take(tmp_path) as held:
        thief = replace(held.owner, nonce="thief")
        store(tmp_path, thief)
        end = time.monotonic() + 60
        while not held.lost and time.monotonic() < end:
            time.sleep(0.02)
        assert held.lost
    assert lease.read(tmp_path) == thief


def test_the_heartbeat_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT", 0.05)
    with take(tmp_path):
        end = time.monotonic() + 60
        while lease.read(tmp_path).beat < 2:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_a_garbled_lease_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "READ_ATTEMPTS", 1)
    path = lease.lease_path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text("")
    with pytest.raises(ClusterError, match="is damaged"), take(tmp_path):
        pass
