"""The training loop [5]: one process, one run directory, readable in one sitting.

Everything random is keyed by (seed, epoch, image or step), so a run that goes on from its checkpoint computes
what it would have computed without the stop: the same weights, bit for bit, in fp32 on the same machine.
"""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

import torch
import torch.nn.functional as F
from filelock import Timeout

from ..data.augment import seed_of
from ..data.batches import Part, TrainingData
from ..data.packed import DataError, find_set
from ..files import write_json
from ..model import AlexNet, Dropout, initialise
from ..runs import NOT_A_NUMBER, Run, RunError, State, Status, summarise, this_process
from ..weights import WeightsError, save_weights
from .checkpoint import Progress, load_state, save_state
from .engine import DeviceError, Engine, choose_engine, give_back_freed_memory, in_words, most_threads, noted
from .events import EventFile
from .finetune import begin_from
from .group import ALONE, Group, PeerLost
from .observe import Mistakes, UnitWatch, gradient_norms
from .optimiser import WeightMean, learning_rate, optimiser_for
from .pace import Pace

Report = Callable[[Status, dict[str, float] | None], None]  # the state now, and a new row of metrics if there is one

ROWS_PER_EPOCH = 10
MOST_STEPS_PER_ROW = 50
STATUS_SECONDS = 0.5
DROPOUT_STREAM = 7  # beside those of the augmentation


class Diverged(ArithmeticError):
    """The loss is no longer a number."""


def train(
    run: Run, report: Report = lambda status, row: None, group: Group = ALONE, at_signal: State = "stopped"
) -> Status:
    """Train a run until it is done, or asked to stop by its `stop` file, SIGTERM or SIGINT; go on where it was.

    `group`: the processes that train it together; the first one writes and reports. `at_signal`: the state in which
    a signal ends it.

    Returns the last status. What goes wrong (no data set, no space, a loss that is not a number) ends the run
    as failed, with the reason in words, and its last checkpoint whole. Raises RunError where another process
    trains this run, or it is a run of the gallery.
    """
    if run.in_gallery:
        raise RunError(f"run {run.id} ships with the project: start a run of your own with the same settings")
    with ExitStack() as stack:
        status = group.first(lambda: stack.enter_context(_leased(run)))
        if status.state == "done":
            return status
        session = _Session(run, report, group, stack, at_signal)
        stack.enter_context(_stopped_by_signals(session))
        try:
            return session.train()
        except PeerLost as error:
            return session.fail(f"{error}; it can be resumed", "interrupted")
        except (DataError, DeviceError, Diverged, WeightsError) as error:
            return session.fail(str(error))
        except OSError as error:
            what = "the disk is full: free some space" if error.errno == errno.ENOSPC else f"{error.strerror}"
            return session.fail(f"{what} ({Path(error.filename or run.path).name}); then resume the run")
        except Exception as error:
            if message := in_words(error):
                return session.fail(message)
            session.fail(f"{type(error).__name__}: {error}")
            raise


@contextmanager
def _leased(run: Run) -> Iterator[Status]:
    """The run's status, read while no other process may write it."""
    try:
        lease = run.lease().acquire()
    except Timeout:
        raise RunError(f"run {run.id} is being trained by another process") from None
    except OSError as error:
        raise RunError(f"run {run.id} cannot be written: {error.strerror}") from error
    with lease:
        yield run.status()


