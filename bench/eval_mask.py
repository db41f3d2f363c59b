"""Measures what masking finds, on corpora that others wrote, beside Presidio on the same text.

Corpora: the sentence templates of presidio-evaluator, filled by its own generator; identifiers made by Faker's
providers of each country; credentials made from the expressions of detect-secrets, kept where detect-secrets itself
finds them; seeded numbers that only look like something; the Python standard library, the JSON of installed packages
and logs of this machine, which hold nothing. `callgate mask try` reads each corpus in eight shapes; what it replaced is
worked out by laying its output over the input.

A value counts as found when every character of it is covered, whatever class it was taken for: what is covered does not
leak. A span is right when it touches a value of its class. Presidio runs its predefined pattern recognisers of all
countries with a blank English pipeline (its language models are not on PyPI), so no names, places or dates come from a
model; its threshold is 0.4.
"""

import argparse
import collections
import gzip
import importlib
import inspect
import io
import json
import pkgutil
import random
import re
import subprocess
import sys
import sysconfig
import tempfile
import uuid
import warnings
from contextlib import redirect_stdout
from pathlib import Path

warnings.filterwarnings("ignore")

import rstr
import spacy
from detect_secrets.plugins import base as ds_base
from detect_secrets import plugins as ds_plugins
from faker import Faker
from presidio_analyzer import AnalyzerEngine, PatternRecognizer, RecognizerRegistry, predefined_recognizers
from presidio_analyzer.nlp_engine import SpacyNlpEngine
from presidio_evaluator.data_generator import PresidioSentenceFaker

SEED = 4711
MARKER = re.compile(r"\[masked:([a-z0-9.-]+)\]")
GROUPS = "secret,payment,contact,identity,health,device,wallet"
THRESHOLD = 0.4

# Kind of value: classes of ours, entities of Presidio's (none: it has no recogniser for it).
KINDS = {
    "payment card": (["payment-card"], ["CREDIT_CARD"]),
    "phone": (["phone"], ["PHONE_NUMBER"]),
    "IBAN": (["iban"], ["IBAN_CODE"]),
    "e-mail": (["email"], ["EMAIL_ADDRESS"]),
    "IP address": (["ip-address"], ["IP_ADDRESS"]),
    "hardware address": (["hardware-address"], ["MAC_ADDRESS"]),
    "US SSN": (["us-ssn"], ["US_SSN"]),
    "US ITIN": (["us-itin"], ["US_ITIN"]),
    "UK NINO": (["uk-nino"], ["UK_NINO"]),
    "ES DNI": (["es-dni"], ["ES_NIF"]),
    "ES NIE": (["es-nie"], ["ES_NIE"]),
    "IT fiscal code": (["it-fiscal-code"], ["IT_FISCAL_CODE"]),
    "PL PESEL": (["pl-pesel"], ["PL_PESEL"]),
    "FI personal code": (["fi-personal-code"], ["FI_PERSONAL_IDENTITY_CODE"]),
    "SE personal number": (["se-personal-number"], ["SE_PERSONNUMMER"]),
    "IN Aadhaar": (["in-aadhaar"], ["IN_AADHAAR"]),
    "TH id": (["th-id"], ["TH_TNIN"]),
    "TR id": (["tr-id"], ["TR_NATIONAL_ID"]),
    "KR resident number": (["kr-resident-number"], ["KR_RRN"]),
    "CA SIN": (["ca-sin"], ["CA_SIN"]),
    "FR NIR": (["fr-nir"], []),
    "NL BSN": (["nl-bsn"], []),
    "BR CPF": (["br-cpf"], []),
    "NO national id": (["no-national-id"], []),
    "EE personal code": (["ee-personal-code"], []),
    "RO CNP": (["ro-cnp"], []),
    "HR OIB": (["hr-oib"], []),
    "CH AHV": (["ch-ahv-number"], []),
    "vehicle number": (["vehicle-number"], []),
    "BIC": (["bic"], []),
    "date of birth": (["date-of-birth"], []),
    "street address": (["postal-address"], []),
    "postal code": (["postal-code"], []),
    "driving licence": (["driving-licence", "uk-driving-licence"], ["US_DRIVER_LICENSE"]),
    "secret": (["secret."], []),
}

# Entities of presidio-evaluator's templates.
TEMPLATES = {
    "CREDIT_CARD": "payment card",
    "PHONE_NUMBER": "phone",
    "IBAN_CODE": "IBAN",
    "EMAIL_ADDRESS": "e-mail",
    "IP_ADDRESS": "IP address",
    "US_SSN": "US SSN",
    "US_DRIVER_LICENSE": "driving licence",
}

