"""Whether decoded features still belong to the network of the study: identities compared along the receipts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpc_recon.core import receipts
from hpc_recon.core.config import Study
from hpc_recon.core.errors import ChangedStudy
from hpc_recon.core.tiles import digest
from hpc_recon.stores import layout


class Provenance:
    """One look at the fingerprints of a workspace; each command's groups are listed once."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._listings: dict[str, receipts.Listing] = {}
        self._checked: set[str] = set()

    def _listing(self, key: str) -> receipts.Listing:
        verb = key.partition("/")[0]
        if verb not in self._listings:
            self._listings[verb] = receipts.Listing(self._workspace, verb)
        return self._listings[verb]

    def require_current(self, key: str) -> None:
        """Raise unless a group, and every group that it was made from, still are what they were when it was made.

        Groups that do not exist are not looked at: reading them says what is missing.

        Raises
        ------
        ChangedStudy
            If one was computed anew since; names it and the command.
        """
        for name in self._listing(key).groups(key):
            if name in self._checked:
                continue
            self._checked.add(name)
            fingerprint = self._listing(name).fingerprint(name) or {}
            for upstream, recorded in fingerprint.get("upstream", {}).items():
                now = digest(dict(receipts.digests(self._listing(upstream), upstream)))
                if now != recorded:
                    raise ChangedStudy(
                        f"{name} was made from an earlier {upstream}, which was computed anew since; make it anew with "
                        f"{layout.command(name.partition('/')[0])} --redo"
                    )
                self.require_current(upstream)

    def require_decoded(self, study: Study, variant: str) -> None:
        """Raise unless all decoded features that an entry under `reconstruct:` reads are what they were made from.

        Raises
        ------
        ChangedStudy
            If one was computed anew since; names it and the command.
        """
        for split, roi in dict.fromkeys(place[:2] for place in study.image_sets(variant)):
            for key in study.decode_keys(variant, split, roi):
                self.require_current(key)

    def require_network(self, key: str, identity: Mapping[str, Any], *, network: str, layer: str) -> None:
        """Raise unless the features of a layer, made by the group `key`, are those of the study's network.

        Parameters
        ----------
        identity
            From `nets.identity.identity`.

        Raises
        ------
        ChangedStudy
            If they differ; names what differs.
        """
        stored = (self._listing(key).fingerprint(key) or {}).get("settings", {})
        names = [name for name in {**stored, **identity} if name not in ("dtype", "layers")]
        if "files" in stored:  # made elsewhere: which network it was is for the study to say
            names, stored = ["transform"], {"transform": None if stored["transform"] == "none" else stored["transform"]}
        changed = [
            f"{name} was {stored.get(name)!r} and is {identity.get(name)!r}"
            for name in names
            if stored.get(name) != identity.get(name)
        ]
        if stored and changed:
            raise ChangedStudy(
                f"features of layer {layer} were made by another network than {network!r} of this study: "
                f"{'; '.join(changed)}. Decoded features of one network cannot become images through another: write "
                f"the former network, or run {layout.command('extract')}, fit and decode for this one"
            )
