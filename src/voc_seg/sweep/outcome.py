"""How the jobs of a sweep ended, and where jobs come from that are not known from the start."""

from dataclasses import dataclass, field

from .jobs import Job


@dataclass(frozen=True)
class Outcome:
    """Names of the jobs by result; failed ones with the reason."""

    finished: list[str]
    failed: dict[str, str]
    running_elsewhere: list[str]
    unfinished: list[str]  # not started, or interrupted
    signum: int | None
    stopped: list[str] = field(default_factory=list)  # because their source asked for it

    def __add__(self, other: "Outcome") -> "Outcome":
        """The outcome of these jobs and then of others."""
        return Outcome(
            self.finished + other.finished,
            self.failed | other.failed,
            self.running_elsewhere + other.running_elsewhere,
            self.unfinished + other.unfinished,
            other.signum if self.signum is None else self.signum,
            self.stopped + other.stopped,
        )


class JobSource:
    """Decides on jobs while others run, and is informed about them; this one has none, as a grid has all in a list."""

    total = 0  # number of jobs, for the progress bar

    def next(self) -> Job | None:
        """The next job; None if there is none now."""
        return None

    def should_stop(self, job: Job) -> bool:
        """Whether a running job should stop; called several times a second."""
        return False

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Receive how a job ended, or why it was not started: its name is in ``outcome``."""
