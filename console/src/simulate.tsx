import { useState } from "react";
import { type Problem, problemOf, query, type Simulated } from "./api";
import { Link, Outcome, Trouble } from "./ui";

export type Draft = { without: string[]; text: string };

const SPANS: [seconds: number, name: string][] = [
  [3600, "the last hour"],
  [86_400, "the last day"],
  [7 * 86_400, "the last 7 days"],
  [30 * 86_400, "the last 30 days"],
];

/** A draft against recorded calls: what would have been decided differently. Nothing changes by it. */
export function Simulate({ draft, setDraft }: { draft: Draft; setDraft: (draft: Draft) => void }) {
  const [span, setSpan] = useState(86_400);
  const [busy, setBusy] = useState(false);
  const [report, setReport] = useState<Simulated | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const run = async () => {
    setBusy(true);
    setProblem(null);
    setReport(null);
    try {
      setReport(await query<Simulated>("/policies/simulate", { without: draft.without, with: draft.text, last_s: span }));
    } catch (error) {
      setProblem(problemOf(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <section aria-label="Simulate a draft" className="playground">
      <h2>What would a draft have decided?</h2>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void run();
        }}
      >
        <p className="soft">
          The policies in force, changed as below, judge recorded calls again. Nothing runs, and no policy changes; that you looked is recorded. “Change it in a draft” brings a
          policy here; take its text away to see what its absence would do.
        </p>
        {draft.without.length > 0 && (
          <ul className="plain left-out" aria-label="Policies that the draft replaces">
            {draft.without.map((id) => (
              <li key={id} className="row">
                <span>
                  instead of <strong>{id}</strong>
                </span>
                <button type="button" className="quiet" onClick={() => setDraft({ ...draft, without: draft.without.filter((one) => one !== id) })}>
                  keep {id} as it is
                </button>
              </li>
            ))}
          </ul>
        )}
        <label>
          Policies of the draft
          <textarea
            rows={10}
            spellCheck={false}
            value={draft.text}
            placeholder={'@id("a-new-rule")\nforbid (principal, action in Action::"write", resource);'}
            onChange={(event) => setDraft({ ...draft, text: event.target.value })}
          />
        </label>
        <label>
          Against calls of
          <select value={span} onChange={(event) => setSpan(Number(event.target.value))}>
            {SPANS.map(([seconds, name]) => (
              <option key={seconds} value={seconds}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" className="yes" disabled={busy}>
          {busy ? "Simulating…" : "Simulate"}
        </button>
      </form>
      <div aria-live="polite" className="simulated">
        {problem && <Trouble problem={problem} />}
        {report && <Told report={report} />}
      </div>
    </section>
  );
}

function Told({ report }: { report: Simulated }) {
  return (
    <div className="answer">
      <p>
        <strong>{report.changed === 0 ? "Nothing would be decided differently" : `${report.changed} of ${report.evaluated} calls would be decided differently`}</strong>
        {report.changed === 0 && `; ${report.evaluated} calls were judged again`}. <span className="soft">{report.took_ms} ms</span>
      </p>
      {!report.complete && <p className="bad">There are more calls than one question may read: the newest are missing. Choose a shorter time.</p>}
      <ul className="plain">
        {report.changes.map((one) => (
          <li key={JSON.stringify([one.function, one.from, one.to, one.decided_by, one.draft_decided_by])}>
            <strong>{one.calls}</strong> × {one.function}: <Outcome word={one.from} /> → <Outcome word={one.to} />
            <div className="soft">
              by {one.decided_by.join(", ") || "no policy"}; in the draft by {one.draft_decided_by.join(", ") || "no policy"}
            </div>
            <div className="examples">
              {one.examples.map((call) => (
                <Link key={call} to={`/calls/${call}`}>
                  <code>{call.slice(0, 13)}…</code>
                </Link>
              ))}
            </div>
          </li>
        ))}
        {Object.entries(report.not_evaluated).map(([why, count]) => (
          <li key={why} className="soft">
            {count} calls could not be judged: {why}
          </li>
        ))}
      </ul>
    </div>
  );
}
