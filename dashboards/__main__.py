"""`python -m dashboards generate` writes the committed JSON anew; `provision` brings it into a Grafana."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dashboards.dialects import DIALECTS
from dashboards.errors import ProvisionError
from dashboards.generate import FOLDER, write
from dashboards.grafana_http import Grafana, read_token
from dashboards.provisioning import Step, Wish, provision


def main(words: Sequence[str] | None = None) -> int:
    """Do what is asked; 1 and a sentence on stderr if it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    generate = commands.add_parser("generate", help="write dashboards and rules from the typed panels")
    generate.add_argument("--out", type=Path, default=FOLDER, help="another folder than the committed one")
    bring = commands.add_parser("provision", help="bring them into a Grafana; harmless to repeat")
    bring.add_argument("--url", required=True, help="Grafana's root, such as https://grafana.example.org")
    bring.add_argument("--token-file", type=Path, required=True, help="a service account's token, mode 600")
    bring.add_argument("--ca-file", type=Path, help="the authority of Grafana's certificate")
    bring.add_argument("--store", choices=sorted(DIALECTS), default="victoriametrics")
    bring.add_argument("--store-url", required=True, help="the store's address as Grafana sees it")
    bring.add_argument("--database", default="fleet", help="InfluxDB's database")
    bring.add_argument("--mail-to", action="append", default=[], help="who gets alerts; may be repeated")
    bring.add_argument("--overwrite", action="store_true", help="give up what was changed in Grafana")
    given = parser.parse_args(words)
    return _generate(given) if given.command == "generate" else _provision(given)


def _generate(given: argparse.Namespace) -> int:
    changed = write(given.out)
    for name in changed:
        print(f"{name} written")
    if not changed:
        print("nothing changed")
    return 0


def _provision(given: argparse.Namespace) -> int:
    wish = Wish(
        dialect=DIALECTS[given.store],
        store_url=given.store_url,
        database=given.database,
        mail_to=tuple(given.mail_to),
        overwrite=given.overwrite,
    )
    done: list[Step] = []
    try:
        for step in provision(Grafana(given.url, read_token(given.token_file), given.ca_file), wish):
            done.append(step)
            print(f"{step.thing}: {step.outcome}", flush=True)
    except ProvisionError as error:
        kept = ", ".join(f"{step.thing} {step.outcome}" for step in done if step.outcome != "unchanged")
        print(f"provision: {error}", file=sys.stderr)
        print(f"provision: done before that: {kept or 'nothing'}; nothing after it", file=sys.stderr)
        return 1
    if not wish.mail_to:
        print("without --mail-to alerts go where Grafana's own default policy sends them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
