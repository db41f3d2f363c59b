import { useEffect, useState } from "react";
import { type Approval, type Problem, problemOf, query, type Rule, type Widening } from "./api";
import { Block, Shown, span, Trouble } from "./ui";

/** How an argument of a later call may be. */
type May = { how: "same" | "any" } | { how: "at-most"; most: string };

const TIMES_S = [15 * 60, 3600, 4 * 3600, 8 * 3600, 24 * 3600, 7 * 24 * 3600];
const USES = 5;
/** A pause in typing after which the pattern is asked for. */
const PAUSE_MS = 250;

export type Wide = {
  on: boolean;
  setOn: (on: boolean) => void;
  uses: string;
  setUses: (uses: string) => void;
  within: number;
  setWithin: (within: number) => void;
  may: Record<string, May>;
  setMay: (name: string, may: May) => void;
  /** What goes with a yes; nothing when it is for this call only. */
  widening: Widening | null;
  /** It is on, and what it says cannot be given. */
  unclear: boolean;
  pattern: string[] | null;
  problem: Problem | null;
};

/** Widening a yes to later calls of the same caller: what is chosen, and the pattern that it makes in the gateway's words. */
export function useWidening(rule: Rule, approval: Approval): Wide {
  const most = rule.grant_uses_max ?? 0;
  const [on, setOn] = useState(false);
  const [uses, setUses] = useState(String(Math.min(USES, most)));
  const [within, setWithin] = useState(Math.min(3600, rule.grant_within_max_s ?? 0));
  const [may, set] = useState<Record<string, May>>({});
  const [shown, setShown] = useState<{ asked: string; pattern: string[] | null; problem: Problem | null }>({ asked: "", pattern: null, problem: null });
  const any: string[] = [];
  const at_most: Record<string, string> = {};
  for (const [name, one] of Object.entries(may)) {
    if (one.how === "any") any.push(name);
    if (one.how === "at-most") at_most[name] = one.most.trim();
  }
  const asked = on ? JSON.stringify({ any, at_most }) : "";
  const id = approval.head.id;
  useEffect(() => {
    if (!asked) return;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      query<{ pattern: string[] }>(`/approvals/${encodeURIComponent(id)}/pattern`, JSON.parse(asked), stop.signal).then(
        ({ pattern }) => setShown({ asked, pattern, problem: null }),
        (error: unknown) => stop.signal.aborted || setShown({ asked, pattern: null, problem: problemOf(error) }),
      );
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [id, asked]);
  const count = /^\d{1,6}$/.test(uses.trim()) ? Number(uses) : 0;
  const fits = count >= 1 && count <= most;
  const current = shown.asked === asked;
  return {
    on,
    setOn,
    uses,
    setUses,
    within,
    setWithin,
    may,
    setMay: (name, one) => set((before) => ({ ...before, [name]: one })),
    widening: on && fits ? { uses: count, within_s: within, any, at_most } : null,
    // Nobody gives what was not shown in words first.
    unclear: on && !(fits && current && shown.pattern !== null),
    pattern: current ? shown.pattern : null,
    problem: current ? shown.problem : null,
  };
}

function isNumber(value: string): boolean {
  return /^"?-?\d+(\.\d+)?"?$/.test(value);
}

export function Widen({ wide, approval, rule }: { wide: Wide; approval: Approval; rule: Rule }) {
  const most = rule.grant_uses_max ?? 0;
  const longest = rule.grant_within_max_s ?? 0;
  const times = [...new Set([...TIMES_S.filter((time) => time < longest), longest])];
  const members = approval.shown?.input ?? [];
  const hash = rule.hash;
  return (
    <fieldset className="widen">
      <legend>
        <label className="tick">
          <input id={`wide-${hash}`} type="checkbox" checked={wide.on} onChange={(event) => wide.setOn(event.target.checked)} /> let the yes stand for later calls as well
        </label>
      </legend>
      {wide.on && (
        <>
          <p className="soft">
            Of <Shown text={`${approval.head.requester.issuer}/${approval.head.requester.subject}`} /> to {approval.head.function} only. It counts as your yes, can be ended
            at any time, and is judged again at each call.
          </p>
          <div className="pair">
            <label>
              Calls (1 to {most})
              <input type="number" inputMode="numeric" min={1} max={most} value={wide.uses} onChange={(event) => wide.setUses(event.target.value)} />
            </label>
            <label>
              Within
              <select value={wide.within} onChange={(event) => wide.setWithin(Number(event.target.value))}>
                {times.map((time) => (
                  <option key={time} value={time}>
                    {span(time * 1000)}
                  </option>
                ))}
              </select>
            </label>
          </div>
          {members.map(({ name, value }) => (
            <Member key={name.text} name={name.text} value={value.text} wide={wide} plain={name.made_visible === 0} />
          ))}
          {wide.problem && <Trouble problem={wide.problem} />}
          {wide.pattern && <Block label="later calls that it covers" text={wide.pattern.join("\n")} />}
        </>
      )}
    </fieldset>
  );
}

function Member({ name, value, wide, plain }: { name: string; value: string; wide: Wide; plain: boolean }) {
  const may = wide.may[name] ?? { how: "same" };
  const unquoted = value.replace(/^"|"$/g, "");
  const choose = (how: string) => {
    if (how === "any" || how === "same") wide.setMay(name, { how });
    else wide.setMay(name, { how: "at-most", most: unquoted });
  };
  return (
    <div className="pair">
      <label>
        <span>
          <code>
            <Shown text={name} />
          </code>
        </span>
        <select value={may.how} disabled={!plain} onChange={(event) => choose(event.target.value)}>
          <option value="same">the same as now</option>
          {isNumber(value) && <option value="at-most">at most …</option>}
          <option value="any">anything, or missing</option>
        </select>
      </label>
      {may.how === "at-most" && (
        <label>
          At most
          <input inputMode="decimal" value={may.most} onChange={(event) => wide.setMay(name, { how: "at-most", most: event.target.value })} />
        </label>
      )}
    </div>
  );
}
