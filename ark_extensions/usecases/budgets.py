"""Budgets: a workspace stops when its run, or its life, has cost what its owner allowed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, or_, select

from ark_extensions.domain.autostop import StopReason
from ark_extensions.domain.metering import cost_micros
from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.usecases.launches import order_stop
from ark_extensions.usecases.views import StopOrder


def spent_budgets(storage: Storage, *, now: datetime) -> list[StopOrder]:
    """Mark as stopping the running workspaces whose budget is used up; returns the stops to carry out."""
    w, r = t.workspaces, t.runs
    e = t.runs.alias("earlier")
    before = (
        select(func.coalesce(func.sum(e.c.charged_micros), 0)).where(e.c.workspace_id == w.c.id, e.c.closed_at.is_not(None)).correlate(w)
    )
    query = (
        select(w, r.c.opened_at, r.c.seen_at, r.c.price_micros_per_hour, before.scalar_subquery().label("earlier_micros"))
        .join(r, (r.c.workspace_id == w.c.id) & r.c.closed_at.is_(None))
        .where(w.c.state == State.RUNNING, or_(w.c.budget_run_micros.is_not(None), w.c.budget_total_micros.is_not(None)))
    )
    orders = []
    with storage.read() as connection:
        limited = connection.execute(query).all()
    for row in limited:
        run = cost_micros(row.price_micros_per_hour, row.opened_at, min(row.seen_at, now))
        total = run + row.earlier_micros + row.disk_charged_micros
        over_run = row.budget_run_micros is not None and run >= row.budget_run_micros
        over_life = row.budget_total_micros is not None and total >= row.budget_total_micros
        if over_run or over_life:
            with storage.write() as connection:
                current = connection.execute(select(w).where(w.c.id == row.id)).one()
                if current.state == State.RUNNING:
                    order_stop(connection, current, "billing", StopReason.BUDGET, now)
                    orders.append(StopOrder(row.id, row.owner, row.name, StopReason.BUDGET))
    return orders
