"""What `ark doctor` looks at in what is on record: both databases, the clock they were written by, the books, what is for sale, and
workspaces that nobody looks after."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, timedelta

from sqlalchemy.exc import SQLAlchemyError

from ark_extensions.cli.finding import Finding
from ark_extensions.cli.installation import opened, utc_now
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.storage.schema import schema_age
from ark_extensions.supervisor.words import phrase
from ark_extensions.usecases.books import check_books
from ark_extensions.usecases.figures import clocks
from ark_extensions.usecases.halts import posting_halt
from ark_extensions.usecases.market import list_offers
from ark_extensions.usecases.reconciliation import suspects

#: more than two clocks differ where time is kept, less than what a bill shows
SKEW = timedelta(seconds=5)
#: what is in doubt for so long is not mended by itself
DOUBTFUL = timedelta(minutes=2)
NAMES_SHOWN = 5


def records(settings: Settings, *, runs: bool) -> Iterator[Finding]:
    """Everything that is asked of the databases; a database that cannot be used is the one finding then. ``runs``: the platform does,
    so that somebody has to confirm what workspaces do."""
    with opened(settings) as storage:
        try:
            yield from _form(storage)
            if schema_age(storage) == "present":
                yield from _clock(storage)
                yield from _books(storage)
                yield from _stock(storage)
                yield from _doubtful(storage) if runs else ()
        except SQLAlchemyError as failure:
            reason = str(getattr(failure, "orig", failure)).splitlines()[0]
            yield Finding(
                "database",
                "problem",
                phrase("It cannot be read ({reason}).", reason=reason),
                phrase("Check database_url in ark.yaml, and that the server runs. If the data is lost: `ark restore`."),
            )
    yield from _hub_database(settings)


def _form(storage: Storage) -> Iterator[Finding]:
    age = schema_age(storage)
    if age == "present":
        yield Finding("database", "ok", phrase("It answers and has the present form."))
    elif age == "newer":
        sentence = phrase("A later version of Ark has used it: this one cannot.")
        yield Finding(
            "database", "problem", sentence, phrase("Start that version again, or put the backup from before it back: `ark restore`.")
        )
    else:
        sentence = phrase("It has an older form than this version of Ark needs.")
        yield Finding("database", "problem", sentence, phrase("Start the platform once: `make up`. In a cluster: `ark prepare`."))


def _clock(storage: Storage) -> Iterator[Finding]:
    now = utc_now()
    known = clocks(storage)
    ahead = max((at - now for at in (known.newest, known.database) if at is not None), default=timedelta(0))
    behind = now - known.database if known.database is not None else timedelta(0)
    if max(ahead, behind) > SKEW:
        yield Finding(
            "clock",
            "problem",
            phrase("The clock here and what is on record differ by {seconds} s.", seconds=int(max(ahead, behind).total_seconds())),
            phrase("Set it by NTP on every machine (`timedatectl`): deadlines and charges follow it."),
        )
    else:
        yield Finding("clock", "ok", phrase("It is {now} UTC here, and nothing on record says otherwise.", now=f"{now:%Y-%m-%d %H:%M:%S}"))


def _books(storage: Storage) -> Iterator[Finding]:
    differences = check_books(storage)
    halt = posting_halt(storage)
    if differences:
        sentence = phrase("{count} differences.", count=len(differences))
        yield Finding("books", "problem", sentence, phrase("See `ark books check`, and report them: this must never be."))
    else:
        yield Finding("books", "ok", phrase("Every balance and charge recomputes to what is kept."))
    if halt is not None:
        sentence = phrase(
            "Halted since {at} UTC; {waiting} postings wait.", at=f"{halt.at.astimezone(UTC):%Y-%m-%d %H:%M}", waiting=halt.waiting
        )
        remedy = phrase("Look for the cause with `ark books check`; then `ark books resume --reason …` lets posting go on.")
        yield Finding("posting", "problem", sentence, remedy)


def _stock(storage: Storage) -> Iterator[Finding]:
    offers = list_offers(storage, now=utc_now())
    if not offers:
        remedy = phrase("`make up` makes offers for this machine; in a cluster `ark prepare` does.")
        yield Finding("stock", "problem", phrase("No offer is on sale: nobody can start anything."), remedy)
    elif not any(offer.total for offer in offers):
        remedy = phrase("The machines have become smaller, or are gone: `make up` reads them anew, in a cluster the reconciler does.")
        yield Finding("stock", "problem", phrase("None of {count} offers fits on any machine.", count=len(offers)), remedy)
    elif not any(offer.free for offer in offers):
        remedy = phrase("It comes back when workspaces stop or monthly compute ends; or add machines.")
        yield Finding("stock", "note", phrase("All {count} offers are sold out now.", count=len(offers)), remedy)
    else:
        free = sum(1 for offer in offers if offer.free)
        yield Finding("stock", "ok", phrase("{free} of {count} offers can be started now.", free=free, count=len(offers)))


def _doubtful(storage: Storage) -> Iterator[Finding]:
    """A Hub that does not look (a dead watch, a loop that hangs) shows in workspaces whose state nobody confirms."""
    found = suspects(storage, now=utc_now() - DOUBTFUL)
    if not found:
        yield Finding("workspaces", "ok", phrase("Each one's state has been confirmed within two minutes."))
        return
    names = ", ".join(f"{one.owner}/{one.name}" for one in found[:NAMES_SHOWN]) + (" …" if len(found) > NAMES_SHOWN else "")
    yield Finding(
        "workspaces",
        "problem",
        phrase("{count} have not been confirmed for two minutes: {names}.", count=len(found), names=names),
        phrase(
            "The Hub or the reconciler does not see them: look at their logs, and restart the Hub. Workspaces go on, none is overcharged."
        ),
    )


def _hub_database(settings: Settings) -> Iterator[Finding]:
    file = settings.state_dir / "jupyterhub.sqlite"
    if not file.exists():
        return
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=10)) as connection:
            (users,) = connection.execute("SELECT count(*) FROM users").fetchone()
    except sqlite3.Error as error:
        sentence = phrase("It cannot be read ({reason}).", reason=error)
        yield Finding("hub database", "problem", sentence, phrase("Stop the platform and put a backup back: `ark restore`."))
    else:
        yield Finding("hub database", "ok", phrase("It answers: {users} users have signed in.", users=users))
