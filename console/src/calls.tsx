import { type UIEvent, useEffect, useMemo, useRef, useState } from "react";
import { type Call, type CallsPage as Page, type Functions, get, type Problem, problemOf } from "./api";
import { Charts } from "./chart";
import { go, useData, useLive, usePlace, useTitle } from "./hooks";
import { Empty, field, Link, Outcome, Shown, Time, Trouble, Waiting, words } from "./ui";

const OUTCOMES = ["ok", "denied", "pending", "open", "cut", "withheld", "expired", "indeterminate"];
const PAGE = 100;
/** Rows beyond the edges of what is seen. */
const BEYOND = 10;

function query(place: URL): string {
  const wanted = new URLSearchParams();
  for (const name of ["function", "principal", "outcome", "last_s", "unknown"]) {
    const value = place.searchParams.get(name);
    if (value) wanted.set(name, value);
  }
  return wanted.toString();
}

export function CallsPage() {
  useTitle("Calls");
  const place = usePlace();
  const live = useLive();
  const [following, setFollowing] = useState(true);
  const wanted = query(place);
  const tick = useRef(0);
  if (following) tick.current = live.records;
  const newest = useData<Page>(`/calls?limit=${PAGE}${wanted && `&${wanted}`}`, tick.current);
  const [older, setOlder] = useState<{ wanted: string; calls: Call[]; next: string | null } | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const asking = useRef(false);

  const calls = useMemo(() => {
    const first = newest.data?.calls ?? [];
    if (older?.wanted !== wanted) return first;
    // The first page moves on; the others stay, and no call is in two of them.
    const seen = new Set(first.map((call) => call.call));
    return [...first, ...older.calls.filter((call) => !seen.has(call.call))];
  }, [newest.data, older, wanted]);
  const next = older?.wanted === wanted ? older.next : (newest.data?.next ?? null);

  const more = async () => {
    if (!next || asking.current) return;
    asking.current = true;
    try {
      const page = await get<Page>(`/calls?limit=200&cursor=${next}${wanted && `&${wanted}`}`);
      setOlder((before) => ({
        wanted,
        // What the first page had when the second was asked for stays, however far the first moves on.
        calls: [...(before?.wanted === wanted ? before.calls : calls), ...page.calls],
        next: page.next,
      }));
    } catch (error) {
      setProblem(problemOf(error));
    } finally {
      asking.current = false;
    }
  };

  return (
    <div className="calls">
      <div className="head">
        <h1>Calls</h1>
        <label className="follow">
          <input type="checkbox" checked={following} onChange={(event) => setFollowing(event.target.checked)} /> follow live
        </label>
      </div>
      <Filters place={place} />
      <Charts functionId={place.searchParams.get("function") ?? ""} lastS={Number(place.searchParams.get("last_s")) || 86_400} records={tick.current} />
      {(newest.problem ?? problem) && <Trouble problem={(newest.problem ?? problem) as Problem} />}
      {!newest.data && !newest.problem && calls.length === 0 && <Waiting />}
      {newest.data && calls.length === 0 && (
        <Empty title={wanted ? "No call matches" : "No calls yet"}>
          {wanted ? (
            <p>
              Take a filter away, or <Link to="/calls">see all calls</Link>.
            </p>
          ) : (
            <p>Point a caller at the gateway's address instead of the function's: its calls appear here as they happen, allowed or not.</p>
          )}
        </Empty>
      )}
      {calls.length > 0 && <Rows calls={calls} more={() => void more()} end={next === null} />}
    </div>
  );
}

