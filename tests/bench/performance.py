"""`make bench`: measures this broker beside mosquitto, prints the tables and writes the page."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.bench import page, results
from tests.bench.brokers import Machine, mosquitto_program
from tests.bench.page import Comparison
from tests.bench.results import Line, Results
from tests.bench.scenarios import SCENARIOS, Bench, Scenario
from tests.certificates import write_certificates

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "reference" / "performance.md"


def main() -> int:
    """Runs what the command line asks for."""
    options = _options()
    cpus = sorted(os.sched_getaffinity(0))
    if mosquitto_program() is None:
        print("mosquitto is missing: on Debian, apt install mosquitto", file=sys.stderr)
        return 1
    if len(cpus) < 2:
        print("two cores are needed: one for the broker, one for its load", file=sys.stderr)
        return 1
    scenarios = [each for each in SCENARIOS if not options.only or each.name in options.only]
    with tempfile.TemporaryDirectory() as folder:
        certificates = write_certificates(Path(folder))
        generator = options.generator.resolve()
        floor = generator.with_name("floor")
        bench = Bench(generator, Machine(floor, cpus[0], cpus[1], certificates))
        found = results.run(bench, scenarios, options.rounds)
    _tell(found, scenarios, options)
    return 0


def _options() -> argparse.Namespace:
    """The command line."""
    names = ", ".join(each.name for each in SCENARIOS)
    parser = argparse.ArgumentParser(
        prog='make bench ARGS="…"',
        description="Measures this broker beside mosquitto and writes the reference page "
        "if all was measured.",
        epilog=f"Scenarios: {names}. churn is compared with topics: ask for both.",
    )
    parser.add_argument("--generator", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument(
        "--only",
        action="append",
        choices=[each.name for each in SCENARIOS],
        metavar="SCENARIO",
        help="measure this one; may be given more than once",
    )
    parser.add_argument("--rounds", type=int, default=3, help="alternations  [3]")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--no-page", action="store_true", help="leave the reference page alone")
    return parser.parse_args()


def _tell(found: Results, scenarios: Sequence[Scenario], options: argparse.Namespace) -> None:
    """Prints the figures, and writes the page if it is about all scenarios."""
    comparisons = [
        Comparison("Beside mosquitto", ("mosquitto", "QuantumMQ"), results.lines(found, scenarios)),
        Comparison(
            "Above the floor", ("floor", "QuantumMQ"), results.above_floor(found, scenarios)
        ),
        Comparison(
            "While subscriptions change",
            ("without", "beside churn"),
            results.beside_churn(found, scenarios),
        ),
        Comparison("Two shards", ("one shard", "two shards"), results.two_shards(found, scenarios)),
    ]
    if not options.only and not options.no_page:
        PAGE.write_text(page.markdown(comparisons, options.rounds, found.repeats), encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}", file=sys.stderr)
    if options.json:
        facts = {
            "repeats": list(found.repeats),
            "tables": {each.title: [_facts(line) for line in each.lines] for each in comparisons},
            "runs": [
                {"scenario": scenario, "broker": broker, "figures": [dict(run) for run in runs]}
                for (scenario, broker), runs in found.runs.items()
            ],
        }
        print(json.dumps(facts, indent=2))
        return
    print("\n\n".join(page.terminal(each) for each in comparisons if each.lines))


def _facts(line: Line) -> dict[str, object]:
    """A line as JSON has it."""
    return {**asdict(line), "ratio": line.ratio}


if __name__ == "__main__":
    sys.exit(main())