# Kind, locale, provider of Faker, and the words before the value in the sentence.
FAKED = [
    ("payment card", "en_US", "credit_card_number", "card"),
    ("phone", "en_US", "phone_number", "call"),
    ("phone", "en_GB", "phone_number", "call"),
    ("phone", "de_DE", "phone_number", "Telefon"),
    ("phone", "fr_FR", "phone_number", "tel."),
    ("IBAN", "de_DE", "iban", "account"),
    ("IBAN", "fr_FR", "iban", "account"),
    ("IBAN", "nl_NL", "iban", "account"),
    ("e-mail", "en_US", "email", "write to"),
    ("e-mail", "en_US", "ascii_company_email", "write to"),
    ("IP address", "en_US", "ipv4", "from"),
    ("IP address", "en_US", "ipv6", "from"),
    ("hardware address", "en_US", "mac_address", "device"),
    ("US SSN", "en_US", "ssn", "SSN"),
    ("US ITIN", "en_US", "itin", "ITIN"),
    ("UK NINO", "en_GB", "ssn", "NINO"),
    ("ES DNI", "es_ES", "nif", "NIF"),
    ("ES NIE", "es_ES", "nie", "NIE"),
    ("IT fiscal code", "it_IT", "ssn", "codice fiscale"),
    ("PL PESEL", "pl_PL", "pesel", "PESEL"),
    ("FI personal code", "fi_FI", "ssn", "hetu"),
    ("SE personal number", "sv_SE", "ssn", "personnummer"),
    ("IN Aadhaar", "en_IN", "aadhaar_id", "Aadhaar"),
    ("TH id", "th_TH", "ssn", "national id"),
    ("TR id", "tr_TR", "ssn", "TC"),
    ("KR resident number", "ko_KR", "ssn", "RRN"),
    ("CA SIN", "en_CA", "ssn", "SIN"),
    ("FR NIR", "fr_FR", "ssn", "NIR"),
    ("NL BSN", "nl_NL", "ssn", "BSN"),
    ("BR CPF", "pt_BR", "cpf", "CPF"),
    ("NO national id", "no_NO", "ssn", "personnummer"),
    ("EE personal code", "et_EE", "ssn", "isikukood"),
    ("RO CNP", "ro_RO", "ssn", "CNP"),
    ("HR OIB", "hr_HR", "ssn", "OIB"),
    ("CH AHV", "de_CH", "ssn", "AHV"),
    ("vehicle number", "en_US", "vin", "VIN"),
    ("BIC", "en_GB", "swift11", "BIC"),
    ("date of birth", "en_US", "date", "date of birth"),
    ("street address", "en_US", "street_address", "at"),
    ("postal code", "en_US", "zipcode", "ZIP"),
    ("postal code", "en_GB", "postcode", "postcode"),
]


class Document:
    """A text and what it holds: from, to, kind."""

    def __init__(self, text, values):
        # One line, and no escapes: what is encoded twice is not looked for, and would count as missed.
        self.text = re.sub(r"[\x00-\x1f\\]", " ", text)
        self.values = values


class BlankEngine(SpacyNlpEngine):
    """Presidio's pipeline without a model."""

    def __init__(self):
        super().__init__()
        self.nlp = {"en": spacy.blank("en")}

    def load(self):
        pass


def presidio():
    registry = RecognizerRegistry(supported_languages=["en"])
    count = 0
    for name, maker in inspect.getmembers(predefined_recognizers, inspect.isclass):
        if not issubclass(maker, (PatternRecognizer, predefined_recognizers.PhoneRecognizer)) or maker is PatternRecognizer:
            continue
        try:
            registry.add_recognizer(maker(supported_language="en"))
            count += 1
        except TypeError:
            continue
    return AnalyzerEngine(registry=registry, nlp_engine=BlankEngine(), supported_languages=["en"]), count


def from_templates(count):
    with redirect_stdout(io.StringIO()):
        maker = PresidioSentenceFaker("en_US", lower_case_ratio=0.05, random_seed=SEED)
        made = maker.generate_new_fake_sentences(count)
    documents = []
    for sample in made:
        values = []
        for span in sample.spans:
            # Names, places and dates count neither as values nor as words that hold nothing.
            start = span.start_position
            kind = TEMPLATES.get(span.entity_type)
            values.append((start, start + len(span.entity_value), kind))
        documents.append(Document(sample.full_text, values))
    return documents