function Filters({ place }: { place: URL }) {
  const { data } = useData<Functions>("/functions");
  const set = (name: string, value: string) => {
    const url = new URL(place);
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
    go(url.pathname + url.search, true);
  };
  const value = (name: string) => place.searchParams.get(name) ?? "";
  return (
    <form className="filters" aria-label="Filters" onSubmit={(event) => event.preventDefault()}>
      <label>
        Function
        <select value={value("function")} onChange={(event) => set("function", event.target.value)}>
          <option value="">all</option>
          {(data?.functions ?? []).map((one) => (
            <option key={one.id}>{one.id}</option>
          ))}
        </select>
      </label>
      <label>
        Outcome
        <select value={value("outcome")} onChange={(event) => set("outcome", event.target.value)}>
          <option value="">all</option>
          {OUTCOMES.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
      </label>
      <label>
        Caller
        <input
          type="search"
          placeholder="issuer/subject"
          key={value("principal")}
          defaultValue={value("principal")}
          onKeyDown={(event) => event.key === "Enter" && set("principal", event.currentTarget.value.trim())}
          onBlur={(event) => event.currentTarget.value.trim() !== value("principal") && set("principal", event.currentTarget.value.trim())}
        />
      </label>
      <label>
        Since
        <select value={value("last_s")} onChange={(event) => set("last_s", event.target.value)}>
          <option value="">ever</option>
          <option value="300">5 minutes</option>
          <option value="3600">1 hour</option>
          <option value="86400">1 day</option>
        </select>
      </label>
      <label className="tick">
        <input type="checkbox" checked={value("unknown") === "true"} onChange={(event) => set("unknown", event.target.checked ? "true" : "")} /> undeclared only
      </label>
    </form>
  );
}

/** Only the rows that are seen are in the page, however long the list is. */
function Rows({ calls, more, end }: { calls: Call[]; more: () => void; end: boolean }) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 900 });
  const [rowHeight, setRowHeight] = useState(40);
  useEffect(() => {
    const narrow = matchMedia("(max-width: 700px)");
    const fit = () => {
      setRowHeight(narrow.matches ? 64 : 40);
      if (box.current) setView((before) => ({ ...before, height: box.current?.clientHeight ?? 900 }));
    };
    fit();
    narrow.addEventListener("change", fit);
    window.addEventListener("resize", fit);
    return () => {
      narrow.removeEventListener("change", fit);
      window.removeEventListener("resize", fit);
    };
  }, []);
  const first = Math.max(0, Math.floor(view.top / rowHeight) - BEYOND);
  const last = Math.min(calls.length, Math.ceil((view.top + view.height) / rowHeight) + BEYOND);
  const near = last >= calls.length - BEYOND;
  useEffect(() => {
    if (near && !end && view.top > 0) more();
  });
  const scrolled = (event: UIEvent<HTMLDivElement>) => {
    const { scrollTop, clientHeight } = event.currentTarget;
    setView({ top: scrollTop, height: clientHeight });
  };
  return (
    <div className="rows" ref={box} onScroll={scrolled} tabIndex={0} role="region" aria-label="Recorded calls, newest first">
      <div className="rowhead" aria-hidden="true">
        <span>when</span>
        <span>outcome</span>
        <span>function</span>
        <span>caller</span>
        <span className="num">status</span>
        <span className="num">ms</span>
        <span>masked</span>
      </div>
      <ol style={{ height: calls.length * rowHeight }}>
        {calls.slice(first, last).map((call, index) => (
          <li key={call.call} style={{ top: (first + index) * rowHeight, height: rowHeight }} aria-setsize={calls.length} aria-posinset={first + index + 1}>
            <Row call={call} />
          </li>
        ))}
      </ol>
    </div>
  );
}

function Row({ call }: { call: Call }) {
  const masked = Object.entries(call.masked);
  const tried = `${words(field(call.tried, "method"))} ${words(field(call.tried, "target"))}`.trim();
  return (
    <Link to={`/calls/${call.call}`}>
      <span>
        <Time at={call.at} />
      </span>
      <span>
        <Outcome word={call.outcome} detail={call.reason} />
      </span>
      <span className="fn">{call.function ?? <span className="soft"><Shown text={tried || "undeclared"} /></span>}</span>
      <span className="caller">
        <Shown text={`${call.issuer}/${call.subject ?? call.subject_ref}`} />
      </span>
      <span className="num">{call.status ?? ""}</span>
      <span className="num">{call.total_ms ?? ""}</span>
      <span className="masked">
        {masked.map(([name, count]) => (
          <mark key={name}>
            {name} {count}
          </mark>
        ))}
      </span>
    </Link>
  );
}
