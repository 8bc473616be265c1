"""The command tree, and the one place where a refusal becomes a sentence on the terminal."""

from __future__ import annotations

import sys
from typing import Any

import click
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from ark_extensions.cli.assets import asset
from ark_extensions.cli.backup import backup, restore
from ark_extensions.cli.books import books
from ark_extensions.cli.catalog import catalog
from ark_extensions.cli.doctor import doctor
from ark_extensions.cli.installation import NotSetUp, installation
from ark_extensions.cli.logs import logs
from ark_extensions.cli.money import acts, price, revenue, transfer, voucher
from ark_extensions.cli.netdisk import netdisk
from ark_extensions.cli.people import token, user
from ark_extensions.cli.start import down, prepare, status, up
from ark_extensions.domain.errors import ArkError
from ark_extensions.web.i18n import render_error


class Ark(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ArkError as refusal:
            _refuse(render_error(refusal, "en", _currency()))
        except NotSetUp as refusal:
            _refuse(str(refusal))
        except ValidationError as problem:
            for error in problem.errors():
                name = ".".join(str(part) for part in error["loc"])
                _say(f"The setting `{name}` {error['msg'][:1].lower()}{error['msg'][1:]}: correct it in ark.yaml.")
            raise SystemExit(1) from None
        except SQLAlchemyError as failure:
            reason = str(getattr(failure, "orig", failure)).splitlines()[0]
            _refuse(f"The database cannot be used ({reason}): see `ark doctor`.")
        except BrokenPipeError:
            raise SystemExit(0) from None


def _currency() -> str:
    """For amounts in a refusal; it must not depend on settings that are refused themselves."""
    try:
        return installation().currency
    except (NotSetUp, ValidationError):
        return "CNY"


def _refuse(sentence: str) -> None:
    _say(sentence)
    raise SystemExit(1)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


@click.group(cls=Ark, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="ark", version="0.1.0", prog_name="ark")
def main() -> None:
    """Operate an Ark installation: start it, its users and wallets, its catalogue, its books.

    The installation is the one of the environment variable ARK_STATE_DIR (DIR/bin/ark sets it), else ./.ark.
    """


for command in (up, down, status, prepare, user, token, catalog, asset, books, voucher, price, transfer, revenue, acts, netdisk):
    main.add_command(command)
for command in (doctor, logs, backup, restore):
    main.add_command(command)