def from_faker(count):
    documents = []
    words = Faker("en_US")
    words.seed_instance(SEED)
    for kind, locale, provider, before in FAKED:
        maker = Faker(locale)
        maker.seed_instance(SEED)
        for _ in range(count):
            value = str(getattr(maker, provider)())
            ahead = f"{words.sentence(4)} {before} "
            text = f"{ahead}{value} {words.sentence(4).lower()}"
            documents.append(Document(text, [(len(ahead), len(ahead) + len(value), kind)]))
    return documents


# Detectors of detect-secrets whose expression is a credential by itself, not a line of a program around it.
TOKENS = {
    "AWSKeyDetector": 1, "AzureStorageKeyDetector": 1, "BasicAuthDetector": 1, "GitHubTokenDetector": 1,
    "GitLabTokenDetector": 9, "MailchimpDetector": 1, "OpenAIDetector": 1, "PypiTokenDetector": 2,
    "SendGridDetector": 1, "SlackDetector": 2, "SquareOAuthDetector": 1, "StripeDetector": 1,
    "TelegramBotTokenDetector": 1, "TwilioKeyDetector": 2, "DiscordBotTokenDetector": 1, "ArtifactoryDetector": 2,
}


def secret_detectors():
    for module in pkgutil.iter_modules(ds_plugins.__path__):
        loaded = importlib.import_module(f"detect_secrets.plugins.{module.name}")
        for name, maker in inspect.getmembers(loaded, inspect.isclass):
            if name in TOKENS and issubclass(maker, ds_base.RegexBasedDetector):
                yield name, maker()


def from_detect_secrets(count):
    chance = random.Random(SEED)
    maker = rstr.Rstr(chance)
    documents, by_detector = [], collections.Counter()
    for name, detector in secret_detectors():
        for expression in list(detector.denylist)[: TOKENS[name]]:
            made = 0
            for _ in range(count * 20):
                pattern = re.sub(r"\(\?[!<=:]*\\w\)", "", expression.pattern)
                if name == "BasicAuthDetector":
                    # Its "anything but" would make characters that no URL has (RFC 3986).
                    pattern = r"://[a-z]{3,9}:[\w~%-]{3,20}@[a-z]{3,9}"
                value = maker.xeger(pattern).strip(' \t\r\n="')
                scheme = "https" if value.startswith("://") else ""
                line = f"export KEY {scheme}{value} # made"
                if not value.isascii() or any(c.isspace() or ord(c) < 33 for c in value):
                    continue
                anchors = [s.secret_value for s in detector.analyze_line(filename="x", line=line, line_number=1)]
                anchors = [a for a in anchors if a and a in line]
                if not anchors:
                    continue
                anchor = max(anchors, key=len).strip(' ="')
                start = line.index(anchor)
                documents.append((name, Document(line, [(start, start + len(anchor), "secret")])))
                by_detector[name] += 1
                made += 1
                if made == count:
                    break
    return documents


def hard_negatives(count):
    chance = random.Random(SEED)
    digits = lambda n: "".join(chance.choice("0123456789") for _ in range(n))
    hexes = lambda n: "".join(chance.choice("0123456789abcdef") for _ in range(n))

    def luhn(number):
        total = sum(int(d) if i % 2 == 0 else sum(divmod(int(d) * 2, 10)) for i, d in enumerate(reversed(number)))
        return total % 10 == 0

    def bad_card():
        while True:
            number = chance.choice("3456") + digits(15)
            if not luhn(number):
                return number

    makers = [
        lambda: str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        lambda: hexes(40),
        lambda: hexes(64),
        lambda: f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}T{chance.randint(0, 23):02}:30:0{digits(1)}.{digits(6)}Z",
        lambda: str(chance.randint(1_600_000_000, 1_900_000_000)),
        lambda: str(chance.randint(1_600_000_000_000, 1_900_000_000_000)),
        lambda: f"{chance.randint(0, 40)}.{chance.randint(0, 99)}.{chance.randint(0, 99)}",
        lambda: f"{digits(3)}.{digits(6)}",
        bad_card,
        lambda: f"DE00{digits(18)}",
        lambda: f"#{hexes(6)}",
        lambda: f"order-{digits(6)}",
        lambda: f"v{digits(1)}.{digits(2)}.{digits(1)}-rc{digits(1)}",
        lambda: f"/api/v{digits(1)}/items/{digits(5)}?page={digits(2)}",
        lambda: f"arn:aws:s3:::bucket-{digits(8)}/key",
        lambda: f"next_page_token={hexes(24)}",
        lambda: f"total {digits(3)},{digits(3)}.{digits(2)} EUR",
        lambda: f"0x{hexes(8)}",
        lambda: f"sha256:{hexes(64)}",
        lambda: f"{digits(2)}:{digits(2)}:{digits(2)} up {digits(3)} days",
    ]
    return [Document(f"item {make()} done", []) for make in makers for _ in range(count)]


