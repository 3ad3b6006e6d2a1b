"""The base of the callbacks whose hooks a training loop of the user's own calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.callback.base import BaseCallback
from swarm.errors import SwarmError

if TYPE_CHECKING:
    from collections.abc import Iterator


class OwnLoopCallback(BaseCallback):
    """The hooks after a batch, after an epoch and at the end, and the epochs to train.

    A subclass adds ``on_train_begin``, which calls ``open_run`` and ``join``.
    """

    _epoch, _first_epoch = -1, 0
    _epoch_told = _uses_epochs = False

    def join(self) -> None:
        """Join the swarm, and count the epochs of a new run.

        Raises:
            SwarmError: as ``Session.begin``; the run has then left the swarm.
        """
        self._epoch_told = self._uses_epochs = False
        super().join()
        self._epoch, self._first_epoch = self.resumed.epochs - 1, 0

    def on_batch_end(self, batch: object = None, loss: object = None, *, stepped: bool = True) -> None:
        """Count a batch, and merge if a merge is due. Call it after the step that the batch is trained with.

        ``loss``, a number or tensor, is the training loss of this batch. It is read only if a merge is due.

        ``stepped`` is for a loop that accumulates gradients: False where the optimizer has made no step yet, so that a
        merge that is due waits for the batch after which it has. Under Accelerate that is
        ``stepped=accelerator.sync_gradients``.
        """
        self.counted = counted = self.counted + 1  # each attribute is read once: a class with __getattr__ is slower
        if stepped and counted >= self.due:
            self.sync(loss)

    def on_epoch_end(self, epoch: int | None = None) -> None:
        """Record the end of an epoch, for progress. ``epoch`` is optional and may count from 0 or 1."""
        done = self.resumed.epochs
        if epoch == done + 1 and self._epoch < done:
            self._first_epoch = 1
        self._epoch = self._epoch + 1 if epoch is None else epoch - self._first_epoch
        self._epoch_told = True
        self.end_epoch(self._epoch)

    def epochs(self, count: int, *, start: int | None = None) -> Iterator[int]:
        """The numbers of the epochs to train: ``start`` to ``count - 1``, and more where ``train_until="all"``.

        With ``train_until="all"`` further numbers follow until every peer has trained its own epochs. Call it between
        ``on_train_begin`` and ``on_train_end``. It calls ``on_epoch_end`` after each epoch for which the loop does not.
        They end with the epoch in which ``should_stop`` becomes true. An epoch that is under way when all are done, or
        when ``should_stop`` is true, can end early::

            for epoch in callback.epochs(10):
                for x, y in loader:
                    ...
                    callback.on_batch_end()
                    if callback.all_done or callback.should_stop:
                        break

        Args:
            count: epochs of this peer.
            start: the first one, where training continues from a checkpoint of your own. By default the first that is
                not complete where a run is resumed, else 0.

        Raises:
            SwarmError: no run is open, or it has such a loop already and ``train_until="all"``.
        """
        self.require_run("epochs")
        if self._uses_epochs and self.arguments.settings.train_until == "all":
            raise SwarmError(
                "epochs was called twice in one run: with train_until='all' the end of the first loop is that of the "
                "training. Use one loop, or on_train_begin() for a new run"
            )
        self._uses_epochs = True
        return self._numbered(self.resumed.epochs if start is None else start, count)

    def _numbered(self, epoch: int, count: int) -> Iterator[int]:
        while not self.should_stop and (epoch < count or self.extend()):
            self._epoch_told = False
            yield epoch
            if not self._epoch_told:
                self.on_epoch_end(epoch)
            epoch += 1

    def on_train_end(self) -> None:
        """Wait until every peer has finished; then load the swarm's closing model.

        Raises:
            IncompleteSwarmError: ``require_members`` is set and a site is missing. The closing model is loaded by then.
        """
        settings = self.arguments.settings
        if settings.train_until == "all" and not (self._uses_epochs or settings.loopback):
            self.logger.warning(
                "train_until='all' had no effect: this peer trained its own epochs only, as its loop does not use "
                "`for epoch in callback.epochs(n)`"
            )
        self.finish()