@contextmanager
def _stopped_by_signals(session: _Session) -> Iterator[None]:
    """SIGTERM and SIGINT ask the session to stop after its batch."""

    def ask(number: int, frame: FrameType | None) -> None:
        session.stopping = True

    before = {}
    with suppress(ValueError):  # only the main thread may set signal handlers
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Session:
    """One process's work on one run."""

    def __init__(self, run: Run, report: Report, group: Group, stack: ExitStack, at_signal: State) -> None:
        self.run, self.config, self.report, self.group, self.stack = run, run.config, report, group, stack
        self.stopping, self.at_signal = False, at_signal
        self.progress, self.rate = Progress(), self.config.train.learning_rate
        self.status = replace(
            run.status(), state="running", message="", epochs=self.config.train.epochs, **this_process()
        )
        self.last_status = 0.0

    def train(self) -> Status:
        train, group = self.config.train, self.group
        if group.leads:
            self._begin()
        packed = find_set(self.config.data.name, self.config.data.digest)
        self.classes = packed.classes
        steps = train.epochs * packed.count("train") // train.batch_size
        self.engine = group.first(lambda: self._engine(steps))
        if self.engine.device == "cuda":
            group.take_gpu()
        self.engine.set_up()
        self.device = torch.device(self.engine.device)
        self.data = TrainingData(packed, self.config, self.device, self.engine.dtype)
        self.model = AlexNet(self.config.model)
        initialise(self.model, train.seed)
        if train.init:
            self.data.preprocessing = begin_from(self.run.init_file, train.init, self.model, self.classes)
        for layer in train.freeze:
            self.model.get_submodule(layer).requires_grad_(False)
        self.model.to(self.device).to(memory_format=torch.channels_last)
        self.forward = self.engine.forward_of(self.model)
        self.optimiser = optimiser_for(self.model, train)
        self.mean = WeightMean(self.model.parameters()) if train.average else None
        self._go_on_or_begin()
        # What was seen since the epoch began: the sums of losses and of errors, read out only where they are wanted,
        # as a GPU runs ahead of Python.
        self.sums = torch.tensor([self.progress.loss, self.progress.errors], dtype=torch.float64, device=self.device)
        dropouts = [module for module in self.model.modules() if isinstance(module, Dropout)]

        progress, steps = self.progress, self.data.steps()
        every = max(1, min(steps // ROWS_PER_EPOCH, MOST_STEPS_PER_ROW))
        not_averaged = round(steps * train.epochs * (1 - train.average))  # the first steps
        # The batches after which there is a clean pass.
        clean = {round(steps * number / train.clean_passes) for number in range(1, train.clean_passes + 1)}
        self.started, self.seconds_before = time.monotonic(), progress.seconds
        self.pace = Pace(progress.images)
        if clean and progress.step == 0:
            self._clean_pass()
        while not self._is_over():
            self.model.train()
            for batch in self.data.training(progress.epoch, progress.batch, group.rows):
                rate = learning_rate(train, progress.step / (steps * train.epochs), progress.validation_losses)
                self.rate = rate
                # Of dropout, so that its masks are the same after a stop.
                torch.manual_seed(seed_of(train.seed, progress.step, DROPOUT_STREAM))
                if group.size > 1:
                    for dropout in dropouts:
                        dropout.share = batch.first, batch.total
                with self.engine.autocast():
                    logits = self.forward(batch.x).float()
                loss = F.cross_entropy(logits, batch.y, reduction="sum")
                (loss / batch.total).backward()
                seen = torch.stack([loss.detach(), (logits.argmax(1) != batch.y).sum().to(loss)])
                group.add_up([*(p.grad for p in self.model.parameters() if p.grad is not None), seen])
                progress.step, progress.batch = progress.step + 1, progress.batch + 1
                row = {"learning_rate": rate}
                if progress.step % every == 0:
                    row |= gradient_norms(self.model)
                self.optimiser.step(rate)
                if self.mean and progress.step > not_averaged:
                    self.mean.add()
                progress.images += batch.total
                self.sums += seen
                if progress.step % every == 0:
                    self._log_training(row)
                if progress.batch in clean:
                    self._clean_pass()
                    self.model.train()
                if group.any(self._wants_to_stop()):
                    self._read_sums()
                    self._save()
                    return self._end(self.run.stop_requested() or self.at_signal)
            with self.pace.aside(progress.images):
                self._end_epoch()
            self.pace.end_epoch()
        if packed.count("test"):
            with self.pace.aside(progress.images):
                self._log(self._evaluate("test"))
        return self._end("done")

    def fail(self, message: str, state: State = "failed") -> Status:
        """Write down why the run cannot go on; where even that is impossible, the status stays in memory."""
        self.status = replace(self.status, state=state, message=message, seconds_left=None)
        if self.group.leads:
            with suppress(OSError):
                self.run.write_status(self.status)
            self.report(self.status, None)
        return self.status

    def _begin(self) -> None:
        stop = self.run.stop_file
        # Meant for an earlier process; the start of this one is known to a second.
        if stop.exists() and stop.stat().st_mtime < self.status.pid_started - 2:
            stop.unlink()
        # Left by a process that was killed while it wrote.
        for part in (*(self.run.path / "checkpoints").glob(".*"), *self.run.path.glob(".*.json.*")):
            part.unlink()
        self._write_status()

    def _engine(self, steps: int) -> Engine:
        """This machine's way to compute; a resumed run keeps the precision and threads that it began with."""
        config, env = self.config, self.run.env()
        if env is None:
            return choose_engine(config, most_threads(), steps)
        compiled = "on" if env.get("compiled") else "off"
        kept = {"precision": env["precision"], "threads": env["threads"], "compile": compiled}
        return choose_engine(config.model_copy(update={"train": config.train.model_copy(update=kept)}))

    def _go_on_or_begin(self) -> None:
        rows = self.run.path / "metrics.jsonl"
        if self.run.state_file.exists():
            self.progress = load_state(self.run.state_file, self.model, self.optimiser, self.mean)
        if not self.group.leads:
            return
        facts = {**self.engine.to_json(), "processes": self.group.size}
        write_json(self.run.path / "env.json", noted(self.run.sessions(), facts, self.progress.step))
        if rows.exists():
            with rows.open("r+b") as file:  # what came after the checkpoint is computed again
                file.truncate(self.progress.metrics_bytes)
        rows.touch()
        self.status = replace(self.status, summary=summarise(self.run.metrics()[0]))
        self.events = self.stack.enter_context(EventFile(self.run.path, self.progress.step))
        if self.progress.step == 0:
            self._keep_snapshot()

    def _read_sums(self) -> None:
        self.progress.loss, errors = self.sums.tolist()
        self.progress.errors = round(errors)
        self._check(self.progress.loss)

    def _log_training(self, more: dict[str, float]) -> None:
        self._read_sums()
        progress = self.progress
        in_epoch = min(progress.batch * self.config.train.batch_size, self.data.count("train"))
        images = in_epoch - progress.images_logged
        self._log(
            {
                "train/loss": (progress.loss - progress.loss_logged) / images,
                "train/top1_error": (progress.errors - progress.errors_logged) / images,
                **more,
            }
        )
        progress.images_logged = in_epoch
        progress.loss_logged, progress.errors_logged = progress.loss, progress.errors

    def _clean_pass(self) -> None:
        """What the network makes of training images as they are, without dropout."""
        with self.pace.aside(self.progress.images):
            self._log(self._watch_for_the_end(self._evaluate("clean")))

    def _watch_for_the_end(self, metrics: dict[str, float]) -> dict[str, float]:
        train = self.config.train
        if train.until and metrics.get(train.until_metric, 1.0) <= train.until:
            self.progress.reached = True
        return metrics

    def _is_over(self) -> bool:
        """Whether the last epoch is done."""
        ended = self.progress.reached and self.progress.batch == 0
        return ended or self.progress.epoch == self.config.train.epochs

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            step = self.progress.step
            raise Diverged(f"at step {step} {NOT_A_NUMBER}, at a rate of {self.rate:.3g}: lower train.learning_rate")

    def _end_epoch(self) -> None:
        progress, images = self.progress, self.data.count("train")
        self._read_sums()
        units, mistakes = UnitWatch(self.model), Mistakes()
        with units.watching():
            metrics = self._watch_for_the_end(self._evaluate("val", mistakes))
        self._check(metrics["val/loss"])
        metrics |= {
            "epoch/train_loss": progress.loss / images,
            "epoch/train_top1_error": progress.errors / images,
            **units.shares(self.group),
        }
        found = mistakes.to_json(self.group)
        if self.group.leads:
            write_json(self.run.path / "mistakes.json", {"epoch": progress.epoch + 1, **found})
        progress.epoch, progress.batch = progress.epoch + 1, 0
        self.sums.zero_()
        progress.loss = progress.loss_logged = 0.0
        progress.errors = progress.errors_logged = progress.images_logged = 0
        progress.validation_losses.append(metrics["val/loss"])
        self._log(metrics)
        if progress.epoch & (progress.epoch - 1) == 0 or self._is_over():
            self._keep_snapshot()
        self._save()

    @torch.inference_mode()
    def _evaluate(self, part: Part, mistakes: Mistakes | None = None) -> dict[str, float]:
        """Mean loss and the share of images that are wrong, one centre view each; `mistakes` takes note of them."""
        self.model.eval()
        give_back_freed_memory()
        sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        with self._averaged():
            for batch in self.data.evaluation(part, self.group.rank, self.group.size):
                with self.engine.autocast():
                    logits = self.model(batch.x).float()
                loss_sum = F.cross_entropy(logits, batch.y, reduction="sum")
                if mistakes:
                    mistakes.add(logits, batch.y, batch.index)
                top = logits.topk(min(5, logits.shape[1]), 1).indices == batch.y[:, None]
                sums += torch.stack([loss_sum, (~top[:, 0]).sum().to(loss_sum), (~top.any(1)).sum().to(loss_sum)])
                self._tell()
        give_back_freed_memory()
        self.group.add_up([sums])
        (loss, wrong, wrong5), count = sums.tolist(), self.data.count(part)
        metrics = {f"{part}/loss": loss / count, f"{part}/top1_error": wrong / count}
        return metrics | ({f"{part}/top5_error": wrong5 / count} if self.config.model.num_classes > 5 else {})

    def _averaged(self) -> AbstractContextManager[None]:
        """The network that is looked at and kept: that of the mean weights, once there are any."""
        return self.mean.in_place() if self.mean else nullcontext()

    def _log(self, metrics: dict[str, float]) -> None:
        """Append one row; the file's order and numbers repeat from run to run, its times do not."""
        if not self.group.leads:
            return
        row = {
            "step": self.progress.step,
            "epoch": self.progress.epoch + self.progress.batch / self.data.steps(),
            "images": self.progress.images,
            **metrics,
            "seconds": round(self._seconds(), 3),
        }
        with (self.run.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.events.add(self.progress.step, metrics)
        self.status = replace(self.status, summary=summarise([row], self.status.summary))
        self._tell(row)

    def _save(self) -> None:
        if not self.group.leads:
            return
        with (self.run.path / "metrics.jsonl").open("rb") as file:
            os.fsync(file.fileno())  # the rows are on the disk before the checkpoint that counts them
            self.progress.metrics_bytes = file.seek(0, os.SEEK_END)
        self.progress.seconds = self._seconds()
        save_state(self.run.state_file, self.model, self.optimiser, self.progress, self.mean)
        self._save_weights(self.run.last_file)

    def _keep_snapshot(self) -> None:
        if not self.group.leads:
            return
        file = self.run.path / "checkpoints" / f"epoch-{self.progress.epoch:05d}.safetensors"
        self._save_weights(file, () if self._is_over() else self.config.train.snapshot_layers)

    def _save_weights(self, file: Path, layers: Sequence[str] = ()) -> None:
        with self._averaged():
            save_weights(
                file, self.model, self.data.preprocessing, self.classes, self.config, layers=layers,
                folders=self.data.packed.folders, extra={"epoch": str(self.progress.epoch)},
            )  # fmt: skip

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _tell(self, row: dict[str, float] | None = None) -> None:
        """Say where the run is, in its status file (at most every half second) and to whoever called `train`."""
        due = time.monotonic() - self.last_status > STATUS_SECONDS
        if not self.group.leads or (not due and row is None):
            return
        progress, epochs = self.progress, self.config.train.epochs
        done = progress.epoch + progress.batch / self.data.steps()
        self.pace.at(progress.images)
        self.status = replace(
            self.status,
            epoch=done,
            step=progress.step,
            seconds=self._seconds(),
            img_per_s=self.pace.img_per_s,
            seconds_left=self.pace.seconds_left(epochs - done, self.data.count("train")),
        )
        self.report(self.status, row)
        if due:
            self._write_status()

    def _write_status(self) -> None:
        self.last_status = time.monotonic()
        self.status = replace(self.status, heartbeat=time.time())
        self.run.write_status(self.status)

    def _end(self, state: State) -> Status:
        self._tell()
        self.status = replace(self.status, state=state, seconds=self._seconds(), seconds_left=None)
        if self.group.leads:
            self._write_status()
            if state == "done":  # the last snapshot holds the same
                self.run.last_file.unlink(missing_ok=True)
            self.run.stop_file.unlink(missing_ok=True)
            self.report(self.status, None)
        return self.status

    def _wants_to_stop(self) -> bool:
        self._tell()
        return self.stopping or self.run.stop_file.exists()