def shape_json(texts):
    return "application/json", json.dumps(texts).encode(), json.loads


def shape_nested(texts):
    body = {"items": [{"id": 1, "notes": {"lines": [text]}} for text in texts]}
    return "application/json", json.dumps(body).encode(), lambda out: [i["notes"]["lines"][0] for i in json.loads(out)["items"]]


def shape_in_string(texts):
    body = [json.dumps({"note": text}) for text in texts]
    return "application/json", json.dumps(body).encode(), lambda out: [json.loads(t)["note"] for t in json.loads(out)]


def shape_text(texts):
    return "text/plain; charset=utf-8", ("\n".join(texts) + "\n").encode(), lambda out: out.decode().split("\n")[:-1]


def shape_events(texts):
    body = "".join(f"data: {json.dumps({'delta': text})}\n\n" for text in texts)
    read = lambda out: [json.loads(e[6:])["delta"] for e in out.decode().split("\n\n")[:-1]]
    return "text/event-stream", body.encode(), read


def shape_lines(texts):
    body = "".join(json.dumps({"note": text}, ensure_ascii=False) + "\n" for text in texts)
    return "application/x-ndjson", body.encode(), lambda out: [json.loads(l)["note"] for l in out.decode().split("\n")[:-1]]


SHAPES = {
    "JSON": (shape_json, []),
    "nested": (shape_nested, []),
    "JSON in a string": (shape_in_string, []),
    "text": (shape_text, []),
    "SSE": (shape_events, []),
    "NDJSON": (shape_lines, []),
    "7-byte chunks": (shape_json, ["--chunk-bytes", "7"]),
    "gzip": (shape_json, ["--content-encoding", "gzip"]),
}


def run_callgate(binary, media_type, body, extra, detect):
    """What comes out of masking; an answer that is withheld is an error."""
    if "gzip" in extra:
        body = gzip.compress(body)
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        command = [binary, "mask", "try", file.name, "--content-type", media_type, "--output", "raw", *extra]
        # Without it the command adds contact data; secrets are on in any case.
        command += ["--detect", detect or "secret"]
        done = subprocess.run(command, capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode())
    return done.stdout


def spans(original, masked):
    """Lays a masked text over the original: from, to, class."""
    parts = MARKER.split(masked)
    at = len(parts[0])
    if not original.startswith(parts[0]):
        raise ValueError(f"changed beside a marker: {masked!r}")
    found = []
    for index in range(1, len(parts), 2):
        kind, literal = parts[index], parts[index + 1]
        last = index + 2 >= len(parts)
        if last:
            end = len(original) - len(literal)
            if end < at or not original.endswith(literal):
                raise ValueError(f"changed beside a marker: {masked!r}")
        else:
            end = original.index(literal, at + 1)
        found.append((at, end, kind))
        at = end + len(literal)
    if len(parts) == 1 and masked != original:
        raise ValueError(f"changed without a marker: {masked!r}")
    return found


def of_class(kind, label, ours):
    names = KINDS[kind][0 if ours else 1]
    return any(label == name or (name.endswith(".") and label.startswith(name)) for name in names)


class Score:
    """Values found and missed, spans right and wrong, by kind."""

    def __init__(self):
        self.values = collections.Counter()
        self.found = collections.Counter()
        self.typed = collections.Counter()
        self.right = collections.Counter()
        self.missed = collections.defaultdict(list)
        self.words = self.kept = 0

    def add(self, document, found, ours):
        covered = set()
        for start, end, _ in found:
            covered.update(range(start, end))
        for start, end, kind in document.values:
            if kind is None:
                continue
            self.values[kind] += 1
            inner = [at for at in range(start, end) if document.text[at].isalnum()]
            if all(at in covered for at in inner):
                self.found[kind] += 1
            else:
                self.missed[kind].append(document.text[start:end])
        for start, end, label in found:
            for kind in KINDS:
                if of_class(kind, label, ours):
                    touched = [k for s, e, k in document.values if s < end and start < e]
                    hit = kind in touched
                    # What the templates label as a place or a date may well be an address: not counted.
                    if hit or None not in touched:
                        self.typed[kind] += 1
                        self.right[kind] += hit
        held = set()
        for start, end, _ in document.values:
            held.update(range(start, end))
        for word in re.finditer(r"\S+", document.text):
            places = set(range(*word.span()))
            if not places & held:
                self.words += 1
                self.kept += not places & covered

    def row(self, kind):
        recall = self.found[kind] / self.values[kind] if self.values[kind] else None
        precision = self.right[kind] / self.typed[kind] if self.typed[kind] else None
        f1 = 2 * precision * recall / (precision + recall) if precision and recall else None
        return precision, recall, f1


