#!/usr/bin/env python3
"""Lays Callgate's figures beside Presidio's on the same documents and writes them into docs/performance.md.

The folder holds callgate.jsonl and one file of documents for each corpus, written by gateway/benches/mask.rs. Presidio
runs with its default recognisers and analyses each document as text. Its default language model comes from outside
the package index, so a blank English pipeline takes its place: recognisers that need the model (names, places) find
nothing and cost nothing, all others are there. That makes Presidio faster than it usually is.
"""

import argparse
import json
import logging
import pathlib
import time

import spacy
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import SpacyNlpEngine

ROOT = pathlib.Path(__file__).resolve().parent.parent
START, END = "<!-- measured mask -->", "<!-- /measured mask -->"


class BlankEngine(SpacyNlpEngine):
    """A tokeniser without a model."""

    def load(self):
        pipeline = spacy.blank("en")
        pipeline.max_length = 4_000_000
        self.nlp = {"en": pipeline}


def presidio():
    logging.disable(logging.ERROR)  # a library fetches a newer list of domains and does without if it cannot
    engine = BlankEngine()
    engine.load()
    return AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])


def measure(analyzer, documents, seconds):
    """MB a second of processor time: whole documents until the time is up."""
    size, used = 0, 0.0
    for document in documents:
        begin = time.process_time()
        analyzer.analyze(document, language="en")
        used += time.process_time() - begin
        size += len(document.encode())
        if used > seconds:
            break
    return size / used / 1e6


def beside(row):
    """Presidio's figure and how it compares, if it was measured on this corpus."""
    if row["presidio"] is None:
        return "not measured | "
    return f"{row['presidio']:.3f} | {row['sets']['everything']['mb_per_s'] / row['presidio']:.0f}"


def table(rows):
    lines = [
        "| format | bytes | values | default MB/s | + contact MB/s | everything MB/s | p50 µs a document | Presidio MB/s "
        "| times faster |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        sets = row["sets"]
        lines.append(
            f"| {row['format']} | {row['size']} | {row['density']} | {sets['default']['mb_per_s']:.0f} "
            f"| {sets['contact']['mb_per_s']:.0f} | {sets['everything']['mb_per_s']:.0f} "
            f"| {sets['contact']['p50_us']:.1f} | {beside(row)} |"
        )
    return lines


def picture(rows):
    """Three bars a corpus on a logarithmic scale."""
    import math

    shown = [row for row in rows if row["size"] in (1000, 1_000_000)]
    height = 46 * len(shown) + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="860" height="{height}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="20">MB a second on one core, logarithmic: Callgate default, Callgate everything, Presidio</text>',
    ]

    def bar(top, value, colour):
        width = max(2, 130 * (math.log10(value) + 2))
        parts.append(f'<rect x="200" y="{top}" width="{width:.0f}" height="11" fill="{colour}"/>')
        parts.append(f'<text x="{206 + width:.0f}" y="{top + 10}">{value:.3g}</text>')

    for index, row in enumerate(shown):
        top = 34 + 46 * index
        parts.append(f'<text x="10" y="{top + 22}">{row["format"]}, {row["size"]} B, {row["density"]}</text>')
        bar(top, row["sets"]["default"]["mb_per_s"], "#2b6cb0")
        bar(top + 13, row["sets"]["everything"]["mb_per_s"], "#63b3ed")
        if row["presidio"] is not None:
            bar(top + 26, row["presidio"], "#a0aec0")
    return "\n".join([*parts, "</svg>"]) + "\n"


def machine():
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown")
    import os

    return f"{os.cpu_count()} × {model}, load {os.getloadavg()[0]:.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=3, help="processor time of Presidio for each corpus, at least")
    parser.add_argument("--up-to", type=int, default=1_000_000, help="largest documents that Presidio is shown, in bytes")
    parser.add_argument("--dry", action="store_true", help="print only, do not write docs/performance.md")
    options = parser.parse_args()
    corpora = {}
    for line in (options.folder / "callgate.jsonl").read_text().splitlines():
        row = json.loads(line)
        corpora.setdefault(row["corpus"], {**row, "sets": {}})["sets"][row["set"]] = row
    analyzer = presidio()
    rows = []
    for name, row in corpora.items():
        documents = [json.loads(line) for line in (options.folder / f"{name}.jsonl").read_text().splitlines()]
        shown = row["size"] <= options.up_to
        row["presidio"] = measure(analyzer, documents, options.seconds) if shown else None
        rows.append(row)
        print(table([row])[-1], flush=True)
    if options.dry:
        return
    lines = [
        START,
        f"Measured {time.strftime('%Y-%m-%d')} on {machine()} (others were at work on it), processor time of one thread;",
        f"Presidio {options.seconds:g} s or more a corpus, Callgate as set in the script.",
        "",
        *table(rows),
        "",
        "![masking beside Presidio](performance-mask.svg)",
        END,
    ]
    target = ROOT / "docs/performance.md"
    before, rest = target.read_text().split(START)
    target.write_text(before + "\n".join(lines) + rest.split(END)[1])
    (ROOT / "docs/performance-mask.svg").write_text(picture(rows))


if __name__ == "__main__":
    main()
