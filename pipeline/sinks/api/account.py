"""What the API acknowledged, member by member, so that its ledger can be checked against it."""

from __future__ import annotations

from dataclasses import asdict

from pipeline.records import Balance, Entry, Verdict

_CODES = {verdict: code for code, verdict in enumerate(Verdict, start=1)}


class Account:
    """The acknowledged verdicts of the archives that are open; one byte a member."""

    def __init__(self) -> None:
        self._verdicts: dict[int, bytearray] = {}

    def open(self, archive_id: int) -> None:
        """Begin an archive's account."""
        self._verdicts[archive_id] = bytearray()

    def note(self, archive_id: int, index: int, verdict: Verdict) -> None:
        """Note a member's verdict; the last one counts."""
        verdicts = self._verdicts[archive_id]
        if index >= len(verdicts):
            verdicts.extend(bytes(max(index + 1, 2 * len(verdicts)) - len(verdicts)))
        verdicts[index] = _CODES[verdict]

    def close(self, entry: Entry, ledger: Balance) -> str:
        """End an archive's account; answers in words where it differs from the ledger's balance, if it does.

        It may lack members that the ledger has from before, while neither balance closes: the archive ended early.
        """
        verdicts = self._verdicts.pop(entry.id, bytearray())
        counts = {verdict.value: verdicts.count(code) for verdict, code in _CODES.items()}
        own = Balance(entry.archive.members, **counts)
        if own == ledger or not (own.closed or ledger.closed):
            return ""
        theirs = asdict(ledger)
        return "; ".join(
            f"{name}: {ours} acknowledged, {theirs[name]} in the ledger"
            for name, ours in asdict(own).items()
            if ours != theirs[name]
        )