def clean_files(limit):
    """Text that holds no secret and no card: name to list of files' text, each about `limit` bytes."""
    standard = Path(sysconfig.get_paths()["stdlib"])
    site = Path(sysconfig.get_paths()["purelib"])

    def take(paths):
        size, texts = 0, []
        for path in paths:
            if path.is_file() and size < limit:
                text = path.read_text(errors="ignore").replace("\x00", "")
                texts.append((str(path.name), text))
                size += len(text)
        return texts

    sources = sorted(p for p in standard.glob("*/*.py") if "site-packages" not in str(p) and "test" not in str(p))
    jsons = sorted(p for root in (site, Path("tests/peers/node_modules")) for p in root.rglob("*.json"))
    logs = sorted(Path("/var/log").rglob("*.log"))
    return {"source code": take(sources), "JSON": take(jsons), "logs": take(logs)}


def clean_hits(binary, files, detect):
    """Bytes read and hits, with where they were."""
    size, hits, where = 0, collections.Counter(), []
    for name, text in files:
        body = text.encode()
        size += len(body)
        out = run_callgate(binary, "text/plain; charset=utf-8", body, [], detect).decode()
        for found in MARKER.finditer(out):
            hits[found.group(1)] += 1
            where.append(f"{found.group(1)} in {name}: …{out[max(0, found.start() - 40):found.end() + 10]!r}")
    return size, hits, where


def percent(value):
    return "–" if value is None else f"{100 * value:.1f}"


