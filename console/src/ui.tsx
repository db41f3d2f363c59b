import type { MouseEvent, ReactNode } from "react";
import type { Head, Json } from "./api";
import { loginUrl, type Problem, SIGN_IN_AGAIN } from "./api";
import { go } from "./hooks";

export function Link(props: { to: string; className?: string; current?: boolean; label?: string; children: ReactNode }) {
  const follow = (event: MouseEvent) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(props.to);
  };
  return (
    <a
      href={props.to}
      className={props.className}
      aria-current={props.current ? "page" : undefined}
      aria-label={props.label}
      onClick={follow}
    >
      {props.children}
    </a>
  );
}

export function Trouble({ problem, login }: { problem: Problem; login?: string }) {
  return (
    <div className="trouble" role="alert">
      <p>{problem.message}</p>
      {SIGN_IN_AGAIN.has(problem.code) && <a href={login ?? loginUrl(true)}>Sign in again</a>}
    </div>
  );
}

export function Waiting() {
  return (
    <p className="soft" role="status">
      One moment…
    </p>
  );
}

export function Empty({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div className="empty">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

const GOOD = new Set(["ok", "approved", "done", "intact", "allow", "yes", "stands"]);
const WAITS = new Set(["pending", "open", "executing", "ask", "ended", "used up", "past its time"]);

export function tone(outcome: string): "good" | "waits" | "bad" {
  if (GOOD.has(outcome)) return "good";
  if (WAITS.has(outcome)) return "waits";
  return "bad";
}

export function Outcome({ word, detail }: { word: string; detail?: ReactNode }) {
  return (
    <span className={`outcome ${tone(word)}`}>
      <span className="dot" aria-hidden="true" />
      {word}
      {detail && detail !== word ? <span className="soft"> {detail}</span> : null}
    </span>
  );
}

export function Effect({ effect }: { effect: string }) {
  return <span className={`effect ${effect}`}>{effect}</span>;
}

/** A time of day, with the date where it is not today; the whole in the title. */
export function Time({ at }: { at: string }) {
  const date = new Date(at);
  const today = date.toDateString() === new Date().toDateString();
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  const day = date.toLocaleDateString([], { month: "short", day: "numeric" });
  return (
    <time dateTime={at} title={at}>
      {today ? time : `${day} ${time}`}
    </time>
  );
}

export function span(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  const two = (big: number, unit: string, small: number, smaller: string) => `${big} ${unit}${small > 0 ? ` ${small} ${smaller}` : ""}`;
  if (s < 3600) return two(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 48 * 3600) return two(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return two(Math.floor(s / 86_400), "days", Math.floor((s % 86_400) / 3600), "h");
}

export function bytes(n: number): string {
  if (n < 1024) return `${n} B`;
  if (n < 1024 ** 2) return `${(n / 1024).toFixed(1)} KiB`;
  if (n < 1024 ** 3) return `${(n / 1024 ** 2).toFixed(1)} MiB`;
  return `${(n / 1024 ** 3).toFixed(1)} GiB`;
}

// Characters that act instead of showing, as the gateway itself makes them visible.
const ACTS =
  /([\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\ue000-\uf8ff]|[\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}\u{f0000}-\u{10ffff}])/u;
const MASKED = /(\[masked:[a-z0-9.-]+\])/;

/** Text of strangers: nothing in it acts, and what was masked is marked by its class. */
export function Shown({ text }: { text: string }) {
  const parts: ReactNode[] = [];
  text.split(ACTS).forEach((piece, index) => {
    if (index % 2 === 1) {
      const code = piece.codePointAt(0) ?? 0;
      const short = piece === "\t" ? "\\t" : piece === "\r" ? "\\r" : `\\u{${code.toString(16)}}`;
      parts.push(
        <span className="acts" key={`a${index}`}>
          {short}
        </span>,
      );
      return;
    }
    piece.split(MASKED).forEach((inner, at) => {
      if (at % 2 === 1) {
        parts.push(
          <mark key={`m${index}.${at}`} title={`masked: ${inner.slice(8, -1)}`}>
            {inner.slice(8, -1)}
          </mark>,
        );
      } else if (inner) parts.push(inner);
    });
  });
  return <>{parts}</>;
}

export function Block({ text, label }: { text: string; label: string }) {
  return (
    // What is longer than the page scrolls, by keyboard too.
    <pre className="block" tabIndex={0} aria-label={label}>
      <Shown text={text} />
    </pre>
  );
}

/** JSON with its own line breaks made readable; anything else as it is. */
export function readable(text: string): string {
  if (!/^\s*[[{]/.test(text)) return text;
  try {
    // Rendered from the parsed text only where nothing is lost by it.
    const pretty = JSON.stringify(JSON.parse(text), null, 2);
    return JSON.stringify(JSON.parse(pretty)) === text.replace(/\s+/g, "") || pretty.replace(/\s/g, "") === text.replace(/\s/g, "")
      ? pretty
      : text;
  } catch {
    return text;
  }
}

export function RequestHead({ head }: { head: Head }) {
  return (
    <>
      <Block
        label="request line"
        text={head.method !== undefined ? `${head.method} ${head.target ?? ""}` : `status ${head.status ?? "?"}`}
      />
      {head.headers && head.headers.length > 0 && (
        <details>
          <summary>{head.headers.length} headers</summary>
          <Block label="headers" text={head.headers.map(([name, value]) => `${name}: ${value}`).join("\n")} />
        </details>
      )}
    </>
  );
}

export function Facts({ facts }: { facts: [string, ReactNode][] }) {
  return (
    <dl className="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

export function field(of: Json | undefined, ...path: string[]): Json | undefined {
  let at: Json | undefined = of;
  for (const name of path) {
    if (at === null || typeof at !== "object" || Array.isArray(at)) return undefined;
    at = at[name];
  }
  return at;
}

export function words(value: Json | undefined): string {
  if (Array.isArray(value)) return value.map(String).join(", ");
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** Shares of a whole as one bar, with the numbers in words for who does not see it. */
export function Shares({ shares, label }: { shares: Record<string, number>; label: string }) {
  const entries = Object.entries(shares).sort(([, a], [, b]) => b - a);
  const total = entries.reduce((sum, [, n]) => sum + n, 0);
  if (total === 0) return <span className="soft">none</span>;
  let x = 0;
  const told = entries.map(([word, n]) => `${word} ${n}`).join(", ");
  return (
    <svg className="shares" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label={`${label}: ${told}`}>
      <title>{told}</title>
      {entries.map(([word, n]) => {
        const width = (100 * n) / total;
        const rect = <rect key={word} className={tone(word)} x={x} y={0} width={Math.max(width - 0.6, 0.6)} height={8} />;
        x += width;
        return rect;
      })}
    </svg>
  );
}