def report(ours, theirs, shapes, secrets, negatives, clean, facts):
    lines = [
        "# How accurate masking is",
        "",
        "Written by `make eval-mask`; the corpora and the rules stand in `bench/eval_mask.py`. " + facts,
        "",
        "A value is found when all of it is covered, a span is right when it touches a value of its class. In percent.",
        "",
        "| kind of value | values | precision | recall | F1 | Presidio's precision | recall | F1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        if not ours.values[kind]:
            continue
        own = " | ".join(percent(v) for v in ours.row(kind))
        other = " | ".join(percent(v) for v in theirs.row(kind)) if KINDS[kind][1] else "– | – | –"
        lines.append(f"| {kind} | {ours.values[kind]} | {own} | {other} |")
    lines += [
        "",
        f"Words that hold nothing and stay as they are: {percent(ours.kept / ours.words)} (Presidio: "
        f"{percent(theirs.kept / theirs.words)}), everything switched on.",
        "",
        "## In eight shapes",
        "",
        "The same documents in each; an answer that does not parse, or has other text beside a marker, would fail the run.",
        "",
        "| shape | values found | words kept |",
        "|---|---|---|",
    ]
    for shape, score in shapes.items():
        found, values = sum(score.found.values()), sum(score.values.values())
        lines.append(f"| {shape} | {found} of {values} | {percent(score.kept / score.words)} |")
    lines += [
        "",
        "## Credentials that detect-secrets finds",
        "",
        "Made from its own expressions, kept where it finds them itself; only what is on by default is switched on.",
        "",
        "| its detector | made | masked |",
        "|---|---|---|",
    ]
    for name, (made, masked) in sorted(secrets.items()):
        lines.append(f"| {name} | {made} | {masked} |")
    lines += ["", NOTES]
    lines += ["", "## False alarms", "", "| text | switched on | size | hits | of which |", "|---|---|---|---|---|"]
    for (name, on), (size, hits) in [*clean.items(), *negatives.items()]:
        classes = ", ".join(f"{name} {count}" for name, count in hits.most_common(6)) or "–"
        lines.append(f"| {name} | {on} | {size / 1e6:.2f} MB | {sum(hits.values())} | {classes} |")
    lines += ["", "## What is not found", ""]
    for kind in KINDS:
        if ours.missed[kind]:
            sample = ", ".join(f"`{value}`" for value in ours.missed[kind][:4])
            lines.append(f"- {kind}: {len(ours.missed[kind])} of {ours.values[kind]}, as {sample}")
    return "\n".join(lines) + "\n"


NOTES = """Not masked on purpose, because the vendor gives out no such key: Artifactory's are 73 characters that begin with
`AKCp`, Telegram's have `AA` behind the colon, Square's have no backslash, Twilio's have hexadecimal digits only (and
`AC…` names an account, it opens nothing), Slack's are longer than twenty characters."""

RISK = """
Not looked for at all: names of people and companies, places, professions, free descriptions of health or belief, dates
other than of birth, values that their form does not tell and no name announces. Cover these with field rules
(`mask.fields`) or detectors of your own. Not found either: what stands under "not found" in `docs/guide/masking.md`
(encoded twice, spread over several values, images).
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--out", default="docs/masking-accuracy.md")
    parser.add_argument("--templates", type=int, default=3000)
    parser.add_argument("--each", type=int, default=60)
    parser.add_argument("--details", action="store_true")
    arguments = parser.parse_args()

    documents = from_templates(arguments.templates) + from_faker(arguments.each)
    negatives = hard_negatives(arguments.each)
    mixed = documents + negatives
    texts = [document.text for document in mixed]

    shapes = {}
    for name, (shape, extra) in SHAPES.items():
        media_type, body, read = shape(texts)
        back = read(run_callgate(arguments.binary, media_type, body, extra, GROUPS))
        assert len(back) == len(mixed), f"{name}: {len(back)} of {len(mixed)} came back"
        score = Score()
        for document, masked in zip(mixed, back):
            score.add(document, spans(document.text, masked), True)
        shapes[name] = score
        print(name, sum(score.found.values()), "of", sum(score.values.values()), file=sys.stderr)

    analyzer, recognizers = presidio()
    theirs = Score()
    for document in mixed:
        results = analyzer.analyze(document.text, language="en", score_threshold=THRESHOLD)
        theirs.add(document, [(r.start, r.end, r.entity_type) for r in results], False)

    secrets = {}
    made = from_detect_secrets(arguments.each)
    media_type, body, read = shape_json([document.text for _, document in made])
    back = read(run_callgate(arguments.binary, media_type, body, [], ""))
    for (name, document), masked in zip(made, back):
        score = Score()
        score.add(document, spans(document.text, masked), True)
        total, found = secrets.get(name, (0, 0))
        secrets[name] = (total + 1, found + score.found["secret"])
        if arguments.details and not score.found["secret"]:
            print("missed", name, document.text, file=sys.stderr)

    clean, false_alarms = {}, {}
    for name, files in clean_files(2_000_000).items():
        for on, detect in (("by default", ""), ("everything", GROUPS)):
            size, hits, where = clean_hits(arguments.binary, files, detect)
            clean[(name, on)] = (size, hits)
            if on == "by default" or arguments.details:
                print(*where[:60], sep="\n", file=sys.stderr)
    plain = [("hard negatives", "\n".join(document.text for document in negatives))]
    for on, detect in (("by default", ""), ("everything", GROUPS)):
        size, hits, where = clean_hits(arguments.binary, plain, detect)
        false_alarms[("seeded hard negatives", on)] = (size, hits)
        if arguments.details:
            print(*where[:60], sep="\n", file=sys.stderr)

    facts = (
        f"{len(documents)} documents with values, {len(negatives)} hard negatives, seed {SEED}; Presidio with "
        f"{recognizers} pattern recognisers, a blank pipeline, threshold {THRESHOLD}."
    )
    text = report(shapes["JSON"], theirs, shapes, secrets, false_alarms, clean, facts) + RISK
    Path(arguments.out).write_text(text)
    print(text)

    score = shapes["JSON"]
    failures = []
    for kind, (_, entities) in KINDS.items():
        own, other = score.row(kind)[1], theirs.row(kind)[1]
        if entities and own is not None and own < (other or 0):
            failures.append(f"{kind}: recall {percent(own)} is below Presidio's {percent(other)}")
    for name, shape in shapes.items():
        if shape.kept < 0.99 * shape.words:
            failures.append(f"{name}: only {percent(shape.kept / shape.words)} of the clean words are kept")
    for (name, on), (size, hits) in clean.items():
        if on == "by default" and sum(hits.values()) > max(1, size / 1e6):
            failures.append(f"{name}: {sum(hits.values())} false hits in {size / 1e6:.2f} MB")
    for failure in failures:
        print("MISSED TARGET", failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
